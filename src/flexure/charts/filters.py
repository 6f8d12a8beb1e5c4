"""How near each convolution's filters are to pooling, over depth; and what frequencies they carry, layer by layer."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import altair as alt

from flexure.charts.asked import asked
from flexure.charts.depth import FITTING, Depth, depth_of
from flexure.charts.records import GIVEN, INITIALIZED, column, distinct, has_numbers
from flexure.charts.scales import Z95
from flexure.charts.spectra import spectra
from flexure.charts.theme import INK, MUTED, STROKE, color_scale, configured, dimmed, legend_of, stacked
from flexure.results import MEASURED, Result

__all__ = ["QUANTITIES", "draw"]

QUANTITIES = {
    "pooling_index": (
        "Pooling index of each layer's filters",
        "1: every filter only adds up what it sees. 0: no more than by chance.",
        "Gray: where 95 % of layers of independent weights lie. Colored bands: 95 % intervals.",
    ),
    "frequency": (
        "Mean frequency of each layer's filters",
        "0: every filter is constant. 1: as independent weights.",
        "Bands: 95 % intervals.",
    ),
}  # over depth
_CHANCE = {"pooling_index": 0.0, "frequency": 1.0}
_WIDTH, _HEIGHT = 640, 300
_PICKED = {"network": "run", "origin": "weights"}  # what a click in a legend singles out, and the field it goes by

Rows = list[dict[str, Any]]


def draw(
    results: Sequence[Result], labels: Sequence[str], *, y: str | Sequence[str] | None = None, legend: bool = True
) -> Any:
    """How near are the filters of each layer to pooling, and what frequencies do they carry?

    Convolutions of more than one pixel stand in order of definition. Bands are value ± 1.96 standard errors over
    filters, or over networks where there are several initialized ones; the gray band holds 95 % of layers of
    independent weights.

    Args:
        results: Results of ``filters``.
        labels: A distinct name for each.
        y: ``"pooling_index"`` (default) or ``"frequency"`` over depth, all results in one panel; ``"power"`` against
            the eigenvalue, a line per layer and a panel per result; or several of these.
        legend: Whether to draw legends.

    Raises:
        ArgumentError: ``y`` names something else, or nothing.
    """
    wanted = asked("filters", y, [*QUANTITIES, "power"], ["pooling_index"])
    rows, depth = _records(results, labels)
    picks = _picks(rows, legend)
    panels: list[Any] = []
    for name in wanted:
        if name == "power":
            named = zip(results, labels, strict=True) if len(results) > 1 else [(results[0], "")]
            panels += [spectra(result, label, legend) for result, label in named]
        else:
            panels.append(_over_depth(rows, depth, name, picks, legend and name == wanted[0]))
    picture = stacked(panels)
    picture = picture.resolve_scale(color="independent") if len(panels) > 1 else picture
    return configured(_owned(picture, picks, depth) if set(wanted) != {"power"} else picture)


def _records(results: Sequence[Result], labels: Sequence[str]) -> tuple[Rows, Depth]:
    """One record per layer with an index, run and set of weights; and the axis they share."""
    kept = [[i for i, value in enumerate(column(result, "pooling_index")) if value is not None] for result in results]
    depth = depth_of(
        [[str(column(result, "layer", "")[i]) for i in own] for result, own in zip(results, kept, strict=True)]
    )
    if depth.title:
        ends = {0.0: "first", 0.25: "25 %", 0.5: "50 %", 0.75: "75 %", 1.0: "last"}
        depth = replace(depth, labels=[ends] * len(FITTING), title="share of the network's convolutions passed")
    rows = [
        row
        for result, label, own, places in zip(results, labels, kept, depth.positions, strict=True)
        for suffix, weights in (("", GIVEN), ("_init", INITIALIZED))
        if not suffix or has_numbers(result, "pooling_index_init")
        for row in _of_one(result, {"run": label, "weights": weights}, suffix, own, places)
    ]
    return rows, depth


def _of_one(result: Result, who: dict[str, str], suffix: str, kept: list[int], places: Sequence[float]) -> Rows:
    columns = {name: column(result, name) for name in ("layer", "kind", "kernel", "channels", "n")}
    columns["status"] = column(result, f"status{suffix}", MEASURED)
    for name in _CHANCE:
        columns[name], columns[f"{name}_se"] = (column(result, f"{name}{suffix}{end}") for end in ("", "_se"))
    if not suffix:
        columns |= {f"null_{end}": column(result, f"pooling_index_null_{end}") for end in ("low", "high")}
    return [
        {"x": x, **who} | {name: values[i] for name, values in columns.items()}
        for i, x in zip(kept, places, strict=True)
    ]


def _picks(rows: Rows, legend: bool) -> dict[str, alt.Parameter]:
    """What a click in a legend can single out; only where there is a choice."""
    if not legend:
        return {}
    chosen = {name: field for name, field in _PICKED.items() if len(distinct(rows, field)) > 1}
    return {
        name: alt.selection_point(name=name, fields=[field], bind="legend", toggle="true")
        for name, field in chosen.items()
    }


def _owned(picture: Any, picks: dict[str, alt.Parameter], depth: Depth) -> Any:
    """The picture with its parameters.

    A legend answers clicks only for a selection of the layer it belongs to, whose name Altair has changed.
    """
    picture = picture.copy()
    panels = picture.vconcat if isinstance(picture, alt.VConcatChart) else [picture]
    names = [layer.name for panel in panels for layer in panel.layer if str(layer.name).startswith("lines")]
    chosen: list[Any] = [pick.param for pick in picks.values()]
    picture.params = [
        *(alt.TopLevelSelectionParameter(**pick.to_dict(), views=names) for pick in chosen),
        *depth.parameters,
    ]
    return picture


def _over_depth(rows: Rows, depth: Depth, name: str, picks: dict[str, alt.Parameter], legend: bool) -> Any:
    """One quantity over depth; the panel with the legend owns the selections."""
    axis, chance = _linear(rows, name), _CHANCE[name]
    shown = list(picks.values())
    base = _computed(alt.Chart(alt.InlineData(values=rows)), name).encode(x=depth.channel)
    runs = distinct(rows, "run")
    scale, look = color_scale(runs), legend_of(runs if legend else [], **STROKE)
    base = base.encode(color=alt.Color("run:N", scale=scale, legend=look), detail="weights:N")
    bounds = {"y": alt.Y("low:Q", **axis), "y2": "high:Q"}
    band = base.mark_area(clip=True).encode(**bounds, opacity=dimmed(shown, 0.15, 0.02))
    base = base.encode(y=alt.Y(f"{name}:Q", **axis), opacity=dimmed(shown, 1.0, 0.12))
    is_fresh = alt.datum.weights == INITIALIZED
    width = alt.condition(is_fresh, alt.value(1.2), alt.value(2.0))
    line = base.mark_line(strokeJoin="round").encode(strokeDash=_dash(rows, legend), strokeWidth=width)
    line = line.properties(name="lines") if legend else line
    fill = alt.Fill("run:N", scale=scale, legend=None)
    hollow = alt.condition(is_fresh, alt.value(0), alt.value(1))
    point = base.mark_point(size=44 if len(rows) <= 60 else 20, strokeWidth=1.1)
    point = point.encode(fill=fill, fillOpacity=hollow, tooltip=_tooltip())
    rule = alt.Chart(alt.InlineData(values=[{}])).mark_rule(color=INK, opacity=0.6).encode(y=alt.datum(chance, **axis))
    null = [_null(rows, depth, axis)] if name == "pooling_index" else []
    title, *words = QUANTITIES[name]
    return alt.layer(*null, rule, band, line, point, title=alt.TitleParams(title, subtitle=words)).properties(
        width=_WIDTH, height=_HEIGHT
    )


def _computed(chart: alt.Chart, name: str) -> alt.Chart:
    has_band = f"isValid(datum.{name}) && isValid(datum.{name}_se)"
    texts = {
        f"{q.replace('_', ' ')} ± se": f"isValid(datum.{q}) ? format(datum.{q}, '.3f') + ' ± ' + "
        f"(isValid(datum.{q}_se) ? format(datum.{q}_se, '.2~g') : '?') : 'not measured'"
        for q in _CHANCE
    }
    return chart.transform_calculate(
        low=f"{has_band} ? datum.{name} - {Z95} * datum.{name}_se : null",
        high=f"{has_band} ? datum.{name} + {Z95} * datum.{name}_se : null",
        **texts,
    )


def _linear(rows: Rows, name: str) -> dict[str, Any]:
    """An axis that holds values, the value by chance and the bands, but for bands far wider than all values differ."""
    values = [row[name] for row in rows if row[name] is not None] + [_CHANCE[name], _CHANCE[name] + 0.1]
    room = max(values) - min(values)
    errors = [(row[name], Z95 * (row[f"{name}_se"] or 0)) for row in rows if row[name] is not None]
    low = max(min([min(values), *(value - width for value, width in errors)]), min(values) - room / 2)
    high = min(max([max(values), *(value + width for value, width in errors)]), max(values) + room / 2)
    margin = 0.04 * (high - low)
    look = alt.Axis(title=None, format="~g", grid=True)
    return {"scale": alt.Scale(domain=[low - margin, high + margin], nice=False, zero=False), "axis": look}


def _null(rows: Rows, depth: Depth, axis: dict[str, Any]) -> alt.Chart:
    """Where the index of independent weights lies; it depends on the number of filters alone."""
    data = [{key: row[key] for key in ("x", "run", "null_low", "null_high")} for row in rows if row["weights"] == GIVEN]
    base = alt.Chart(alt.InlineData(values=data)).mark_area(color=MUTED, opacity=0.22, clip=True)
    return base.encode(x=depth.channel, y=alt.Y("null_low:Q", **axis), y2="null_high:Q", detail="run:N")


def _dash(rows: Rows, legend: bool) -> alt.StrokeDash:
    scale = alt.Scale(domain=[GIVEN, INITIALIZED], range=[[1, 0], [5, 3]])
    look = legend_of(distinct(rows, "weights") if legend else [], symbolStrokeColor=MUTED, **STROKE)
    return alt.StrokeDash("weights:N", scale=scale, legend=look)


def _tooltip() -> list[alt.Tooltip]:
    facts = [alt.Tooltip(f"{name}:N") for name in ("layer", "kind", "kernel", "channels", "run", "weights")]
    numbers = [alt.Tooltip(f"{name.replace('_', ' ')} ± se:N") for name in _CHANCE]
    return [*facts, *numbers, alt.Tooltip("n:Q", title="filters"), alt.Tooltip("status:N")]
