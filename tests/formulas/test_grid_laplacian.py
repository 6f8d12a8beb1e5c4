"""Modes of small grids: closed forms, the plain graph Laplacian, and the law of independent weights."""

import itertools
import math

import numpy as np
import pytest
import torch
from reference.grid_laplacian import laplacian, mode
from scipy import stats

from flexure.formulas.grid_laplacian import modes, null_interval, null_p_value, pooling_index, powers

SHAPES = [(1, 1), (2, 2), (3, 3), (5, 5), (7, 7), (1, 3), (5, 1), (2, 3), (4, 6), (3,), (11,), (3, 3, 3), (2, 3, 4)]


def listed(shape):
    """Every eigenvalue as often as it occurs."""
    grid = modes(shape)
    return np.repeat(grid.eigenvalue.numpy(), grid.degeneracy.numpy())


@pytest.mark.parametrize(
    ("shape", "values"),
    [((2, 2), [0, 2, 2, 4]), ((3, 3), [0, 1, 1, 2, 3, 3, 4, 4, 6]), ((1, 1), [0]), ((1, 3), [0, 1, 3]), ((2,), [0, 2])],
)
def test_the_eigenvalues_of_small_grids_are_whole_numbers(shape, values):
    assert listed(shape).tolist() == values


def test_a_five_by_five_grid_has_25_eigenvalues_from_0_to_7_236():
    assert len(listed((5, 5))) == 25
    assert listed((5, 5))[0] == 0 and listed((5, 5))[-1] == pytest.approx(7.236, abs=5e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_modes_are_orthonormal_eigenvectors_of_the_graph_laplacian(shape):
    grid = modes(shape)
    basis, matrix = grid.basis.numpy(), laplacian(shape)
    np.testing.assert_allclose(basis @ basis.T, np.eye(grid.count), atol=1e-14)
    np.testing.assert_allclose(matrix @ basis.T, basis.T * listed(shape), atol=1e-13)
    np.testing.assert_allclose(listed(shape), np.linalg.eigvalsh(matrix), atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_filter_that_is_one_mode_has_all_its_power_in_that_mode_s_group(shape):
    grid = modes(shape)
    for frequency in itertools.product(*map(range, shape)):
        wave, eigenvalue = mode(shape, frequency)
        power = powers(torch.from_numpy(3 * wave).reshape(1, -1), grid)[0]
        group = int((grid.eigenvalue - eigenvalue).abs().argmin())
        expected = torch.zeros(len(power), dtype=torch.float64)
        expected[group] = 9
        torch.testing.assert_close(power, expected, atol=1e-13, rtol=0)


def test_eigenvalues_are_grouped_exactly_where_they_are_equal():
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(50):
        for height, width in itertools.combinations_with_replacement(range(1, 13), 2):
            exact = [
                4 - 2 * mpmath.cos(mpmath.pi * a / height) - 2 * mpmath.cos(mpmath.pi * b / width)
                for a in range(height)
                for b in range(width)
            ]
            groups = [list(same) for _, same in itertools.groupby(sorted(exact), key=lambda x: mpmath.nint(x * 10**40))]
            grid = modes((height, width))
            assert grid.degeneracy.tolist() == [len(group) for group in groups]
            np.testing.assert_allclose(grid.eigenvalue, [float(group[0]) for group in groups], atol=1e-11)


def test_eigenvalues_of_different_frequencies_may_coincide_by_accident():
    grid = modes((6, 6))
    assert grid.degeneracy[grid.eigenvalue.tolist().index(4.0)] == 5  # a + b = 6, with 2 + 2 among them


def test_a_group_s_power_does_not_depend_on_the_basis_chosen_in_it():
    grid = modes((3, 3))
    values, vectors = np.linalg.eigh(laplacian((3, 3)))
    filters = torch.randn(20, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    plain = (filters.numpy() @ vectors) ** 2
    for group, eigenvalue in enumerate(grid.eigenvalue.tolist()):
        chosen = plain[:, np.abs(values - eigenvalue) < 1e-9].sum(1)
        np.testing.assert_allclose(powers(filters, grid)[:, group], chosen, rtol=1e-10)


def test_powers_keep_the_dtype_and_let_gradients_through():
    filters = torch.randn(4, 9, requires_grad=True, generator=torch.Generator().manual_seed(0))
    found = powers(filters, modes((3, 3)))
    assert found.dtype == torch.float32
    (gradient,) = torch.autograd.grad(found.sum(), filters)
    torch.testing.assert_close(gradient, 2 * filters, atol=1e-5, rtol=1e-5)
    assert powers(filters[:, :1], modes((1, 1))).equal(filters[:, :1].square())


def test_the_index_is_1_for_constant_filters_and_0_for_an_equal_share():
    assert (pooling_index(1.0, 9), pooling_index(1 / 9, 9), pooling_index(0.0, 9)) == (1.0, 0.0, -1 / 8)
    assert math.isnan(pooling_index(1.0, 1))


@pytest.mark.parametrize(("filters", "count"), [(1, 9), (8, 9), (400, 4), (50_000, 25)])
def test_the_null_interval_is_that_of_a_beta_law(filters, count):
    law = stats.beta(filters / 2, filters * (count - 1) / 2)
    expected = [(count * share - 1) / (count - 1) for share in law.ppf([0.025, 0.975])]
    np.testing.assert_allclose(null_interval(filters, count), expected, rtol=1e-6, atol=1e-12)
    narrow, wide = null_interval(filters, count, 0.5), null_interval(filters, count, 0.99)
    assert wide[0] < expected[0] < narrow[0] < narrow[1] < expected[1] < wide[1]


@pytest.mark.parametrize(("filters", "shape"), [(1, (3, 3)), (6, (2, 2)), (40, (3, 3)), (24, (1, 5))])
def test_indices_of_gaussian_filters_follow_the_null_law(filters, shape):
    generator, grid = torch.Generator().manual_seed(0), modes(shape)
    w = torch.randn(4000, filters, grid.count, dtype=torch.float64, generator=generator)
    power = powers(w.reshape(-1, grid.count), grid).reshape(4000, filters, -1).sum(1)
    index = (grid.count * power[:, 0] / power.sum(1) - 1) / (grid.count - 1)
    law = stats.beta(filters / 2, filters * (grid.count - 1) / 2)
    shares = ((grid.count - 1) * index + 1) / grid.count
    assert stats.kstest(shares.numpy(), law.cdf).pvalue > 6e-5  # four standard errors, two-sided
    low, high = null_interval(filters, grid.count)
    outside = ((index < low) | (index > high)).double().mean().item()
    assert abs(outside - 0.05) <= 4 * (0.05 * 0.95 / 4000) ** 0.5
    p_values = np.array([null_p_value(float(value), filters, grid.count) for value in index[:1000]])
    assert stats.kstest(p_values, "uniform").pvalue > 6e-5


def test_the_p_value_counts_both_sides_and_reaches_its_ends():
    low, high = null_interval(64, 9)
    assert null_p_value(low, 64, 9) == pytest.approx(0.05) == null_p_value(high, 64, 9)
    assert null_p_value(1.0, 64, 9) == 0.0 and null_p_value(-1 / 8, 64, 9) == 0.0
    assert null_p_value(1.0 + 1e-12, 64, 9) == 0.0
    assert 0.9 < null_p_value(0.0, 64, 9) <= 1.0
