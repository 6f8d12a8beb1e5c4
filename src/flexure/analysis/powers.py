"""Power laws through points: least squares on logs, with intervals by resampling the points."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

__all__ = ["FEWEST", "FEWEST_FOR_INTERVALS", "Power", "fit"]

FEWEST = 3
FEWEST_FOR_INTERVALS = 5
_GRID = 25
_FLAT = 1e-12
_LEVEL = 0.95

Statistic = Callable[..., np.ndarray]
Interval = tuple[float, float]
_UNKNOWN: Interval = (math.nan, math.nan)


@dataclass(frozen=True, eq=False)
class Power:
    """The law ``y = a x^b`` through points, with 95 % intervals.

    Attributes:
        exponent: b; with ``exponent_se`` of ordinary least squares on logs.
        prefactor: a, the value at x = 1; with ``prefactor_se`` by the delta method.
        correlation: Pearson's, of the logs; with ``correlation_se``, the spread over resamples.
        exponent_interval, prefactor_interval, correlation_interval: 95 %, NaN for fewer than five points.
        x: Where the band is given, log-spaced over the points.
        low, high: The band: 95 % of the resampled lines at each x, NaN for fewer than five points.
    """

    exponent: float
    exponent_se: float
    exponent_interval: Interval
    prefactor: float
    prefactor_se: float
    prefactor_interval: Interval
    correlation: float
    correlation_se: float
    correlation_interval: Interval
    x: np.ndarray
    low: np.ndarray
    high: np.ndarray


def fit(x: np.ndarray, y: np.ndarray, *, resamples: int, seed: int) -> Power:
    """Fit positive numbers that are not all alike; the order of the points does not matter.

    Intervals are BCa bootstrap intervals (``scipy.stats.bootstrap``) over points drawn with replacement, with the
    same draws for all three numbers. A draw of one point alone has no line and counts as the estimate itself. Where BCa
    is not defined (points exactly on a line) the interval is between percentiles.
    """
    order = np.lexsort((y, x))
    u, v = np.log(x[order]), np.log(y[order])
    line = stats.linregress(u, v)
    found = {name: _resampled(statistic, u, v, resamples, seed) for name, statistic in _STATISTICS.items()}
    grid = np.linspace(u[0], u[-1], _GRID)
    lines = found["intercept"].draws[:, None] + found["slope"].draws[:, None] * grid
    low, high = np.quantile(lines, _ends(), axis=0) if len(u) >= FEWEST_FOR_INTERVALS else np.full((2, _GRID), np.nan)
    prefactor = math.exp(line.intercept)
    low_a, high_a = found["intercept"].interval
    return Power(
        exponent=float(line.slope),
        exponent_se=float(line.stderr),
        exponent_interval=found["slope"].interval,
        prefactor=prefactor,
        prefactor_se=prefactor * float(line.intercept_stderr),
        prefactor_interval=(math.exp(low_a), math.exp(high_a)),
        correlation=float(line.rvalue),
        correlation_se=float(found["correlation"].draws.std(ddof=1)),
        correlation_interval=found["correlation"].interval,
        x=np.exp(grid),
        low=np.exp(low),
        high=np.exp(high),
    )


@dataclass(frozen=True, eq=False)
class _Resampled:
    draws: np.ndarray
    interval: Interval


def _resampled(statistic: Statistic, u: np.ndarray, v: np.ndarray, resamples: int, seed: int) -> _Resampled:
    """A statistic of pairs drawn with replacement, and its interval."""
    estimate, flat = float(statistic(u, v)), _FLAT * u.var()

    def lenient(u: np.ndarray, v: np.ndarray, axis: int = -1) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            value = statistic(u, v, axis=axis)
        return np.where(np.isfinite(value) & (u.var(axis) > flat), value, estimate)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap(
            (u, v), lenient, paired=True, vectorized=True, n_resamples=resamples, confidence_level=_LEVEL,
            method="BCa", rng=np.random.default_rng(seed),
        )  # fmt: skip
    draws = np.asarray(found.bootstrap_distribution)
    low, high = map(float, found.confidence_interval)
    if not (math.isfinite(low) and math.isfinite(high)):
        low, high = map(float, np.quantile(draws, _ends()))
    return _Resampled(draws, (low, high) if len(u) >= FEWEST_FOR_INTERVALS else _UNKNOWN)


def _ends() -> list[float]:
    return [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2]


def _sums(u: np.ndarray, v: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    du, dv = u - u.mean(axis, keepdims=True), v - v.mean(axis, keepdims=True)
    return (du * du).sum(axis), (du * dv).sum(axis), (dv * dv).sum(axis)


def _slope(u: np.ndarray, v: np.ndarray, axis: int = -1) -> np.ndarray:
    uu, uv, _ = _sums(u, v, axis)
    return uv / uu


def _intercept(u: np.ndarray, v: np.ndarray, axis: int = -1) -> np.ndarray:
    return v.mean(axis) - _slope(u, v, axis) * u.mean(axis)


def _correlation(u: np.ndarray, v: np.ndarray, axis: int = -1) -> np.ndarray:
    uu, uv, vv = _sums(u, v, axis)
    return uv / np.sqrt(uu * vv)


_STATISTICS: dict[str, Statistic] = {"slope": _slope, "intercept": _intercept, "correlation": _correlation}
