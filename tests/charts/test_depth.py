from itertools import pairwise

import pytest
from charts.make import RESNET20, RESNET50
from hypothesis import given
from hypothesis import strategies as st

from flexure.charts.depth import FITTING, depth_of, ticks

NAMES = [name for name, _ in RESNET50]


def test_every_op_of_a_small_network_is_named():
    names = ["conv1", "relu", "output"]
    assert ticks(names, 14) == dict(enumerate(names))


def test_a_large_network_is_labelled_by_stages_on_a_phone_and_by_blocks_on_a_desktop():
    assert list(ticks(NAMES, FITTING[0]).values()) == ["layer1", "layer2", "layer3", "layer4", "output"]
    wide = list(ticks(NAMES, FITTING[860]).values())
    assert wide[:3] == ["conv1", "layer1.0", "layer1.1"] and wide[-2:] == ["layer4.2", "output"]


@pytest.mark.parametrize("fitting", FITTING.values())
@pytest.mark.parametrize("names", [NAMES, [name for name, _ in RESNET20], [f"op{i}" for i in range(300)]])
def test_labels_are_no_closer_than_fits_and_the_output_keeps_its_own(names, fitting):
    rows = list(ticks(names, fitting))
    assert len(rows) <= fitting + 1 and rows[-1] == len(names) - 1
    assert min(b - a for a, b in pairwise(rows)) >= len(names) / fitting


@given(st.lists(st.text("ab.", max_size=6), max_size=60), st.integers(1, 40))
def test_any_names_at_all_get_labels_in_order(names, fitting):
    rows = list(ticks(names, fitting))
    assert rows == sorted(set(rows)) and all(0 <= row < len(names) for row in rows)


def test_networks_with_the_same_ops_share_an_axis_of_names():
    depth = depth_of([["a", "output"], ["a", "output"]])
    assert depth.positions == [[0, 1], [0, 1]] and depth.labels[0] == {0: "a", 1: "output"} and not depth.title


def test_networks_of_different_depth_meet_at_the_output():
    depth = depth_of([["a", "b", "output"], ["a", "b", "c", "d", "output"]])
    assert depth.positions == [[0, 0.5, 1], [0, 0.25, 0.5, 0.75, 1]]
    assert depth.labels[0][1.0] == "output" and "share" in depth.title


def test_a_network_of_one_op_and_one_of_none_have_an_axis():
    assert depth_of([["output"]]).domain == (-0.5, 0.5)
    assert depth_of([[]]).positions == [[]]
