"""An interval for a median, from the numbers in order. It does not merge: it needs every number."""

import math

import numpy as np
from scipy.stats import binom

__all__ = ["around_median"]


def around_median(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The numbers between which the median of all that might have come lies, whatever their law.

    Those of equal rank from both ends, as near the middle as ``level`` allows: how many of n numbers lie below the
    median is a binomial count. NaN where even the extremes do not hold it so often (below six numbers at 95 %).

    >>> around_median(np.arange(1.0, 11.0))
    (2.0, 9.0)
    """
    rank = int(binom.ppf((1 - level) / 2, len(values), 0.5))
    if rank < 1 or binom.cdf(rank - 1, len(values), 0.5) > (1 - level) / 2:
        return math.nan, math.nan
    ordered = np.sort(values)
    return float(ordered[rank - 1]), float(ordered[-rank])
