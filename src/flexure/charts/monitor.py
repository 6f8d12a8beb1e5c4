"""Curves of what a probe said while a network learnt, and a map of every layer at every measured step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import altair as alt

from flexure.charts.asked import asked
from flexure.charts.depth import ticks
from flexure.charts.records import column, distinct
from flexure.charts.scales import Z95, log_axis
from flexure.charts.theme import LINE, STROKE, color_scale, configured, legend_of, stacked
from flexure.charts.training import thinned
from flexure.charts.words import bend_of
from flexure.results import Result

__all__ = ["KINDS", "LAYERS", "Kind", "draw", "moments"]

LAYERS = "layers"
_WIDTH, _HEIGHT = 640, 300
_MOST, _MOST_ROWS = 400, 40
_NAMES_BENEATH = 22

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Kind:
    """What can be drawn of the monitored results of one probe.

    Attributes:
        curves: Quantities with a curve over steps and the heading of each, ``{bend}`` for what bent the images.
        mapped: Quantity that is mapped over layers and steps, or empty.
        heading: Heading of that map.
        around: Value about which its colors diverge, drawn on a log scale; None for a plain scale.
        level: Quantities on a plain axis, since they may be below zero, each with a value that is drawn as a line and
            what it means.
        of_output: Whether the map has a column for the output.
    """

    curves: Mapping[str, str]
    mapped: str = ""
    heading: str = ""
    around: float | None = None
    level: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    of_output: bool = True


KINDS: Mapping[str, Kind] = {
    "monitor_sensitivity": Kind(
        {
            "R": "R = D / G at the output, while it learns",
            "D": "D at the output: sensitivity to {bend}",
            "G": "G at the output: sensitivity to noise",
        },
        mapped="R",
        heading="R of every op, while it learns",
        around=1.0,
    ),
    "monitor_accuracy": Kind(
        {
            "error": "Share of wrong answers, while it learns",
            "accuracy": "Share of right answers, while it learns",
            "loss": "Loss, while it learns",
        }
    ),
    "monitor_elasticity": Kind(
        {
            "ratio": "Cosine within ÷ (within + between classes), while it learns",
            "same_class": "Mean cosine of two images of one class",
            "relative_mean": "Another image’s move ÷ its own, whichever way",
        },
        mapped="share",
        heading="Share of every layer in the kernel, while it learns",
        level={"ratio": (0.5, "where classes do not matter"), "same_class": (0.0, "nothing in common")},
        of_output=False,
    ),
    "monitor_filters": Kind({}, mapped="pooling_index", heading="Pooling index of every convolution, while it learns"),
}


def draw(
    results: Sequence[Result], labels: Sequence[str], *, y: str | Sequence[str] | None = None, legend: bool = True
) -> Any:
    """How did a probe's answer change while the network learnt?

    Curves are at the network's output, with bands of value ± 1.96 standard errors over images. Along the axis are
    epochs where every measured step has one, else steps.

    Args:
        results: Monitored results of one probe.
        labels: A distinct name for each.
        y: A quantity (``"R"``, ``"D"``, ``"G"`` of ``sensitivity``; ``"error"``, ``"accuracy"``, ``"loss"`` of
            ``accuracy``; ``"ratio"``, ``"same_class"``, ``"relative_mean"`` of ``elasticity``), ``"layers"`` for a map
            over layers and steps (of ``sensitivity``, ``elasticity`` and ``filters``), or several for one panel each.
            By default the first that there is.
        legend: Whether to draw legends.

    Raises:
        ArgumentError: ``y`` names something else, or nothing.
    """
    kind = KINDS[results[0].probe]
    valid = [*kind.curves, *([LAYERS] if kind.mapped else [])]
    panels: list[Any] = []
    for name in asked(results[0].probe, y, valid, valid[:1]):
        if name == LAYERS:
            panels += [
                _map(result, label, kind, len(results) > 1) for result, label in zip(results, labels, strict=True)
            ]
        else:
            heading = kind.curves[name].format(
                bend=bend_of([dict(one.provenance.get("settings") or {}) for one in results])
            )
            panels.append(_curve(results, labels, name, heading, kind.level.get(name), legend and not panels))
    picture = stacked(panels)
    return configured(picture.resolve_scale(color="independent") if len(panels) > 1 else picture)


def moments(result: Result) -> tuple[str, list[float]]:
    """What stands along the axis, ``"epoch"`` or ``"step"``, and the place of each row."""
    for name in ("epoch", "step"):
        places = column(result, name)
        if places and all(place is not None for place in places):
            return name, [float(place) for place in places]
    return "step", [float(place or 0) for place in column(result, "step")]


def _curve(
    results: Sequence[Result],
    labels: Sequence[str],
    name: str,
    heading: str,
    level: tuple[float, str] | None,
    legend: bool,
) -> Any:
    """One quantity at the output over the training."""
    in_epochs = all(moments(result)[0] == "epoch" for result in results)
    rows = [
        row for result, label in zip(results, labels, strict=True) for row in _output(result, label, name, in_epochs)
    ]
    y, remarks, shown = _upright(rows, level)
    runs = distinct(rows, "run")
    stroke = legend_of(runs if legend else [], **STROKE)
    base = alt.Chart(alt.InlineData(values=rows)).transform_calculate(**shown)
    base = base.encode(x=_x(rows, in_epochs), color=alt.Color("run:N", scale=color_scale(runs), legend=stroke))
    base = base.encode(detail="series:N")
    band = base.mark_area(opacity=0.14, clip=True).encode(y=alt.Y("low:Q", **y), y2="high:Q")
    line = base.mark_line(strokeJoin="round", strokeWidth=2).encode(y=alt.Y("shown:Q", **y))
    point = base.mark_point(filled=True, size=28 if len(rows) <= 120 else 8).encode(
        y=alt.Y("shown:Q", **y), tooltip=_tooltip(name)
    )
    layers = [band, line, point]
    if level is not None:
        mark = alt.Chart(alt.InlineData(values=[{"level": level[0]}])).encode(y=alt.Y("level:Q", **y))
        layers.insert(0, mark.mark_rule(color=LINE, strokeDash=[4, 4], aria=False))
    title = alt.TitleParams(heading, subtitle=[" ".join(remarks)])
    return alt.layer(*layers, title=title).properties(width=_WIDTH, height=_HEIGHT)


def _upright(rows: Rows, level: tuple[float, str] | None) -> tuple[dict[str, Any], list[str], dict[str, str]]:
    """The upright axis, what has to be said of it, and what is drawn: value and ends of its interval."""
    if level is not None:
        axis = {"scale": alt.Scale(zero=False, nice=True), "axis": alt.Axis(title=None, format=".4~g", tickCount=6)}
        far = f"{Z95} * datum.se"
        shown = {
            "shown": "isValid(datum.value) ? datum.value : null",
            "low": f"isValid(datum.se) && isValid(datum.value) ? datum.value - {far} : null",
            "high": f"isValid(datum.se) && isValid(datum.value) ? datum.value + {far} : null",
        }
        return axis, [f"Dashed: {level[0]:g}, {level[1]}. Bands: 95 % intervals over images."], shown
    log = log_axis([row["value"] for row in rows], [row["se"] for row in rows])
    shown = {
        "shown": "isValid(datum.value) && datum.value > 0 ? datum.value : null",
        "low": f"isValid(datum.se) && datum.value > 0 ? max({log.low!r}, datum.value - {Z95} * datum.se) : null",
        "high": f"isValid(datum.se) && datum.value > 0 ? datum.value + {Z95} * datum.se : null",
    }
    return log.channel(title=None), ["On a log axis. Bands: 95 % intervals over images.", *log.remarks], shown


def _output(result: Result, label: str, name: str, in_epochs: bool) -> Rows:
    """One record per measured step: the network's output, or each corruption level of it."""
    names = ("layer", "step", "epoch", name, f"{name}_se", "n", "status", "corruption")
    columns = {key: column(result, key) for key in names}
    rows = [{key: values[i] for key, values in columns.items()} for i in range(len(result))]
    rows = [row for row in rows if row["layer"] in (None, "output")]
    kept = [rows[i] for i in thinned(len(rows), _MOST)] if rows else []
    return [
        {
            "x": row["epoch"] if in_epochs else row["step"],
            "run": label,
            "series": label if row["corruption"] is None else f"corruption {row['corruption']:g}",
            "value": row[name],
            "se": row[f"{name}_se"],
        }
        | {key: row[key] for key in ("step", "epoch", "n", "status")}
        for row in kept
    ]


def _x(rows: Rows, in_epochs: bool) -> alt.X:
    places = sorted({row["x"] for row in rows})
    gaps = [after - before for before, after in pairwise(places)]
    is_sparse = len(gaps) > 2 and max(gaps) >= 10 * min(gaps)
    scale = alt.Scale(type="symlog", constant=max(gaps[0], 1e-9), nice=False) if is_sparse else alt.Scale(nice=False)
    look: dict[str, Any] = (
        {"values": [places[i] for i in thinned(len(places), 12)]} if is_sparse else {"tickMinStep": 1}
    )
    axis = alt.Axis(title="epoch" if in_epochs else "step", format="~g" if in_epochs else "~s", grid=False, **look)
    return alt.X("x:Q", scale=scale, axis=axis)


def _tooltip(name: str) -> list[alt.Tooltip]:
    numbers = [
        alt.Tooltip("value:Q", title=name, format=".4~g"),
        alt.Tooltip("se:Q", title=f"{name}_se", format=".2~g"),
    ]
    facts = [alt.Tooltip("series:N", title="run"), alt.Tooltip("step:Q"), alt.Tooltip("epoch:Q", format=".3~g")]
    return [*facts, *numbers, alt.Tooltip("n:Q", title="images"), alt.Tooltip("status:N")]


def _map(result: Result, label: str, kind: Kind, is_named: bool) -> Any:
    """One quantity of every layer at every measured step, as colors."""
    rows, layers, left_out = _cells(result, kind)
    names = {f"{at:g}": name for at, name in ticks(layers, _NAMES_BENEATH).items()}
    look = alt.Axis(
        title=None, values=[float(at) for at in names], labelExpr="layer_names[datum.value]", labelAngle=-40,
        labelAlign="right", labelBaseline="top", labelLimit=120, labelOverlap=False, tickCount=999, grid=False,
    )  # fmt: skip
    axis_name = moments(result)[0]
    ends = [-0.5, max(len(layers) - 0.5, 0.5)]
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X("from:Q", axis=look, scale=alt.Scale(domain=ends, nice=False, zero=False)),
        x2="to:Q",
        y=alt.Y(
            "moment:O", sort="descending", axis=alt.Axis(title=axis_name, format="~g", labelOverlap=True, tickSize=0)
        ),
        color=_shade(rows, kind),
        tooltip=[
            alt.Tooltip("layer:N"),
            alt.Tooltip("step:Q"),
            alt.Tooltip("value:Q", title=kind.mapped, format=".4~g"),
            alt.Tooltip("se:Q", title=f"{kind.mapped}_se", format=".2~g"),
        ],
    )
    words = ["Ops in order of emission, the training from bottom to top; white where nothing was measured."]
    words += [f"{_MOST_ROWS} of the steps are drawn."] if left_out else []
    heading = f"{label}: {kind.heading}" if is_named else kind.heading
    title = alt.TitleParams(heading, subtitle=[" ".join(words)])
    chart = base.mark_rect().properties(width=_WIDTH, height=_HEIGHT, title=title)
    return chart.add_params(alt.param(name="layer_names", value=names))


def _cells(result: Result, kind: Kind) -> tuple[Rows, list[str], bool]:
    """A record per measured layer and step, the layers in order, and whether steps were left out."""
    steps = sorted({int(step) for step in column(result, "step")})
    kept = {steps[i] for i in thinned(len(steps), _MOST_ROWS)}
    names = [str(name) for name in column(result, "layer", "")]
    _, places = moments(result)
    layers = _in_order(names, [int(step) for step in column(result, "step")])
    layers = [name for name in layers if kind.of_output or name != "output"]
    values, errors = column(result, kind.mapped), column(result, f"{kind.mapped}_se")
    rows = []
    for i, step in enumerate(column(result, "step")):
        value = values[i]
        if step in kept and names[i] in layers and value is not None and (kind.around is None or value > 0):
            at = layers.index(names[i])
            row = {"from": at - 0.5, "to": at + 0.5, "layer": names[i], "step": step, "moment": places[i]}
            rows.append(row | {"value": value, "se": errors[i]})
    return rows, layers, len(kept) < len(steps)


def _in_order(names: Sequence[str], steps: Sequence[int]) -> list[str]:
    """The layers in order of emission, by the step that has most; those of other steps behind."""
    counts = {step: steps.count(step) for step in dict.fromkeys(steps)}
    fullest = max(counts, key=lambda step: counts[step])
    first = [name for name, step in zip(names, steps, strict=True) if step == fullest]
    return list(dict.fromkeys([*first, *names]))


def _shade(rows: Rows, kind: Kind) -> alt.Color:
    legend = alt.Legend(title=kind.mapped, gradientLength=180, gradientThickness=9, orient="top")
    if kind.around is None:
        return alt.Color("value:Q", scale=alt.Scale(scheme="viridis"), legend=legend)
    known = [row["value"] for row in rows] or [kind.around]
    reach = max(max(known) / kind.around, kind.around / min(known), 1.01)
    scale = alt.Scale(type="log", scheme="blueorange", domain=[kind.around / reach, kind.around * reach])
    legend.values = [float(f"{kind.around * reach**power:.2g}") for power in (-1, -0.5, 0, 0.5, 1)]
    legend.format = "~g"
    return alt.Color("value:Q", scale=scale, legend=legend)
