"""The shop window: what it shows is there, and nothing is loaded before it is used."""

import subprocess
import sys
import types

import pytest

import flexure
from flexure.probes import PROBES


@pytest.mark.parametrize("name", flexure.__all__)
def test_every_name_in_the_window_is_there_and_is_no_module(name):
    assert not isinstance(getattr(flexure, name), types.ModuleType)


def test_the_window_is_small_sorted_and_says_where_each_name_lives():
    assert flexure.__all__ == sorted(flexure._WHERE) == sorted(set(flexure.__all__))
    assert len(set(flexure.__all__) - set(PROBES)) <= 25
    assert set(flexure.__all__) < set(dir(flexure))


def test_a_name_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(AttributeError, match=r"no attribute 'sensitivty'; it has .*sensitivity"):
        _ = flexure.sensitivty


def test_importing_flexure_loads_neither_torch_nor_pandas():
    code = "import sys, flexure; dir(flexure); print([m for m in ('torch', 'numpy', 'pandas') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
