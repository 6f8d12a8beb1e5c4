"""How often a network is wrong, or at what loss, against the level of the noise on its images."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from flexure.charts.asked import asked
from flexure.charts.records import column
from flexure.charts.scales import Z95, short
from flexure.charts.theme import UPRIGHT, color_scale, configured, legend_of, stacked
from flexure.results import Result

__all__ = ["QUANTITIES", "draw"]

QUANTITIES = {
    "error": ("Error", "Share of images whose class is not the network's answer."),
    "accuracy": ("Accuracy", "Share of images whose class is the network's answer."),
    "loss": ("Loss", "Mean cross-entropy, or hinge loss for networks of one output, unless another is named."),
}
_WIDTH, _HEIGHT = 480, 280

Rows = list[dict[str, Any]]


def draw(
    results: Sequence[Result], labels: Sequence[str], *, y: str | Sequence[str] | None = None, legend: bool = True
) -> Any:
    """How does the error grow with the noise?

    Points with bars of value ± 1.96 standard errors. The axis is logarithmic in the norm of the noise, and linear below
    the smallest level above 0, so that the images as they are have a place at its left end. Where only one level was
    measured, the networks stand side by side instead.

    Args:
        results: Results of ``accuracy``.
        labels: A distinct name for each.
        y: ``"error"`` (default), ``"accuracy"``, ``"loss"``, or several of them for one panel each.
        legend: Whether to draw the legend.

    Raises:
        ArgumentError: ``y`` names something else, or nothing.
    """
    wanted = asked("accuracy", y, QUANTITIES, ["error"])
    rows = [row for result, label in zip(results, labels, strict=True) for row in _records(result, label)]
    panels = [_panel(rows, list(labels), name, legend and i == 0) for i, name in enumerate(wanted)]
    return configured(stacked(panels))


def _records(result: Result, label: str) -> Rows:
    names = ["corruption", "n", "status", *(f"{name}{end}" for name in QUANTITIES for end in ("", "_se"))]
    columns = {name: column(result, name) for name in names}
    return [{"run": label} | {name: values[i] for name, values in columns.items()} for i in range(len(result))]


def _panel(rows: Rows, runs: list[str], name: str, legend: bool) -> Any:
    levels = sorted({row["corruption"] for row in rows if row["corruption"] is not None})
    title, what = QUANTITIES[name]
    is_known = f"isValid(datum.{name})"
    band = f"{is_known} && isValid(datum.{name}_se)"
    base = alt.Chart(alt.InlineData(values=rows)).transform_calculate(
        value=f"{is_known} ? datum.{name} : null",
        low=f"{band} ? max(0, datum.{name} - {Z95} * datum.{name}_se) : null",
        high=f"{band} ? datum.{name} + {Z95} * datum.{name}_se : null",
        measured=f"{is_known} ? format(datum.{name}, '.4~g') + ' ± ' + "
        f"format(datum.{name}_se, '.2~g') : 'not measured'",
    )
    base = base.encode(x=_x(levels, runs), color=_color(runs, legend and len(levels) > 1))
    look = alt.Axis(title=name, grid=True, **UPRIGHT)
    scale = alt.Scale(zero=True, nice=True)
    bars = base.mark_rule(strokeWidth=1.4).encode(y=alt.Y("low:Q", scale=scale, axis=look), y2="high:Q")
    points = base.mark_point(size=48, filled=True, opacity=1).encode(y=alt.Y("value:Q"), tooltip=_tooltip(name))
    lines = [base.mark_line(strokeWidth=1.8).encode(y=alt.Y("value:Q"))] if len(levels) > 1 else []
    subtitle = [f"{what} Bars: 95 % intervals over images."]
    return alt.layer(*lines, bars, points, title=alt.TitleParams(title, subtitle=subtitle)).properties(
        width=_WIDTH, height=_HEIGHT
    )


def _x(levels: list[float], runs: list[str]) -> alt.X:
    if len(levels) < 2:
        return alt.X("run:N", sort=runs, axis=alt.Axis(title=None, labelAngle=0))
    least = next(level for level in levels if level > 0)
    names = " : ".join(f"datum.value == {level!r} ? '{_named(level)}'" for level in levels)
    axis = alt.Axis(title="corruption: norm of the noise", values=levels, labelExpr=f"{names} : ''", grid=True)
    return alt.X("corruption:Q", scale=alt.Scale(type="symlog", constant=least, nice=False), axis=axis)


def _named(level: float) -> str:
    return "0" if level == 0 else f"{level:g}" if 0.001 <= level < 10_000 else short(level)


def _color(runs: list[str], legend: bool) -> alt.Color:
    return alt.Color("run:N", scale=color_scale(runs), legend=legend_of(runs if legend else [], symbolType="circle"))


def _tooltip(name: str) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("run:N"),
        alt.Tooltip("corruption:Q"),
        alt.Tooltip("measured:N", title=f"{name} ± se"),
        alt.Tooltip("n:Q", title="images"),
        alt.Tooltip("status:N"),
    ]
