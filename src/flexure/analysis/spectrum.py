"""In how many directions do images pull at the weights, and how far apart are they there?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from flexure.analysis.pairs import errors_over_points, finite_together
from flexure.errors import ArgumentError
from flexure.results import MEASURED, Result

__all__ = ["spectrum"]

QUESTION = "In how many directions do images pull at the weights?"
_USUAL = ("kernel", "cosine")
_TENTH = 0.1


def spectrum(
    measured: Result | np.ndarray, *, similarity: str | Sequence[str] | None = None, components: int = 10
) -> Result:
    r"""In how many directions do images pull at the weights?

    The symmetrized similarity :math:`(S + S^T)/2` of n images is :math:`\sum_k n \lambda_k v_k v_k^T` with
    :math:`\lambda_1 \ge \lambda_2 \ge \dots`; divided by n, eigenvalues tend to a limit as images are added. A few
    large ones mean that all images move in a few directions together, whatever they show. In the limit of small steps
    S is a Gram matrix and none is negative; similarities at steps of finite size, relative ones and averages over
    networks may have any.

    Args:
        measured: A result of ``flexure.elasticity``, any other with such arrays, or a square array.
        similarity: Which arrays; None: kernel and cosine, where it has them.
        components: Eigenvectors k of the embedding, at most; those of eigenvalues that are not positive are left out.

    Returns:
        One row per similarity: ``largest`` (:math:`\lambda_1`), ``largest_share`` of the sum of all sizes, ``negative``
        (the negative ones' share of that), ``effective_rank`` :math:`(\sum |\lambda|)^2 / \sum \lambda^2`, each with
        ``_se`` over images (jackknife, 20 groups of images at a time; too small where two eigenvalues nearly agree);
        the counts ``at_least_zero`` (to rounding), ``at_least_tenth`` (of :math:`\lambda_1`) and ``components``; ``n``
        images, ``left_out``, ``status``. Arrays, similarity by similarity: ``eigenvalue (s, n)``, falling;
        ``embedding (s, n, k)``, :math:`\sqrt{n \lambda_k}\, v_k`, the larger side of each positive, whose inner
        products are the part of S that these k explain; ``kernel_distance (s, n, n)``, Euclidean between its rows.
        What belongs to images that are left out is NaN.

    Raises:
        ArgumentError: A matrix is not square, or ``components`` is not positive.

    Images whose similarities are not all finite are left out, as few as will do.

    Cost: 20 decompositions of an n × n matrix per similarity, n³ each.

    Exact case: the identity has all :math:`\lambda = 1/n` and effective rank n; all ones, one of 1 and rank 1.

    Source: He and Su, *The local elasticity of neural networks* (2020), whose code embeds the images by the first ten
        pairs of a kernel so. A general solver there may return complex numbers, and roots of negative eigenvalues are
        not a number; ours is for symmetric matrices, and negative ones are counted and left out.
    """
    if not isinstance(components, int) or isinstance(components, bool) or components < 1:
        raise ArgumentError(f"spectrum: components must be a whole number of at least 1; got {components!r}.")
    matrices = _matrices(measured, similarity)
    rows, arrays = [], {"eigenvalue": [], "embedding": [], "kernel_distance": []}
    for name, matrix in matrices.items():
        row, found = _of(matrix, components)
        rows.append({"similarity": name, **row})
        for key, value in found.items():
            arrays[key].append(value)
    origin: dict[str, Any] = {"settings": {"similarity": list(matrices), "components": components}}
    if isinstance(measured, Result):
        origin |= {key: measured.provenance[key] for key in ("specimen", "data", "seed") if key in measured.provenance}
    units = {"n": "images", "left_out": "images", "effective_rank": "directions"}
    stacked = {name: np.stack(values) for name, values in arrays.items()}
    return Result("spectrum", QUESTION, pd.DataFrame(rows), stacked, units, origin)


def _matrices(measured: Result | np.ndarray, similarity: str | Sequence[str] | None) -> dict[str, np.ndarray]:
    names = [similarity] if isinstance(similarity, str) else None if similarity is None else list(similarity)
    if isinstance(measured, Result):
        usual = [name for name in _USUAL if name in measured.arrays] or [_USUAL[0]]
        found = {name: np.asarray(measured[name], dtype=float) for name in names or usual}
    else:
        found = {(names or ["kernel"])[0]: np.asarray(measured, dtype=float)}
    for name, matrix in found.items():
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ArgumentError(
                f"spectrum: {name!r} is of shape {matrix.shape}; expected a square matrix, the same images along rows "
                "and columns. Measure without points=."
            )
    return {name: (matrix + matrix.T) / 2 for name, matrix in found.items()}


def _of(whole: np.ndarray, components: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The row of one similarity, and its arrays, as long as there are images."""
    total = len(whole)
    kept = finite_together(whole)
    matrix, n = whole[np.ix_(kept, kept)], len(kept)
    arrays = {
        "eigenvalue": np.full(total, np.nan),
        "embedding": np.full((total, min(components, total)), np.nan),
        "kernel_distance": np.full((total, total), np.nan),
    }
    if n < 2 or not matrix.any():
        row = dict.fromkeys([f"{name}{end}" for name in _ESTIMATES for end in ("", "_se")], np.nan)
        why = "no two images with numbers" if n < 2 else "all similarities are zero"
        counts = dict.fromkeys(("at_least_zero", "at_least_tenth", "components"), 0)
        return {**row, **counts, "n": n, "left_out": total - n, "status": why}, arrays
    values, vectors = np.linalg.eigh(matrix)
    values, vectors = values[::-1] / n, vectors[:, ::-1]
    slack = n * np.finfo(float).eps * np.abs(values).max()
    used = min(components, int((values > slack).sum()))
    embedding = _oriented(vectors[:, :used]) * np.sqrt(n * values[:used])
    arrays["eigenvalue"][:n] = values
    arrays["embedding"][kept] = 0.0
    arrays["embedding"][kept, :used] = embedding
    arrays["kernel_distance"][np.ix_(kept, kept)] = np.linalg.norm(embedding[:, None] - embedding, axis=2)
    estimates = _estimates(values)
    errors = errors_over_points(n, lambda stay: _estimates(_eigenvalues(matrix[np.ix_(stay, stay)])))
    row = {}
    for name, value, error in zip(_ESTIMATES, estimates, errors, strict=True):
        row |= {name: float(value), f"{name}_se": float(error)}
    row |= {"at_least_zero": int((values >= -slack).sum()), "at_least_tenth": int((values >= _TENTH * values[0]).sum())}
    return {**row, "components": used, "n": n, "left_out": total - n, "status": MEASURED}, arrays


_ESTIMATES = ("largest", "largest_share", "negative", "effective_rank")


def _estimates(values: np.ndarray) -> np.ndarray:
    """What the table says of eigenvalues, falling."""
    sizes = np.abs(values).sum()
    if not sizes > 0:
        return np.full(len(_ESTIMATES), np.nan)
    return np.array(
        [values[0], values[0] / sizes, np.abs(values[values < 0]).sum() / sizes, sizes**2 / (values**2).sum()]
    )


def _eigenvalues(matrix: np.ndarray) -> np.ndarray:
    return np.linalg.eigvalsh(matrix)[::-1] / len(matrix)


def _oriented(vectors: np.ndarray) -> np.ndarray:
    """Each with its largest entry positive: an eigenvector may as well point the other way."""
    largest = vectors[np.abs(vectors).argmax(0), np.arange(vectors.shape[1])]
    return vectors * np.where(largest < 0, -1.0, 1.0)
