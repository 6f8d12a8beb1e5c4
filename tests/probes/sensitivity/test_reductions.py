"""The reduction by itself: a rectifier's noise, translations, coverage of intervals, merging, storage."""

import math

import numpy as np
import pytest
import torch

from flexure.errors import SpecimenError
from flexure.probes.sensitivity.reductions import MeanReduction
from flexure.results import MEASURED
from flexure.survey import Op


def op(features, name="f", center=None):
    center = torch.zeros(features, dtype=torch.float64) if center is None else center
    return Op(name, "Linear", (features,), MEASURED, "float64", center, 1.0)


def fed(clean, deformed, noisy, *, center=None, portion=None):
    """A reduction that was fed ``clean (n, d)`` and ``deformed``, ``noisy (draws, n, d)``."""
    reduction = MeanReduction([op(clean.shape[1], center=center)], torch.device("cpu"))
    draws, n = deformed.shape[:2]
    for start in range(0, n, portion or n):
        part = slice(start, start + (portion or n))
        rows = torch.cat([clean[part][None], deformed[:, part], noisy[:, part]])
        reduction.begin()
        reduction.emit("f", rows.flatten(0, 1), rows.shape[1], draws)
        reduction.commit(torch.arange(n)[part])
    return reduction


def estimates(reduction, draws=1):
    found = reduction.estimates(draws=draws, rounds=1, same_pairs=True)
    return {name: float(value[0]) for name, value in vars(found).items()}


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_rectifier_at_zero_passes_half_of_the_noise_power_and_shifts_it():
    n, sigma = 20_000, 0.7
    noise = torch.relu(sigma * normal(1, n, 1))
    reduction = fed(torch.zeros(n, 1).double(), torch.zeros(1, n, 1).double(), noise)
    power = noise.square().mean()
    assert float(reduction.moments.mean[0, 1]) == pytest.approx(float(power), rel=1e-12)
    assert abs(power - sigma**2 / 2) <= 4 * sigma**2 * math.sqrt(1.25 / n)
    assert abs(noise.mean() - sigma / math.sqrt(2 * math.pi)) <= 4 * sigma * math.sqrt((0.5 - 1 / (2 * math.pi)) / n)


def test_a_feature_that_a_circular_shift_leaves_alone_has_no_deformation_sensitivity():
    images = normal(30, 8, 8)
    mean = images.mean((1, 2))[:, None]
    shifted = images.roll((2, 3), (1, 2)).mean((1, 2))[None, :, None]
    assert estimates(fed(mean, shifted, shifted + 1))["D"] == pytest.approx(0, abs=1e-25)


@pytest.mark.parametrize("portion", [1, 7, 100])
def test_portions_and_centers_change_nothing(portion):
    clean = normal(100, 5)
    bent, shaken = clean + 0.1 * normal(2, 100, 5, seed=1), clean + 0.2 * normal(2, 100, 5, seed=2)
    whole = estimates(fed(clean, bent, shaken), draws=2)
    found = estimates(fed(clean, bent, shaken, portion=portion, center=clean[:9].mean(0)), draws=2)
    for name in ("D", "G", "R", "R_se", "R_floor"):
        assert found[name] == pytest.approx(whole[name], rel=1e-12)
    spread = 2 * clean.var(0, correction=0).sum()
    assert found["D"] == pytest.approx(float((bent - clean).square().sum(2).mean() / spread), rel=1e-12)


def test_intervals_from_activations_cover_the_truth_in_93_to_97_percent_of_a_thousand_cases():
    """Clean f ~ N(m, diag(1, 1/2, …)), changes N(0, s²) with a scale that differs from image to image."""
    n, d = 240, 5
    scales = 0.5 ** torch.arange(d).double()
    mean_square = math.exp(2 * 0.4**2)  # of a log-normal scale
    truth = {
        "D": 0.01 * d * mean_square / (2 * scales.sum()),
        "G": 0.04 * d * mean_square / (2 * scales.sum()),
        "R": 0.25,
    }
    hits = dict.fromkeys(truth, 0)
    for case in range(1000):
        clean = 3 + normal(n, d, seed=case) * scales.sqrt()
        size = torch.exp(0.4 * normal(n, 1, seed=10_000 + case))
        change = normal(2, n, d, seed=20_000 + case) * size
        found = estimates(fed(clean, clean + 0.1 * change[:1], clean + 0.2 * change[1:], center=clean[:64].mean(0)))
        for name in truth:
            hits[name] += abs(found[name] - float(truth[name])) <= 1.96 * found[f"{name}_se"]
    assert all(930 <= count <= 970 for count in hits.values()), hits


def test_standard_errors_agree_with_a_bootstrap_over_images_on_the_same_data():
    n = 400
    clean = normal(n, 6)
    size = torch.exp(0.5 * normal(n, 1, seed=1))
    bent, shaken = clean + 0.1 * size * normal(n, 6, seed=2), clean + 0.2 * size * normal(n, 6, seed=3)
    found = estimates(fed(clean, bent[None], shaken[None], center=clean[:64].mean(0)))
    picks = torch.from_numpy(np.random.default_rng(0).integers(0, n, (2000, n)))
    a, b = ((other - clean).square().sum(1)[picks].mean(1) for other in (bent, shaken))
    v = 2 * clean[picks].var(1, correction=0).sum(1)
    for name, values in {"D": a / v, "G": b / v, "R": a / b}.items():
        assert found[f"{name}_se"] == pytest.approx(float(values.std()), rel=0.1)


def test_what_was_begun_and_not_committed_does_not_count():
    clean = normal(10, 3)
    reduction = fed(clean, clean[None] + 1, clean[None] + 2)
    before = reduction.arrays()
    reduction.begin()
    reduction.emit("f", normal(30, 3), 10, 1)
    reduction.begin()
    for name, value in reduction.arrays().items():
        np.testing.assert_array_equal(value, before[name])


def test_stored_sums_go_on_bit_for_bit():
    clean = normal(20, 3)
    changed = clean[None] + normal(2, 20, 3, seed=1)
    changed[0, 4] = torch.nan
    whole = fed(clean, changed[:1], changed[1:], portion=10)
    half = fed(clean[:10], changed[:1, :10], changed[1:, :10])
    copy = MeanReduction(half.ops, torch.device("cpu"))
    copy.restore(half.arrays())
    copy.emit("f", torch.cat([clean[None, 10:], changed[:, 10:]]).flatten(0, 1), 10, 1)
    copy.commit(torch.arange(10, 20))
    for name, value in whole.arrays().items():
        np.testing.assert_array_equal(copy.arrays()[name], value)
    assert [int(column[0]) for column in copy.counts()] == [19, 1, 4]


def test_half_precision_emissions_are_widened():
    clean = torch.full((4, 3), 300.0, dtype=torch.float16)
    reduction = MeanReduction([op(3, center=torch.zeros(3))], torch.device("cpu"))
    reduction.emit("f", torch.cat([clean, clean + 100, clean + 200]), 4, 1)
    reduction.commit(torch.arange(4))
    assert reduction.moments.mean[0].tolist() == pytest.approx([30_000, 120_000, 270_000], rel=1e-7)


def test_ops_that_come_and_go_are_refused():
    reduction = MeanReduction([op(3)], torch.device("cpu"))
    with pytest.raises(SpecimenError, match="'g' was not called on the first images"):
        reduction.emit("g", normal(3, 3), 1, 1)
    with pytest.raises(SpecimenError, match="'f' was called on the first images"):
        reduction.commit(torch.arange(1))
    with pytest.raises(SpecimenError, match="changes its shape"):
        reduction.emit("f", normal(3, 4), 1, 1)
