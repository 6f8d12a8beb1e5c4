"""Curves over depth of how far each layer moves: D, G and R with their error bands, on a log axis."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import altair as alt

from flexure.charts.asked import asked
from flexure.charts.depth import Depth, depth_of
from flexure.charts.records import GIVEN, INITIALIZED, WEIGHTS, column, distinct, records
from flexure.charts.scales import Z95, LogAxis, log_axis, short
from flexure.charts.theme import (
    INK,
    MUTED,
    STROKE,
    UPRIGHT,
    color_scale,
    configured,
    dimmed,
    legend_of,
    shape_scale,
    stacked,
)
from flexure.charts.words import bend_of
from flexure.results import Result

__all__ = ["QUANTITIES", "draw", "words_of"]

QUANTITIES = {
    "R": (
        "R = D / G: {bend} against noise",
        "Squared change under {bend} ÷ squared change under {noise}.",
    ),
    "D": (
        "D: sensitivity to {bend}",
        "Squared change under {bend} ÷ squared distance of two images.",
    ),
    "G": ("G: sensitivity to noise", "Squared change under {noise} ÷ squared distance of two images."),
}
_WIDTH, _HEIGHT = 640, 300
_OWNERS = {"run": "lines", "weights": "lines", "kind": "points"}  # the layer that a legend belongs to
_WITH_LEGEND: dict[str, Any] = {"bind": "legend", "toggle": "true"}
_WITHOUT_LEGEND: dict[str, Any] = {"on": "click[false]", "clear": False}  # then others may set it
_DASHES = [[1, 0], [5, 3], [1.5, 2.5]]  # as many of them as there are sets of weights

Rows = list[dict[str, Any]]
Picks = dict[str, alt.Parameter]


def draw(
    results: Sequence[Result], labels: Sequence[str], *, y: str | Sequence[str] | None = None, legend: bool = True
) -> Any:
    """How does the sensitivity of each layer change with depth?

    Ops stand in order of emission; a gap in a curve is an op that was not measured. Bands are value ± 1.96 standard
    errors. Where channels were shuffled, their curve is dashed beside the solid one of the network as it is, as in
    Tomasini et al. (2022), Figure 3; that of initialized networks is then dotted, else dashed. Clicks in a legend
    single out runs and sets of weights, a second click takes one back; where kinds of op are chosen, the curves run
    through those alone.

    Args:
        results: Results of ``sensitivity``.
        labels: A distinct name for each.
        y: ``"R"`` (default), ``"D"``, ``"G"``, or several of them for one panel each.
        legend: Whether to draw legends.

    Raises:
        ArgumentError: ``y`` names something else, or nothing.
    """
    wanted = asked("sensitivity", y, QUANTITIES, ["R"])
    depth = depth_of([[str(name) for name in column(result, "layer", "")] for result in results])
    rows = records(results, labels, depth.positions)
    picks = _picks(rows, legend)
    words = words_of([dict(result.provenance.get("settings") or {}) for result in results])
    panels = [_panel(rows, depth, name, words, picks, legend and i == 0, i == 0) for i, name in enumerate(wanted)]
    return configured(_owned(stacked(panels), picks, depth))


def words_of(settings: Sequence[dict[str, Any]]) -> dict[str, str]:
    """What to call, over all these measurements, what was done to the images: ``bend`` and ``noise``."""
    bend = bend_of(settings)
    laws = {one.get("noise") or "sphere" for one in settings}
    sizes = {one.get("match") for one in settings}
    noise = "noise of a fixed size" if sizes == {"fixed"} else "noise of the same size"
    return {"bend": bend, "noise": noise if laws == {"sphere"} else "rectified noise"}


def _picks(rows: Rows, legend: bool) -> Picks:
    """What a click can single out: a run, a set of weights, a kind of op; only where there is a choice."""
    how = _WITH_LEGEND if legend else _WITHOUT_LEGEND
    chosen = [name for name in _OWNERS if len(distinct(rows, name)) > 1]
    return {name: alt.selection_point(name=name, fields=[name], **how) for name in chosen}


def _owned(picture: Any, picks: Picks, depth: Depth) -> Any:
    """The picture with its parameters.

    A legend answers clicks only for a selection of the layer it belongs to, which Altair's own ``add_params`` cannot
    say of layers; nor does it keep a layer's name as it was given.
    """
    first = picture.vconcat[0] if isinstance(picture, alt.VConcatChart) else picture
    found = [layer.name for layer in first.layer if isinstance(layer.name, str)]
    owners = {name: [view for view in found if view.startswith(owner)] for name, owner in _OWNERS.items()}
    picture = picture.copy()
    picture.params = [
        *(alt.TopLevelSelectionParameter(**_settings(pick), views=owners[name]) for name, pick in picks.items()),
        *depth.parameters,
    ]
    return picture


def _settings(pick: alt.Parameter) -> dict[str, Any]:
    parameter: Any = pick.param
    return parameter.to_dict()


def _panel(
    rows: Rows, depth: Depth, name: str, words: dict[str, str], picks: Picks, legend: bool, is_first: bool
) -> Any:
    """One quantity over depth; the first panel of a picture owns the selections, the others look on."""
    errors = [row[f"{name}_se"] for row in rows]
    axis = log_axis([row[name] for row in rows], errors, include=1.0 if name == "R" else None)
    base = _computed(alt.Chart(alt.InlineData(values=rows)), name, axis)
    if "kind" in picks:
        base = base.transform_filter(picks["kind"])
    base = base.encode(x=depth.channel)
    shown = [picks[key] for key in ("run", "weights") if key in picks]
    y = axis.channel(title=name, **UPRIGHT)
    color = _color(rows, legend)
    band, line, point = _curves(base, color, y, rows, shown, legend)
    if is_first:
        line, point = line.properties(name="lines"), point.properties(name="points")
    layers = [band, line, point, _ends(rows, color, name, axis, shown)]
    if name == "R":
        layers = [_rule(y), *layers, *_rule_in_words(words)]
    title, what = QUANTITIES[name]
    subtitle = [f"{what.format(**words)} Bands: 95 % intervals.", *axis.remarks]
    title = alt.TitleParams(title.format(**words), subtitle=subtitle)
    return alt.layer(*layers, title=title).properties(width=_WIDTH, height=_HEIGHT)


def _computed(chart: alt.Chart, name: str, axis: LogAxis) -> alt.Chart:
    """Value, ends of the band and the texts of the tooltip, worked out where the chart is drawn."""
    is_shown = f"isValid(datum.{name}) && datum.{name} > 0"
    has_band = f"{is_shown} && isValid(datum.{name}_se)"
    texts = {
        f"{q} ± se": f"isValid(datum.{q}) ? format(datum.{q}, '.4~g') + ' ± ' + "
        f"(isValid(datum.{q}_se) ? format(datum.{q}_se, '.2~g') : '?') : 'not measured'"
        for q in QUANTITIES
    }
    return chart.transform_calculate(
        value=f"{is_shown} ? datum.{name} : null",
        low=f"{has_band} ? max({axis.low!r}, datum.{name} - {Z95} * datum.{name}_se) : null",
        high=f"{has_band} ? datum.{name} + {Z95} * datum.{name}_se : null",
        **texts,
    )


def _curves(
    base: alt.Chart, color: alt.Color, y: dict[str, Any], rows: Rows, shown: list[alt.Parameter], legend: bool
) -> list[alt.Chart]:
    """The band, the line and the points of every run and set of weights."""
    crowd = len(rows) / max(len(distinct(rows, "run")) * len(distinct(rows, "weights")), 1)
    is_given = alt.datum.weights == GIVEN
    width = alt.condition(alt.datum.weights == INITIALIZED, alt.value(1.2), alt.value(2.0 if crowd <= 80 else 1.5))
    base = base.encode(color=color, detail="weights:N")
    bounds = {"y": alt.Y("low:Q", **y), "y2": "high:Q"}
    band = base.mark_area().encode(**bounds, opacity=dimmed(shown, 0.15, 0.02))
    base = base.encode(y=alt.Y("value:Q", **y), opacity=dimmed(shown, 1.0, 0.12))
    line = base.mark_line(strokeJoin="round").encode(strokeDash=_dash(rows, legend), strokeWidth=width)
    point = base.mark_point(size=44 if crowd <= 30 else 24 if crowd <= 80 else 12, strokeWidth=1.1).encode(
        shape=_shape(rows, legend),
        fill=_color(rows, legend, alt.Fill),
        fillOpacity=alt.condition(is_given, alt.value(1), alt.value(0)),
        tooltip=_tooltip(),
    )
    return [band, line, point]


def _color(rows: Rows, legend: bool, channel: type = alt.Color) -> Any:
    runs = distinct(rows, "run")
    return channel("run:N", scale=color_scale(runs), legend=legend_of(runs if legend else [], **STROKE))


def _dash(rows: Rows, legend: bool) -> alt.StrokeDash:
    found = distinct(rows, "weights")
    names = [name for name in WEIGHTS if name in found] or [GIVEN]
    scale = alt.Scale(domain=names, range=_DASHES[: len(names)])
    look = legend_of(names if legend else [], symbolStrokeColor=MUTED, **STROKE)
    return alt.StrokeDash("weights:N", scale=scale, legend=look)


def _shape(rows: Rows, legend: bool) -> alt.Shape:
    kinds = [str(kind) for kind, _ in Counter(row["kind"] for row in rows).most_common()]
    gray = {"symbolFillColor": MUTED, "symbolStrokeColor": MUTED, "symbolOpacity": 1, "orient": "bottom"}
    return alt.Shape("kind:N", scale=shape_scale(kinds), legend=legend_of(kinds if legend else [], **gray))


def _tooltip() -> list[alt.Tooltip]:
    facts = [alt.Tooltip(f"{name}:N") for name in ("layer", "kind", "shape", "run", "weights")]
    numbers = [alt.Tooltip(f"{name} ± se:N") for name in QUANTITIES]
    return [*facts, *numbers, alt.Tooltip("n:Q", title="images"), alt.Tooltip("status:N")]


def _rule(y: dict[str, Any]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=[{}])).mark_rule(color=INK, opacity=0.6).encode(y=alt.datum(1, **y))


def _rule_in_words(says: dict[str, str]) -> list[alt.Chart]:
    """The words, on a halo of the page's color that keeps them legible over curves."""
    words = f"width > 460 ? 'R = 1: as sensitive to {says['bend']} as to {says['noise']}' : 'R = 1'"
    where = {"y": alt.datum(1), "x": alt.value("width"), "text": alt.value(alt.expr(words))}
    look: dict[str, Any] = {"align": "right", "baseline": "bottom", "dx": -4, "dy": -4, "fontSize": 11}
    one = alt.Chart(alt.InlineData(values=[{}]))
    halo = one.mark_text(stroke="white", strokeWidth=4, strokeJoin="round", opacity=0.85, **look)
    return [halo.encode(**where), one.mark_text(color=MUTED, **look).encode(**where)]


def _ends(rows: Rows, color: alt.Color, name: str, axis: LogAxis, shown: list[alt.Parameter]) -> alt.Chart:
    """The value at the output, beside the end of each curve, where it would not lie on another."""
    free: Rows = []
    nearest_allowed = 0.06 * math.log(axis.high / axis.low)
    last = {(row["run"], row["weights"]): row for row in rows}
    for row in sorted(last.values(), key=lambda row: row["weights"] != GIVEN):
        value = row[name] or 0
        if value > 0 and all(abs(math.log(value / other[name])) > nearest_allowed for other in free):
            free.append(row)
    data = [{key: row[key] for key in ("x", "run", "weights")} | {"end": row[name]} for row in free]
    data = [row | {"text": short(row["end"])} for row in data]
    text = alt.Chart(alt.InlineData(values=data)).mark_text(align="left", dx=9, fontSize=12, fontWeight=600)
    return text.encode(x="x:Q", y="end:Q", text="text:N", color=color, opacity=dimmed(shown, 1.0, 0.12))
