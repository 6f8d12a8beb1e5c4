"""The plane of temperature and cut-off with its band and folds, and the curves of D, G and R over displacement."""

import math
from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from flexure.charts.asked import asked
from flexure.charts.records import column, distinct
from flexure.charts.scales import Z95, LogAxis, log_axis
from flexure.charts.theme import (
    INK,
    LINE,
    MUTED,
    STROKE,
    UPRIGHT,
    color_scale,
    configured,
    legend_of,
    shape_scale,
    stacked,
)
from flexure.results import MEASURED, Result

__all__ = ["QUANTITIES", "draw"]

QUANTITIES = {
    "folding": "Which deformations fold the image?",
    "plane": "R over the plane of temperature and cut-off",
    "R": "R = D / G: a smooth deformation against noise",
    "D": "D: sensitivity to a smooth deformation",
    "G": "G: sensitivity to noise",
}
_PLANES, _VALUES = ("folding", "plane"), ("R", "D", "G")
_SUBTITLES = {
    "folding": "Share of the deformations that fold, by color. Shaded: the band from T1 (half a pixel) to T2.",
    "plane": "R at the output, by color. Shaded: the band from T1 (half a pixel) to T2.",
    "R": "Squared change of the output under a deformation ÷ under noise of the same size.",
    "D": "Squared change under a deformation ÷ squared distance of two images.",
    "G": "Squared change under noise of the deformation's size ÷ squared distance of two images.",
}
_WIDTH, _HEIGHT = 640, 300
_FACTS = ("cutoff", "temperature", "displacement", "rms_displacement", "n", "status", "folding", "folding_se")
_LINES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
_POINT: dict[str, Any] = {"symbolSize": 60, "symbolOpacity": 1}
_HEAT = ["#fde9c9", "#fdbb84", "#ef6548", "#b30000", "#5a0010"]
_COOL = ["#3b1c8c", "#21908d", "#dcd64a"]

Rows = list[dict[str, Any]]


def draw(
    results: Sequence[Result], labels: Sequence[str], *, y: str | Sequence[str] | None = None, legend: bool = True
) -> Any:
    """How does the output's sensitivity change over the plane of deformations?

    Two kinds of picture. Over the plane (``"folding"``, ``"plane"``), each point is a temperature and a cut-off, with
    the band from T1 to T2 and dashed lines of equal nominal displacement; one panel per result. Over displacement
    (``"R"``, ``"D"``, ``"G"``), one curve per cut-off with a band of ± 1.96 standard errors, results laid over one
    another; hollow points lie outside of [T1, T2].

    Args:
        results: Results of ``phase_diagram``.
        labels: A distinct name for each.
        y: ``"folding"``, ``"plane"``, ``"R"``, ``"D"``, ``"G"`` or several of them, one below another; by default
            ``"folding"`` (of the first result) and ``"R"``.
        legend: Whether to draw legends.

    Raises:
        ArgumentError: ``y`` names something else, or nothing.
    """
    wanted = asked("phase_diagram", y, QUANTITIES, ["folding", "R"])
    shown = list(results[:1]) if y is None else list(results)
    panels: list[Any] = []
    for i, name in enumerate(wanted):
        if name in _PLANES:
            panels += _planes(shown, labels, name)
        else:
            panels.append(_curves(results, labels, name, legend and not any(n in _VALUES for n in wanted[:i])))
    if len(panels) == 1:
        return configured(panels[0])
    own: dict[str, Any] = dict.fromkeys(("color", "fill", "shape", "strokeDash"), "independent")
    return configured(stacked(panels).resolve_scale(**own))


def _records(result: Result, label: str) -> Rows:
    """One record per point, with the numbers of the table unrounded."""
    names = [*_FACTS, *(part for name in _VALUES for part in (name, f"{name}_se"))]
    columns = {name: column(result, name, MEASURED if name == "status" else None) for name in names}
    inside = [bool(value) for value in column(result, "in_band", False)]
    return [
        {"run": label, "place": "in the band" if inside[i] else "outside"}
        | {name: values[i] for name, values in columns.items()}
        | {"series": f"c = {columns['cutoff'][i]}"}
        for i in range(len(result))
    ]


# The plane


def _planes(results: Sequence[Result], labels: Sequence[str], name: str) -> list[Any]:
    """A plane for each result, all with the same colors for the same values."""
    values = [value for result in results for value in column(result, "R")]
    ends = log_axis(values, [None] * len(values))
    return [
        _plane(one, f" — {label}" if len(results) > 1 else "", name, _color_of_values(name, ends))
        for one, label in zip(results, labels, strict=False)
    ]


def _color_of_values(name: str, ends: LogAxis) -> alt.Color:
    if name == "folding":
        look = alt.Legend(title="share that folds", format="~g", gradientLength=200, values=[0, 0.5, 1])
        return alt.Color("folding:Q", scale=alt.Scale(domain=[0, 1], range=_HEAT), legend=look)
    scale = alt.Scale(type="log", domain=[ends.low, ends.high], range=_COOL, nice=False)
    return alt.Color(
        "R:Q", scale=scale, legend=alt.Legend(title="R", format="~g", gradientLength=200, values=ends.ticks)
    )


def _plane(result: Result, suffix: str, name: str, color: alt.Color) -> Any:
    rows = _records(result, suffix.removeprefix(" — "))
    cutoffs, low, high = (result[f"curve_{part}"] for part in ("cutoff", "T1", "T2"))
    y = _heat_axis(rows, low, high, cutoffs)
    x = _cutoff_axis(rows, cutoffs)
    lines = [*_band(cutoffs, low, high, x, y), *_equal_displacements(cutoffs, low, x, y)]
    title = alt.TitleParams(QUANTITIES[name] + suffix, subtitle=[_SUBTITLES[name]])
    return alt.layer(*lines, _points(rows, color, x, y), title=title).properties(width=_WIDTH, height=_HEIGHT)


def _heat_axis(rows: Rows, low: np.ndarray, high: np.ndarray, cutoffs: np.ndarray) -> dict[str, Any]:
    measured = sorted({row["cutoff"] for row in rows})
    seen = (cutoffs >= min(measured)) & (cutoffs <= max(measured))
    temperatures = [row["temperature"] for row in rows]
    ends = [*temperatures, *low[seen], *high[seen]]
    domain = [float(min(ends)) / 1.4, float(max(ends)) * 1.4]
    axis = alt.Axis(title="temperature T", format=".0e", titleAngle=-90, grid=False, tickCount=6)
    return {"scale": alt.Scale(type="log", domain=domain, nice=False, clamp=False), "axis": axis}


def _cutoff_axis(rows: Rows, cutoffs: np.ndarray) -> dict[str, Any]:
    measured = sorted({float(row["cutoff"]) for row in rows})
    ends = [min(measured[0] / 1.3, 2.0), max(measured[-1] * 1.3, measured[0] * 2)]
    axis = alt.Axis(title="cut-off c", values=measured, format="d", grid=False)
    return {"scale": alt.Scale(type="log", domain=ends, nice=False), "axis": axis}


def _band(cutoffs: np.ndarray, low: np.ndarray, high: np.ndarray, x: dict, y: dict) -> list[alt.Chart]:
    """The area between T1 and T2, as far as there is one, and both lines."""
    values = [{"c": float(c), "T1": float(t1), "T2": float(t2)} for c, t1, t2 in zip(cutoffs, low, high, strict=True)]
    at = min(range(len(values)), key=lambda i: -_clearance(values[i]["c"], x))
    chart = alt.Chart(alt.InlineData(values=values)).encode(x=alt.X("c:Q", **x))
    area = chart.transform_filter("datum.T1 < datum.T2").mark_area(color="#0072b2", opacity=0.1, clip=True)
    lines = chart.mark_line(strokeWidth=1.6, color="#0072b2", clip=True)
    return [
        area.encode(y=alt.Y("T1:Q", **y), y2="T2:Q"),
        lines.encode(y=alt.Y("T1:Q", **y)),
        lines.encode(y=alt.Y("T2:Q", **y)),
        *_named(values[at], "T1", x, y),
        *_named(values[at], "T2", x, y),
    ]


def _clearance(cutoff: float, x: dict) -> float:
    """How far a cut-off lies from those measured and from the ends of the axis, in logarithms."""
    return min(abs(math.log(cutoff / taken)) for taken in (*x["axis"].values, *x["scale"].domain))


def _named(row: dict[str, Any], name: str, x: dict, y: dict) -> list[alt.Chart]:
    """The name of a line, on a halo of the page's color."""
    one = alt.Chart(alt.InlineData(values=[{"c": row["c"], "t": row[name], "text": name}]))
    where: dict[str, Any] = {"x": alt.X("c:Q", **x), "y": alt.Y("t:Q", **y), "text": "text:N"}
    look: dict[str, Any] = {"fontSize": 12, "dy": -8, "clip": True}
    halo = one.mark_text(stroke="white", strokeWidth=4, strokeJoin="round", opacity=0.85, **look)
    return [halo.encode(**where), one.mark_text(color=INK, **look).encode(**where)]


def _equal_displacements(cutoffs: np.ndarray, low: np.ndarray, x: dict, y: dict) -> list[alt.Chart]:
    """Lines of constant nominal displacement, 4δ²T1, named where they leave the picture."""
    floor, ceiling = y["scale"].domain
    end = x["scale"].domain[1]
    inside = cutoffs <= end
    rows = [
        {"c": float(c), "t": float(4 * delta**2 * t1), "δ": f"{delta:g} px"}
        for delta in _LINES
        if delta != 0.5
        for c, t1 in zip(cutoffs[inside], low[inside], strict=True)
    ]
    last = {row["δ"]: row for row in rows if floor < row["t"] < ceiling}
    chart = alt.Chart(alt.InlineData(values=rows)).mark_line(strokeDash=[3, 3], strokeWidth=1, color=LINE, clip=True)
    names = alt.Chart(alt.InlineData(values=list(last.values()))).mark_text(
        align="left", dx=4, fontSize=11, color=MUTED
    )
    where: dict[str, Any] = {"x": alt.X("c:Q", **x), "y": alt.Y("t:Q", **y)}
    return [chart.encode(detail="δ:N", **where), names.encode(text="δ:N", **where)]


def _points(rows: Rows, color: alt.Color, x: dict, y: dict) -> alt.Chart:
    base = _described(alt.Chart(alt.InlineData(values=rows)))
    base = base.encode(x=alt.X("cutoff:Q", **x), y=alt.Y("temperature:Q", **y), tooltip=_tooltip())
    return base.mark_circle(size=56, opacity=1, stroke=INK, strokeWidth=0.4).encode(color=color)


# Over displacement


def _curves(results: Sequence[Result], labels: Sequence[str], name: str, legend: bool) -> Any:
    rows = [row for result, label in zip(results, labels, strict=True) for row in _records(result, label)]
    axis = log_axis([row[name] for row in rows], [row[f"{name}_se"] for row in rows], 1.0 if name == "R" else None)
    y = axis.channel(title=name, **UPRIGHT)
    by = "run" if len(results) > 1 else "series"
    base = _computed(_described(alt.Chart(alt.InlineData(values=rows))), name, axis)
    base = base.encode(x=_displacement(rows), color=_color(rows, by, legend), detail=["run:N", "series:N"])
    band = base.mark_area(opacity=0.15).encode(y=alt.Y("low:Q", **y), y2="high:Q")
    dash = alt.value([1, 0]) if by == "series" else _dash(rows, legend)
    line = base.mark_line(strokeWidth=1.8).encode(y=alt.Y("value:Q", **y), strokeDash=dash)
    is_inside = alt.datum.place == "in the band"
    point = base.mark_point(size=42, filled=False, opacity=1, strokeWidth=1.2).encode(
        y=alt.Y("value:Q", **y),
        shape=_shape(rows),
        fill=alt.condition(is_inside, _color(rows, by, False, alt.Fill), alt.value("white")),
        tooltip=_tooltip(),
    )
    subtitle = [f"{_SUBTITLES[name]} Hollow: outside the band. Shaded: 95 % intervals.", *axis.remarks]
    layers = [band, line, point]
    if name == "R":
        layers = [alt.Chart(alt.InlineData(values=[{}])).mark_rule(color=INK, opacity=0.6).encode(y=alt.datum(1, **y))]
        layers += [band, line, point]
    title = alt.TitleParams(QUANTITIES[name], subtitle=subtitle)
    return alt.layer(*layers, title=title).properties(width=_WIDTH, height=_HEIGHT)


def _displacement(rows: Rows) -> alt.X:
    known = [row["displacement"] for row in rows if row["displacement"]]
    domain = [min(known, default=0.1) / 1.1, max(known, default=10.0) * 1.1]
    axis = alt.Axis(title="nominal displacement δ, pixels", format="~g", values=[0.1, *_LINES], gridDash=[1, 3])
    return alt.X("displacement:Q", scale=alt.Scale(type="log", domain=domain, nice=False), axis=axis)


def _computed(chart: alt.Chart, name: str, axis: LogAxis) -> alt.Chart:
    is_shown = f"isValid(datum.{name}) && datum.{name} > 0"
    return chart.transform_calculate(
        value=f"{is_shown} ? datum.{name} : null",
        low=f"{is_shown} ? max({axis.low!r}, datum.{name} - {Z95} * datum.{name}_se) : null",
        high=f"{is_shown} ? datum.{name} + {Z95} * datum.{name}_se : null",
    )


def _color(rows: Rows, by: str, legend: bool, channel: type = alt.Color) -> Any:
    names = distinct(rows, by)
    look = legend_of(names if legend else [], **(STROKE if by == "run" else _POINT))
    return channel(f"{by}:N", scale=color_scale(names), legend=look)


def _dash(rows: Rows, legend: bool) -> alt.StrokeDash:
    names = distinct(rows, "series")
    patterns = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3]]
    scale = alt.Scale(domain=names, range=[patterns[i % len(patterns)] for i in range(len(names))])
    look = legend_of(names if legend else [], symbolStrokeColor=MUTED, **_POINT)
    return alt.StrokeDash("series:N", scale=scale, legend=look)


def _shape(rows: Rows) -> alt.Shape:
    names = distinct(rows, "series")
    return alt.Shape("series:N", scale=shape_scale(names), legend=None)


def _described(chart: alt.Chart) -> alt.Chart:
    """Texts of the tooltip, worked out where the chart is drawn."""
    texts = {
        f"{name} ± se": f"isValid(datum.{name}) ? format(datum.{name}, '.4~g') + ' ± ' + "
        f"(isValid(datum.{name}_se) ? format(datum.{name}_se, '.2~g') : '?') : 'not measured'"
        for name in (*_VALUES, "folding")
    }
    return chart.transform_calculate(**texts)


def _tooltip() -> list[alt.Tooltip]:
    facts = [alt.Tooltip("run:N"), alt.Tooltip("cutoff:Q", title="cut-off")]
    facts += [alt.Tooltip(f"{name}:Q", format=".4~g") for name in ("temperature", "displacement")]
    facts += [alt.Tooltip("rms_displacement:Q", title="true rms", format=".4~g"), alt.Tooltip("place:N")]
    numbers = [alt.Tooltip(f"{name} ± se:N") for name in ("folding", *_VALUES)]
    return [*facts, *numbers, alt.Tooltip("n:Q", title="images"), alt.Tooltip("status:N")]
