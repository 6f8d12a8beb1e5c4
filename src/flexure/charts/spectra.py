"""What frequencies the filters of a network carry: power on the modes of their grid, a line per layer."""

from typing import Any

import altair as alt
import numpy as np

from flexure.charts.records import column
from flexure.charts.scales import Z95, LogAxis, log_axis
from flexure.charts.theme import INK, MUTED, VIRIDIS, legend_of
from flexure.results import Result

__all__ = ["TITLE", "spectra"]

TITLE = "Power of each layer's filters at each frequency"
_WORDS = "Per mode, over the mean of the layer's modes: independent weights lie at 1. Bars: 95 % intervals."
_WIDTH, _HEIGHT = 640, 300

Rows = list[dict[str, Any]]


def spectra(result: Result, label: str, legend: bool) -> Any:
    """Power per mode against eigenvalue, a line per layer, the first one dark and the last one bright.

    Initialized networks are thin gray lines. Layers of one-pixel filters have a single mode and are left out.

    Args:
        result: A result of ``filters``.
        label: What to call it in the title; empty where there is no other.
        legend: Whether to draw the scale of depth.
    """
    given, fresh = _modes(result, ""), _modes(result, "_init")
    axis = log_axis([row["value"] for row in given + fresh], [row["se"] for row in given + fresh], include=1.0)
    scales = {"x": _x(given), "y": axis.channel(title=None)}
    layers = [*([_thin(fresh, scales)] if fresh else []), _rule(scales), *_lines(given, scales, axis, legend)]
    words = _WORDS + (" Gray: initialized network." if fresh else "")
    title = alt.TitleParams(f"{TITLE}: {label}" if label else TITLE, subtitle=[words, *axis.remarks])
    return alt.layer(*layers, title=title).properties(width=_WIDTH, height=_HEIGHT)


def _modes(result: Result, suffix: str) -> Rows:
    """One record per layer and group of modes; value and error per mode, relative to the mean of the layer's modes."""
    if f"share{suffix}" not in result.arrays:
        return []
    arrays = [result[name] for name in ("eigenvalue", "degeneracy", f"share{suffix}", f"share{suffix}_se")]
    names = ("layer", "kernel", "n")
    facts = [dict(zip(names, row, strict=True)) for row in zip(*(column(result, name) for name in names), strict=True)]
    rows = []
    for fact, *columns in zip(facts, *arrays, strict=True):
        known = np.isfinite(columns[1]) & np.isfinite(columns[2])
        eigenvalue, modes, share, error = (values[known] for values in columns)
        depth = len({row["layer"] for row in rows})
        if len(modes) > 1:
            scale = modes.sum() / modes
            rows += [
                fact | {"depth": depth, "eigenvalue": float(at), "modes": int(many), "value": float(value), "se": se}
                for at, many, value, se in zip(
                    eigenvalue, modes, share * scale, map(_known, error * scale), strict=True
                )
            ]
    return rows


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _x(rows: Rows) -> alt.X:
    top = max((row["eigenvalue"] for row in rows), default=8.0)
    title = "eigenvalue of the grid Laplacian: 0 is constant"
    axis = alt.Axis(title=title, format="~g", grid=True, gridDash=[1, 3], tickCount=8)
    return alt.X("eigenvalue:Q", scale=alt.Scale(domain=[-0.02 * top, 1.02 * top], nice=False), axis=axis)


def _thin(rows: Rows, scales: dict[str, Any]) -> alt.Chart:
    base = alt.Chart(alt.InlineData(values=rows)).transform_filter("datum.value > 0")
    line = base.mark_line(color=MUTED, strokeWidth=0.8, opacity=0.55, clip=True)
    return line.encode(x=scales["x"], y=alt.Y("value:Q", **scales["y"]), detail="layer:N")


def _rule(scales: dict[str, Any]) -> alt.Chart:
    one = alt.Chart(alt.InlineData(values=[{}]))
    return one.mark_rule(color=INK, opacity=0.6).encode(y=alt.datum(1, **scales["y"]))


def _lines(rows: Rows, scales: dict[str, Any], axis: LogAxis, legend: bool) -> list[alt.Chart]:
    base = alt.Chart(alt.InlineData(values=rows)).transform_filter("datum.value > 0")
    base = base.transform_calculate(
        low=f"isValid(datum.se) ? max({axis.low!r}, datum.value - {Z95} * datum.se) : null",
        high=f"isValid(datum.se) ? datum.value + {Z95} * datum.se : null",
        **{"power ± se": "format(datum.value, '.4~g') + ' ± ' + (isValid(datum.se) ? format(datum.se, '.2~g') : '?')"},
    ).encode(x=scales["x"], color=_color(rows, legend), detail="layer:N")
    bar = base.mark_rule(strokeWidth=1, opacity=0.5).encode(y=alt.Y("low:Q", **scales["y"]), y2="high:Q")
    base = base.encode(y=alt.Y("value:Q", **scales["y"]))
    tooltip = [
        *(alt.Tooltip(f"{name}:N") for name in ("layer", "kernel")),
        *(alt.Tooltip(f"{name}:Q", format=".4~g") for name in ("eigenvalue", "modes")),
        alt.Tooltip("power ± se:N"),
        alt.Tooltip("n:Q", title="filters"),
    ]
    return [
        bar,
        base.mark_line(strokeWidth=1.6),
        base.mark_point(size=26, filled=True, opacity=1).encode(tooltip=tooltip),
    ]


def _color(rows: Rows, legend: bool) -> alt.Color:
    """Dark for the first layer, bright for the last."""
    names = {row["depth"]: row["layer"] for row in rows}
    last = max(names, default=0)
    if not last:
        return alt.Color("depth:Q", scale=alt.Scale(range=VIRIDIS[2:3] * 2, domain=[0, 1]), legend=None)
    shown = sorted({round(part * last / 4) for part in range(5)})
    words = {str(depth): names[depth] for depth in shown}
    look = legend_of(
        list(words.values()) if legend else [], values=shown, labelExpr=f"{words}[datum.value]", symbolType="circle",
        symbolOpacity=1,
    )  # fmt: skip
    return alt.Color("depth:Q", scale=alt.Scale(range=VIRIDIS, domain=[0, last]), legend=look)
