"""Pairs of images by what they share in two systems of labels."""

import numpy as np
import pandas as pd
import pytest

from flexure.analysis.label_systems import CATEGORIES, label_systems
from flexure.errors import ArgumentError
from flexure.results import Result

FIRST, SECOND = np.arange(24) % 2, np.arange(24) // 2 % 3


def result(values):
    return Result("elasticity", "?", pd.DataFrame({"layer": ["output"]}), {"cosine": values})


def made(neither, second, first, both):
    one, two = FIRST[:, None] == FIRST, SECOND[:, None] == SECOND
    return np.where(one & two, both, np.where(one, first, np.where(two, second, neither)))


def test_means_of_the_four_categories_are_found_as_shares_of_their_sum():
    found = label_systems(result(made(0.1, 0.2, 0.3, 0.4)), FIRST, SECOND).to_frame()
    assert found["category"].tolist() == list(CATEGORIES) == ["neither", "second", "first", "both"]
    assert found["mean"].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert found["share"].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert found["share_se"].tolist() == pytest.approx([0] * 4, abs=1e-12)
    assert found["pairs"].sum() == 24 * 23 and found["pairs"].tolist() == [24 * 8, 24 * 4, 24 * 8, 24 * 3]


def test_where_neither_system_matters_all_shares_are_a_quarter():
    assert label_systems(result(np.ones((24, 24))), FIRST, SECOND)["share"].tolist() == pytest.approx([0.25] * 4)


def test_errors_are_those_of_leaving_out_one_image_after_the_other():
    values = 1 + np.random.default_rng(0).normal(0, 0.3, (24, 24))
    found = label_systems(result(values), FIRST, SECOND)
    without = []
    for out in range(24):
        stay = np.arange(24) != out
        less = label_systems(result(values[np.ix_(stay, stay)]), FIRST[stay], SECOND[stay])
        without.append([less["mean"], less["share"]])
    spread = np.sqrt(23 * np.var(without, axis=0))
    assert found["mean_se"] == pytest.approx(spread[0]) and found["share_se"] == pytest.approx(spread[1])


def test_a_category_without_pairs_says_so_and_the_others_are_shares_of_the_rest():
    found = label_systems(result(made(0.1, 0.1, 0.3, 0.3)), FIRST, FIRST).to_frame()
    assert found["status"].tolist() == ["measured", "no such pair", "no such pair", "measured"]
    assert found["share"].iloc[[0, 3]].tolist() == pytest.approx([0.25, 0.75])


def test_what_is_no_class_per_image_is_refused():
    with pytest.raises(
        ArgumentError, match=r"second must be whole numbers, one for each of 24 images; got int64 \(3,\)"
    ):
        label_systems(result(np.ones((24, 24))), FIRST, [1, 2, 3])
    with pytest.raises(ArgumentError, match=r"of shape \(24, 3\); expected a square matrix"):
        label_systems(result(np.ones((24, 3))), FIRST, SECOND)
