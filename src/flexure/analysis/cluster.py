"""Do images that move one another's predictions fall into the classes?"""

import math
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd

from flexure.analysis.agreement import agreement
from flexure.analysis.clusterings import METHODS, Settings
from flexure.analysis.kernel_kmeans import REPAIRS
from flexure.analysis.pairs import finite_together
from flexure.errors import ArgumentError, nearest
from flexure.results import MEASURED, Result

__all__ = ["cluster"]

QUESTION = "Do images that move one another's predictions fall into the classes?"
_USUAL = ("relative", "kernel")
_SCORES = ("accuracy", "nmi", "ari")
_COUNTS = ("n", "labelled", "left_out")
_ALIKE = 1e-12  # rows that differ by less than this part of the largest number are one point


def cluster(
    measured: Result | np.ndarray,
    *,
    similarity: str | Sequence[str] | None = None,
    method: str | Sequence[str] | None = None,
    clusters: int = 2,
    labels: Sequence[int] | np.ndarray | None = None,
    features: Mapping[str, np.ndarray] | None = None,
    repair: str = "clip",
    restarts: int = 20,
    seed: int = 0,
) -> Result:
    r"""Do images that move one another's predictions fall into the classes?

    The symmetrized similarity :math:`(S + S^T)/2` is clustered without the labels, which then judge the clusters.

    ================= ============================================= ===============================================
    method            what it takes                                 ``objective``, made small
    ================= ============================================= ===============================================
    ``kmeans``        rows of the matrix as points (10 starts)      squared distances from the means, summed
    ``kernel_kmeans`` the matrix as inner products (``restarts``)   the same in the space of those products
    ``spectral``      the matrix as links, negative ones left out   normalized cut (found by its relaxation)
    ================= ============================================= ===============================================

    Args:
        measured: A result of ``flexure.elasticity``, or a square array.
        similarity: Which of the result's arrays: ``"relative"``, ``"relative_signed"``, ``"kernel"``, ``"cosine"``;
            None: relative and kernel, where it has them. For an array: what it is; None: a kernel.
        method: Methods by name; None: K-means for what is named relative, else kernel K-means.
        clusters: How many.
        labels: Classes of the points ``(n,)``, whole numbers, negative where unknown; None: those of the result.
        features: Other descriptions of the same points ``(n, d)`` by name, for K-means alone: what
            :func:`flexure.analysis.baselines.baselines` gives.
        repair: What kernel K-means does about negative eigenvalues: ``"clip"`` sets them to zero, ``"shift"`` raises
            all of them.
        restarts: Starts of kernel K-means, the best of which counts.
        seed: Of the starts.

    Returns:
        One row per similarity and method, then one per description: ``similarity``, ``method``, ``accuracy`` under the
        best matching of clusters with classes, ``nmi`` (arithmetic mean), ``ari``, each with ``_se`` over points, the
        clusters held fixed (see :func:`flexure.analysis.agreement.agreement`); ``objective`` (of the repaired matrix),
        ``n`` points clustered, ``labelled`` of them with a class, ``left_out``, ``status``. Array ``assignment[i]``
        ``(n,)`` holds the clusters of row i, numbered by first appearance, -1 for points left out; ``labels`` the
        classes.

    Raises:
        ArgumentError: A matrix is not square, descriptions or labels are not of as many points, a name is unknown.

    Points whose similarities are not all finite are left out, as few as will do, and named. Where there are fewer
    different points than clusters, or no labels, the row's status says so.

    Cost: K-means on n points of n numbers; kernel K-means :math:`n^2` per step, :math:`n^3` once where it repairs.

    Exact case: blocks of equal similarities on the diagonal are found with accuracy 1.

    Source: He and Su, *The local elasticity of neural networks* (2020), Algorithm 1. Their kernel K-means has one
        random start, stops at an empty cluster and takes indefinite matrices as they are; ours restarts and repairs.
    """
    settings = Settings(clusters, restarts, repair, seed)
    methods = [method] if isinstance(method, str) else None if method is None else list(method)
    _check(settings, methods)
    parts = _similarities(measured, similarity)
    n = parts[0].n
    classes = _labels(_own_labels(measured) if labels is None else labels, n)
    tasks = [(part, one) for part in parts for one in methods or [_default(part.name)]]
    described = _descriptions(features, n)
    tasks += [(part, "kmeans") for part in described]
    outcomes = [_outcome(part, one, classes, settings) for part, one in tasks]
    arrays = {"assignment": np.stack([outcome.assignment for outcome in outcomes])}
    asked = {
        "similarity": [part.name for part in parts],
        "method": methods,
        "features": [part.name for part in described],
    }
    return Result(
        "cluster",
        QUESTION,
        pd.DataFrame([outcome.row for outcome in outcomes]),
        arrays | ({} if classes is None else {"labels": classes}),
        dict.fromkeys(("accuracy", "accuracy_se"), "share of points") | dict.fromkeys(_COUNTS, "points"),
        _origin(measured, asdict(settings) | asked),
        tuple(dict.fromkeys(note for outcome in outcomes for note in outcome.notes)),
    )


@dataclass(frozen=True, eq=False)
class _Points:
    """What is to be clustered: the points whose numbers are finite.

    Attributes:
        name: Of the similarity or the description.
        values: ``(m, m)``, symmetric, or ``(m, d)``.
        kept: Their places among all ``(m,)``.
        n: All of them.
    """

    name: str
    values: np.ndarray
    kept: np.ndarray
    n: int


@dataclass(frozen=True, eq=False)
class _Outcome:
    """A line of the table, the clusters behind it, and what has to be said about them."""

    row: Mapping[str, Any]
    assignment: np.ndarray
    notes: Sequence[str]


def _check(settings: Settings, methods: Sequence[str] | None) -> None:
    if methods is not None and not methods:
        raise ArgumentError(f"cluster: method names none; expected some of {', '.join(METHODS)}.")
    for name, values, valid in (("method", methods or (), METHODS), ("repair", (settings.repair,), REPAIRS)):
        for value in values:
            if value not in valid:
                raise ArgumentError(f"cluster: no {name} {value!r}. {nearest(value, valid)}")
    for name, least in (("clusters", 2), ("restarts", 1), ("seed", 0)):
        value = getattr(settings, name)
        if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
            raise ArgumentError(f"cluster: {name} must be a whole number of at least {least}; got {value!r}.")


def _default(similarity: str) -> str:
    return "kmeans" if similarity.startswith("relative") else "kernel_kmeans"


def _similarities(measured: Result | np.ndarray, similarity: str | Sequence[str] | None) -> list[_Points]:
    names = [similarity] if isinstance(similarity, str) else None if similarity is None else list(similarity)
    if names is not None and not names:
        raise ArgumentError("cluster: similarity names none; expected some of the result's arrays, such as 'kernel'.")
    if isinstance(measured, Result):
        if measured.provenance.get("points") is not None:
            raise ArgumentError("cluster: rows and columns are different images; measure without points=.")
        usual = [name for name in _USUAL if name in measured.arrays] or _USUAL[-1:]
        return [_symmetrized(name, measured[name]) for name in names or usual]
    if len(names or ()) > 1:
        raise ArgumentError(f"cluster: an array is one similarity; got the names {names}.")
    return [_symmetrized((names or ["kernel"])[0], measured)]


def _symmetrized(name: str, values: np.ndarray) -> _Points:
    matrix = _numbers(name, values)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ArgumentError(
            f"cluster: {name!r} is of shape {matrix.shape}; expected a square matrix, the same points along rows and "
            "columns. Measure the similarity of images with themselves."
        )
    matrix = matrix.astype(np.float64)
    matrix = (matrix + matrix.T) / 2
    kept = finite_together(matrix)
    return _Points(name, matrix if len(kept) == len(matrix) else matrix[np.ix_(kept, kept)], kept, len(matrix))


def _numbers(name: str, values: np.ndarray) -> np.ndarray:
    found = np.asarray(values)
    if found.dtype.kind not in "fiub":
        raise ArgumentError(f"cluster: {name!r} must hold real numbers; got {found.dtype}.")
    return found if found.dtype == np.float32 else found.astype(np.float64)


def _descriptions(features: Mapping[str, np.ndarray] | None, n: int) -> list[_Points]:
    if features is not None and not isinstance(features, Mapping):
        raise ArgumentError(
            f"cluster: features must be arrays (n, d) by name, such as {{'pixels': x}}; got {type(features).__name__}."
        )
    found = []
    for name, values in (features or {}).items():
        rows = _numbers(name, values)
        if rows.ndim != 2 or len(rows) != n:
            raise ArgumentError(
                f"cluster: features {name!r} are of shape {rows.shape}; expected ({n}, d), a row for each of the {n} "
                "points of the similarity."
            )
        kept = np.flatnonzero(np.isfinite(rows).all(1))
        found.append(_Points(name, rows[kept], kept, n))
    return found


def _own_labels(measured: Result | np.ndarray) -> np.ndarray | None:
    return measured.arrays.get("labels") if isinstance(measured, Result) else None


def _labels(told: Sequence[int] | np.ndarray | None, n: int) -> np.ndarray | None:
    """Classes ``(n,)``, int64, -1 where unknown; None where there are none."""
    if told is None:
        return None
    labels = np.asarray(told)
    if labels.shape != (n,) or labels.dtype.kind not in "iub":
        raise ArgumentError(
            f"cluster: labels must be whole numbers, one for each of the {n} points; got {labels.dtype} {labels.shape}."
        )
    return np.maximum(labels.astype(np.int64), -1)


def _outcome(points: _Points, method: str, classes: np.ndarray | None, settings: Settings) -> _Outcome:
    """Cluster the points, and set the clusters beside the classes."""
    where = f"{points.name}, {method}"
    notes = _left_out(points)
    assignment = np.full(points.n, -1)
    objective, reason = math.nan, _too_few(points.values, settings.clusters)
    if not reason:
        found, remark = METHODS[method](points.values, settings)
        assignment[points.kept] = _by_appearance(found.assignment)
        objective = found.objective
        notes += [f"{where}: {remark}."] if remark else []
        notes += [] if found.converged else [f"{where}: points still moved at the last step; the clusters may change."]
    scores, labelled, silent = _scores(classes, assignment)
    counts = (len(points.kept), labelled, points.n - len(points.kept))
    row = {"similarity": points.name, "method": method, **scores, "objective": objective}
    row |= dict(zip(_COUNTS, counts, strict=True)) | {"status": reason or silent or MEASURED}
    return _Outcome(row, assignment, notes)


def _scores(classes: np.ndarray | None, assignment: np.ndarray) -> tuple[dict[str, float], int, str]:
    """How well the clusters agree with the known classes, of how many points those are, and why nothing can be said."""
    unknown = dict.fromkeys((f"{score}{end}" for score in _SCORES for end in ("", "_se")), math.nan)
    known = (classes >= 0) & (assignment >= 0) if classes is not None else np.zeros(0, dtype=bool)
    if classes is None or not known.any():
        return unknown, 0, "no labels"
    if np.ptp(classes[known]) == 0:
        return unknown, int(known.sum()), "all labels are of one class"
    return asdict(agreement(classes[known], assignment[known])), int(known.sum()), ""


def _left_out(points: _Points) -> list[str]:
    missing = np.setdiff1d(np.arange(points.n), points.kept)
    if not len(missing):
        return []
    named = ", ".join(map(str, missing[:6])) + (f" and {len(missing) - 6} more" if len(missing) > 6 else "")
    return [f"{points.name}: {len(missing)} of {points.n} points have non-finite numbers and are left out ({named})."]


def _too_few(values: np.ndarray, clusters: int) -> str:
    """Why there cannot be so many clusters; empty where there can."""
    n = len(values)
    if n < clusters:
        return f"{n} point{'' if n == 1 else 's'} for {clusters} clusters"
    different = _different(values, clusters)
    if different == 1:
        return "all points are alike"
    return f"{different} different points for {clusters} clusters" if different < clusters else ""


def _different(rows: np.ndarray, most: int) -> int:
    """How many rows differ from each other, counted up to ``most``."""
    slack = _ALIKE * np.abs(rows).max(initial=0)
    new, count = np.ones(len(rows), dtype=bool), 0
    while count < most and new.any():
        count += 1
        new &= np.abs(rows - rows[new.argmax()]).max(1, initial=0) > slack
    return count


def _by_appearance(assignment: np.ndarray) -> np.ndarray:
    """The same clusters, the first point's number 0, the next other one's 1, and so on."""
    _, first, place = np.unique(assignment, return_index=True, return_inverse=True)
    return first.argsort().argsort()[place]


def _origin(measured: Result | np.ndarray, settings: Mapping[str, Any]) -> dict[str, Any]:
    before = dict(measured.provenance) if isinstance(measured, Result) else {}
    names = {"flexure": version("flexure"), "python": platform.python_version(), "numpy": np.__version__}
    shared = {name: before.pop(name) for name in ("specimen", "data", "device", "dtype") if name in before}
    return shared | {
        "settings": {name: value for name, value in settings.items() if name != "seed"},
        "seed": settings["seed"],
        "measured": before,
        "versions": names | {"scikit-learn": version("scikit-learn"), "scipy": version("scipy")},
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
