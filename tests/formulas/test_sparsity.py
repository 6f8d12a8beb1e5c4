"""Readings of magnitudes: closed forms, SciPy, and gradients where a formula has none."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from flexure.formulas.sparsity import excess_kurtosis, hoyer, l1_minus_l2, near_zero_share


def test_the_difference_of_norms_is_0_for_one_weight_and_grows_with_their_number():
    one = torch.zeros(3, 4)
    one[1, 2] = -2.5
    assert l1_minus_l2(one).item() == 0
    for k in (1, 4, 9):
        weight = torch.zeros(20, dtype=torch.float64)
        weight[:k] = 0.3 * torch.tensor([1, -1, 1]).repeat(3)[:k]
        assert l1_minus_l2(weight).item() == pytest.approx((k - math.sqrt(k)) * 0.3)


def test_hoyer_s_sparsity_is_1_for_one_weight_and_0_for_equal_ones_at_any_scale():
    one = torch.tensor([0.0, 0.0, -3.0, 0.0], dtype=torch.float64)
    assert hoyer(one).item() == 1 and hoyer(torch.tensor([2.0, -2.0, 2.0, 2.0])).item() == 0
    half = torch.tensor([1.0, -1.0, 0.0, 0.0], dtype=torch.float64)
    assert hoyer(1e-3 * half).item() == pytest.approx(2 - math.sqrt(2))
    assert hoyer(torch.zeros(4)).isnan() and hoyer(torch.ones(1)).isnan()


def test_the_kurtosis_is_scipy_s_and_of_known_laws_what_it_should_be():
    generator = np.random.default_rng(0)
    for law, value in [(generator.uniform, -1.2), (generator.normal, 0), (generator.laplace, 3)]:
        draws = [torch.from_numpy(law(size=4000)) for _ in range(20)]
        found = [excess_kurtosis(draw).item() for draw in draws]
        assert found[0] == pytest.approx(stats.kurtosis(draws[0]), rel=1e-12)
        assert abs(np.mean(found) - value) <= 4 * np.std(found, ddof=1) / 20**0.5 + 30 / 4000  # a bias of order 1/n
    assert excess_kurtosis(torch.tensor([1.0, -1.0, 1.0, -1.0])).item() == -2
    assert excess_kurtosis(torch.ones(5)).isnan()


def test_near_zero_is_a_tenth_of_the_largest_magnitude():
    weight = torch.tensor([-2.0, 0.19, -0.2, 0.0])
    assert near_zero_share(weight).item() == 0.5 and near_zero_share(weight, 0.05).item() == 0.25
    assert near_zero_share(torch.zeros(3)).isnan()


@pytest.mark.parametrize("reading", [l1_minus_l2, hoyer, excess_kurtosis])
def test_gradients_are_those_of_finite_differences_and_0_where_there_is_no_value(reading):
    weight = torch.randn(7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(reading, weight)
    nothing = torch.zeros(5, requires_grad=True)
    assert torch.autograd.grad(reading(nothing), nothing)[0].tolist() == [0] * 5
