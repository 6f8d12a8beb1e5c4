"""Power laws through points: least squares on logs, with errors and intervals over the networks the points are of."""

import math
import warnings
from dataclasses import dataclass

import numpy as np
from scipy import stats

__all__ = ["FEWEST", "FEWEST_FOR_INTERVALS", "Power", "fit"]

FEWEST = 3
FEWEST_FOR_INTERVALS = 5
_GRID = 25
_FLAT = 1e-12
_LEVEL = 0.95
_AT_ONCE = 1000  # resamples in memory at a time

Interval = tuple[float, float]
_UNKNOWN: Interval = (math.nan, math.nan)


@dataclass(frozen=True, eq=False)
class Power:
    """The law ``y = a x^b`` through points, with 95 % intervals.

    Attributes:
        exponent: b; with ``exponent_se`` by the jackknife over networks.
        prefactor: a, the value at x = 1; with ``prefactor_se`` by the jackknife and the delta method.
        correlation: Pearson's, of the logs; with ``correlation_se``, the spread over resampled networks.
        exponent_interval, prefactor_interval, correlation_interval: 95 %, NaN for fewer than five networks.
        x: Where the band is given, log-spaced over the points.
        low, high: The band: 95 % intervals of the line at each x, NaN for fewer than five networks.
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


def fit(x: np.ndarray, y: np.ndarray, networks: np.ndarray | None = None, *, resamples: int, seed: int) -> Power:
    r"""Fit positive numbers that are not all alike; the order of the points does not matter.

    Networks are independent, points of one network are not: a network is left out, or drawn, with all its points.
    Exponent, prefactor and band have Student's intervals :math:`\hat b \pm t_{m-2}\,\mathrm{se}` for m networks, with
    standard errors by leaving out one network at a time (jackknife), which do not take the scatter to be the same
    everywhere; NaN where a network is left out without which all x are the same. The correlation has a BCa bootstrap
    interval (``scipy.stats.bootstrap``) over networks drawn with replacement. A draw without a line counts as the
    estimate itself; where BCa is not defined (points exactly on a line) the interval is between percentiles.

    Args:
        x: ``(n,)``.
        y: ``(n,)``.
        networks: Which network each point is of ``(n,)``; None: each is of its own.
        resamples: Draws of the networks.
        seed: Of the draws.
    """
    order = np.lexsort((y, x))
    u, v = np.log(x[order]), np.log(y[order])
    of = np.arange(len(u)) if networks is None else np.unique(networks[order], return_inverse=True)[1]
    center = u.mean(), v.mean()
    sums = _sums(u - center[0], v - center[1], of)
    whole, without = _Lines.of(sums.sum(0)), _Lines.of(sums.sum(0) - sums)
    grid = np.linspace(u[0], u[-1], _GRID)
    exponent = _Estimate.of(whole.slope, without.slope)
    height = _Estimate.of(whole.at(-center[0]), without.at(-center[0])).plus(center[1])
    band = [_Estimate.of(whole.at(place), without.at(place)).plus(center[1]).interval for place in grid - center[0]]
    draws, between = _resampled(sums, resamples, seed)
    prefactor = math.exp(height.value)
    return Power(
        exponent=exponent.value,
        exponent_se=exponent.se,
        exponent_interval=exponent.interval,
        prefactor=prefactor,
        prefactor_se=prefactor * height.se,
        prefactor_interval=(_exp(height.interval[0]), _exp(height.interval[1])),
        correlation=float(whole.correlation),
        correlation_se=float(draws.std(ddof=1)),
        correlation_interval=between,
        x=np.exp(grid),
        low=np.array([_exp(low) for low, _ in band]),
        high=np.array([_exp(high) for _, high in band]),
    )


def _exp(number: float) -> float:
    """An interval may be too wide for a float."""
    return float(np.exp(np.minimum(number, np.log(np.finfo(float).max))))


def _sums(u: np.ndarray, v: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Count, sums and sums of products of each network's points: ``(m, 6)``; they add up over networks."""
    sums = np.zeros((of.max() + 1, 6))
    np.add.at(sums, of, np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], 1))
    return sums


@dataclass(frozen=True, eq=False)
class _Lines:
    """Least-squares lines through points, and the points' correlations; NaN where all points have one x.

    Attributes:
        slope, height: Of each line; the height is that at 0.
        correlation: Pearson's.
    """

    slope: np.ndarray
    height: np.ndarray
    correlation: np.ndarray

    @classmethod
    def of(cls, sums: np.ndarray) -> "_Lines":
        """From the points' sums ``(..., 6)``."""
        n, u, v, uu, uv, vv = np.moveaxis(sums, -1, 0)
        across, both, up = uu - u * u / n, uv - u * v / n, vv - v * v / n
        with np.errstate(invalid="ignore", divide="ignore"):
            slope = np.where(across > _FLAT * uu, both / across, np.nan)
            correlation = np.clip(both / np.sqrt(across * up), -1, 1)
        return cls(slope, (v - slope * u) / n, correlation)

    def at(self, place: float) -> np.ndarray:
        """Heights there."""
        return self.height + self.slope * place


@dataclass(frozen=True)
class _Estimate:
    """A number with its standard error and interval."""

    value: float
    se: float
    interval: Interval

    @classmethod
    def of(cls, whole: np.ndarray, without: np.ndarray) -> "_Estimate":
        """From all networks, and from all but each of the m: ``(m,)``."""
        value, m = float(whole), len(without)
        se = math.sqrt((m - 1) / m * float(((without - without.mean()) ** 2).sum()))
        half = float(stats.t.ppf((1 + _LEVEL) / 2, m - 2)) * se if m >= FEWEST_FOR_INTERVALS else math.nan
        return cls(value, se, (value - half, value + half))

    def plus(self, shift: float) -> "_Estimate":
        """The same, moved."""
        low, high = self.interval
        return _Estimate(self.value + shift, self.se, (low + shift, high + shift))


def _resampled(sums: np.ndarray, resamples: int, seed: int) -> tuple[np.ndarray, Interval]:
    """Correlations of networks drawn with replacement, and their interval."""
    whole = _Lines.of(sums.sum(0)).correlation

    def correlation(chosen: np.ndarray, axis: int = -1) -> np.ndarray:
        lines = _Lines.of(sums[chosen].sum(axis - 1))
        return np.where(np.isfinite(lines.slope + lines.correlation), lines.correlation, whole)

    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap(
            (np.arange(len(sums)),), correlation, vectorized=True, n_resamples=resamples, confidence_level=_LEVEL,
            method="BCa", batch=_AT_ONCE, rng=np.random.default_rng(seed),
        )  # fmt: skip
    draws = np.asarray(found.bootstrap_distribution)
    low, high = map(float, found.confidence_interval)
    if not (math.isfinite(low) and math.isfinite(high)):
        low, high = map(float, np.quantile(draws, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2]))
    return draws, (low, high) if len(sums) >= FEWEST_FOR_INTERVALS else _UNKNOWN
