"""Similarity against distance: the paper's closed forms, straight lines, errors over points."""

import numpy as np
import pandas as pd
import pytest
from torch import nn

from flexure.analysis.distance import against_distance
from flexure.data import Manifold
from flexure.errors import ArgumentError
from flexure.probes.elasticity import elasticity
from flexure.results import Result


def result(values):
    table = pd.DataFrame({"layer": ["output"], "n": [len(values)], "status": ["measured"]})
    return Result("elasticity", "?", table, {"relative": values}, provenance={"specimen": {"name": "made"}})


def points_on_a_line(n=40, seed=0):
    x = np.random.default_rng(seed).uniform(0, 1, n)
    return np.abs(x[:, None] - x)


@pytest.mark.parametrize(
    ("name", "unsigned", "signed"), [("torus-curves", -0.072, -0.985), ("folded-boxes", -0.136, -0.971)]
)
def test_affine_networks_see_distance_until_the_sign_is_taken_off(name, unsigned, signed):
    images = Manifold(name, draw="authors", distance="authors")
    here = np.flatnonzero(images.labels == 1)
    x = images.read(here.tolist()).x.double()
    affine = nn.Sequential(nn.Flatten(), nn.Linear(3, 1)).double()
    measured = elasticity(affine, x, step=None)
    found = against_distance(measured, images.distances[np.ix_(here, here)], diagonal=True).to_frame()
    values = found.set_index("similarity")["pearson"]
    assert values["relative"] == pytest.approx(unsigned, abs=1e-3)
    assert values["relative_signed"] == pytest.approx(signed, abs=1e-3)


def test_a_falling_line_has_correlation_minus_one_and_half_of_it_at_its_middle():
    far = points_on_a_line()
    found = against_distance(result(1 - far), far, similarity="relative").to_frame().iloc[0]
    assert found["pearson"] == pytest.approx(-1) and found["spearman"] == pytest.approx(-1)
    assert found["half_distance"] == pytest.approx(0.5, abs=0.02)
    assert found["pearson_se"] == pytest.approx(0, abs=1e-9)
    assert (found["n"], found["pairs"]) == (40, 40 * 39)


def test_what_never_falls_to_half_has_no_half_distance():
    far = points_on_a_line()
    found = against_distance(result(1 - 0.1 * far), far, similarity="relative").to_frame().iloc[0]
    assert np.isnan(found["half_distance"]) and np.isnan(found["half_distance_se"])


def test_errors_are_over_points_not_pairs():
    correlations, errors = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        far = points_on_a_line(30, seed)
        own = rng.normal(0, 0.3, 30)
        found = against_distance(result(1 - far + own[:, None] + own), far, similarity="relative").to_frame().iloc[0]
        correlations.append(found["pearson"])
        errors.append(found["pearson_se"])
    assert 0.7 < np.mean(errors) / np.std(correlations) < 1.4


def test_pairs_that_are_infinitely_far_apart_do_not_count():
    far = points_on_a_line()
    cut = far.copy()
    cut[:20, 20:] = cut[20:, :20] = np.inf
    found = against_distance(result(1 - far), cut, similarity="relative")
    assert found["pairs"][0] == 2 * 20 * 19 and found["pearson"][0] == pytest.approx(-1)


def test_medians_fall_from_near_to_far():
    far = points_on_a_line()
    found = against_distance(result(np.exp(-far)), far, similarity="relative", bins=5)
    assert found["bin_median"].shape == (1, 5) and (np.diff(found["bin_median"][0]) < 0).all()
    assert (np.diff(found["bin_distance"]) > 0).all()


def test_what_decays_exponentially_has_its_length_and_only_falls():
    far = points_on_a_line(60)
    found = against_distance(result(0.3 + 0.7 * np.exp(-far / 0.25)), far, similarity="relative", bins=8)
    row = found.to_frame().iloc[0]
    assert row["decay_length"] == pytest.approx(0.25, rel=1e-3) and row["decay_length_se"] < 0.01
    assert row["monotonicity"] == 1 and row["monotonicity_se"] == pytest.approx(0)
    whole = against_distance(result(np.exp(-far / 0.25)), far, similarity="relative", bins=60).to_frame().iloc[0]
    assert whole["half_distance"] == pytest.approx(0.25 * np.log(2), rel=0.02)


@pytest.mark.parametrize("values", [lambda d: 1 - d, lambda d: d, lambda d: np.exp(d), lambda d: np.ones_like(d)])
def test_what_does_not_level_off_has_no_decay_length(values):
    far = points_on_a_line(60)
    row = against_distance(result(values(far)), far, similarity="relative").to_frame().iloc[0]
    assert np.isnan(row["decay_length"]) and np.isnan(row["decay_length_se"])


def test_monotonicity_is_the_falling_part_of_all_the_medians_move():
    far = points_on_a_line(60)
    ends = np.quantile(far[~np.eye(60, dtype=bool)], [0.25, 0.5, 0.75])
    steps = np.array([1.0, 0.4, 0.6, 0.5])[np.searchsorted(ends, far)]
    row = against_distance(result(steps), far, similarity="relative", bins=4).to_frame().iloc[0]
    assert row["monotonicity"] == pytest.approx(0.7 / 0.9)
    assert against_distance(result(far), far, similarity="relative")["monotonicity"][0] == 0


def test_medians_have_errors_over_points_and_the_pairs_to_be_drawn_are_of_the_matrix():
    medians, errors = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        own, far = rng.normal(0, 0.3, 30), points_on_a_line(30, seed)
        found = against_distance(result(own[:, None] + own + 0 * far), far, similarity="relative", bins=3)
        medians.append(found["bin_median"][0])
        errors.append(found["bin_median_se"][0])
    assert np.all((np.mean(errors, 0) / np.std(medians, 0) > 0.6) & (np.mean(errors, 0) / np.std(medians, 0) < 1.6))
    far = points_on_a_line(80)
    found = against_distance(result(1 - far), far, similarity="relative")
    assert len(found["pair_distance"]) == 3000 and (np.diff(found["pair_distance"]) >= 0).all()
    assert np.allclose(found["pair_similarity"][0], 1 - found["pair_distance"])


def test_the_similarities_that_a_result_has_are_taken_unasked():
    far = points_on_a_line()
    assert against_distance(result(1 - far), far)["similarity"].tolist() == ["relative"]


def test_alike_similarities_have_no_correlation():
    far = points_on_a_line()
    found = against_distance(result(np.ones_like(far)), far, similarity="relative").to_frame().iloc[0]
    assert np.isnan(found["pearson"]) and found["status"] == "similarities or distances are all alike"


def test_other_points_are_refused():
    with pytest.raises(ArgumentError, match=r"'relative' is of shape \(40, 40\), the distances of \(3, 3\)"):
        against_distance(result(points_on_a_line()), np.zeros((3, 3)), similarity="relative")
    with pytest.raises(ArgumentError, match="bins must be at least 2; got 1"):
        against_distance(result(points_on_a_line()), points_on_a_line(), similarity="relative", bins=1)
