"""Means over pairs of different images, with errors over images."""

import math

import numpy as np

__all__ = ["Estimate", "mean_over_images", "mean_over_pairs", "share_of_same_class"]

Estimate = tuple[float, float]


def mean_over_images(values: np.ndarray) -> Estimate:
    """Mean and standard error of what is finite.

    >>> mean_over_images(np.array([1.0, 3.0, np.nan]))
    (2.0, 1.0)
    """
    fine = values[np.isfinite(values)]
    n = len(fine)
    return (
        float(fine.mean()) if n else math.nan,
        float(fine.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan,
    )


def mean_over_pairs(values: np.ndarray, keep: np.ndarray | None = None) -> Estimate:
    """Mean of a matrix ``(n, n)`` over pairs of different images that have a value, with its jackknife error.

    Args:
        values: The matrix.
        keep: Pairs that count ``(n, n)``; None: all.

    >>> mean_over_pairs(np.full((4, 4), 2.0))
    (2.0, 0.0)
    """
    total, sums, count, counts = _sums(values, keep)
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(total / count), _jackknife((total - sums) / (count - counts))


def share_of_same_class(values: np.ndarray, labels: np.ndarray) -> Estimate:
    """Mean within classes as a share of itself and the mean between classes, with its jackknife error; 0.5: no matter.

    Args:
        values: ``(n, n)``.
        labels: Classes ``(n,)``.
    """
    same = labels[:, None] == labels
    parts = [_sums(values, which) for which in (same, ~same)]
    with np.errstate(invalid="ignore", divide="ignore"):
        within, between = (total / count for total, _, count, _ in parts)
        less, other = ((total - sums) / (count - counts) for total, sums, count, counts in parts)
        return float(within / (within + between)), _jackknife(less / (less + other))


def _sums(values: np.ndarray, keep: np.ndarray | None) -> tuple[np.float64, np.ndarray, np.float64, np.ndarray]:
    """Sum and number of the pairs that count, and each image's part in them."""
    fine = np.isfinite(values) & ~np.eye(len(values), dtype=bool)
    fine = fine if keep is None else fine & keep
    kept = np.where(fine, values, 0.0)
    counts = (fine.sum(0) + fine.sum(1)).astype(float)
    return kept.sum(), kept.sum(0) + kept.sum(1), np.float64(fine.sum()), counts


def _jackknife(values: np.ndarray) -> float:
    fine = values[np.isfinite(values)]
    n = len(fine)
    return float(math.sqrt((n - 1) / n * np.sum((fine - fine.mean()) ** 2))) if n > 1 else math.nan
