"""Which classes does training on one class move, and how much is the worst above the average?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from flexure.errors import ArgumentError
from flexure.results import MEASURED, Result

__all__ = ["ALL", "class_sensitivity"]

QUESTION = "Which classes does training on one class move, and how much is the worst above the average?"
ALL = "all"
"""What the last row calls both classes, since it is about all pairs of them."""
_COLUMNS = ("sensitivity", "signed")


def class_sensitivity(
    measured: Result,
    *,
    similarity: str = "relative_signed",
    labels: Sequence[int] | np.ndarray | None = None,
    point_labels: Sequence[int] | np.ndarray | None = None,
    slopes: np.ndarray | None = None,
    point_slopes: np.ndarray | None = None,
) -> Result:
    r"""Which classes does training on one class move, and how much is the worst above the average?

    With S a similarity, rows stepped on and columns watched, and means over pairs of different images,

    .. math::
        M_{kl} = \mathrm{E}\,|S_{ij}|, \quad \bar S_{kl} = \mathrm{E}\,S_{ij}
        \quad (i \text{ of class } k,\ j \text{ of class } l), \qquad
        \rho = \frac{\max_{kl} M_{kl}}{\max_l \frac1C \sum_k M_{kl}} .

    A bound by what any image does to any other has to hold for the worst pair; one that lets the two depend on each
    other, for the watched image for which the average is worst. :math:`\rho \ge 1` says how much is gained, in means
    over classes: 1 where training on any class moves a class alike.

    Args:
        measured: A result of ``flexure.elasticity``, or any other with such an array.
        similarity: Which array.
        labels: Classes of the rows ``(n,)``, whole numbers, negative where unknown: those images are left out. None:
            those of the result.
        point_labels: Classes of the columns, where they are other images (``points=``). None: those of the result.
        slopes: Slopes of the loss :math:`\ell'` at the rows ``(n,)``: S is then
            :math:`\ell'(x_j)\, S_{ij}\, \ell'(x_i)`, which for ``similarity="kernel"`` is, to first order and per step
            size, by how much a step on i lowers the loss at j. None: S as it is.
        point_slopes: The same at the columns, where they are other images.

    Returns:
        A row for each ordered pair of classes, ``stepped`` and ``watched``: ``sensitivity`` (M, in the similarity's
        unit, at least 0), ``signed`` (the mean with its sign), each with ``_se`` over images (jackknife within classes:
        an image leaves with all its pairs), ``worst_over_average`` (NaN but in the last row), ``n`` images of the two
        classes, ``pairs``, ``status``. The last row, of ``"all"``, has means over pairs of classes, and :math:`\rho`.
        Arrays ``sensitivity_map``, ``sensitivity_map_se``, ``signed_map``, ``signed_map_se (C, C)`` and
        ``classes (C,)``.

    Raises:
        ArgumentError: There is no such matrix, or not one class (or slope) per image.

    The largest of several means is too large by chance, by about its error; with few images per class read
    :math:`\rho` next to its error.

    Cost: one pass over the matrix, and C² numbers per image.

    Exact case: a similarity that is a within classes and b between them has M of a and b, and with C classes and
    a > b > 0, :math:`\rho = C a / (a + (C - 1) b)`.

    Source: Deng, He and Su, *Toward better generalization bounds with locally elastic stability* (2021), whose constant
        depends on both images. Theirs is the change of a loss when an image is left out of a training; ours what a
        training step does (with slopes, to the loss), in means over classes instead of a supremum over images.
    """
    values = _matrix(measured, similarity)
    is_own = values.shape[0] == values.shape[1] and measured.provenance.get("points") is None
    rows = _told(measured, "labels", labels, values.shape[0])
    columns = rows if is_own else _told(measured, "point_labels", point_labels, values.shape[1])
    if slopes is not None:
        mine = _slopes("slopes", slopes, values.shape[0])
        theirs = mine if is_own else _slopes("point_slopes", point_slopes, values.shape[1])
        values = mine[:, None] * values * theirs
    classes = np.unique(np.concatenate([rows[rows >= 0], columns[columns >= 0]]))
    if not len(classes):
        raise ArgumentError("class_sensitivity: no image has a class; give labels=.")
    places = [np.where(one < 0, -1, np.searchsorted(classes, one)) for one in (rows, columns)]
    sides = _Sides(places[0], places[1], len(classes), is_own)
    parts = {name: _Blocks.of(part, sides) for name, part in _parts(values).items()}
    arrays = {f"{name}_map": part.means for name, part in parts.items()}
    arrays |= {f"{name}_map_se": part.errors for name, part in parts.items()} | {"classes": classes}
    table = pd.DataFrame([*_rows(parts, classes, sides), _whole(parts, sides)])
    units = dict.fromkeys(("n",), "images") | {"worst_over_average": "ratio", "worst_over_average_se": "ratio"}
    about = {key: measured.provenance[key] for key in ("specimen", "data", "seed") if key in measured.provenance}
    about |= {"settings": {"similarity": similarity, "slopes": slopes is not None}}
    return Result("class_sensitivity", QUESTION, table, arrays, units, about)


def _matrix(measured: Result, similarity: str) -> np.ndarray:
    values = np.asarray(measured[similarity], dtype=float)
    if values.ndim != 2:
        raise ArgumentError(
            f"class_sensitivity: {similarity!r} is of shape {values.shape}; expected a matrix, images stepped on along "
            "rows and watched along columns."
        )
    return values


def _told(measured: Result, name: str, given: Any, n: int) -> np.ndarray:
    """Classes of the rows or the columns, -1 where unknown."""
    found = measured.arrays.get(name) if given is None else np.asarray(given)
    if found is None:
        raise ArgumentError(f"class_sensitivity: the result knows no classes of these images; give {name}=.")
    if found.shape != (n,) or found.dtype.kind not in "iub":
        raise ArgumentError(
            f"class_sensitivity: {name} must be whole numbers, one for each of {n} images; got {found.dtype} "
            f"{found.shape}."
        )
    return np.maximum(found.astype(np.int64), -1)


def _slopes(name: str, given: Any, n: int) -> np.ndarray:
    found = np.asarray(np.nan if given is None else given, dtype=float)
    if found.shape != (n,):
        raise ArgumentError(f"class_sensitivity: {name} must be {n} numbers, one per image; got shape {found.shape}.")
    return found


def _parts(values: np.ndarray) -> dict[str, np.ndarray]:
    return {"sensitivity": np.abs(values), "signed": values}


@dataclass(frozen=True, eq=False)
class _Sides:
    """Of which class the images are.

    Attributes:
        rows, columns: Place of the class of each image stepped on ``(n,)`` and watched ``(m,)``; -1: of none.
        count: How many classes there are.
        is_own: Whether both are the same images.
    """

    rows: np.ndarray
    columns: np.ndarray
    count: int
    is_own: bool

    def blocks(self, values: np.ndarray) -> np.ndarray:
        """Sums over blocks of classes ``(C, C)``."""
        return self._of(self.rows).T @ self.along_rows(values)

    def along_rows(self, values: np.ndarray) -> np.ndarray:
        """Sums of each row over the columns of a class ``(n, C)``."""
        return values @ self._of(self.columns)

    def along_columns(self, values: np.ndarray) -> np.ndarray:
        """Sums of each column over the rows of a class ``(m, C)``."""
        return values.T @ self._of(self.rows)

    def images(self, k: int, m: int) -> int:
        """How many images there are of class k stepped on and of class m watched, each counted once."""
        one, two = self.rows == k, self.columns == m
        return int((one | two).sum()) if self.is_own else int(one.sum() + two.sum())

    def strata(self) -> Iterator[list[tuple[int, bool, bool]]]:
        """The images of each class: place, whether it is a row, whether it is a column."""
        for classes, is_row in ((self.rows, True), *(() if self.is_own else ((self.columns, False),))):
            for k in range(self.count):
                yield [(int(place), is_row, self.is_own or not is_row) for place in np.flatnonzero(classes == k)]

    def _of(self, classes: np.ndarray) -> np.ndarray:
        return (classes[:, None] == np.arange(self.count)).astype(float)


@dataclass(frozen=True, eq=False)
class _Blocks:
    """Means of a matrix over blocks of classes.

    Attributes:
        means: ``(C, C)``.
        errors: Of the means, over images.
        counts: Pairs that have a value.
        whole: Mean over the blocks, and its error.
        ratio: Largest block over the largest mean of a column of blocks, and its error.
    """

    means: np.ndarray
    errors: np.ndarray
    counts: np.ndarray
    whole: tuple[float, float]
    ratio: tuple[float, float]

    @classmethod
    def of(cls, values: np.ndarray, sides: _Sides) -> "_Blocks":
        """Of a matrix, its diagonal left out where rows and columns are the same images."""
        keep = np.isfinite(values) & (sides.rows[:, None] >= 0) & (sides.columns >= 0)
        if sides.is_own:
            keep &= ~np.eye(len(values), dtype=bool)
        parts = [_Part(part, sides) for part in (np.where(keep, values, 0.0), keep.astype(float))]
        sums, counts = (part.whole for part in parts)
        spreads = [_Spread(), _Spread(), _Spread()]
        for images in sides.strata():
            for spread in spreads:
                spread.begin()
            for image in images:
                less = _divided(*(part.without(*image) for part in parts))
                for spread, value in zip(spreads, (less, less.mean(), _ratio(less)), strict=True):
                    spread.add(np.asarray(value))
        means = _divided(sums, counts)
        errors, whole, ratio = (spread.error() for spread in spreads)
        return cls(means, errors, counts, (float(means.mean()), float(whole)), (_ratio(means), float(ratio)))


class _Part:
    """Sums of a matrix over blocks, and what they are without an image."""

    def __init__(self, values: np.ndarray, sides: _Sides) -> None:
        self.whole = sides.blocks(values)
        self._sides, self._across, self._down = sides, sides.along_rows(values), sides.along_columns(values)

    def without(self, place: int, is_row: bool, is_column: bool) -> np.ndarray:
        """The sums without this image's row, its column, or both; an image has no pair with itself."""
        left = self.whole.copy()
        if is_row:
            left[self._sides.rows[place]] -= self._across[place]
        if is_column:
            left[:, self._sides.columns[place]] -= self._down[place]
        return left


class _Spread:
    """Jackknife: the sum of what groups of images contribute to a variance."""

    def __init__(self) -> None:
        self._groups: list[tuple[Any, Any, Any]] = []

    def begin(self) -> None:
        """What follows is of another group: its mean, sum of squares about it, and how many were finite."""
        self._groups.append((0.0, 0.0, 0.0))

    def add(self, value: np.ndarray) -> None:
        """The estimate without one image."""
        mean, squares, count = self._groups[-1]
        fine = np.isfinite(value)
        count = count + fine
        gap = np.where(fine, value - mean, 0.0)
        mean = mean + gap / np.maximum(count, 1)
        self._groups[-1] = (mean, squares + gap * np.where(fine, value - mean, 0.0), count)

    def error(self) -> np.ndarray:
        """The standard error; NaN where nothing is left without an image."""
        total = np.float64(0.0)
        for _, squares, count in self._groups:
            total = total + np.where(count > 0, (count - 1) / np.maximum(count, 1) * squares, np.nan)
        return np.sqrt(total)


def _divided(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.where(counts > 0.5, sums / np.maximum(counts, 1), np.nan)


def _ratio(means: np.ndarray) -> float:
    """The largest block over the largest mean of a column."""
    if not np.isfinite(means).all():
        return float("nan")
    average = means.mean(0).max()
    return float(means.max() / average) if average > 0 else float("nan")


def _rows(parts: dict[str, _Blocks], classes: np.ndarray, sides: _Sides) -> Iterator[dict[str, Any]]:
    for k, stepped in enumerate(classes):
        for m, watched in enumerate(classes):
            found: dict[str, Any] = {"stepped": str(stepped), "watched": str(watched)}
            for name in _COLUMNS:
                found |= {name: parts[name].means[k, m], f"{name}_se": parts[name].errors[k, m]}
            pairs = int(parts["signed"].counts[k, m])
            found |= {"worst_over_average": np.nan, "worst_over_average_se": np.nan, "n": sides.images(k, m)}
            yield found | {"pairs": pairs, "status": MEASURED if pairs else "no pair of different images"}


def _whole(parts: dict[str, _Blocks], sides: _Sides) -> dict[str, Any]:
    """The row of all classes."""
    found: dict[str, Any] = {"stepped": ALL, "watched": ALL}
    for name in _COLUMNS:
        found |= {name: parts[name].whole[0], f"{name}_se": parts[name].whole[1]}
    ratio, error = parts["sensitivity"].ratio
    found |= {"worst_over_average": ratio, "worst_over_average_se": error}
    n = sum(map(len, sides.strata()))
    status = MEASURED if np.isfinite(ratio) else "some classes have no pair of different images"
    return found | {"n": n, "pairs": int(parts["signed"].counts.sum()), "status": status}
