"""What the page says about elasticity: how far others are moved, whether classes matter, the matrix, the layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flexure.charts import chart
from flexure.charts.elasticity import LAYERS, main_matrix
from flexure.charts.records import column
from flexure.charts.theme import colors
from flexure.page.embed import Picture, picture, pictures
from flexure.page.facts import NOT_RECORDED, normalization_of, settings_of
from flexure.page.images import png, shades
from flexure.page.numbers import Number, interval, number, plain
from flexure.results import MEASURED, Result

__all__ = ["Answer", "Contents", "Gallery", "Table", "Tile", "contents"]

_SIZE, _HEIGHT = 440, 300
_MATRICES = 4  # runs whose matrices are drawn
_ESTIMATES = ("share", "kernel_self", "relative_mean", "cosine_mean", "same_class", "ratio")
_WHOLE = "output"
_BUDGET = 380_000  # bytes of images on one page


@dataclass(frozen=True)
class Answer:
    """One run's answer.

    Attributes:
        name: The run.
        color: Its color in the pictures.
        moved, same, ratio: Mean over pairs of different images of how far a step moves the other; mean cosine within
            classes; that as a share of itself and the mean between classes. Value and interval, or None.
        median: The median over all pairs of how far a step moves the other, where there is no mean with an error.
        heaviest: Layer with the largest share, and the share.
        status: Why nothing was measured; empty where something was.
    """

    name: str
    color: str
    moved: tuple[Number, str] | None
    same: tuple[Number, str] | None
    ratio: tuple[Number, str] | None
    median: Number | None
    heaviest: tuple[str, Number] | None
    status: str


@dataclass(frozen=True)
class Table:
    """One run's table.

    Attributes:
        name: The run.
        rows: Layer, kind, weights, the estimates and, where it is not just measured, the status.
        has_pairs: Whether any row has means over pairs.
        has_remark: Whether a row has something to say.
    """

    name: str
    rows: list[tuple[str, str, str, list[Number | None], str]]
    has_pairs: bool
    has_remark: bool


@dataclass(frozen=True)
class Tile:
    """An image: data URI, index in its full set, class (empty where unknown), similarity (empty: with itself)."""

    uri: str
    index: int
    label: str
    value: str


@dataclass(frozen=True)
class Gallery:
    """A few images of one run, each with those most and least like it.

    Attributes:
        rows: The image itself, those nearest, the nearest first, and those farthest, the farthest last.
        near: How many of each.
        size: ``(width, height)`` in pixels.
        by: What the values are.
        are_others: Whether the neighbors are of another set of images.
        name: The run.
    """

    rows: list[list[Tile]]
    near: int
    size: tuple[int, int]
    by: str
    are_others: bool
    name: str


@dataclass(frozen=True)
class Contents:
    """Everything the template of this panel needs.

    Attributes:
        answers: One per run.
        pictures: A matrix for each of the first runs, then the layers of all.
        matrices: How many matrices there are.
        left_out: Runs whose matrices are not drawn.
        has_layers: Whether layers were told apart.
        is_limit: Whether all runs are of the limit of small steps.
        gallery: Of the first run that has images.
        tables: One per run.
        setup: How it was measured, as the macro ``setup`` takes it.
    """

    answers: list[Answer]
    pictures: list[Picture]
    matrices: int
    left_out: int
    has_layers: bool
    is_limit: bool
    gallery: Gallery | None
    tables: list[Table]
    setup: list[tuple[str, list[str]]]


def contents(results: Sequence[Result], labels: Sequence[str]) -> Contents:
    """The panel's content for these results, one per run."""
    held = [(result, label) for result, label in zip(results, labels, strict=True) if main_matrix(result)]
    matrices = [_matrix(result, label, len(results) > 1) for result, label in held[:_MATRICES]]
    has_layers = any(len(_layers(result)) > 0 for result in results)
    shares = pictures(results, labels, {LAYERS: _HEIGHT}) if has_layers else []
    return Contents(
        answers=list(map(_answer, results, labels, colors(len(results)))),
        pictures=[*matrices, *shares],
        matrices=len(matrices),
        left_out=len(held[_MATRICES:]),
        has_layers=has_layers,
        is_limit=all(settings_of(result).get("step") is None for result in results),
        gallery=next((_gallery(*one) for one in held if "sample_image" in one[0].arrays), None),
        tables=[_table(result, label) for result, label in zip(results, labels, strict=True)],
        setup=_setup(results),
    )


def _matrix(result: Result, label: str, is_named: bool) -> Picture:
    drawn = picture(chart(result, y=main_matrix(result)), _SIZE)
    return Picture(f"{drawn.title}: {label}", drawn.remarks, drawn.spec) if is_named else drawn


def _layers(result: Result) -> list[tuple[str, float, float | None]]:
    """Layer, share and error of every layer that was told apart."""
    columns = (column(result, name) for name in ("layer", "kind", "share", "share_se"))
    rows = zip(*columns, strict=True)
    return [
        (str(layer or "(itself)"), share, error)
        for layer, kind, share, error in rows
        if kind != _WHOLE and share is not None
    ]


def _answer(result: Result, label: str, color: str) -> Answer:
    layers = [str(name) for name in column(result, "layer", "")]
    at = layers.index(_WHOLE) if _WHOLE in layers else len(layers) - 1
    moved, same, ratio = (_estimate(result, name, at) for name in ("relative_mean", "same_class", "ratio"))
    heaviest = max(_layers(result), key=lambda row: row[1], default=None)
    status = str(column(result, "status", MEASURED)[at]) if layers else "the table is empty"
    return Answer(
        name=label,
        color=color,
        moved=moved,
        same=same,
        ratio=ratio,
        median=None if moved else _median(result),
        heaviest=(heaviest[0], number(*heaviest[1:]) or Number("")) if heaviest else None,
        status="" if status == MEASURED else status,
    )


def _estimate(result: Result, name: str, at: int) -> tuple[Number, str] | None:
    """The value in this row and its interval."""
    if not len(result):
        return None
    pair = column(result, name)[at], column(result, f"{name}_se")[at]
    value = number(*pair)
    return None if value is None else (value, interval(*pair))


def _median(result: Result) -> Number | None:
    values = result.arrays.get("relative", np.empty(0))
    known = values[np.isfinite(values)]
    return Number(plain(float(np.median(known)))) if len(known) else None


def _gallery(result: Result, label: str) -> Gallery:
    by = main_matrix(result) or "kernel"
    images, are_others = result["sample_image"], bool(result.provenance.get("points"))
    low, high = shades(images, (result.provenance.get("specimen") or {}).get("bounds"))
    rows, size = [], 0
    for row in range(len(images)):
        tiles = [_tile(result, row, at, by, are_others, low, high) for at in range(images.shape[1])]
        size += sum(len(tile.uri) for tile in tiles)
        rows += [tiles] if size <= _BUDGET or not rows else []
    height, width = images.shape[-2:]
    return Gallery(rows, images.shape[1] // 2, (width, height), by.replace("_", ", "), are_others, label)


def _tile(result: Result, row: int, at: int, by: str, are_others: bool, low: float, high: float) -> Tile:
    places, labels = result["sample_place"][row], result.arrays.get("point_labels" if are_others and at else "labels")
    known = labels is not None and labels[places[at]] >= 0
    return Tile(
        uri=png(np.nan_to_num(result["sample_image"][row, at]), low, high),
        index=int(result["sample_index"][row, at]),
        label=str(labels[places[at]]) if known and labels is not None else "",
        value=plain(float(result.rows(by, places[0], places[0] + 1)[0, places[at]])) if at else "",
    )


def _table(result: Result, label: str) -> Table:
    facts = [column(result, name) for name in ("layer", "kind", "parameters")]
    states = [str(state) for state in column(result, "status", MEASURED)]
    estimates = [
        [number(*pair) for pair in zip(column(result, name), column(result, f"{name}_se"), strict=True)]
        for name in _ESTIMATES
    ]
    rows = [
        (str(layer or "(itself)"), str(kind or ""), f"{int(count or 0):,}", list(numbers), _remark(state))
        for layer, kind, count, numbers, state in zip(*facts, zip(*estimates, strict=True), states, strict=True)
    ]
    has_pairs = any(value is not None for row in rows for value in row[3][2:])
    return Table(label, rows, has_pairs, any(row[-1] for row in rows))


def _remark(state: str) -> str:
    return "" if state == MEASURED else state


def _setup(results: Sequence[Result]) -> list[tuple[str, list[str]]]:
    """How it was measured: label, one phrase per run; what applies to none is left out."""
    phrases = [_phrases(result) for result in results]
    labels = dict.fromkeys(label for own in phrases for label in own)
    return [(label, [own.get(label, "–") for own in phrases]) for label in labels]


def _phrases(result: Result) -> dict[str, str]:
    about, settings = result.provenance, settings_of(result)
    rows = {
        "network": (about.get("specimen") or {}).get("name"),
        "images stepped on": _images(about.get("data")),
        "images watched": _images(about["points"]) if about.get("points") else "the same",
        "normalization": normalization_of(result),
        "watched": _watched(settings.get("output")),
        **(_steps(settings, about) if settings.get("step") is not None else {"step": "the limit of small steps"}),
        **(_sketch(settings["sketch"], about) if settings.get("sketch") else {}),
        "seed": about.get("seed"),
        "arithmetic": ", ".join(str(about[name]) for name in ("device", "dtype") if about.get(name)) or None,
    }
    return {label: NOT_RECORDED if value is None else str(value) for label, value in rows.items()}


def _images(data: Any) -> str | None:
    if not isinstance(data, Mapping) or "name" not in data:
        return None
    return f"{data.get('n') or 0:,} of {data['name']}"


def _watched(output: Any) -> str:
    if output in (None, "trace", "all"):
        return "the only output, or the sum over all of them"
    return f"output {output}"


def _sketch(size: int, about: Mapping[str, Any]) -> dict[str, str]:
    """What is told of a kernel that is an estimate."""
    found = about.get("diagnostics") or {}
    if not isinstance(found.get("sketch_error"), float):
        return {"kernel": f"a sketch of {size:,} numbers per gradient"}
    off = f"off by {found['sketch_error']:.2g} of its norm at {found.get('sketch_images', 0):.0f} images"
    return {"kernel": f"a sketch of {size:,} numbers per gradient, {off}"}


def _steps(settings: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    """What is told of steps of finite size, with what they cost."""
    found = about.get("diagnostics") or {}
    several = f", {settings['steps']} of them" if (settings.get("steps") or 1) > 1 else ""
    doubts = {
        "most of a residual taken by a step": "linearity",
        "rounding, at the first images": "rounding",
        "kinks crossed": "crossed",
    }
    return {
        "step": f"{settings['step']:g}{several}",
        "loss": settings.get("loss"),
        "optimizer": settings.get("optimizer") or "plain gradient descent",
        "begins": "where the one before ended" if settings.get("sequential") else "at the same weights for every image",
        "route": {"rank_one": "layer by layer, exact", "loop": "new weights for every image"}.get(
            str(about.get("route")), about.get("route")
        ),
        **{label: f"{found[name]:.2g}" for label, name in doubts.items() if isinstance(found.get(name), float)},
    }
