"""Do two similarities of the same images go together?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from flexure.analysis.pairs import correlations, errors_over_points
from flexure.errors import ArgumentError
from flexure.results import MEASURED, Result

__all__ = ["against_similarity"]

QUESTION = "Do two similarities of the same images go together?"
_ESTIMATES = ("pearson", "spearman")


def against_similarity(
    one: Result, other: Result, *, similarity: str = "cosine", others: str | Sequence[str] = ("cosine", "kernel")
) -> Result:
    """Do two similarities of the same images go together?

    Pearson's correlation and Spearman's, over all ordered pairs of different images: of how far activation patterns
    agree with the kernel, say, or of the kernels of two networks.

    Args:
        one: A result of ``flexure.activation_patterns``, ``flexure.elasticity`` or any other with similarities.
        other: Another on the same images in the same order.
        similarity: Which array of ``one``, ``(n, n)``.
        others: Which arrays of ``other``.

    Returns:
        One row per array of ``other``: ``similarity``, ``other``, ``pearson``, ``spearman`` in [-1, 1], each with
        ``_se`` over images (jackknife, 20 groups of images at a time), ``n`` images, ``pairs``, ``status``.

    Raises:
        ArgumentError: Arrays are not square or not of as many images, or the images are not the same.

    Cost: some 20 sorts of n² numbers per array.

    Exact case: a rising straight line of a similarity has a correlation of 1 with it.

    Source: He and Su, *The local elasticity of neural networks* (2020), who look at patterns to explain the kernel; the
        correlation is ours.
    """
    names = [others] if isinstance(others, str) else list(others)
    mine, theirs = np.asarray(one[similarity], dtype=float), [np.asarray(other[name], dtype=float) for name in names]
    for name, matrix in zip(names, theirs, strict=True):
        if matrix.shape != mine.shape or mine.ndim != 2 or mine.shape[0] != mine.shape[1]:
            raise ArgumentError(
                f"against_similarity: {similarity!r} is of shape {mine.shape}, {name!r} of {matrix.shape}; expected "
                "two square arrays of the same images."
            )
    index = [result.arrays.get("index") for result in (one, other)]
    if index[0] is not None and index[1] is not None and not np.array_equal(index[0], index[1]):
        raise ArgumentError("against_similarity: the two results are of different images, or in another order.")
    rows = [
        {"similarity": similarity, "other": name, **_row(mine, matrix)}
        for name, matrix in zip(names, theirs, strict=True)
    ]
    origin = {
        "specimen": dict(one.provenance.get("specimen") or {}),
        "other": dict(other.provenance.get("specimen") or {}),
    }
    return Result("against_similarity", QUESTION, pd.DataFrame(rows), {}, {"n": "images"}, origin)


def _row(one: np.ndarray, two: np.ndarray) -> dict[str, object]:
    n = len(one)
    keep = np.isfinite(one) & np.isfinite(two) & ~np.eye(n, dtype=bool)

    def estimate(stay: np.ndarray) -> np.ndarray:
        kept = keep & stay[:, None] & stay
        return np.array(correlations(one[kept], two[kept])) if kept.sum() > 2 else np.full(2, np.nan)

    values = estimate(np.ones(n, dtype=bool))
    errors = np.where(np.isfinite(values), errors_over_points(n, estimate), np.nan)
    found: dict[str, object] = {}
    for name, value, error in zip(_ESTIMATES, values, errors, strict=True):
        found |= {name: float(value), f"{name}_se": float(error)}
    status = MEASURED if np.isfinite(values).all() else "one of the similarities is the same for all pairs"
    return found | {"n": n, "pairs": int(keep.sum()), "status": status}
