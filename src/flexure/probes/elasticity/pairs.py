"""Means over pairs of different images, from some rows of a matrix at a time: there is no second one of its size."""

import math
from dataclasses import dataclass

import numpy as np

from flexure.arrays import Arrays
from flexure.probes.elasticity.table import Estimate, columns, jackknife

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
    alike, same = _Sums.of(arrays, f"cosine{suffix}", labels)
    found = _NONE | {
        "relative_mean": _Sums.of(arrays, f"relative{suffix}", None)[0].mean(),
        "cosine_mean": alike.mean(),
    }
    if labels is not None:
        found |= {"same_class": same.mean(), "ratio": same.share_of(alike)}
    return columns(found)


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sum and number of pairs of different images that have a value, and each image's part in them.

    Attributes:
        sums: Of the pairs that an image is in ``(n,)``; each pair counts for both.
        counts: How many.
    """

    sums: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, arrays: Arrays, name: str, labels: np.ndarray | None) -> "tuple[_Sums, _Sums]":
        """Over all pairs, and over those of one class."""
        n = arrays.shape(name)[0]
        both = cls(np.zeros(n), np.zeros(n)), cls(np.zeros(n), np.zeros(n))
        for start, values in arrays.chunks(name):
            some = slice(start, start + len(values))
            keep = np.isfinite(values)
            keep[np.arange(len(values)), np.arange(some.start, some.stop)] = False
            both[0]._add(values, keep, some)
            if labels is not None:
                both[1]._add(values, keep & (labels[some, None] == labels), some)
        return both

    def _add(self, values: np.ndarray, keep: np.ndarray, some: slice) -> None:
        kept = np.where(keep, values, 0)
        for to, each in ((self.sums, kept), (self.counts, keep)):
            to += each.sum(0, dtype=np.float64)
            to[some] += each.sum(1, dtype=np.float64)

    def mean(self) -> Estimate:
        """Mean over the pairs, with its error."""
        total, count = self.sums.sum() / 2, self.counts.sum() / 2
        return float(total / count) if count else math.nan, jackknife(total - self.sums, count - self.counts)

    def share_of(self, whole: "_Sums") -> Estimate:
        """The mean over these pairs as a share of it and the mean over the whole's others."""
        other = _Sums(whole.sums - self.sums, whole.counts - self.counts)
        with np.errstate(invalid="ignore", divide="ignore"):
            one, two = (part.sums.sum() / part.counts.sum() for part in (self, other))
            less_one, less_two = (
                (part.sums.sum() / 2 - part.sums) / (part.counts.sum() / 2 - part.counts) for part in (self, other)
            )
            return float(one / (one + two)), jackknife(less_one, less_one + less_two)
