"""What the page works out from similarities: classes, distances, and an order where no classes are known."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from flexure.analysis.class_sensitivity import class_sensitivity
from flexure.analysis.cluster import cluster
from flexure.analysis.distance import against_distance
from flexure.charts import chart
from flexure.charts.records import column
from flexure.page.embed import Picture, picture
from flexure.page.numbers import number
from flexure.results import Result

__all__ = ["classes_of", "distances_of", "grouped"]

_CLASSES = 40  # whose map is drawn, at most
_IMAGES = 600  # whose pairs are looked at
_SIZE, _HEIGHT = 440, 330
_CLUSTERS = 2
_MOVES = ("relative_signed", "kernel")  # the first that holds a number is mapped over classes


def classes_of(result: Result) -> Picture | None:
    """Which classes training on one class moves; None where there are not several, or too many."""
    sides = [result.arrays.get(name) for name in ("labels", "point_labels")]
    known = np.concatenate([side for side in sides if side is not None] or [np.empty(0)])
    count = len(np.unique(known[known >= 0]))
    if sides[0] is None or not 2 <= count <= _CLASSES or (sides[1] is None and result.provenance.get("points")):
        return None
    name = next((name for name in _MOVES if np.isfinite(result.arrays.get(name, np.nan)).any()), None)
    if name is None:
        return None
    found = class_sensitivity(result, similarity=name)
    drawn = picture(chart(found), _SIZE)
    ratio = number(*(column(found, f"worst_over_average{end}")[-1] for end in ("", "_se")))
    words = f"The largest mean size is {ratio} times the mean of the column in which that is largest." if ratio else ""
    return Picture(drawn.title, (*drawn.remarks, *([words] if words else [])), drawn.spec)


def distances_of(results: Sequence[Result], labels: Sequence[str], similarities: Sequence[str]) -> Picture | None:
    """Similarity against the distance of the images; None where none of these results can tell."""
    held = [
        (result, label)
        for result, label, name in zip(results, labels, similarities, strict=True)
        if "distance" in result.arrays and result[name].shape == result["distance"].shape and _is_own(result)
    ]
    if not held or len(set(similarities)) > 1 or len(held[0][0]["distance"]) < 5:
        return None
    found = [_against(result, similarities[0]) for result, _ in held]
    drawn = picture(chart(found, labels=[label for _, label in held]), _HEIGHT)
    return Picture(drawn.title, ("Distance: Euclidean, of all pixels as given. " + drawn.remarks[0],), drawn.spec)


def _is_own(result: Result) -> bool:
    return result.provenance.get("points") is None


def _against(result: Result, similarity: str) -> Result:
    """Of some images, evenly chosen, where there are many."""
    n = len(result["distance"])
    chosen = np.unique(np.linspace(0, n - 1, min(n, _IMAGES)).astype(int))
    part = np.ix_(chosen, chosen)
    arrays = {similarity: result[similarity][part]}
    less = Result(result.probe, result.question, result.table, arrays, provenance=result.provenance)
    return against_distance(less, result["distance"][part], similarity=similarity)


def grouped(result: Result, similarity: str) -> Result:
    """With the clusters in ``cluster`` where no classes are known, so that the matrix can be drawn in their order."""
    labels = result.arrays.get("labels")
    if not _is_own(result) or result[similarity].shape[0] < 4 or (labels is not None and (labels >= 0).any()):
        return result
    found = cluster(result, similarity=similarity, clusters=_CLUSTERS)
    return replace(result, arrays={**result.arrays, "cluster": found["assignment"][0]})
