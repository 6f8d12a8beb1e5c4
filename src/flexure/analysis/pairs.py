"""What analyses of similarities share: correlations over pairs of points, with errors over points."""

from collections.abc import Callable

import numpy as np
from scipy.stats import rankdata

from flexure.formulas.pair_means import jackknife

__all__ = ["correlation", "correlations", "errors_over_points", "finite_together"]

_GROUPS = 20  # of points that are left out together


def correlation(one: np.ndarray, two: np.ndarray) -> float:
    """Pearson's correlation; NaN where either does not vary.

    >>> correlation(np.array([1.0, 2.0, 3.0]), np.array([5.0, 3.0, 1.0]))
    -1.0
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        one, two = one - one.mean(), two - two.mean()
        return float((one * two).sum() / np.sqrt((one**2).sum() * (two**2).sum()))


def correlations(one: np.ndarray, two: np.ndarray) -> tuple[float, float]:
    """Pearson's, and Spearman's, which is that of the ranks."""
    return correlation(one, two), correlation(rankdata(one), rankdata(two))


def errors_over_points(n: int, estimate: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Standard errors of estimates from all pairs of n points: a jackknife that leaves out points with all their pairs.

    Args:
        n: Points.
        estimate: From the points that stay ``(n,)``, true or false, to the estimates ``(k,)``.

    Returns:
        Errors ``(k,)``, from 20 groups of points, each left out in turn; of estimates that are not finite without some
        group, from the others.
    """
    count = min(n, _GROUPS)
    groups = np.arange(n) % count
    without = np.array([estimate(groups != group) for group in range(count)])
    return np.array([jackknife(column) for column in without.T])


def finite_together(matrix: np.ndarray) -> np.ndarray:
    """Points whose similarities to each other are all finite: the worst is left out until nothing is amiss.

    >>> finite_together(np.array([[1.0, np.nan, 0.2], [np.nan, np.nan, 0.5], [0.2, 0.5, 1.0]]))
    array([0, 2])
    """
    bad = ~np.isfinite(matrix)
    left, counts = np.zeros(len(matrix), dtype=bool), bad.sum(1)
    while counts.any():
        worst = int(counts.argmax())
        left[worst] = True
        counts = np.where(left, 0, counts - bad[:, worst])
    return np.flatnonzero(~left)
