"""The table of probes: every line leads to a function that keeps the common contract."""

import inspect

import pytest

import flexure
from flexure.errors import ArgumentError
from flexure.probes import PROBES, check_probes, defaults

COMMON = {"batch_size": int, "seed": int, "progress": type(None), "checkpoint": type(None)}


@pytest.mark.parametrize("probe", PROBES.values(), ids=lambda probe: probe.name)
def test_every_probe_takes_specimen_and_data_and_knows_the_common_options_by_their_names(probe):
    function = probe.load()
    parameters = list(inspect.signature(function).parameters.values())
    assert [p.name for p in parameters[:2]] == ["specimen", "data"]
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters[2:])
    found = defaults(function)
    assert all(isinstance(found[name], kind) for name, kind in COMMON.items() if name in found)
    assert "seed" in found and "device" in found
    assert function is getattr(flexure, probe.name)


@pytest.mark.parametrize("probe", PROBES.values(), ids=lambda probe: probe.name)
def test_every_probe_accepts_its_own_defaults_and_knows_its_cost(probe):
    probe.refuse({})
    least, most = probe.cost({}, 10)
    assert 0 <= least <= most


def test_names_are_checked_and_none_means_those_that_run_unasked():
    assert check_probes(()) == tuple(name for name, probe in PROBES.items() if not probe.opt_in)
    assert check_probes(["sensitivity", "sensitivity"]) == ("sensitivity",)
    with pytest.raises(ArgumentError, match=r"no probe 'sensitiviti'\. Did you mean 'sensitivity'"):
        check_probes(["sensitiviti"])


def test_values_that_the_probe_would_refuse_are_refused_before():
    with pytest.raises(ArgumentError, match="draws must be a whole number of at least 1; got 0"):
        PROBES["sensitivity"].refuse({"draws": 0})


def test_defaults_are_those_of_keyword_only_parameters():
    def function(a, b=1, *, c, d=2):
        return a, b, c, d

    assert defaults(function) == {"d": 2}


@pytest.mark.parametrize(
    ("options", "passes"),
    [
        ({}, (3, 3)),
        ({"draws": 4}, (9, 9)),
        ({"draws": 2, "initialized": 3}, (20, 20)),
        ({"initialized": object()}, (6, 6)),
        ({"precision": 0.1}, (5, 160)),
        ({"precision": 0.1, "draws": 3, "max_draws": 10}, (7, 21)),
    ],
)
def test_a_clean_pass_and_two_per_draw_for_every_network(options, passes):
    assert PROBES["sensitivity"].cost(options, 10) == passes
