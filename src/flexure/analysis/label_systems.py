"""Two ways of naming the same images: which of them does the kernel know?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from flexure.errors import ArgumentError
from flexure.formulas.pair_means import jackknife
from flexure.results import MEASURED, Result

__all__ = ["CATEGORIES", "label_systems"]

QUESTION = "Of two ways of naming the same images, which does the kernel know?"
CATEGORIES = ("neither", "second", "first", "both")
"""Kinds of pairs, by whether they share no class, that of the second system alone, of the first alone, or both."""


def label_systems(
    measured: Result,
    first: Sequence[int] | np.ndarray,
    second: Sequence[int] | np.ndarray,
    *,
    similarity: str = "cosine",
) -> Result:
    r"""Of two ways of naming the same images, which does the kernel know?

    Images often have several classes, an animal and its background, say. Pairs of different images fall into four
    categories c by what they share; with :math:`\mu_c` the mean similarity in each,

    .. math::
        \text{share}_c = \frac{\mu_c}{\sum_{c'} \mu_{c'}} .

    All four are 1/4 where neither system matters. A training on the first system that raises the shares of ``first``
    and ``both`` alone has made the kernel aware of its labels; watched at several steps, this shows when.

    Args:
        measured: A result of ``flexure.elasticity``, or any other with such an array.
        first: Classes of the images in one system ``(n,)``, whole numbers.
        second: In the other.
        similarity: Which array ``(n, n)``.

    Returns:
        A row per category, in the order of ``CATEGORIES``: ``category``, ``mean``, ``share``, each with ``_se`` over
        images (jackknife: an image leaves with all its pairs), ``n`` images, ``pairs``, ``status``.

    Raises:
        ArgumentError: There is no such square matrix, or not two classes per image.

    Shares are read as parts of a whole where all means are positive; of similarities that average to about zero the
    sum is about zero and the shares say nothing. Then read ``mean``.

    Cost: one pass over the matrix.

    Exact case: a similarity of 1 for every pair has shares of 1/4.

    Source: Chen, He and Su, *Label-aware neural tangent kernel* (2020), who track such shares over training. We
        leave out pairs of an image with itself, and give errors.
    """
    values = np.asarray(measured[similarity], dtype=float)
    names = [_classes(name, given, values) for name, given in (("first", first), ("second", second))]
    shared = [labels[:, None] == labels for labels in names]
    kind = 2 * shared[0] + shared[1]  # places in CATEGORIES
    keep = np.isfinite(values) & ~np.eye(len(values), dtype=bool)
    sums, counts = (_by_image(np.where(keep, part, 0.0), kind) for part in (values, keep.astype(float)))
    totals = [(part.sum(1) / 2)[:, None] for part in (sums, counts)]
    whole = _estimates(*totals)[:, :, 0]
    without = _estimates(totals[0] - sums, totals[1] - counts)
    errors = np.apply_along_axis(jackknife, 2, without)
    rows = [
        {
            "category": name,
            **{f"{what}{end}": part[i, c] for i, what in enumerate(("mean", "share"))
               for end, part in (("", whole), ("_se", errors))},
            "n": len(values),
            "pairs": int(totals[1][c, 0]),
            "status": MEASURED if totals[1][c, 0] else "no such pair",
        }
        for c, name in enumerate(CATEGORIES)
    ]  # fmt: skip
    about: dict[str, Any] = {
        key: measured.provenance[key] for key in ("specimen", "data") if key in measured.provenance
    }
    about |= {"settings": {"similarity": similarity}}
    units = {"share": "fraction", "share_se": "fraction", "n": "images"}
    return Result("label_systems", QUESTION, pd.DataFrame(rows), {}, units, about)


def _classes(name: str, given: Sequence[int] | np.ndarray, values: np.ndarray) -> np.ndarray:
    labels = np.asarray(given)
    if values.ndim != 2 or values.shape[0] != values.shape[1]:
        raise ArgumentError(f"label_systems: the similarity is of shape {values.shape}; expected a square matrix.")
    if labels.shape != (len(values),) or labels.dtype.kind not in "iub":
        raise ArgumentError(
            f"label_systems: {name} must be whole numbers, one for each of {len(values)} images; got {labels.dtype} "
            f"{labels.shape}."
        )
    return labels


def _by_image(values: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """What each image's pairs add up to in each category ``(4, n)``, in rows and columns."""
    parts = (np.where(kind == c, values, 0.0) for c in range(len(CATEGORIES)))
    return np.stack([part.sum(0) + part.sum(1) for part in parts])


def _estimates(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Means and shares ``(2, 4, k)`` from sums and numbers of pairs ``(4, k)``."""
    means = np.where(counts > 0.5, sums / np.maximum(counts, 1), np.nan)
    total = np.nansum(means, axis=0)
    shares = np.divide(means, total, out=np.full_like(means, np.nan), where=total != 0)
    return np.stack([means, shares])
