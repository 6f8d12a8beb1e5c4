"""Shares and pairs merge, and their intervals and tests are the published ones."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from flexure.stats import Pairs, Proportions, around_median


def hits(n, q=3, seed=0):
    return torch.rand(q, n, generator=torch.Generator().manual_seed(seed)) < 0.3


@pytest.mark.parametrize(("right", "n"), [(0, 10), (3, 10), (10, 10), (1, 1), (450, 1000)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_interval_is_wilsons(right, n, level):
    found = Proportions(torch.tensor([right]), torch.tensor([n]))
    low, high = found.wilson(level)
    expected = stats.binomtest(right, n).proportion_ci(level, method="wilson")
    assert (low[0], high[0]) == (pytest.approx(expected.low, abs=1e-12), pytest.approx(expected.high, abs=1e-12))
    assert found.value[0] == right / n


def test_none_of_n_ends_where_it_ends_on_paper():
    z = stats.norm.ppf(0.975)
    low, high = Proportions(torch.tensor([0]), torch.tensor([50])).wilson()
    assert low[0] == 0 and high[0] == pytest.approx(z**2 / (50 + z**2), rel=1e-12)


def test_values_and_errors_are_those_of_the_sample():
    found, z = Proportions.of(hits(40)), hits(40).double()
    assert np.allclose(found.value, z.mean(1)) and np.allclose(found.se, z.std(1) / 40**0.5)
    keep = torch.arange(40).expand(3, 40) < 10
    assert np.allclose(Proportions.of(hits(40), keep).value, z[:, :10].mean(1))


def test_of_nothing_nothing_is_known():
    empty = Proportions.empty(2)
    assert np.isnan(empty.value).all() and np.isnan(empty.se).all() and np.isnan(empty.wilson()).all()
    none = Pairs.empty()
    assert np.isnan([none.difference, none.se, *none.interval()]).all() and none.p_value == 1


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, 40), max_size=4), seed=st.integers(0, 100))
def test_merging_any_cut_in_any_order_gives_the_whole(cuts, seed):
    edges = [0, *sorted(cuts), 40]
    z, other = hits(40, seed=seed), hits(40, seed=seed + 1)[0].numpy()
    parts = [Proportions.of(z[:, a:b]) for a, b in itertools.pairwise(edges)]
    pairs = [Pairs.of(z[0, a:b].numpy(), other[a:b]) for a, b in itertools.pairwise(edges)]
    for order in (1, -1):
        found = Proportions.merged([Proportions.empty(3), *parts[::order]])
        assert all(map(torch.equal, found.arrays(), Proportions.of(z).arrays()))
        assert Pairs.merged(pairs[::order]) == Pairs.of(z[0].numpy(), other)


@pytest.mark.parametrize(("one", "two"), [(0, 0), (0, 5), (7, 2), (30, 31), (12, 0)])
def test_the_test_is_mcnemars_exact_one(one, two):
    expected = stats.binomtest(one, one + two).pvalue if one + two else 1
    assert Pairs(one, two, 200).p_value == pytest.approx(expected, rel=1e-9)


def test_differences_and_their_errors_are_those_of_the_sample():
    first, second = hits(60)[0].numpy(), hits(60)[1].numpy()
    found, gap = Pairs.of(first, second), first.astype(float) - second
    assert found.difference == pytest.approx(gap.mean()) and found.se == pytest.approx(gap.std(ddof=1) / 60**0.5)
    low, high = found.interval()
    assert low < found.difference < high


def test_the_interval_of_a_difference_is_that_on_paper_and_holds_the_truth():
    low, high = Pairs(10, 3, 98).interval()
    half = stats.norm.ppf(0.975) * np.sqrt(14 - 49 / 100) / 100
    assert (low, high) == (pytest.approx(0.07 - half), pytest.approx(0.07 + half))
    assert Pairs(0, 0, 20).interval()[0] < 0 < Pairs(0, 0, 20).interval()[1]
    held = 0
    for trial in range(1000):
        u = np.random.default_rng(trial).uniform(size=200)
        low, high = Pairs.of(u < 0.8, (u < 0.7) | (u > 0.96)).interval()
        held += low <= 0.06 <= high
    assert abs(held / 1000 - 0.95) <= 4 * np.sqrt(0.95 * 0.05 / 1000)


def test_the_median_lies_between_the_numbers_that_are_named_as_often_as_is_said():
    assert np.isnan(around_median(np.arange(5))).all() and around_median(np.arange(6)[::-1]) == (0, 5)
    for n in (6, 25, 60):
        low, high = around_median(np.arange(1, n + 1))
        coverage = stats.binom.cdf(n - low, n, 0.5) - stats.binom.cdf(low - 1, n, 0.5)
        narrower = stats.binom.cdf(n - low - 1, n, 0.5) - stats.binom.cdf(low, n, 0.5)
        assert coverage >= 0.95 > narrower and high == n + 1 - low
    held = 0
    for trial in range(1000):
        low, high = around_median(np.random.default_rng(trial).exponential(size=40))
        held += low <= np.log(2) <= high
    assert held / 1000 >= 0.95 - 4 * np.sqrt(0.95 * 0.05 / 1000)
