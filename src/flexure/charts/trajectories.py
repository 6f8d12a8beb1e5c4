"""Where weights end in the intervals of their own paths, beside random walks; and the paths of a few."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from flexure.charts.asked import asked
from flexure.charts.records import column, distinct
from flexure.charts.scales import Z95
from flexure.charts.theme import LINE, MUTED, STROKE, color_scale, configured, legend_of, stacked
from flexure.charts.training import thinned
from flexure.results import Result

__all__ = ["PATHS", "QUANTITIES", "draw", "layers_with_paths"]

QUANTITIES = {
    "near_end": ("Share of weights that end near an end of their own path", "Within a tenth of its interval."),
    "center_distance": ("Distance from the center of the own path", "0: at the center, 1: at an end."),
    "fuzziness": ("Fuzziness in the interval of the own path", "0: at the ends, 1: at the centers."),
}
PATHS = "paths"
_WIDTH, _HEIGHT = 640, 260
_SHOWN, _MOST_LAYERS, _MOST_POINTS = 5, 6, 400
_GAP = 0.03  # between two bars beside the paths, as a share of the axis

Rows = list[dict[str, Any]]


def draw(
    results: Sequence[Result], labels: Sequence[str], *, y: str | Sequence[str] | None = None, legend: bool = True
) -> Any:
    """Where do weights end in the intervals of their own paths?

    Points are layers with bars of value ± 1.96 standard errors over weights, gray what random walks of the same steps
    give. Paths are those of the first few sampled weights of a layer; to their right the interval of each, with a point
    where the weight ended.

    Args:
        results: Results of the monitor of trajectories.
        labels: A distinct name for each.
        y: ``"near_end"`` (default), ``"center_distance"``, ``"fuzziness"``; ``"paths"`` for a panel per layer, of the
            first six; ``"paths:conv1"`` for that of one layer; or several.
        legend: Whether to draw legends.

    Raises:
        ArgumentError: ``y`` names something else, or nothing.
    """
    own = [f"{PATHS}:{layer}" for layer in dict.fromkeys(name for one in results for name in layers_with_paths(one))]
    panels: list[Any] = []
    for name in asked("monitor_trajectories", y, [*QUANTITIES, PATHS, *own], ["near_end"]):
        if name in QUANTITIES:
            panels.append(_over_layers(results, labels, name, legend and not panels))
        else:
            for result, label in zip(results, labels, strict=True):
                panels += _paths(result, label if len(results) > 1 else "", name.partition(":")[2])
    picture = stacked(panels)
    return configured(picture.resolve_scale(color="independent") if len(panels) > 1 else picture)


def layers_with_paths(result: Result) -> list[str]:
    """The layers of which some weights' paths are kept."""
    if "path_layer" not in result.arrays:
        return []
    kept, names = set(result["path_layer"].tolist()), column(result, "layer", "")
    return [str(name) for number, name in enumerate(names) if number in kept]


def _over_layers(results: Sequence[Result], labels: Sequence[str], name: str, legend: bool) -> Any:
    rows = [row for result, label in zip(results, labels, strict=True) for row in _layers(result, label, name)]
    runs, title = distinct(rows, "run"), QUANTITIES[name]
    names = distinct(rows, "layer")
    look = alt.Axis(title=None, labelAngle=-40 if len(names) > 8 else 0, labelLimit=120, grid=False)
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X("layer:N", sort=names, axis=look), xOffset=alt.XOffset("run:N", sort=runs)
    )
    y = {"axis": alt.Axis(title=None, tickCount=6), "scale": alt.Scale(domain=[0, 1])}
    stroke = legend_of(runs if legend else [])
    color = alt.Color("run:N", scale=color_scale(runs), legend=stroke)
    chance = base.mark_rule(strokeWidth=9, color=LINE).encode(
        y=alt.Y("null_low:Q", **y), y2="null_high:Q", tooltip=_tooltip(name)
    )
    middle = base.mark_tick(color=MUTED, width=22, thickness=2).encode(y=alt.Y("null:Q", **y), tooltip=_tooltip(name))
    error = base.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q", **y), y2="high:Q", color=color)
    point = base.mark_point(filled=True, size=64, opacity=1).encode(
        y=alt.Y("value:Q", **y), color=color, tooltip=_tooltip(name)
    )
    words = f"{title[1]} Gray: random walks of the same steps. Bars: 95 % intervals, weights taken as independent."
    heading = alt.TitleParams(title[0], subtitle=[words])
    return alt.layer(chance, middle, error, point, title=heading).properties(width=_WIDTH, height=_HEIGHT)


def _layers(result: Result, label: str, name: str) -> Rows:
    """A record per layer that has a value."""
    keys = ("layer", name, f"{name}_se", f"{name}_null", f"{name}_null_se", "n", "moved", "status")
    columns = {key: column(result, key) for key in keys}
    rows = []
    for i, value in enumerate(columns[name]):
        if value is None:
            continue
        error, null, null_error = (columns[f"{name}{end}"][i] for end in ("_se", "_null", "_null_se"))
        row = {"run": label, "value": value, "se": error, "null": null, "null_se": null_error}
        row |= {"low": value - Z95 * (error or 0), "high": value + Z95 * (error or 0)}
        known = null is not None
        row |= {"null_low": null - Z95 * (null_error or 0) if known else None}
        row |= {"null_high": null + Z95 * (null_error or 0) if known else None}
        rows.append(row | {key: columns[key][i] for key in ("layer", "n", "moved", "status")})
    return rows


def _tooltip(name: str) -> list[alt.Tooltip]:
    facts = [alt.Tooltip("run:N"), alt.Tooltip("layer:N"), alt.Tooltip("n:Q", title="weights")]
    numbers = [("value", name), ("se", f"{name}_se"), ("null", "random walks"), ("moved", "share that moved")]
    return [*facts, *(alt.Tooltip(f"{key}:Q", title=title, format=".3~g") for key, title in numbers)]


def _paths(result: Result, label: str, only: str) -> list[Any]:
    """A panel for each of the first layers, or for one."""
    names = [str(name) for name in column(result, "layer", "")]
    there = layers_with_paths(result)
    wanted = [name for name in there if name == only] if only else there[:_MOST_LAYERS]
    panels = [_of_layer(result, names.index(name), f"{label}: {name}" if label else name) for name in wanted]
    return panels or [_panel([], [], ("step", [0.0, 1.0]), f"{label}: none is kept" if label else "none is kept")]


def _of_layer(result: Result, number: int, name: str) -> Any:
    """The paths of a few weights of one layer, and to their right the interval of each."""
    own = [i for i, layer in enumerate(result["path_layer"].tolist()) if layer == number][:_SHOWN]
    axis, places = _places(result)
    gap = _GAP * max(places[-1] - places[0], 1e-9)
    lines: Rows = []
    bars: Rows = []
    for place, i in enumerate(own):
        weight, path = f"weight {result['path_weight'][i]}", result["path"][i]
        values = [float(value) if np.isfinite(value) else None for value in path]
        lines += [{"weight": weight, "x": places[at], "value": values[at]} for at in thinned(len(path), _MOST_POINTS)]
        if np.isfinite(path).all():
            ends = {"low": float(path.min()), "high": float(path.max()), "value": values[-1]}
            bars.append({"weight": weight, "x": places[-1] + (2 + place) * gap} | ends)
    return _panel(lines, bars, (axis, places), name)


def _panel(lines: Rows, bars: Rows, axis: tuple[str, list[float]], name: str) -> Any:
    """Lines of paths and bars of their intervals."""
    title, places = axis
    weights = distinct(lines, "weight")
    end = places[-1] + (2 + len(weights)) * _GAP * max(places[-1] - places[0], 1e-9)
    look = alt.Axis(title=title, values=[places[i] for i in thinned(len(places), 7)], format="~g", grid=False)
    x = alt.X("x:Q", scale=alt.Scale(domain=[places[0], end], nice=False), axis=look)
    y = {"scale": alt.Scale(zero=False), "axis": alt.Axis(title=None, tickCount=6, format="~g")}
    color = alt.Color("weight:N", scale=color_scale(weights), legend=legend_of(weights, **STROKE))
    hint = [alt.Tooltip("weight:N"), alt.Tooltip("value:Q", format=".4~g")]
    paths = alt.Chart(alt.InlineData(values=lines)).encode(x=x, y=alt.Y("value:Q", **y), color=color, tooltip=hint)
    base = alt.Chart(alt.InlineData(values=bars)).encode(x=x, color=color, tooltip=hint)
    bar = base.mark_rule(strokeWidth=3, opacity=0.45).encode(y=alt.Y("low:Q", **y), y2="high:Q")
    point = base.mark_point(filled=True, size=48, opacity=1).encode(y=alt.Y("value:Q", **y))
    words = "A few weights. Right: the interval of each path, and the point at which the weight ended."
    heading = alt.TitleParams(f"Paths of weights: {name}", subtitle=[words])
    line = paths.mark_line(strokeWidth=1.6, strokeJoin="round")
    return alt.layer(line, bar, point, title=heading).properties(width=_WIDTH, height=_HEIGHT)


def _places(result: Result) -> tuple[str, list[float]]:
    """What stands along the axis: epochs where every look has one, else steps."""
    epochs = result["epoch"].tolist()
    if all(epoch == epoch for epoch in epochs):  # NaN is not itself
        return "epoch", [float(epoch) for epoch in epochs]
    return "step", [float(step) for step in result["step"].tolist()]
