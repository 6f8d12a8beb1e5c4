"""Power laws: exact on exact laws, honest about scatter, indifferent to order and units."""

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


def test_the_line_is_that_of_least_squares_on_logs():
    x, y = law(11, 0.5, 0.3, np.random.default_rng(1))
    found = fit(x, y, resamples=200, seed=0)
    design = np.stack([np.ones(11), np.log(x)], 1)
    (log_a, b), (residual,), _, _ = np.linalg.lstsq(design, np.log(y), rcond=None)
    covariance = residual / 9 * np.linalg.inv(design.T @ design)
    assert (found.exponent, found.prefactor) == pytest.approx((b, np.exp(log_a)))
    assert found.exponent_se == pytest.approx(np.sqrt(covariance[1, 1]))
    assert found.prefactor_se == pytest.approx(np.exp(log_a) * np.sqrt(covariance[0, 0]))
    assert found.correlation == pytest.approx(np.corrcoef(np.log(x), np.log(y))[0, 1])


def test_the_standard_error_of_the_exponent_is_its_spread_over_repetitions():
    rng = np.random.default_rng(2)
    found = [fit(*law(12, 0.5, 0.4, rng), resamples=100, seed=0) for _ in range(200)]
    z = np.array([(one.exponent - 0.5) / one.exponent_se for one in found])
    assert abs(z.mean()) <= 4 * z.std() / np.sqrt(200)
    assert abs(np.mean(np.abs(z) < 2.228) - 0.95) <= 4 * np.sqrt(0.95 * 0.05 / 200)  # Student's, 10 degrees of freedom


@pytest.mark.parametrize("rho", [0.6, 0.9])
def test_the_intervals_cover_the_truth_nearly_as_often_as_they_say(rho):
    rng, repeats = np.random.default_rng(3), 200
    inside = np.zeros(2)
    for _ in range(repeats):
        u = rng.normal(size=12)
        x, y = np.exp(u), np.exp(rho * u + np.sqrt(1 - rho**2) * rng.normal(size=12))
        found = fit(x, y, resamples=400, seed=0)
        ends = (found.correlation_interval, found.exponent_interval)
        inside += [low <= rho <= high for low, high in ends]
    assert (np.abs(inside / repeats - 0.93) < 4 * np.sqrt(0.93 * 0.07 / repeats)).all()


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
