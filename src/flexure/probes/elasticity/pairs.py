"""Means over pairs of different images, from some rows of a matrix at a time: there is no second one of its size."""

import math

import numpy as np

from flexure.arrays import Arrays
from flexure.formulas.pair_means import PairSums
from flexure.probes.elasticity.table import columns

__all__ = ["of_pairs"]

_NONE = dict.fromkeys(("relative_mean", "cosine_mean", "same_class", "ratio"), (math.nan, math.nan))


def of_pairs(arrays: Arrays | None, labels: np.ndarray | None, suffix: str = "") -> dict[str, float]:
    """Means over pairs of different images of one set; NaN where nothing was kept, or no classes are known.

    Each image leaves with all its pairs, so that an error is over images, not over pairs, of which there are many more.

    Args:
        arrays: ``relative`` and ``cosine`` ``(n, n)``; None: nothing was kept.
        labels: Class of each image ``(n,)``.
        suffix: Of their names.

    Returns:
        ``relative_mean`` and ``cosine_mean``; ``same_class``, the mean cosine of pairs of one class; ``ratio``, that
        mean as a share of itself and the mean over pairs of two classes; each with its jackknife error over images.

    >>> ones = Arrays({"relative": np.full((4, 4), 2.0), "cosine": np.ones((4, 4))})
    >>> found = of_pairs(ones, np.array([0, 0, 1, 1]))
    >>> found["relative_mean"], found["relative_mean_se"], found["ratio"]
    (2.0, 0.0, 0.5)
    """
    if arrays is None:
        return columns(_NONE)
    alike, same = PairSums.of(arrays.chunks(f"cosine{suffix}"), labels)
    found = _NONE | {
        "relative_mean": PairSums.of(arrays.chunks(f"relative{suffix}"))[0].mean(),
        "cosine_mean": alike.mean(),
    }
    if labels is not None:
        found |= {"same_class": same.mean(), "ratio": same.share_of(alike)}
    return columns(found)
