"""Moments merge: neutral element, any order, any cut; and they are the moments."""

import itertools

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from flexure.stats import Moments, squared_norms, standard_error


def draw(n, q=3, k=3, seed=0, offset=0.0):
    return torch.randn(q, n, k, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + offset


def close(left: Moments, right: Moments) -> bool:
    pairs = zip(left.arrays(), right.arrays(), strict=True)
    return all(torch.allclose(a, b, rtol=1e-12, atol=1e-12 * float(b.abs().max())) for a, b in pairs)


def test_the_standard_error_of_a_mean_is_that_of_the_sample():
    z = draw(50)
    found = Moments.of(z)
    squares = torch.diagonal(found.products, dim1=1, dim2=2)
    assert torch.allclose(standard_error(squares, found.n[:, None]), z.std(1) / 50**0.5, rtol=1e-12)
    right = torch.tensor([1.0, 1, 1, 0])
    assert float(standard_error(4 * 0.75 * 0.25, 4)) == pytest.approx(float(right.std()) / 2)
    assert standard_error(0.0, 1).isnan() and standard_error(torch.nan, 9).isnan() and standard_error(-1e-17, 9) == 0


def test_they_are_the_mean_and_the_sample_covariance():
    z = draw(50)
    found = Moments.of(z)
    for quantity in range(3):
        assert torch.allclose(found.mean[quantity], z[quantity].mean(0), rtol=1e-13)
        assert torch.allclose(found.covariance[quantity], z[quantity].T.cov(), rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, 40), max_size=4), seed=st.integers(0, 100), offset=st.sampled_from([0.0, 1e6]))
def test_merging_any_cut_in_any_order_gives_the_whole(cuts, seed, offset):
    z = draw(40, seed=seed, offset=offset)
    edges = [0, *sorted(cuts), 40]
    parts = [Moments.of(z[:, a:b]) for a, b in itertools.pairwise(edges)]
    whole = Moments.of(z)
    left = Moments.merged(parts)
    right = Moments.merged(parts[::-1])
    nested = parts[0].merge(Moments.merged([Moments.empty(3, 3), *parts[1:]]))
    for found in (left, right, nested):
        assert torch.equal(found.n, whole.n)
        assert torch.allclose(found.mean, whole.mean, rtol=1e-12)
        # a mean of size `offset` is known to eps * offset, and enters times n times the gap between two parts
        assert torch.allclose(found.products, whole.products, rtol=1e-12, atol=1e-12 + 40 * 5 * 2.3e-16 * offset)


def test_nothing_is_neutral_on_both_sides():
    some, none = Moments.of(draw(7)), Moments.empty(3, 3)
    assert close(some.merge(none), some)
    assert close(none.merge(some), some)


def test_observations_that_are_not_kept_do_not_count_even_if_they_are_nan():
    z = draw(6)
    z[1, 2] = torch.nan
    keep = z.isfinite().all(2)
    found = Moments.of(z, keep)
    assert found.n.tolist() == [6, 5, 6]
    assert torch.allclose(found.mean[1], z[1][keep[1]].mean(0))


def test_a_covariance_needs_two_observations():
    assert Moments.of(draw(1)).covariance.isnan().all()


@pytest.mark.parametrize("width", [1, 511, 512, 513, 5000])
def test_squared_norms_are_sums_of_squares(width):
    rows = torch.randn(5, width, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(squared_norms(rows), rows.double().square().sum(1), rtol=3e-7)


def test_squared_norms_stay_exact_over_millions_of_features():
    rows = torch.randn(1, 3_000_000, generator=torch.Generator().manual_seed(0)) + 1
    truth = rows.double().square().sum()
    assert abs(squared_norms(rows)[0] / truth - 1) < 3e-7
    assert abs(float(torch.linalg.vector_norm(rows)) ** 2 / truth - 1) > 1e-6


def test_half_precision_is_widened_before_it_is_squared():
    rows = torch.full((1, 100), 300.0, dtype=torch.float16)
    assert squared_norms(rows).item() == pytest.approx(9e6)
