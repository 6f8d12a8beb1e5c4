"""How far a step on each image moves the prediction on every other, as a matrix; and what part layers have in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import altair as alt
import numpy as np

from flexure.charts.asked import asked
from flexure.charts.records import column, distinct
from flexure.charts.scales import Z95
from flexure.charts.shades import end_of, shades
from flexure.charts.theme import INK, color_scale, configured, legend_of, stacked
from flexure.errors import ArgumentError
from flexure.results import MEASURED, Result

__all__ = ["LAYERS", "QUANTITIES", "draw", "main_matrix"]

QUANTITIES = {
    "cosine": (
        "How alike two images pull at the weights",
        "Cosine of what steps on the two do: 1 the same, 0 nothing in common, −1 the opposite.",
    ),
    "relative_signed": (
        "How far a step on one image moves another",
        "As a share of how far it moves its own prediction; below 0: the other way.",
    ),
    "relative": (
        "How far a step on one image moves another, whichever way",
        "As a share of how far it moves its own prediction, without the sign.",
    ),
    "kernel": (
        "The kernel of every two images",
        "What a step on one does to the other, per step and slope of the loss.",
    ),
    "share": (
        "Which layers move the prediction",
        "Share of the kernel of an image with itself. Lines: 95 % intervals.",
    ),
}
LAYERS = "share"
_MATRICES = ("cosine", "relative_signed", "kernel", "relative")  # the first that is there is drawn
_MOST = 100  # rows and columns that are drawn
_OVERLAP = 0.3  # of neighbors, as a share of their size
_WIDTH, _SIZE, _HEIGHT = 640, 480, 300

Rows = list[dict[str, Any]]


def draw(
    results: Sequence[Result], labels: Sequence[str], *, y: str | Sequence[str] | None = None, legend: bool = True
) -> Any:
    """How far does a step on each image move the prediction on every other, and through which layers?

    A matrix has a row for each image that was stepped on and a column for each that was watched, ordered by class, or
    where none is known by what stands in an array ``cluster``; more than 100 are drawn as blocks of images of one
    class, each the mean over its pairs of different images. Signed quantities have colors that part at 0. There is a
    panel per result, all with the same colors for the same values.

    Args:
        results: Results of ``elasticity``.
        labels: A distinct name for each.
        y: ``"cosine"``, ``"relative_signed"``, ``"relative"``, ``"kernel"`` (matrices), ``"share"`` (a bar for each
            layer, all results in one panel) or several of them; by default the cosine, or what there is in its place,
            of the first result, and the shares where layers were told apart.
        legend: Whether to draw legends.

    Raises:
        ArgumentError: ``y`` names something else, or a matrix that a result does not hold.
    """
    wanted = asked("elasticity", y, QUANTITIES, _usual(results))
    shown = list(results[:1]) if y is None else list(results)
    panels: list[Any] = []
    for name in wanted:
        panels += [_shares(results, labels, legend)] if name == LAYERS else _matrices(shown, labels, name, legend)
    return configured(stacked(panels).resolve_scale(color="independent") if len(panels) > 1 else panels[0])


def main_matrix(result: Result) -> str | None:
    """The matrix that is drawn by default: the first that holds a number; None where none does."""
    return next((name for name in _MATRICES if result.has_number(name)), None)


def _usual(results: Sequence[Result]) -> list[str]:
    matrix = main_matrix(results[0])
    has_layers = any(_layers(result, "") for result in results)
    return ([matrix] if matrix else []) + ([LAYERS] if has_layers or not matrix else [])


# The matrix


@dataclass(frozen=True, eq=False)
class _Side:
    """Rows or columns of the picture.

    Attributes:
        order: The images ``(n,)``, those of a class together.
        starts: Where each block begins in that order.
        names: Of the blocks.
        classes: First and last place of each class and its name; empty where there are none.
        group: What the classes are: classes or clusters.
    """

    order: np.ndarray
    starts: np.ndarray
    names: list[str]
    classes: list[tuple[int, int, str]]
    group: str

    @classmethod
    def of(cls, n: int, labels: np.ndarray | None, index: np.ndarray | None, group: str = "class") -> "_Side":
        """The images, by class or cluster where that is known, in at most so many blocks as are drawn."""
        known = np.zeros(n, dtype=int) if labels is None or len(np.unique(labels)) > _MOST // 2 else labels
        order = np.argsort(known, kind="stable")
        edges = [0, *(np.flatnonzero(np.diff(known[order])) + 1).tolist(), n]
        starts = [start for low, high in pairwise(edges) for start in _starts(low, high, n)]
        is_told = labels is known
        classes = [(low, high, f"{group} {known[order[low]]}") for low, high in pairwise(edges)] if is_told else []
        named = order if index is None else index[order]
        names = [
            (f"{group} {known[order[low]]}, " if is_told else "")
            + (f"image {named[low]}" if high - low == 1 else f"{high - low} images")
            for low, high in pairwise([*starts, n])
        ]
        return cls(order, np.array(starts), names, classes, group)

    @property
    def ends(self) -> np.ndarray:
        """Where each block ends."""
        return np.append(self.starts[1:], len(self.order))


def _starts(low: int, high: int, n: int) -> list[int]:
    """Where the blocks of a class begin that has these places."""
    count = high - low if n <= _MOST else max((high - low) * _MOST // n, 1)
    return [low + (high - low) * part // count for part in range(count)]


def _matrices(results: Sequence[Result], labels: Sequence[str], name: str, legend: bool) -> list[Any]:
    """A matrix for each result, all with the same colors for the same values."""
    sides = [_sides(result, label, name) for result, label in zip(results, labels, strict=False)]
    blocks = [_blocks(result, name, *both) for result, both in zip(results, sides, strict=True)]
    end = end_of([off for result, values in zip(results, blocks, strict=True) for off in _off_diagonal(result, values)])
    color = shades(name.replace("_", ", "), end, is_signed=name != "relative", legend=legend)
    suffixes = [f": {label}" if len(results) > 1 else "" for label in labels]
    return [
        _matrix(name, suffix, color, values, *both, _remarks(result, values, end, *both))
        for result, suffix, values, both in zip(results, suffixes, blocks, sides, strict=False)
    ]


def _sides(result: Result, label: str, name: str) -> tuple[_Side, _Side]:
    if name not in result.arrays or len(result.shape(name)) != 2:
        there = ", ".join(known for known in _MATRICES if known in result.arrays) or "none"
        raise ArgumentError(f"chart of elasticity: {label} holds no matrix {name!r}; it has: {there}.")
    n, m = result.shape(name)
    rows = _Side.of(n, *_order_of(result, ""))
    return rows, rows if _is_own(result, n, m) else _Side.of(m, *_order_of(result, "point_"))


def _order_of(result: Result, prefix: str) -> tuple[np.ndarray | None, np.ndarray | None, str]:
    """Classes of the images, or where none is known their clusters, their indices, and which of both it is."""
    labels, index = (result.arrays.get(f"{prefix}{about}") for about in ("labels", "index"))
    if not prefix and "cluster" in result.arrays and (labels is None or not (labels >= 0).any()):
        return result["cluster"], index, "cluster"
    return labels, index, "class"


def _is_own(result: Result, n: int, m: int) -> bool:
    """Whether the images that are watched are those that are stepped on."""
    return n == m and not result.provenance.get("points")


def _blocks(result: Result, name: str, rows: _Side, columns: _Side) -> np.ndarray:
    """Mean of each block over its pairs that have a value; of different images only, where a block has several."""
    matrix, found = result[name], []
    for start, end in zip(rows.starts, rows.ends, strict=True):
        part = np.asarray(matrix[rows.order[start:end]], dtype=float)[:, columns.order]
        if rows is columns and end - start > 1:
            part[np.arange(end - start), np.arange(start, end)] = np.nan
        keep = np.isfinite(part)
        total, count = (
            np.add.reduceat(each.sum(0), columns.starts) for each in (np.where(keep, part, 0.0), keep.astype(float))
        )
        found.append(np.where(count > 0, total / np.maximum(count, 1), np.nan))
    return np.stack(found)


def _off_diagonal(result: Result, values: np.ndarray) -> np.ndarray:
    """Sizes of the finite values, those of images with themselves left out."""
    own = np.eye(*values.shape, dtype=bool) if _is_own(result, *values.shape) else np.zeros(values.shape, dtype=bool)
    off = np.abs(values[np.isfinite(values) & ~own])
    return off if len(off) else np.abs(values[np.isfinite(values)])


def _remarks(result: Result, values: np.ndarray, end: float, rows: _Side, columns: _Side) -> list[str]:
    order = f"ordered by {rows.group}" if rows.classes else "in the order of the images"
    own = f"by {columns.group}" if columns.classes else "in their own order"
    watched = "" if rows is columns else f" ({len(columns.order)} others, {own})"
    found, more = [f"A row for each image stepped on, a column for each one watched{watched}; {order}."], []
    if len(rows.starts) < len(rows.order) or len(columns.starts) < len(columns.order):
        less = ", images with themselves left out" if rows is columns else ""
        more.append(f"Blocks: means over {len(rows.order):,} × {len(columns.order):,} pairs{less}.")
    if (beyond := int((_off_diagonal(result, values) > end).sum())) > 0:
        more.append(f"Colors end at {end:g}; {beyond:,} of {values.size:,} go further.")
    if not np.isfinite(values).all():
        more.append("Blank: not defined.")
    return [*found, *([" ".join(more)] if more else [])]


def _matrix(
    name: str, suffix: str, color: alt.Color, values: np.ndarray, rows: _Side, columns: _Side, remarks: list[str]
) -> Any:
    title, meaning = QUANTITIES[name]
    x, y = _axis(columns, "watched", False), _axis(rows, "stepped on", True)
    cells = _cells(values, rows, columns).encode(
        x=alt.X("x:Q", **x), x2="x2:Q", y=alt.Y("y:Q", **y), y2="y2:Q", color=color, tooltip=_cell_tooltip(name)
    )
    lines = [*_borders(columns, "x", x), *_borders(rows, "y", y)]
    told = alt.TitleParams(title + suffix, subtitle=[meaning, *remarks])
    return alt.layer(cells, *lines, title=told).properties(width=_SIZE, height=_SIZE)


def _cells(values: np.ndarray, rows: _Side, columns: _Side) -> alt.Chart:
    """A rectangle for each block; the values of a row travel together, which keeps the page small."""
    data = [
        {"row": i, "y": low, "y2": high, "stepped": what, "value": [_rounded(value) for value in values[i]]}
        for i, (low, high, what) in enumerate(_places(rows))
    ]
    places = [
        {"place": i, "x": low, "x2": high, "watched": what} for i, (low, high, what) in enumerate(_places(columns), 1)
    ]
    of_place = alt.LookupData(alt.InlineData(values=places), key="place", fields=["x", "x2", "watched"])
    counted = alt.WindowFieldDef(op="row_number", **{"as": "place"})
    return (
        alt.Chart(alt.InlineData(values=data))
        .transform_flatten(["value"])
        .transform_window(window=[counted], groupby=["row"])
        .transform_lookup(lookup="place", from_=of_place)
        .mark_rect(aria=False)
    )


def _places(side: _Side) -> list[tuple[int, float, str]]:
    """Begin, end and name of each block; it reaches a little below the next one, or the page would show between."""
    ends = np.minimum(side.ends + _OVERLAP * (side.ends - side.starts), len(side.order)).tolist()
    return list(zip(side.starts.tolist(), ends, side.names, strict=True))


def _rounded(value: float) -> float | None:
    """A number as short as a color or a glance needs it."""
    return float(f"{value:.3g}") if np.isfinite(value) else None


def _axis(side: _Side, title: str, is_upright: bool) -> dict[str, Any]:
    """Places of the images, named by their classes; rows run downwards."""
    n = len(side.order)
    look: dict[str, Any] = {"title": f"image {title}", "grid": False, "domain": False, "ticks": False}
    if side.classes:
        names = {f"{(low + high) / 2:g}": name.removeprefix(f"{side.group} ") for low, high, name in side.classes}
        look |= {
            "title": f"{side.group} of the image {title}",
            "values": [float(at) for at in names],
            "labelOverlap": True,
        }
        look |= {"labelExpr": f"{names!r}[format(datum.value, '~g')]"}
    else:
        look |= {"labels": False}
    scale = alt.Scale(domain=[n, 0] if is_upright else [0, n], nice=False, zero=False)
    return {"scale": scale, "axis": alt.Axis(**look)}


def _borders(side: _Side, channel: str, axis: dict[str, Any]) -> list[alt.Chart]:
    """Lines between classes."""
    places = [{"at": low} for low, _, _ in side.classes[1:]]
    if not places:
        return []
    line = alt.Chart(alt.InlineData(values=places)).mark_rule(color=INK, strokeWidth=0.8, opacity=0.55, aria=False)
    return [line.encode(x=alt.X("at:Q", **axis)) if channel == "x" else line.encode(y=alt.Y("at:Q", **axis))]


def _cell_tooltip(name: str) -> list[alt.Tooltip]:
    sides = [alt.Tooltip("stepped:N", title="stepped on"), alt.Tooltip("watched:N")]
    return [*sides, alt.Tooltip("value:Q", title=name.replace("_", ", "), format=".3~g")]


# The layers


def _layers(result: Result, label: str) -> Rows:
    """One record per layer that has a share, in the network's order; without the network as a whole."""
    names = ("layer", "kind", "parameters", "share", "share_se", "n")
    columns = {name: column(result, name) for name in names} | {"status": column(result, "status", MEASURED)}
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return [
        row | {"run": label, "layer": str(row["layer"] or "(itself)")}
        for row in rows
        if row["share"] is not None and row["kind"] != "output"
    ]


def _shares(results: Sequence[Result], labels: Sequence[str], legend: bool) -> Any:
    """A bar for each layer and result, with its interval."""
    rows = [row for result, label in zip(results, labels, strict=True) for row in _layers(result, label)]
    names, runs = distinct(rows, "layer"), list(labels)
    sides = alt.Axis(title=None, labelAngle=-40, labelAlign="right", labelLimit=120, labelOverlap=True, grid=False)
    y: dict[str, Any] = {"axis": alt.Axis(title=None, format="~%", grid=True, tickCount=6)}
    y["scale"] = alt.Scale(domainMin=0, nice=True)
    text = "format(datum.share, '.3f') + ' ± ' + (isValid(datum.share_se) ? format(datum.share_se, '.2~g') : '?')"
    base = alt.Chart(alt.InlineData(values=rows)).transform_calculate(
        **{"share ± se": text},
        low=f"max(0, datum.share - {Z95} * datum.share_se)",
        high=f"datum.share + {Z95} * datum.share_se",
    )
    base = base.encode(x=alt.X("layer:N", sort=names, axis=sides, scale=alt.Scale(paddingInner=0.45, paddingOuter=0.3)))
    if len(runs) > 1:
        base = base.encode(xOffset=alt.XOffset("run:N", sort=runs))
    tooltip = [alt.Tooltip(f"{name}:N") for name in ("layer", "kind", "run")]
    tooltip += [alt.Tooltip("parameters:Q", title="weights", format=","), alt.Tooltip("share ± se:N")]
    tooltip += [alt.Tooltip("n:Q", title="images"), alt.Tooltip("status:N")]
    color = alt.Color("run:N", scale=color_scale(runs), legend=legend_of(runs if legend else []))
    bar = base.mark_bar().encode(y=alt.Y("share:Q", **y), color=color, tooltip=tooltip)
    error = base.transform_filter("isValid(datum.share_se)").mark_rule(color=INK, strokeWidth=1.2, aria=False)
    error = error.encode(y=alt.Y("low:Q", **y), y2="high:Q")
    title, meaning = QUANTITIES[LAYERS]
    remarks = [meaning] if rows else ["No layers were told apart: nothing to draw."]
    return alt.layer(bar, error, title=alt.TitleParams(title, subtitle=remarks)).properties(
        width=_WIDTH, height=_HEIGHT
    )
