"""From matrices over images to numbers with errors: a row for each layer in the limit, one for the whole network."""

import math
from collections.abc import Mapping

import numpy as np

__all__ = ["UNITS", "Estimate", "columns", "jackknife", "of_kernel"]

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
    return columns(
        {
            "share": (share, jackknife(own.sum() - own, whole.sum() - whole)),
            "kernel_self": (float(own.mean()) if n else math.nan, error),
        }
    )


def jackknife(numerators: np.ndarray, denominators: np.ndarray) -> float:
    """Standard error of a ratio, from what it is with each image left out in turn."""
    with np.errstate(invalid="ignore", divide="ignore"):
        values = numerators / denominators
    values = values[np.isfinite(values)]
    n = len(values)
    return float(math.sqrt((n - 1) / n * np.sum((values - values.mean()) ** 2))) if n > 1 else math.nan


def columns(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    """Each estimate and its error as two columns."""
    return {f"{name}{end}": both[place] for name, both in estimates.items() for place, end in enumerate(("", "_se"))}
