"""How undecided each layer's weights are: over depth before and after, over steps of a training, and as densities."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import altair as alt
import numpy as np

from flexure.charts.asked import asked
from flexure.charts.depth import FITTING, Depth, depth_of
from flexure.charts.records import column, distinct
from flexure.charts.scales import Z95
from flexure.charts.theme import INK, MUTED, STROKE, VIRIDIS, color_scale, configured, legend_of, stacked
from flexure.errors import ArgumentError
from flexure.results import Result

__all__ = ["QUANTITIES", "SPREAD", "draw", "panels"]

QUANTITIES = {
    "fuzziness": "Fuzziness of each layer’s weights",
    "center_distance": "Mean distance of each layer’s weights from the center",
}
_ENDS = {
    "fuzziness": "1: all weights at the center of their interval. 0: each at an end.",
    "center_distance": "0: all weights at the center of their interval. 1: each at an end or beyond.",
}
SPREAD = "How the weights of each layer are spread"
_NULLS = "Gray: 95 % of layers of independent uniform weights of the same size. Dotted: Gaussian ones."
_AFTER, _BEFORE = "network as given", "before training"
_WIDTH, _HEIGHT = 640, 300
_SMALL = (196, 120)
_DENSITIES, _WAYS, _BANDS = 9, 4, 4
_BINS = 60  # of a histogram; fewer of few weights
_LAWS = ("uniform", "gaussian")

Rows = list[dict[str, Any]]


def draw(
    results: Sequence[Result], labels: Sequence[str], *, y: str | Sequence[str] | None = None, legend: bool = True
) -> Any:
    """How undecided are the weights of each layer, and what did training make of them?

    A panel for each interval and index, at most four. Bands are value ± 1.96 standard errors over weights; the gray
    band holds 95 % of layers of independent uniform weights of the same size, the dotted line is that of Gaussian ones.
    Results of several steps are drawn over steps, a line per layer.

    Args:
        results: Results of ``fuzziness``.
        labels: A distinct name for each.
        y: ``"fuzziness"`` (default), ``"center_distance"``, ``"density"`` (of the weights of the first layers), or
            several.
        legend: Whether to draw legends.

    Raises:
        ArgumentError: ``y`` names something else, or densities that a result does not hold.
    """
    wanted = asked("fuzziness", y, [*QUANTITIES, "density"], ["fuzziness"])
    drawn: list[Any] = []
    for name in wanted:
        if name == "density":
            drawn += [_small_multiples(*one, len(results) > 1) for one in zip(results, labels, strict=True)]
        else:
            drawn += _of(results, labels, name, legend)
    picture = stacked(drawn or [alt.Chart(alt.InlineData(values=[]), title="Nothing to draw").mark_point()])
    picture = picture.resolve_scale(color="independent") if len(drawn) > 1 else picture
    return configured(_with_names(picture, _depth(results)))


def panels(results: Sequence[Result], labels: Sequence[str], name: str) -> list[Any]:
    """The pictures of :func:`draw` one by one, none composed of others: of densities one per layer."""
    if name == "density":
        return [configured(one) for result in results for one in _densities(result)]
    depth = _depth(results)
    return [configured(_with_names(one, depth)) for one in _of(results, labels, name, True)]


def _of(results: Sequence[Result], labels: Sequence[str], name: str, legend: bool) -> list[Any]:
    """One quantity over depth, or over the steps of each result."""
    if not any("step" in result.table for result in results):
        return _over_depth(results, labels, name, legend)
    named = [label if len(results) > 1 else "" for label in labels]
    return [_over_steps(result, label, name, legend) for result, label in zip(results, named, strict=True)]


def _depth(results: Sequence[Result]) -> Depth:
    """The axis that all layers of all results share."""
    depth = depth_of([list(dict.fromkeys(column(result, "layer"))) for result in results])
    if depth.title:
        ends = {0.0: "first", 0.25: "25 %", 0.5: "50 %", 0.75: "75 %", 1.0: "last"}
        depth = replace(depth, labels=[ends] * len(FITTING), title="share of the network’s layers passed")
    return depth


def _with_names(picture: Any, depth: Depth) -> Any:
    """The picture with the names beneath its axis of depth, which the whole of it has to know."""
    picture = picture.copy()
    picture.params = [*(picture.params if isinstance(picture.params, list) else []), *depth.parameters]
    return picture


def _ways(results: Sequence[Result]) -> list[tuple[str, str, str]]:
    """Interval, scope and index of the panels."""
    found = [
        way
        for result in results
        for way in zip(*(column(result, name) for name in ("interval", "scope", "index")), strict=True)
    ]
    return list(dict.fromkeys(found))[:_WAYS]


def _title(name: str, way: tuple[str, str, str], more: str = "") -> alt.TitleParams:
    interval, scope, index = way
    between = f"Interval: {interval}" + (f", one per {scope}" if scope not in ("given", "weight") else "")
    words = [_ENDS[name], f"{between}. Index: {index}." if name == "fuzziness" else f"{between}.", _NULLS]
    return alt.TitleParams(f"{QUANTITIES[name]}{more}", subtitle=words)


def _records(result: Result, way: tuple[str, str, str], name: str) -> Rows:
    """One record per row of this way that has a value."""
    names = ["layer", "kind", "n", name, f"{name}_se", f"{name}_before", f"{name}_before_se", "low", "high", "step"]
    names += [f"{name}_{law}{end}" for law in _LAWS for end in ("", "_low", "_high")]
    columns = {own: column(result, own) for own in names}
    ways = list(zip(*(column(result, own) for own in ("interval", "scope", "index")), strict=True))
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return [row for row, own in zip(rows, ways, strict=True) if own == way and row[name] is not None]


def _over_depth(results: Sequence[Result], labels: Sequence[str], name: str, legend: bool) -> list[Any]:
    """A panel per interval and index, all results in it."""
    panels, depth = [], _depth(results)
    places = [
        dict(zip(dict.fromkeys(column(result, "layer")), own, strict=True))
        for result, own in zip(results, depth.positions, strict=True)
    ]
    for way in _ways(results):
        tables = [_records(result, way, name) for result in results]
        rows = [
            {
                **row,
                "x": own[row["layer"]],
                "run": label,
                "state": state,
                "value": row[f"{name}{end}"],
                "se": row[f"{name}{end}_se"],
            }
            for table, label, own in zip(tables, labels, places, strict=True)
            for row in table
            for state, end in ((_AFTER, ""), (_BEFORE, "_before"))
            if row[f"{name}{end}"] is not None
        ]
        panels.append(_panel(rows, depth, name, _title(name, way), legend))
    return panels


def _panel(rows: Rows, depth: Depth, name: str, title: alt.TitleParams, legend: bool) -> Any:
    axis = _axis(rows, name)
    runs = distinct(rows, "run")
    base = _banded(alt.Chart(alt.InlineData(values=rows))).encode(x=depth.channel)
    color = alt.Color("run:N", scale=color_scale(runs), legend=legend_of(runs if legend else [], **STROKE))
    base = base.encode(color=color, detail="state:N")
    band = base.mark_area(opacity=0.16, clip=True).encode(y=alt.Y("low95:Q", **axis), y2="high95:Q")
    states = [state for state in (_AFTER, _BEFORE) if state in distinct(rows, "state")]
    dash = alt.StrokeDash(
        "state:N",
        scale=alt.Scale(domain=[_AFTER, _BEFORE], range=[[1, 0], [5, 3]]),
        legend=legend_of(states if legend else [], symbolStrokeColor=MUTED, **STROKE),
    )
    line = base.encode(y=alt.Y("value:Q", **axis), strokeDash=dash).mark_line(strokeJoin="round", strokeWidth=2)
    point = base.encode(y=alt.Y("value:Q", **axis)).mark_point(size=36, filled=True, opacity=1)
    layers = [*_nulls(rows, depth.channel, name, axis), band, line, point.encode(tooltip=_tooltip(name))]
    return alt.layer(*layers, title=title).properties(width=_WIDTH, height=_HEIGHT)


def _nulls(rows: Rows, x: alt.X, name: str, axis: dict[str, Any]) -> list[alt.Chart]:
    """Where layers of independent weights lie."""
    data = [row for row in rows if row["state"] == _AFTER and row[f"{name}_uniform"] is not None]
    base = alt.Chart(alt.InlineData(values=data)).encode(x=x, detail="run:N")
    band = base.mark_area(color=MUTED, opacity=0.25, clip=True)
    dotted = base.mark_line(color=INK, strokeDash=[1, 3], strokeWidth=1.2, opacity=0.7, clip=True)
    return [
        band.encode(y=alt.Y(f"{name}_uniform_low:Q", **axis), y2=f"{name}_uniform_high:Q"),
        dotted.encode(y=alt.Y(f"{name}_gaussian:Q", **axis)),
    ]


def _banded(chart: alt.Chart) -> alt.Chart:
    known = "isValid(datum.se)"
    return chart.transform_calculate(
        low95=f"{known} ? datum.value - {Z95} * datum.se : null",
        high95=f"{known} ? datum.value + {Z95} * datum.se : null",
        told=f"format(datum.value, '.3f') + ' ± ' + ({known} ? format(datum.se, '.2~g') : '?')",
    )


def _axis(rows: Rows, name: str) -> dict[str, Any]:
    """From the lowest to the highest of values and nulls, within [0, 1]."""
    keys = ["value", *(f"{name}_{law}{end}" for law in _LAWS for end in ("_low", "_high"))]
    values = [row[key] for row in rows for key in keys if row.get(key) is not None]
    spread = [row["value"] + sign * Z95 * (row["se"] or 0) for row in rows for sign in (-1, 1)]
    low, high = (end(values + spread, default=0.5) for end in (min, max))
    room = max(0.06 * (high - low), 0.01)
    domain = [max(low - room, -0.01), min(high + room, 1.01)]
    look = alt.Axis(title=None, format="~g", grid=True)
    return {"scale": alt.Scale(domain=domain, nice=False, zero=False), "axis": look}


def _tooltip(name: str) -> list[alt.Tooltip]:
    numbers = [alt.Tooltip(f"{key}:Q", format=".3~g") for key in ("low", "high")]
    return [
        *(alt.Tooltip(f"{key}:N") for key in ("layer", "kind", "run", "state")),
        alt.Tooltip("told:N", title=f"{name.replace('_', ' ')} ± se"),
        *numbers,
        alt.Tooltip("n:Q", title="weights"),
    ]


def _over_steps(result: Result, label: str, name: str, legend: bool) -> Any:
    """A line per layer over the steps of a training, dark for the first; null bands where there are few layers."""
    way = next(iter(_ways([result])), ("", "", ""))
    rows = [
        {**row, "run": label, "state": _AFTER, "value": row[name], "se": row[f"{name}_se"]}
        for row in _records(result, way, name)
    ]
    layers, axis = distinct(rows, "layer"), _axis(rows, name)
    color = alt.Color(
        "layer:N",
        scale=alt.Scale(domain=layers, range=_shades(len(layers))),
        sort=layers,
        legend=legend_of(layers[:12] if legend else [], **STROKE),
    )
    x = alt.X("step:Q", axis=alt.Axis(title="steps of training", format="~s", grid=False))
    base = _banded(alt.Chart(alt.InlineData(values=rows))).encode(x=x, color=color)
    parts = []
    if len(layers) <= _BANDS:
        null = alt.Y(f"{name}_uniform_low:Q", **axis)
        parts.append(base.mark_area(opacity=0.13, clip=True).encode(y=null, y2=f"{name}_uniform_high:Q"))
        dotted = base.mark_line(strokeDash=[1, 3], strokeWidth=1.1, clip=True)
        parts.append(dotted.encode(y=alt.Y(f"{name}_gaussian:Q", **axis)))
    bar = base.mark_rule(opacity=0.5).encode(y=alt.Y("low95:Q", **axis), y2="high95:Q")
    value = base.encode(y=alt.Y("value:Q", **axis))
    points = value.mark_point(size=26, filled=True, opacity=1).encode(tooltip=[*_tooltip(name), alt.Tooltip("step:Q")])
    title = _title(name, way, ", while it learns" + (f": {label}" if label else ""))
    title.subtitle = [
        *title.subtitle[:2],  # pyrefly: ignore
        "Bands: 95 % of layers of independent uniform weights of each layer’s size. Dotted: Gaussian ones."
        if parts
        else "Bars: 95 % intervals over weights.",
    ]
    shown = alt.layer(*parts, bar, value.mark_line(strokeWidth=1.8), points, title=title)
    return shown.properties(width=_WIDTH, height=_HEIGHT)


def _shades(count: int) -> list[str]:
    at = np.linspace(0, len(VIRIDIS) - 1, max(count, 1)).round().astype(int)
    return [VIRIDIS[i] for i in at]


def _small_multiples(result: Result, label: str, is_named: bool) -> Any:
    """How the weights of the first layers are spread, before training and as given."""
    drawn = _densities(result)
    before = "Orange: as given. Gray: before training. " if "density_before" in result.arrays else ""
    left_out = len(set(column(result, "layer"))) - len(drawn)
    more = f" {left_out} further layers are left out." if left_out else ""
    told = f"{before}Dotted: the ends of the first interval, and its center.{more}"
    title = alt.TitleParams(f"{SPREAD}: {label}" if is_named else SPREAD, subtitle=[told])
    if not drawn:
        return alt.Chart(alt.InlineData(values=[]), title=title).mark_point()
    return alt.concat(*drawn, columns=3, spacing=18, title=title)


def _densities(result: Result) -> list[Any]:
    """A small panel per layer."""
    if "density" not in result.arrays:
        raise ArgumentError("chart: this result of fuzziness holds no densities; draw one of a single measurement.")
    weights = dict(zip(column(result, "layer"), column(result, "n"), strict=True))
    edges = result["density_edges"]
    states = {_BEFORE: result.arrays.get("density_before"), _AFTER: result["density"]}
    drawn = []
    for i, (layer, n) in enumerate(weights.items()):
        merged = next(k for k in (1, 2, 3, 4, 6) if k == 6 or _BINS / k <= max(n or 0, 1) ** 0.5)
        bounds = edges[i][::merged]
        rows = [
            {"low": float(low), "high": float(high), "density": float(value), "state": state}
            for state, values in states.items()
            if values is not None and np.isfinite(values[i]).all()
            for low, high, value in zip(bounds[:-1], bounds[1:], values[i].reshape(-1, merged).mean(1), strict=True)
        ]
        if rows and len(drawn) < _DENSITIES:
            drawn.append(_density(rows, layer, _ends_of(result, layer)))
    return drawn


def _ends_of(result: Result, layer: str) -> list[float]:
    for name, low, high in zip(*(column(result, key) for key in ("layer", "low", "high")), strict=True):
        if name == layer and low is not None and high is not None:
            return [low, (low + high) / 2, high]
    return []


def _density(rows: Rows, layer: str, ends: list[float]) -> Any:
    top, bottom = max(row["high"] for row in rows), min(row["low"] for row in rows)
    room = 0.03 * (top - bottom)
    domain = [min([bottom, *ends]) - room, max([top, *ends]) + room]
    x = alt.X("low:Q", scale=alt.Scale(domain=domain, nice=False), axis=alt.Axis(title=None, tickCount=4, grid=False))
    color = alt.Color("state:N", scale=alt.Scale(domain=[_BEFORE, _AFTER], range=[MUTED, "#d55e00"]), legend=None)
    base = alt.Chart(alt.InlineData(values=rows)).encode(x=x, x2="high:Q", color=color)
    y = alt.Y("density:Q", stack=None, axis=alt.Axis(title=None, tickCount=3, grid=False))
    bars = base.mark_rect(opacity=0.55).encode(y=y, y2=alt.datum(0))
    rules = alt.Chart(alt.InlineData(values=[{"at": end} for end in ends])).mark_rule(strokeDash=[2, 3], color=INK)
    return alt.layer(bars, rules.encode(x="at:Q"), title=alt.TitleParams(layer, fontSize=12)).properties(
        width=_SMALL[0], height=_SMALL[1]
    )
