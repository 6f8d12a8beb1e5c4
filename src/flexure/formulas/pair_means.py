"""Means over pairs of different images, with errors over images: an image leaves with all its pairs."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

__all__ = ["Estimate", "PairSums", "jackknife"]

Estimate = tuple[float, float]


def jackknife(values: np.ndarray) -> float:
    r"""Standard error of an estimate, from its values :math:`\theta_{-i}` with each of n observations left out in turn.

    .. math:: \sqrt{\tfrac{n - 1}{n} \sum_i (\theta_{-i} - \bar\theta)^2}

    Args:
        values: ``(n,)``; those that are not finite are passed over.

    Exact case: for a mean it is the standard deviation over the root of n.

    >>> round(jackknife(np.array([2.5, 2.0, 1.5])) * math.sqrt(3), 12)  # means without 1, 2 and 3, whose deviation is 1
    1.0
    """
    fine = values[np.isfinite(values)]
    n = len(fine)
    return float(math.sqrt((n - 1) / n * np.sum((fine - fine.mean()) ** 2))) if n > 1 else math.nan


@dataclass(frozen=True, eq=False)
class PairSums:
    """Sum and number of pairs of different images that have a value, and each image's part in them.

    Attributes:
        sums: Of the pairs that an image is in ``(n,)``; each pair counts for both.
        counts: How many.
        is_in: Images that are in any pair, of whatever classes ``(n,)``: the observations of an error.
    """

    sums: np.ndarray
    counts: np.ndarray
    is_in: np.ndarray

    @classmethod
    def of(
        cls, chunks: Iterable[tuple[int, np.ndarray]], labels: np.ndarray | None = None
    ) -> "tuple[PairSums, PairSums]":
        """Over all ordered pairs, and over those of one class.

        Args:
            chunks: Some rows of a square matrix at a time, with the number of the first.
            labels: Class of each image ``(n,)``; None: the second has no pairs.

        >>> whole, same = PairSums.of([(0, np.array([[9.0, 1.0, 2.0], [1.0, 9.0, 3.0], [2.0, 3.0, 9.0]]))])
        >>> whole.mean()[0], same.mean()[0]
        (2.0, nan)
        """
        parts = np.zeros((2, 2, 0))  # of all and of one class, sums and counts
        for start, values in chunks:
            parts = parts if parts.shape[2] else np.zeros((2, 2, values.shape[1]))
            rows = slice(start, start + len(values))
            keep = np.isfinite(values)
            keep[np.arange(len(values)), np.arange(rows.start, rows.stop)] = False
            _add(parts[0], values, keep, rows)
            if labels is not None:
                _add(parts[1], values, keep & (labels[rows, None] == labels), rows)
        is_in = parts[0, 1] > 0
        (sums, counts), (same_sums, same_counts) = parts
        return cls(sums, counts, is_in), cls(same_sums, same_counts, is_in)

    def less(self, other: "PairSums") -> "PairSums":
        """The pairs that are not among the other's."""
        return PairSums(self.sums - other.sums, self.counts - other.counts, self.is_in)

    def means(self) -> tuple[float, np.ndarray]:
        """The mean, and what it is without each of the images that are in any pair."""
        total, count = self.sums.sum() / 2, self.counts.sum() / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            without = (total - self.sums) / (count - self.counts)
        return float(total / count) if count else math.nan, without[self.is_in]

    def mean(self) -> Estimate:
        """The mean over the pairs, with its error."""
        value, without = self.means()
        return value, jackknife(without)

    def share_of(self, whole: "PairSums") -> Estimate:
        """The mean over these pairs as a share of it and the mean over the whole's others."""
        (one, less_one), (two, less_two) = self.means(), whole.less(self).means()
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(np.float64(one) / (one + two)), jackknife(less_one / (less_one + less_two))


def _add(to: np.ndarray, values: np.ndarray, keep: np.ndarray, rows: slice) -> None:
    """Count some rows for both images of each pair."""
    for part, each in zip(to, (np.where(keep, values, 0), keep), strict=True):
        part += each.sum(0, dtype=np.float64)
        part[rows] += each.sum(1, dtype=np.float64)
