"""D, G and R from moments: closed forms, the delta method against the bootstrap, and rounds of draws."""

import numpy as np
import pytest
import torch

from flexure.stats import Moments, sensitivities


def laws(n, seed, draws=1, rounds=1):
    """Images with log-normal scales; draws vary around them. E a = 2 E b / 5, known in closed form."""
    make = np.random.default_rng(seed)
    common, own = make.lognormal(0, 0.4, (n, 1, 1)), make.lognormal(0, 0.3, (n, 1))
    a = 0.4 * common * make.gamma(4, 1 / 4, (n, rounds, draws))
    b = 1.0 * common * make.gamma(3, 1 / 3, (n, rounds, draws))
    v = 2.0 * common[:, 0] * own
    return a, b, v


TRUTH = {
    "D": 0.4 * np.exp(0.08) / (2 * 2.0 * np.exp(0.08 + 0.045)),
    "G": 1.0 * np.exp(0.08) / (2 * 2.0 * np.exp(0.08 + 0.045)),
    "R": 0.4,
}


def estimate(a, b, v, *, same_pairs=True):
    n, rounds, draws = a.shape
    parts, within = [], torch.zeros(1, 2, 2, dtype=torch.float64)
    for number in range(rounds):
        z = np.stack([a[:, number].mean(1), b[:, number].mean(1), v[:, 0]], 1)
        parts.append(Moments.of(torch.from_numpy(z)[None]))
        if draws > 1:
            ab = np.stack([a[:, number], b[:, number]])
            off = ab - ab.mean(2, keepdims=True)
            within += torch.from_numpy(np.einsum("inm,jnm->ij", off, off) / (draws - 1) / (n * rounds))
    if draws == 1:
        within = torch.full_like(within, torch.nan)
    found = sensitivities(
        Moments.merged(parts), within, torch.zeros(1), draws=draws, rounds=rounds, same_pairs=same_pairs
    )
    return {name: float(value[0]) for name, value in vars(found).items()}


def test_values_are_ratios_of_means():
    a, b, v = laws(20, 0)
    found = estimate(a, b, v)
    assert found["D"] == pytest.approx(a.mean() / (2 * v.mean()), rel=1e-12)
    assert found["G"] == pytest.approx(b.mean() / (2 * v.mean()), rel=1e-12)
    assert found["R"] == pytest.approx(a.mean() / b.mean(), rel=1e-12)


def test_leaving_out_pairs_of_an_image_with_itself_changes_the_denominator_by_n_over_n_minus_one():
    a, b, v = laws(10, 0)
    with_pairs, without = estimate(a, b, v), estimate(a, b, v, same_pairs=False)
    assert without["D"] == pytest.approx(with_pairs["D"] * 9 / 10, rel=1e-12)
    assert without["R"] == with_pairs["R"]


@pytest.mark.parametrize("seed", range(3))
def test_standard_errors_agree_with_a_bootstrap_over_images_within_ten_percent(seed):
    a, b, v = laws(300, seed)
    found = estimate(a, b, v)
    make = np.random.default_rng(seed + 10)
    picks = make.integers(0, 300, (4000, 300))
    A, B, V = a[picks, 0, 0].mean(1), b[picks, 0, 0].mean(1), 2 * v[picks, 0].mean(1)
    for name, values in {"D": A / V, "G": B / V, "R": A / B}.items():
        assert found[f"{name}_se"] == pytest.approx(values.std(ddof=1), rel=0.1)


@pytest.mark.parametrize("name", ["D", "G", "R"])
def test_ninety_five_percent_intervals_cover_the_truth_in_93_to_97_percent_of_a_thousand_cases(name):
    hits = 0
    for seed in range(1000):
        found = estimate(*laws(250, 7_000 + seed))
        hits += abs(found[name] - TRUTH[name]) <= 1.96 * found[f"{name}_se"]
    assert 930 <= hits <= 970


def images_that_differ(n, seed, draws, rounds):
    a, b, v = laws(n, seed, draws=draws, rounds=rounds)
    return a * np.random.default_rng(seed).lognormal(0, 0.5, (n, 1, 1)), b, v


def test_rounds_of_two_draws_give_the_error_of_all_draws_together():
    ratios = []
    for seed in range(40):
        a, b, v = images_that_differ(400, seed, draws=2, rounds=5)
        in_rounds = estimate(a, b, v)
        at_once = estimate(a.reshape(400, 1, 10), b.reshape(400, 1, 10), v)
        assert in_rounds["R"] == pytest.approx(at_once["R"], rel=1e-12)
        ratios.append(in_rounds["R_se"] / at_once["R_se"])
    assert abs(np.mean(ratios) - 1) <= 4 * np.std(ratios, ddof=1) / np.sqrt(40)
    assert np.std(ratios) < 0.05


def test_the_floor_is_what_infinitely_many_draws_would_leave():
    few, many = [], []
    for seed in range(40):
        a, b, v = images_that_differ(400, seed, draws=4, rounds=1)
        few.append(estimate(a, b, v)["R_floor"])
        a, b, v = images_that_differ(400, seed + 1000, draws=400, rounds=1)
        many.append(estimate(a, b, v)["R_se"])
    error = np.hypot(np.std(few, ddof=1), np.std(many, ddof=1)) / np.sqrt(40)
    assert abs(np.mean(few) - np.mean(many)) <= 4 * error


def test_with_one_draw_the_floor_is_unknown():
    assert np.isnan(estimate(*laws(50, 0))["R_floor"])
