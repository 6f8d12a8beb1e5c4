"""From matrices over images to numbers with errors: a row for each layer in the limit, one for the whole network."""

import math
from collections.abc import Mapping

import numpy as np

from flexure.formulas.pair_means import Estimate, jackknife

__all__ = ["UNITS", "columns", "of_kernel"]

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
        without = (own.sum() - own) / (whole.sum() - whole)
    return columns(
        {
            "share": (share, jackknife(without)),
            "kernel_self": (float(own.mean()) if n else math.nan, error),
        }
    )


def columns(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    """Each estimate and its error as two columns."""
    return {f"{name}{end}": both[place] for name, both in estimates.items() for place, end in enumerate(("", "_se"))}
