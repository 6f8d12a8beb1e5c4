"""How far two images agree in which units they switch on, op by op."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from flexure.charts.asked import asked
from flexure.charts.records import column
from flexure.charts.scales import Z95
from flexure.charts.theme import STROKE, color_scale, configured, legend_of, stacked
from flexure.results import MEASURED, Result

__all__ = ["QUANTITIES", "draw"]

QUANTITIES = {
    "cosine_mean": ("How alike the units are that two images switch on", "Mean cosine of patterns, over pairs."),
    "agreement_mean": ("Share of units in the same state on two images", "Mean over pairs."),
    "ratio": ("Cosine within ÷ (within + between classes)", "0.5 where classes do not matter."),
    "active": ("Share of units that an image switches on", "Mean over images."),
}
_WIDTH, _HEIGHT = 640, 320


def draw(
    results: Sequence[Result], labels: Sequence[str], *, y: str | Sequence[str] | None = None, legend: bool = True
) -> Any:
    """How far do two images agree in which units they switch on, op by op?

    Args:
        results: Results of ``activation_patterns``.
        labels: A distinct name for each.
        y: ``"cosine_mean"`` (by default), ``"agreement_mean"``, ``"ratio"``, ``"active"``, or several of them.
        legend: Whether to draw legends.

    Raises:
        ArgumentError: ``y`` names something else.
    """
    names = asked("activation_patterns", y, QUANTITIES, ["cosine_mean"])
    return configured(stacked([_panel(results, labels, name, legend and not at) for at, name in enumerate(names)]))


def _panel(results: Sequence[Result], labels: Sequence[str], name: str, legend: bool) -> Any:
    rows = [row for result, label in zip(results, labels, strict=True) for row in _rows(result, label, name)]
    layers, runs = list(dict.fromkeys(row["layer"] for row in rows)), list(labels)
    look = alt.Axis(title=None, labelAngle=-40, labelAlign="right", labelLimit=120, labelOverlap=True, grid=False)
    y: dict[str, Any] = {
        "scale": alt.Scale(zero=False, nice=True),
        "axis": alt.Axis(title=None, format=".3~g", tickCount=6),
    }
    color = alt.Color("run:N", scale=color_scale(runs), legend=legend_of(runs if legend else [], **STROKE))
    base = alt.Chart(alt.InlineData(values=rows)).encode(x=alt.X("layer:N", sort=layers, axis=look), color=color)
    tooltip = [alt.Tooltip(f"{about}:N") for about in ("layer", "kind", "run")]
    tooltip += [alt.Tooltip("value:Q", title=name, format=".4~g"), alt.Tooltip("se:Q", format=".2~g")]
    tooltip += [alt.Tooltip("units:Q", format=","), alt.Tooltip("n:Q", title="images"), alt.Tooltip("status:N")]
    line = base.mark_line(strokeWidth=1.6, opacity=0.6).encode(y=alt.Y("value:Q", **y))
    error = base.mark_rule(strokeWidth=1.4, aria=False).encode(y=alt.Y("low:Q", **y), y2="high:Q")
    dots = base.mark_point(filled=True, size=48, opacity=1).encode(y=alt.Y("value:Q", **y), tooltip=tooltip)
    title, meaning = QUANTITIES[name]
    words = f"{meaning} Ops with a kink in order of emission; lines: 95 % intervals over images."
    told = alt.TitleParams(title, subtitle=[words if rows else "No op has patterns: nothing to draw."])
    return alt.layer(line, error, dots, title=told).properties(width=_WIDTH, height=_HEIGHT)


def _rows(result: Result, label: str, name: str) -> list[dict[str, Any]]:
    """One record per op that has patterns."""
    facts = ("layer", "kind", "units", name, f"{name}_se", "n")
    columns = [*(column(result, fact) for fact in facts), column(result, "status", MEASURED)]
    found = []
    for layer, kind, units, value, error, n, status in zip(*columns, strict=True):
        if value is None or kind == "output":
            continue
        ends = (None, None) if error is None else (value - Z95 * error, value + Z95 * error)
        found.append({"layer": str(layer or "(itself)"), "kind": kind, "units": units, "run": label, "value": value})
        found[-1] |= {"se": error, "low": ends[0], "high": ends[1], "n": n, "status": status}
    return found
