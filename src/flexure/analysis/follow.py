"""What is worked out from a measurement unasked, because its page would be poorer without it."""

import numpy as np

from flexure.analysis.class_sensitivity import class_sensitivity
from flexure.analysis.cluster import cluster
from flexure.analysis.distance import against_distance
from flexure.results import Result

__all__ = ["following"]

_CLASSES = 40  # whose map is worked out, at most
_IMAGES = 600  # between which similarity is held against distance, at most
_MOVES = ("relative_signed", "kernel")  # the first that holds a number is mapped over classes
_NAMES = ("relative", "relative_signed", "cosine")


def following(measured: Result) -> list[Result]:
    """Answers that follow from a result of elasticity: over classes, over distance; clusters where no class is known.

    Matrices so large that no distances were kept are left alone, as are results of anything else.

    Args:
        measured: A result of any probe.
    """
    if measured.probe != "elasticity" or "distance" not in measured.arrays:
        return []
    is_own = measured.provenance.get("points") is None
    labels = measured.arrays["labels"]
    found = [] if (one := _over_classes(measured)) is None else [one]
    if is_own and len(labels) >= 5 and (one := _over_distance(measured)) is not None:
        found.append(one)
    if is_own and len(labels) >= 4 and not (labels >= 0).any():
        found.append(cluster(measured, similarity="kernel"))
    return found


def _over_classes(measured: Result) -> Result | None:
    sides = [measured.arrays[name] for name in ("labels", "point_labels") if name in measured.arrays]
    known = np.concatenate(sides)
    name = next((name for name in _MOVES if np.isfinite(measured[name]).any()), None)
    if name is None or not 2 <= len(np.unique(known[known >= 0])) <= _CLASSES or any((one < 0).all() for one in sides):
        return None
    return class_sensitivity(measured, similarity=name)


def _over_distance(measured: Result) -> Result | None:
    """Of some images, evenly chosen, where there are many."""
    n = len(measured["distance"])
    chosen = np.unique(np.linspace(0, n - 1, min(n, _IMAGES)).astype(int))
    part = np.ix_(chosen, chosen)
    arrays = {name: measured[name][part] for name in _NAMES if np.isfinite(measured[name]).any()}
    if not arrays:
        return None
    names = [name for name in ("cosine", "relative_signed", "relative") if name in arrays]
    less = Result(measured.probe, measured.question, measured.table, arrays, provenance=measured.provenance)
    return against_distance(less, measured["distance"][part], similarity=names)
