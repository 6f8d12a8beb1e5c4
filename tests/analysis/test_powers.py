"""Power laws: exact on exact laws, honest about scatter, indifferent to order and units."""

import warnings

import numpy as np
import pytest

from flexure.analysis.powers import fit


def law(n, b, scatter, rng):
    u = rng.normal(size=n)
    return np.exp(u), 0.2 * np.exp(b * u + scatter * rng.normal(size=n))


@pytest.mark.parametrize("b", [0.5, -1.3])
def test_an_exact_power_law_is_given_back_with_no_width(b):
    x = np.geomspace(0.01, 3, 9)
    found = fit(x, 0.2 * x**b, resamples=200, seed=0)
    assert found.exponent == pytest.approx(b) and found.prefactor == pytest.approx(0.2)
    assert found.correlation == pytest.approx(np.sign(b))
    assert found.exponent_interval == pytest.approx((b, b)) and found.prefactor_interval == pytest.approx((0.2, 0.2))
    assert found.exponent_se == pytest.approx(0, abs=1e-7)
    np.testing.assert_allclose(found.low, 0.2 * found.x**b)
    np.testing.assert_allclose(found.high, 0.2 * found.x**b)


@pytest.mark.parametrize("points", [1, 3])
def test_the_line_is_that_of_least_squares_on_logs_and_its_errors_those_of_leaving_networks_out(points):
    x, y = law(11 * points, 0.5, 0.3, np.random.default_rng(1))
    networks = np.arange(11 * points) % 11
    found = fit(x, y, networks, resamples=200, seed=0)
    b, log_a = np.polyfit(np.log(x), np.log(y), 1)
    left = np.array([np.polyfit(np.log(x[keep]), np.log(y[keep]), 1) for keep in (networks != i for i in range(11))])
    b_se, log_a_se = np.sqrt(10 / 11 * ((left - left.mean(0)) ** 2).sum(0))
    assert (found.exponent, found.prefactor) == pytest.approx((b, np.exp(log_a)))
    assert found.exponent_se == pytest.approx(b_se)
    assert found.prefactor_se == pytest.approx(np.exp(log_a) * log_a_se)
    assert found.exponent_interval == pytest.approx((b - 2.262157 * b_se, b + 2.262157 * b_se))  # Student's, 9
    assert np.log(found.prefactor_interval) == pytest.approx([log_a - 2.262157 * log_a_se, log_a + 2.262157 * log_a_se])
    assert found.correlation == pytest.approx(np.corrcoef(np.log(x), np.log(y))[0, 1])


def test_the_standard_error_of_the_exponent_is_its_spread_over_repetitions():
    rng = np.random.default_rng(2)
    found = [fit(*law(12, 0.5, 0.4, rng), resamples=100, seed=0) for _ in range(200)]
    z = np.array([(one.exponent - 0.5) / one.exponent_se for one in found])
    assert abs(z.mean()) <= 4 * z.std() / np.sqrt(200)
    assert abs(np.mean(np.abs(z) < 2.228) - 0.95) <= 4 * np.sqrt(0.95 * 0.05 / 200)  # Student's, 10 degrees of freedom


@pytest.mark.parametrize("rho", [0.6, 0.9])
def test_the_intervals_cover_the_truth_as_often_as_they_say_the_correlation_s_nearly_so(rho):
    rng, repeats = np.random.default_rng(3), 200
    inside = np.zeros(3)
    for _ in range(repeats):
        u = rng.normal(size=12)
        x, y = np.exp(u - 2), np.exp(rho * u + np.sqrt(1 - rho**2) * rng.normal(size=12))
        found = fit(x, y, resamples=400, seed=0)
        ends = (found.exponent_interval, found.prefactor_interval, found.correlation_interval)
        truth = (rho, np.exp(2 * rho), rho)
        inside += [low <= true <= high for true, (low, high) in zip(truth, ends, strict=True)]
    expected = np.array([0.95, 0.95, 0.93])
    assert (np.abs(inside / repeats - expected) < 4 * np.sqrt(expected * (1 - expected) / repeats)).all()


def test_points_told_twice_say_nothing_new():
    x, y = law(10, 0.5, 0.4, np.random.default_rng(8))
    one = fit(x, y, resamples=500, seed=0)
    twice = fit(np.tile(x, 3), np.tile(y, 3), np.tile(np.arange(10), 3), resamples=500, seed=0)
    for name in ("exponent", "prefactor", "correlation"):
        assert getattr(twice, f"{name}_se") == pytest.approx(getattr(one, f"{name}_se"), rel=0.2)
        low, high = getattr(one, f"{name}_interval")
        assert np.ptp(getattr(twice, f"{name}_interval")) == pytest.approx(high - low, rel=0.2)


def test_points_of_a_network_that_errs_alike_at_all_of_them_leave_the_line_less_certain():
    rng = np.random.default_rng(9)
    networks = np.repeat(np.arange(12), 4)
    u, scatter = np.repeat(rng.normal(size=12), 4) + 0.1 * rng.normal(size=48), np.repeat(rng.normal(size=12), 4)
    x, y = np.exp(u), np.exp(0.5 * u + 0.4 * scatter)
    apart, together = fit(x, y, resamples=500, seed=0), fit(x, y, networks, resamples=500, seed=0)
    for name in ("exponent", "prefactor", "correlation"):
        assert np.ptp(getattr(together, f"{name}_interval")) > 1.3 * np.ptp(getattr(apart, f"{name}_interval"))


def test_a_line_that_hangs_on_one_network_has_no_error():
    found = fit(np.array([1.0, 1, 1, 1, 1, 2]), np.array([1.0, 2, 3, 2, 1, 9]), resamples=200, seed=0)
    assert np.isfinite(found.exponent) and np.isnan([found.exponent_se, *found.exponent_interval]).all()


@pytest.mark.parametrize("seed", range(8))
def test_points_exactly_on_a_line_warn_nobody(seed):
    rng = np.random.default_rng(seed)
    u = rng.normal(size=rng.integers(3, 12))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fit(np.exp(u), 0.2 * np.exp(rng.choice([0.5, 1, -1, 2]) * u), resamples=100, seed=0)
    assert abs(found.correlation) == pytest.approx(1) and np.isfinite(found.exponent_se)


def test_order_and_units_of_the_points_change_nothing_but_the_prefactor():
    x, y = law(10, 0.5, 0.3, np.random.default_rng(4))
    one = fit(x, y, resamples=300, seed=0)
    order = np.random.default_rng(5).permutation(10)
    other = fit(x[order], y[order], resamples=300, seed=0)
    scaled = fit(1000 * x, y / 7, resamples=300, seed=0)
    for name in ("exponent_interval", "correlation_interval", "prefactor_interval"):
        assert getattr(one, name) == getattr(other, name)
    assert scaled.exponent_interval == pytest.approx(one.exponent_interval)
    assert scaled.correlation_interval == pytest.approx(one.correlation_interval)
    assert scaled.prefactor == pytest.approx(one.prefactor / 7 / 1000**one.exponent)


def test_three_or_four_points_have_a_line_but_no_interval():
    x, y = law(4, 0.5, 0.3, np.random.default_rng(6))
    found = fit(x, y, resamples=200, seed=0)
    assert np.isfinite(found.exponent) and np.isfinite(found.exponent_se)
    assert np.isnan([*found.exponent_interval, *found.correlation_interval, *found.low]).all()


def test_the_band_holds_the_line_and_widens_towards_its_ends():
    x, y = law(20, 0.5, 0.3, np.random.default_rng(7))
    found = fit(x, y, resamples=500, seed=0)
    line = found.prefactor * found.x**found.exponent
    assert (found.low < line).all() and (line < found.high).all()
    width = np.log(found.high / found.low)
    assert width[0] > width.min() < width[-1]
    assert (found.x[0], found.x[-1]) == pytest.approx((x.min(), x.max()))
