"""From matrices over images to numbers with errors: a row for each layer in the limit, one for the whole network."""

import math
from collections.abc import Mapping

import numpy as np

__all__ = ["UNITS", "mean_of_pairs", "of_kernel", "of_pairs", "same_class_ratio"]

UNITS = {
    "parameters": "weights",
    "share": "fraction",
    "share_se": "fraction",
    **{
        f"{name}{end}": unit
        for name, unit in (("relative_mean", "ratio"), ("cosine_mean", "cosine"))
        for end in ("", "_se")
    },
    **{f"{name}{end}": unit for name, unit in (("same_class", "cosine"), ("ratio", "fraction")) for end in ("", "_se")},
    "n": "images",
    "sample_image": "pixel value",
    "distance": "Euclidean, pixel values",
}
_PAIRS = ("relative_mean", "cosine_mean", "same_class", "ratio")

Estimate = tuple[float, float]


def of_kernel(own: np.ndarray, whole: np.ndarray) -> dict[str, float]:
    """Kernel of an image with itself, and which share of the whole network's it is.

    Args:
        own: Of these parameters ``(n,)``.
        whole: Of all parameters.
    """
    fine = np.isfinite(own) & np.isfinite(whole)
    own, whole = own[fine], whole[fine]
    n = len(own)
    error = float(own.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        share = float(np.float64(own.sum()) / whole.sum())
    return _columns(
        {
            "share": (share, _jackknife(own.sum() - own, whole.sum() - whole)),
            "kernel_self": (float(own.mean()) if n else math.nan, error),
        }
    )


def of_pairs(similarities: Mapping[str, np.ndarray] | None, labels: np.ndarray | None) -> dict[str, float]:
    """Means over pairs of different images of one set; NaN where nothing was kept, or no classes are known.

    Args:
        similarities: ``relative`` and ``cosine`` ``(n, n)``.
        labels: Class of each image.
    """
    found: dict[str, Estimate] = dict.fromkeys(_PAIRS, (math.nan, math.nan))
    if similarities is not None:
        cosine = similarities["cosine"]
        found |= {f"{name}_mean": mean_of_pairs(similarities[name]) for name in ("relative", "cosine")}
        if labels is not None:
            found["same_class"] = mean_of_pairs(np.where(labels[:, None] == labels, cosine, np.nan))
            found["ratio"] = same_class_ratio(cosine, labels)
    return _columns(found)


def mean_of_pairs(values: np.ndarray) -> Estimate:
    """Mean of a matrix over pairs of different images that have a value, with its jackknife error over images.

    Each image leaves with all its pairs, so that an error is over images, not over pairs, of which there are many more.

    >>> mean_of_pairs(np.full((4, 4), 2.0))
    (2.0, 0.0)
    """
    total, sums, count, counts = _sums(values)
    return float(total / count) if count else math.nan, _jackknife(total - sums, count - counts)


def same_class_ratio(values: np.ndarray, labels: np.ndarray) -> Estimate:
    """Mean over pairs of one class, as a share of that mean and the mean over pairs of two; with jackknife error.

    0.5: classes do not matter.
    """
    same = labels[:, None] == labels
    parts = [_sums(np.where(keep, values, np.nan)) for keep in (same, ~same)]
    with np.errstate(invalid="ignore", divide="ignore"):
        one, two = (total / count for total, _, count, _ in parts)
        less_one, less_two = ((total - sums) / (count - counts) for total, sums, count, counts in parts)
        return float(one / (one + two)), _jackknife(less_one, less_one + less_two)


def _sums(values: np.ndarray) -> tuple[np.float64, np.ndarray, np.float64, np.ndarray]:
    """Sum and number of the pairs that have a value, and each image's part in them."""
    keep = np.isfinite(values) & ~np.eye(len(values), dtype=bool)
    kept = np.where(keep, values, 0.0)
    counts = (keep.sum(0) + keep.sum(1)).astype(float)
    return kept.sum(), kept.sum(0) + kept.sum(1), np.float64(keep.sum()), counts


def _jackknife(numerators: np.ndarray, denominators: np.ndarray) -> float:
    """Standard error of a ratio, from what it is with each image left out in turn."""
    with np.errstate(invalid="ignore", divide="ignore"):
        values = numerators / denominators
    values = values[np.isfinite(values)]
    n = len(values)
    return float(math.sqrt((n - 1) / n * np.sum((values - values.mean()) ** 2))) if n > 1 else math.nan


def _columns(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    return {f"{name}{end}": both[place] for name, both in estimates.items() for place, end in enumerate(("", "_se"))}
