"""Means over pairs of different images and their errors, whatever part of the matrix is looked at at a time."""

import numpy as np
import pytest

from flexure import arrays as room
from flexure.arrays import Arrays
from flexure.formulas.pair_means import PairSums
from flexure.probes.elasticity.pairs import of_pairs

N = 9
LABELS = np.arange(N) % 3


def brute(cosine, relative, kept):
    """The four means over pairs of different ones of these images."""
    pairs = [(i, j) for i in kept for j in kept if i != j and np.isfinite(cosine[i, j])]
    same = np.mean([cosine[pair] for pair in pairs if LABELS[pair[0]] == LABELS[pair[1]]])
    other = np.mean([cosine[pair] for pair in pairs if LABELS[pair[0]] != LABELS[pair[1]]])
    found = {"relative_mean": np.mean([relative[pair] for pair in pairs])}
    return found | {
        "cosine_mean": np.mean([cosine[p] for p in pairs]),
        "same_class": same,
        "ratio": same / (same + other),
    }


@pytest.mark.parametrize("numbers", [1, 20, 10_000])
def test_means_and_jackknife_errors_are_those_of_the_definition(monkeypatch, numbers):
    monkeypatch.setattr(room, "_NUMBERS", numbers)
    generator = np.random.default_rng(0)
    cosine, relative = generator.uniform(0.1, 1, (N, N)), generator.uniform(size=(N, N))
    np.fill_diagonal(cosine, 50.0)
    cosine[2], relative[2] = np.nan, np.nan
    found = of_pairs(Arrays({"cosine/a": cosine, "relative/a": relative}), LABELS, "/a")
    without = [brute(cosine, relative, [i for i in range(N) if i != left]) for left in range(N)]
    for name, value in brute(cosine, relative, range(N)).items():
        assert found[name] == pytest.approx(value)
        values = np.array([one[name] for one in without])
        assert found[f"{name}_se"] == pytest.approx(np.sqrt((N - 1) / N * np.sum((values - values.mean()) ** 2)))


def test_an_image_in_no_pair_is_no_observation():
    some = np.random.default_rng(1).uniform(size=(N, N))
    more = np.full((N + 1, N + 1), np.nan)
    more[:N, :N] = some
    for one, two in zip(PairSums.of([(0, some)], LABELS), PairSums.of([(0, more)], np.append(LABELS, 0)), strict=True):
        assert one.mean() == pytest.approx(two.mean())


def test_nothing_kept_and_no_classes_say_nothing():
    assert all(np.isnan(value) for value in of_pairs(None, LABELS).values())
    ones = Arrays({"cosine": np.ones((3, 3)), "relative": np.ones((3, 3))})
    found = of_pairs(ones, None)
    assert found["cosine_mean"] == 1 and np.isnan(found["ratio"]) and np.isnan(found["same_class_se"])
