"""Similarity against distance: pairs as points, the medians of bins as a line."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from flexure.charts.asked import asked
from flexure.charts.records import column
from flexure.charts.scales import Z95
from flexure.charts.theme import LINE, STROKE, color_scale, configured, legend_of, stacked
from flexure.results import Result

__all__ = ["draw"]

_TITLES = {
    "relative": "Another image’s move ÷ its own, against distance",
    "relative_signed": "Another image’s move ÷ its own, with sign, against distance",
    "cosine": "How alike two images pull at the weights, against distance",
    "kernel": "The kernel of two images, against distance",
}
_WIDTH, _HEIGHT = 640, 320
_POINTS = 1_500  # of all results together, at most
_BEYOND = 0.005  # share of the points at either end that the axis may leave out

Rows = list[dict[str, Any]]


def draw(
    results: Sequence[Result], labels: Sequence[str], *, y: str | Sequence[str] | None = None, legend: bool = True
) -> Any:
    """Does a similarity fall with distance?

    A point for each of up to 1,500 pairs of different points, a line through the medians of bins with as many pairs
    each, with 95 % intervals over points.

    Args:
        results: Results of ``against_distance``.
        labels: A distinct name for each.
        y: Which similarities, one panel each. By default the first that all results have.
        legend: Whether to draw legends.

    Raises:
        ArgumentError: ``y`` names a similarity that the results do not all have.
    """
    valid = [name for name in column(results[0], "similarity") if all(name in _names(one) for one in results)]
    panels = [
        _panel(results, labels, name, legend and not at)
        for at, name in enumerate(asked("against_distance", y, valid, valid[:1]))
    ]
    return configured(stacked(panels))


def _names(result: Result) -> list[str]:
    return [str(name) for name in column(result, "similarity")]


def _panel(results: Sequence[Result], labels: Sequence[str], name: str, legend: bool) -> Any:
    points, medians = _points(results, labels, name), _medians(results, labels, name)
    values = [row["value"] for row in points] or [0.0, 1.0]
    low, high = (float(np.quantile(values, at)) for at in (_BEYOND, 1 - _BEYOND))
    reach = [row[end] for row in medians for end in ("low", "high") if row[end] is not None]
    low, high = min([low, *reach]), max([high, *reach])
    beyond = sum(not low <= value <= high for value in values)
    y: dict[str, Any] = {"scale": alt.Scale(domain=[low, high], nice=True)}
    y["axis"] = alt.Axis(title=None, format=".3~g", grid=True, tickCount=6)
    x = alt.X(
        "distance:Q", title="distance", axis=alt.Axis(format="~g", grid=False, tickCount=8), scale=alt.Scale(zero=True)
    )
    runs = list(labels)
    color = alt.Color("run:N", scale=color_scale(runs), legend=legend_of(runs if legend else [], **STROKE))
    cloud = alt.Chart(alt.InlineData(values=points)).mark_point(
        filled=True, size=10, opacity=0.22, clip=True, aria=False
    )
    cloud = cloud.encode(x=x, y=alt.Y("value:Q", **y), color=color)
    base = alt.Chart(alt.InlineData(values=medians)).encode(x=x, color=color)
    band = base.mark_rule(strokeWidth=1.4, clip=True, aria=False).encode(y=alt.Y("low:Q", **y), y2="high:Q")
    line = base.mark_line(strokeWidth=2.2, clip=True).encode(y=alt.Y("value:Q", **y))
    dots = base.mark_point(filled=True, size=42, opacity=1).encode(y=alt.Y("value:Q", **y), tooltip=_tooltip(name))
    zero = alt.Chart(alt.InlineData(values=[{"at": 0}])).mark_rule(color=LINE, strokeWidth=0.8, clip=True, aria=False)
    layers = [*([zero.encode(y=alt.Y("at:Q", **y))] if low < 0 < high else []), cloud, band, line, dots]
    title = _TITLES.get(name, f"{name.replace('_', ', ')}, against distance")
    told = alt.TitleParams(title, subtitle=[_remark(points, results, beyond)])
    return alt.layer(*layers, title=told).properties(width=_WIDTH, height=_HEIGHT)


def _points(results: Sequence[Result], labels: Sequence[str], name: str) -> Rows:
    """Pairs, as many of each result."""
    rows: Rows = []
    for result, label in zip(results, labels, strict=True):
        far, near = result["pair_distance"], result["pair_similarity"][_names(result).index(name)]
        count = min(len(far), max(_POINTS // len(results), 1))
        for at in np.unique(np.linspace(0, len(far) - 1, count).astype(int)) if len(far) else []:
            if np.isfinite(near[at]):
                rows.append({"run": label, "distance": _short(far[at]), "value": _short(near[at])})
    return rows


def _medians(results: Sequence[Result], labels: Sequence[str], name: str) -> Rows:
    rows: Rows = []
    for result, label in zip(results, labels, strict=True):
        at = _names(result).index(name)
        parts = result["bin_distance"], result["bin_median"][at], result["bin_median_se"][at]
        for far, value, error in zip(*parts, strict=True):
            if np.isfinite(value):
                row = {"run": label, "distance": float(far), "value": float(value), "se": _known(error)}
                ends = (None, None) if row["se"] is None else (value - Z95 * error, value + Z95 * error)
                rows.append(row | {"low": _known(ends[0]), "high": _known(ends[1])})
    return rows


def _known(value: Any) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _remark(points: Rows, results: Sequence[Result], beyond: int) -> str:
    pairs = sum(int(column(result, "pairs")[0] or 0) for result in results)
    words = f"{len(points):,} of {pairs:,} pairs of different images."
    words += " Line: medians in bins of equally many, with 95 % intervals over images."
    return words + (f" {beyond} pairs lie beyond the axis." if beyond else "")


def _tooltip(name: str) -> list[alt.Tooltip]:
    numbers = [alt.Tooltip("value:Q", title=f"median {name}", format=".3~g"), alt.Tooltip("se:Q", format=".2~g")]
    return [alt.Tooltip("run:N"), alt.Tooltip("distance:Q", format=".3~g"), *numbers]
