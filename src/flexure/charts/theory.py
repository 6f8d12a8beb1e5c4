"""Measured D, G and R of a network's layers over what a unit effectively sees, and the curves of path counts."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from flexure.charts.asked import asked
from flexure.charts.records import column
from flexure.charts.scales import Z95, LogAxis, log_axis
from flexure.charts.theme import UPRIGHT, color_scale, configured, legend_of, stacked
from flexure.results import Result

__all__ = ["QUANTITIES", "draw"]

QUANTITIES = {
    "D": "D: sensitivity to moved pixels",
    "G": "G: sensitivity to noise of the same size",
    "R": "R = D / G",
}
_WIDTH, _HEIGHT = 520, 280

Rows = list[dict[str, Any]]


def draw(
    results: Sequence[Result], labels: Sequence[str], *, y: str | Sequence[str] | None = None, legend: bool = True
) -> Any:
    """Do layers answer to moved pixels and to noise as constant filters must?

    Points are layers, at the effective size A of what their units see; bars ± 1.96 standard errors. Dashed lines are
    the exact path counts for the same kernels and strides, one for each network.

    Args:
        results: Results of ``path_theory``.
        labels: A distinct name for each.
        y: ``"D"``, ``"G"``, ``"R"``, or several of them for one panel each; by default all three.
        legend: Whether to draw legends.

    Raises:
        ArgumentError: ``y`` names something else, or nothing.
    """
    wanted = asked("path_theory", y, QUANTITIES, QUANTITIES)
    panels = [_panel(results, labels, name, legend and i == 0) for i, name in enumerate(wanted)]
    return configured(stacked(panels))


def _panel(results: Sequence[Result], labels: Sequence[str], name: str, legend: bool) -> Any:
    rows = [row for result, label in zip(results, labels, strict=True) for row in _rows(result, label, name)]
    size = log_axis([row["A"] for row in rows], [None] * len(rows))
    axis = log_axis([row[end] for row in rows for end in ("value", "path")],
                    [se for row in rows for se in (row["se"], None)])  # fmt: skip
    look = legend_of(labels if legend else [], symbolType="circle", symbolOpacity=1)
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X("A:Q", **size.channel(title="A: pixels that a unit effectively sees")),
        color=alt.Color("run:N", scale=color_scale(list(labels)), legend=look),
    )
    title = alt.TitleParams(QUANTITIES[name], subtitle=_remarks(results, labels, name, axis))
    y = axis.channel(title=name, **UPRIGHT)
    layers = [_path(base, y), *_measured(base, name, axis, y)]
    return alt.layer(*layers, title=title).properties(width=_WIDTH, height=_HEIGHT)


def _rows(result: Result, label: str, name: str) -> Rows:
    """One record per layer."""
    names = {"A": "A", "k": "k", "layer": "layer", "value": name, "se": f"{name}_se", "path": f"{name}_path"}
    names |= {"ratio": f"{name}_log_ratio", "n": "n", "status": "status"}
    columns = {key: column(result, source) for key, source in names.items()}
    return [{key: values[i] for key, values in columns.items()} | {"run": label} for i in range(len(result))]


def _path(base: alt.Chart, y: dict[str, Any]) -> alt.Chart:
    """The curve that constant filters must follow."""
    curve = base.transform_filter("isValid(datum.path) && datum.path > 0")
    return curve.mark_line(strokeWidth=1.6, strokeDash=[5, 3]).encode(y=alt.Y("path:Q", **y))


def _measured(base: alt.Chart, name: str, axis: LogAxis, y: dict[str, Any]) -> list[alt.Chart]:
    """Points with their bars, cut at the axis."""
    base = base.transform_filter("isValid(datum.value) && datum.value > 0")
    bars = base.transform_filter("isValid(datum.se)").transform_calculate(
        low=f"max({axis.low!r}, datum.value - {Z95} * datum.se)", high=f"datum.value + {Z95} * datum.se"
    )
    facts = [alt.Tooltip(f"{key}:N") for key in ("run", "layer", "k", "status")]
    numbers = {"value": name, "se": f"{name} se", "path": f"{name} of path counts", "ratio": "log-ratio", "A": "A"}
    shown = [alt.Tooltip(f"{key}:Q", title=title, format=".4~g") for key, title in numbers.items()]
    points = base.mark_point(size=52, filled=True, opacity=1).encode(
        y=alt.Y("value:Q", **y),
        tooltip=[*facts, *shown, alt.Tooltip("n:Q", title="images")],
    )
    rules = bars.mark_rule(strokeWidth=1.6, opacity=0.6).encode(y=alt.Y("low:Q", **y), y2="high:Q")
    return [rules, points]


def _remarks(results: Sequence[Result], labels: Sequence[str], name: str, axis: LogAxis) -> list[str]:
    """What the marks are, and the powers fitted to each network."""
    found = ["Points: measured, with 95 % intervals. Dashed: exact path counts of constant filters."]
    for result, label in zip(results, labels, strict=True):
        rows = {row["quantity"]: row for row in result.provenance.get("exponents") or []}
        if (row := rows.get(name)) and row["slope"] is not None:
            who = f"{label}: " if len(results) > 1 else ""
            slope, path = f"{row['slope']:.2f} ± {row['slope_se']:.2f}", f"{row['path_slope']:.2f}"
            found.append(f"{who}A to the power {slope} fitted, {path} for path counts.".replace("-", "−"))
    return [*found[:5], *axis.remarks]
