"""Many networks at once: test error against D, G and R with the fitted powers, and their correlations."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from flexure.charts.asked import asked
from flexure.charts.records import column, distinct
from flexure.charts.scales import Z95, LogAxis, log_axis
from flexure.charts.theme import INK, MUTED, color_scale, configured, legend_of, shape_scale, stacked
from flexure.charts.words import bend_of
from flexure.results import Result

__all__ = ["CORRELATION", "draw", "levels", "quantities"]

CORRELATION = "correlation"
_WIDTH, _HEIGHT = 560, 340
_TITLES = {
    "D": "Test error against D ({bend})",
    "G": "Test error against G (noise)",
    "R": "Test error against R = D / G",
}
_DASHES = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [12, 4], [4, 4], [1, 3]]

Rows = list[dict[str, Any]]


def draw(
    results: Sequence[Result], labels: Sequence[str], *, y: str | Sequence[str] | None = None, legend: bool = True
) -> Any:
    """How does test error go with D, G and R over networks?

    A point is a network, its bars ± 1.96 standard errors, its color its family. Lines are the fitted powers, bands
    their 95 % intervals; several corruption levels have a shape and a line each.

    Args:
        results: Results of ``compare``.
        labels: A distinct name for each.
        y: A quantity of the comparison (``"R"``, ``"D"``, ``"G"``, …), ``"correlation"`` for correlations over
            corruption levels, or several for one panel each. By default R, else the first quantity.
        legend: Whether to draw legends.

    Raises:
        ArgumentError: ``y`` names something else, or nothing.
    """
    known = quantities(results)
    wanted = asked("compare", y, [*known, CORRELATION], ["R"] if "R" in known else known[:1])
    panels = [
        _correlations(results, labels, legend) if name == CORRELATION else _scatter(results, labels, name, legend)
        for name in wanted
    ]
    return configured(stacked(panels))


def levels(results: Sequence[Result]) -> list[float]:
    """The corruption levels that were fitted, in order."""
    return sorted({value for result in results for value in column(result, "corruption") if value is not None})


def quantities(results: Sequence[Result]) -> list[str]:
    """The quantities that were compared, in order."""
    return list(dict.fromkeys(str(name) for result in results for name in column(result, "quantity", "")))


def _scatter(results: Sequence[Result], labels: Sequence[str], name: str, legend: bool) -> Any:
    """Test error against one quantity, both axes logarithmic."""
    rows = [row for result, label in zip(results, labels, strict=True) for row in _points(result, label, name)]
    lines = [row for result, label in zip(results, labels, strict=True) for row in _lines(result, label, name)]
    x = log_axis([row["x"] for row in rows], [row["x_se"] for row in rows])
    heights = [row["error"] for row in rows] + [row["fitted"] for row in lines]
    y = log_axis(heights, [row["error_se"] for row in rows] + [None] * len(lines))
    scales = {"x": x.channel(title=name), "y": y.channel(title=_error_name(results))}
    groups = list(dict.fromkeys([row["fit"] for row in lines] + [row["group"] for row in rows]))
    color = _color(rows, legend)
    layers = [*_fits(lines, scales, groups), *_crosses(rows, scales, (x, y), color)]
    layers.append(_dots(rows, scales, groups, color, legend))
    remarks = ["Bars and bands: 95 % intervals.", *dict.fromkeys([*x.remarks, *y.remarks])]
    transforms = [transform for result in results for transform in result.provenance.get("transforms") or [None]]
    bend = bend_of([{"transform": transform} for transform in transforms]).partition(" ")[2]
    words = _TITLES.get(name, f"Test error against {name}").replace("{bend}", bend)
    title = alt.TitleParams(words, subtitle=[" ".join(remarks)])
    return alt.layer(*layers, title=title).properties(width=_WIDTH, height=_HEIGHT)


def _points(result: Result, label: str, name: str) -> Rows:
    """One record per network and level."""
    if f"point_{name}" not in result.arrays:
        return []
    found = result.provenance.get("networks") or []
    columns = [
        result[f"point_{part}"].tolist() for part in ("network", "corruption", name, f"{name}_se", "error", "error_se")
    ]
    grouped = _grouping(result, label)
    rows = []
    for place, level, x, x_se, error, error_se in zip(*columns, strict=True):
        network = found[place]
        numbers = {"x": x, "x_se": x_se, "error": error, "error_se": error_se, "corruption": level}
        numbers = {key: value if np.isfinite(value) else None for key, value in numbers.items()}
        facts = {key: network.get(key) for key in ("name", "architecture", "family", "seed", "seeds")}
        rows.append(facts | numbers | {"group": grouped(level)})
    return rows


def _lines(result: Result, label: str, name: str) -> Rows:
    """The fitted powers with their bands, at a few places each."""
    grouped, rows = _grouping(result, label), []
    table = result.table[["quantity", "corruption", "exponent", "prefactor"]].to_dict("records")
    for i, row in enumerate(table):
        if row["quantity"] != name or not np.isfinite(row["exponent"]):
            continue
        x, low, high = (result[f"fit_{part}"][i] for part in ("x", "low", "high"))
        fitted = row["prefactor"] * x ** row["exponent"]
        group = grouped(row["corruption"])
        for values in zip(x, fitted, low, high, strict=True):
            plain = [float(value) if np.isfinite(value) else None for value in values]
            rows.append({"fit": group} | dict(zip(("x", "fitted", "low", "high"), plain, strict=True)))
    return rows


def _grouping(result: Result, label: str) -> Any:
    """From a corruption level to the name of the fit it belongs to."""
    fitted = result.table["corruption"].dropna().unique()
    if (result.provenance.get("settings") or {}).get("by") is None or len(fitted) < 2:
        return lambda level: label
    return lambda level: f"corruption {level:g}"


def _error_name(results: Sequence[Result]) -> str:
    names = {str((result.provenance.get("settings") or {}).get("error", "error")) for result in results}
    return "test loss" if names == {"loss"} else "test error"


def _fits(lines: Rows, scales: dict[str, Any], groups: list[str]) -> list[alt.Chart]:
    base = alt.Chart(alt.InlineData(values=lines)).encode(x=alt.X("x:Q", **scales["x"]), detail="fit:N")
    band = base.mark_area(opacity=0.09, color=INK, clip=True).encode(y=alt.Y("low:Q", **scales["y"]), y2="high:Q")
    line = [
        base.transform_filter(alt.datum.fit == group)
        .mark_line(color=MUTED, strokeWidth=1.4, strokeDash=_DASHES[i % len(_DASHES)], clip=True)
        .encode(y=alt.Y("fitted:Q", **scales["y"]))
        for i, group in enumerate(groups)
    ]  # a scale of dashes would take the legend of shapes with it
    return [band, *line]


def _crosses(rows: Rows, scales: dict[str, Any], axes: tuple[LogAxis, LogAxis], color: alt.Color) -> list[alt.Chart]:
    """Error bars along both axes, cut at their lower ends."""
    x, y = axes
    base = alt.Chart(alt.InlineData(values=rows)).transform_filter("datum.x > 0 && datum.error > 0")
    base = base.transform_calculate(
        x_low=f"max({x.low!r}, datum.x - {Z95} * datum.x_se)", x_high=f"datum.x + {Z95} * datum.x_se",
        low=f"max({y.low!r}, datum.error - {Z95} * datum.error_se)", high=f"datum.error + {Z95} * datum.error_se",
    )  # fmt: skip
    rule = base.mark_rule(strokeWidth=1, opacity=0.55).encode(color=color)
    at_x, at_y = alt.X("x:Q", **scales["x"]), alt.Y("error:Q", **scales["y"])
    across = rule.encode(x=alt.X("x_low:Q", **scales["x"]), x2="x_high:Q", y=at_y)
    return [across, rule.encode(x=at_x, y=alt.Y("low:Q", **scales["y"]), y2="high:Q")]


def _dots(rows: Rows, scales: dict[str, Any], groups: list[str], color: alt.Color, legend: bool) -> alt.Chart:
    gray: dict[str, Any] = {
        "symbolFillColor": MUTED,
        "symbolStrokeColor": MUTED,
        "symbolOpacity": 1,
        "orient": "bottom",
    }
    look = legend_of(groups if legend else [], **gray)
    shape = alt.Shape("group:N", scale=shape_scale(groups), legend=look)
    facts = [alt.Tooltip(f"{name}:N") for name in ("name", "architecture", "seed", "corruption")]
    numbers = [alt.Tooltip(f"{name}:Q", format=".4~g") for name in ("x", "x_se", "error", "error_se")]
    base = alt.Chart(alt.InlineData(values=rows)).transform_filter("datum.x > 0 && datum.error > 0")
    return base.mark_point(size=58, filled=True, opacity=0.95).encode(
        x=alt.X("x:Q", **scales["x"]),
        y=alt.Y("error:Q", **scales["y"]),
        color=color,
        shape=shape,
        tooltip=[*facts, *numbers],
    )


def _color(rows: Rows, legend: bool) -> alt.Color:
    families = sorted({row["family"] for row in rows})
    look = legend_of(families if legend else [], symbolType="circle", symbolOpacity=1)
    return alt.Color("family:N", scale=color_scale(families), legend=look)


def _correlations(results: Sequence[Result], labels: Sequence[str], legend: bool) -> Any:
    """Correlation of the logs against the corruption level, with its interval."""
    rows = [row for result, label in zip(results, labels, strict=True) for row in _correlation_rows(result, label)]
    names = distinct(rows, "quantity")
    sides = alt.Axis(title="corruption: norm of the noise", labelAngle=0, grid=False)
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X("corruption:O", sort=levels(results), axis=sides, scale=alt.Scale(paddingInner=0.7)),
        xOffset=alt.XOffset("quantity:N", sort=names),
        color=alt.Color("quantity:N", scale=color_scale(names), legend=legend_of(names if legend else [])),
        detail="run:N",
    )
    look = alt.Axis(title="ρ", titleAngle=0, values=[-1, -0.5, 0, 0.5, 1], format="~g")
    y: dict[str, Any] = {"scale": alt.Scale(domain=[-1.06, 1.06], nice=False), "axis": look}
    zero = alt.Chart(alt.InlineData(values=[{}])).mark_rule(color=INK, opacity=0.6).encode(y=alt.datum(0, **y))
    bars = base.mark_rule(strokeWidth=1.6).encode(y=alt.Y("low:Q", **y), y2="high:Q")
    tooltip = ["run:N", "quantity:N", "corruption:Q", "n:Q"]
    tooltip += [alt.Tooltip(f"{name}:Q", format=".3f") for name in ("value", "low", "high")]
    dots = base.mark_point(size=60, filled=True, opacity=1).encode(y=alt.Y("value:Q", **y), tooltip=tooltip)
    words = "Correlation of the logs over networks; bars: 95 % intervals. Above 0: more errors where it is larger."
    title = alt.TitleParams(f"Correlation of test error with {', '.join(names)}", subtitle=[words])
    return alt.layer(zero, bars, dots, title=title).properties(width=_WIDTH, height=260)


def _correlation_rows(result: Result, label: str) -> Rows:
    """One record per row of the table that has a level and a correlation."""
    names = {"value": "correlation", "low": "correlation_low", "high": "correlation_high"}
    columns = {name: column(result, key) for name, key in {**names, "corruption": "corruption", "n": "n"}.items()}
    quantities = [str(name) for name in column(result, "quantity", "")]
    rows = [
        {"run": label, "quantity": quantity} | {name: values[i] for name, values in columns.items()}
        for i, quantity in enumerate(quantities)
    ]
    return [row for row in rows if row["value"] is not None and row["corruption"] is not None]
