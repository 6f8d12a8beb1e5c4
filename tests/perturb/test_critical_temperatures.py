"""The temperature at which a field begins to fold: it folds just above, not below, and the search for folds agrees."""

import math

import pytest
import torch

from flexure.perturb.diffeomorphism import Diffeomorphism, coefficients, critical_temperatures, determinants

DOUBLE = torch.float64


@pytest.mark.parametrize(("size", "cutoff"), [((24, 24), 3), ((17, 30), 6), ((32, 32), 15)])
def test_a_field_folds_just_above_its_critical_temperature_and_not_below(size, cutoff):
    index = torch.arange(40)
    unit = coefficients(index, size, temperature=1.0, cutoff=cutoff, seed=3, dtype=DOUBLE)
    critical = critical_temperatures(unit, size)
    assert critical.isfinite().all() and (critical > 0).all()
    for factor, folded in ((0.3, False), (1 - 1e-9, False), (1 + 1e-9, True), (2.0, True), (50.0, True)):
        amplitudes = unit * (factor * critical).sqrt()[:, None, None, None]
        smallest = determinants(amplitudes, size, 3).amin((1, 2))
        assert ((smallest <= 0) == folded).all()


def test_a_swirl_that_expands_does_not_fold_where_it_turns():
    swirl = torch.zeros(1, 2, 2, 2, dtype=DOUBLE)
    swirl[0, 0, 0, 1] = swirl[0, 1, 1, 0] = -1  # expands at the center ...
    swirl[0, 0, 1, 0], swirl[0, 1, 0, 1] = 0.5, -0.5  # ... and turns there: eigenvalues that are not real
    critical = critical_temperatures(swirl, 33)
    expansion = 2 * math.pi / 32
    assert critical > 1.2 * expansion**-2  # the real part alone would have folded
    for factor, folded in ((1 - 1e-9, False), (1 + 1e-9, True)):
        assert (float(determinants(swirl * (factor * critical).sqrt(), 33, 3).min()) <= 0) is folded


def test_the_critical_temperature_is_that_of_the_search_for_folds_and_scales_with_the_amplitudes():
    index, size = torch.arange(100), (20, 28)
    critical = critical_temperatures(coefficients(index, size, temperature=1.0, cutoff=4, seed=1, dtype=DOUBLE), size)
    assert 5 < int((critical < 0.006).sum()) < 95
    found = Diffeomorphism(temperature=0.006, cutoff=4).folds(index, *size, seed=1)
    assert torch.equal(found.folded, critical <= 0.006)
    hotter = coefficients(index, size, temperature=9.0, cutoff=4, seed=1, dtype=DOUBLE)
    torch.testing.assert_close(critical_temperatures(hotter, size) * 9, critical)


def test_a_field_that_shears_or_shrinks_nowhere_never_folds():
    assert torch.equal(critical_temperatures(torch.zeros(2, 2, 1, 1), 12), torch.tensor([math.inf, math.inf]))
    assert critical_temperatures(torch.zeros(0, 2, 3, 3), 12).shape == (0,)
