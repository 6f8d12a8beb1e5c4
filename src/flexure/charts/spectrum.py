"""Eigenvalues of a similarity over their rank."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from flexure.charts.asked import asked
from flexure.charts.records import column
from flexure.charts.scales import log_axis
from flexure.charts.theme import STROKE, color_scale, configured, legend_of, stacked
from flexure.results import Result

__all__ = ["draw"]

_WIDTH, _HEIGHT = 640, 320
_MOST = 200  # eigenvalues that are drawn

Rows = list[dict[str, Any]]


def draw(
    results: Sequence[Result], labels: Sequence[str], *, y: str | Sequence[str] | None = None, legend: bool = True
) -> Any:
    """In how many directions do images pull at the weights?

    Args:
        results: Results of ``spectrum``.
        labels: A distinct name for each.
        y: Which similarities, one panel each; by default the first that all results have.
        legend: Whether to draw legends.

    Raises:
        ArgumentError: ``y`` names a similarity that the results do not all have.
    """
    valid = [name for name in column(results[0], "similarity") if all(name in _names(one) for one in results)]
    names = asked("spectrum", y, valid, valid[:1])
    return configured(stacked([_panel(results, labels, name, legend and not at) for at, name in enumerate(names)]))


def _names(result: Result) -> list[str]:
    return [str(name) for name in column(result, "similarity")]


def _panel(results: Sequence[Result], labels: Sequence[str], name: str, legend: bool) -> Any:
    rows, negative = _rows(results, labels, name)
    axis = log_axis([row["value"] for row in rows], [None] * len(rows))
    y, runs = axis.channel(title=None), list(labels)
    color = alt.Color("run:N", scale=color_scale(runs), legend=legend_of(runs if legend else [], **STROKE))
    scale = alt.Scale(type="log", nice=False)
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X("rank:Q", scale=scale, axis=alt.Axis(title="rank", grid=False, format="~s")), color=color
    )
    line = base.mark_line(strokeWidth=1.8, clip=True).encode(y=alt.Y("value:Q", **y))
    tooltip = [alt.Tooltip("run:N"), alt.Tooltip("rank:Q"), alt.Tooltip("value:Q", format=".3~g")]
    dots = base.mark_point(filled=True, size=26, opacity=1, clip=True).encode(y=alt.Y("value:Q", **y), tooltip=tooltip)
    words = "Divided by the number of images; both axes logarithmic."
    words += f" {negative} eigenvalues of 0 or below are not drawn." if negative else ""
    told = alt.TitleParams(f"Eigenvalues of the {name.replace('_', ', ')}", subtitle=[words])
    return alt.layer(line, dots, title=told).properties(width=_WIDTH, height=_HEIGHT)


def _rows(results: Sequence[Result], labels: Sequence[str], name: str) -> tuple[Rows, int]:
    """One record per positive eigenvalue, and how many are not."""
    rows: Rows = []
    negative = 0
    for result, label in zip(results, labels, strict=True):
        values = result["eigenvalue"][_names(result).index(name)]
        values = values[np.isfinite(values)]
        slack = len(values) * np.finfo(float).eps * float(np.abs(values).max(initial=0))
        negative += int((values <= slack).sum())
        found = values[values > slack][:_MOST]
        rows += [{"run": label, "rank": i, "value": float(f"{value:.5g}")} for i, value in enumerate(found, 1)]
    return rows, negative
