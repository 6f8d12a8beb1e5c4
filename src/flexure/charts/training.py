"""Curves of loss and accuracy over epochs, on the training images and on the test images."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from flexure.charts.asked import asked
from flexure.charts.records import column, distinct
from flexure.charts.scales import Z95, log_axis
from flexure.charts.theme import MUTED, STROKE, color_scale, configured, dimmed, legend_of, stacked
from flexure.results import Result

__all__ = ["QUANTITIES", "TEST", "TRAINING", "draw", "thinned"]

TRAINING, TEST = "training images", "test images"
QUANTITIES = {
    "accuracy": ("Accuracy over epochs", "Share of images that are classified right."),
    "loss": ("Loss over epochs", "Mean over images{unit}, on a log axis."),
    "lr": ("Step size over epochs", "Of the last step of each epoch."),
}
_MOST = 400  # epochs of one curve that are drawn
_WIDTH, _HEIGHT = 640, 300

Rows = list[dict[str, Any]]


def draw(
    results: Sequence[Result], labels: Sequence[str], *, y: str | Sequence[str] | None = None, legend: bool = True
) -> Any:
    """How did accuracy and loss go over the epochs?

    Solid: test images, after the epoch; dashed: training images, while the weights were moving. Bands are value ± 1.96
    standard errors over images.

    Args:
        results: Results of ``training``.
        labels: A distinct name for each.
        y: ``"accuracy"``, ``"loss"``, ``"lr"``, or several of them for one panel each; by default the first two.
        legend: Whether to draw legends.

    Raises:
        ArgumentError: ``y`` names something else, or nothing.
    """
    wanted = asked("training", y, QUANTITIES, ["accuracy", "loss"])
    rows = [row for result, label in zip(results, labels, strict=True) for row in _records(result, label)]
    left_out = any(len(thinned(len(result))) < len(result) for result in results)
    unit = _unit(results)
    picks = _picks(rows) if legend else {}
    panels = [_panel(rows, name, unit, left_out, picks, legend and i == 0) for i, name in enumerate(wanted)]
    return configured(_owned(stacked(panels), picks))


def thinned(count: int, most: int = _MOST) -> list[int]:
    """Positions of at most about ``most`` of ``count`` epochs, evenly, the first and the last among them.

    >>> thinned(5, 400), thinned(1000, 4)
    ([0, 1, 2, 3, 4], [0, 333, 666, 999])
    """
    return sorted(set(np.linspace(0, count - 1, min(count, most)).astype(int).tolist()))


def _records(result: Result, label: str) -> Rows:
    """One record per epoch and set of images."""
    epochs, lr = column(result, "epoch"), column(result, "lr")
    rows = []
    for part, prefix in ((TEST, "test_"), (TRAINING, "")):
        numbers = {
            f"{name}{end}": column(result, f"{prefix}{name}{end}")
            for name in ("accuracy", "loss")
            for end in ("", "_se")
        }
        counts = column(result, f"{prefix}n", 0)
        measured = [i for i, count in enumerate(counts) if count]
        rows += [
            {"x": epochs[i], "run": label, "images": part, "lr": lr[i], "n": counts[i], "alone": len(measured) == 1}
            | {name: values[i] for name, values in numbers.items()}
            for i in map(measured.__getitem__, thinned(len(measured)))
        ]
    return rows


def _unit(results: Sequence[Result]) -> str:
    units = {str(result.units.get("loss", "")) for result in results}
    return f", in {units.pop()}" if units == {"nats"} else ""


def _picks(rows: Rows) -> dict[str, alt.Parameter]:
    """What a click in the legend can single out; only where there is a choice."""
    fields = [name for name in ("run", "images") if len(distinct(rows, name)) > 1]
    return {
        f"by_{name}": alt.selection_point(name=f"by_{name}", fields=[name], bind="legend", toggle="true")
        for name in fields
    }


def _owned(picture: Any, picks: dict[str, alt.Parameter]) -> Any:
    """The picture with its parameters: a legend answers clicks only for a selection of the layer it belongs to."""
    if not picks:
        return picture
    picture = picture.copy()
    panels = picture.vconcat if isinstance(picture, alt.VConcatChart) else [picture]
    names = [layer.name for layer in panels[0].layer if str(layer.name).startswith("lines")]
    chosen: list[Any] = [pick.param for pick in picks.values()]
    picture.params = [alt.TopLevelSelectionParameter(**pick.to_dict(), views=names) for pick in chosen]
    return picture


def _panel(rows: Rows, name: str, unit: str, left_out: bool, picks: dict[str, alt.Parameter], legend: bool) -> Any:
    shown = [row for row in rows if name != "lr" or row["images"] == TRAINING]
    y, remarks = _y(shown, name)
    runs = distinct(rows, "run")
    look = legend_of(runs if legend else [], **STROKE)
    base = alt.Chart(alt.InlineData(values=shown)).encode(
        x=_x(rows), color=alt.Color("run:N", scale=color_scale(runs), legend=look), detail="images:N"
    )
    base = _computed(base, name, y["scale"])
    dims = list(picks.values())
    line = base.mark_line(strokeJoin="round").encode(
        y=alt.Y("value:Q", **y),
        strokeDash=_dash(rows, legend and name != "lr"),
        strokeWidth=alt.condition(alt.datum.images == TEST, alt.value(2), alt.value(1.4)),
        opacity=dimmed(dims, 1.0, 0.12),
    )
    bounds = {"y": alt.Y("low:Q", **y), "y2": "high:Q"}
    band = base.mark_area(clip=True).encode(**bounds, opacity=dimmed(dims, 0.14, 0.02))
    point = base.mark_point(filled=True, size=30, opacity=0).encode(y=alt.Y("value:Q", **y), tooltip=_tooltip())
    title, what = QUANTITIES[name]
    told = [what.format(unit=unit) + (" Bands: 95 % intervals over images." if name != "lr" else ""), *remarks]
    told += [f"At most {_MOST} epochs are drawn."] if left_out else []
    layers = [*([] if name == "lr" else [band]), line.properties(name="lines") if legend else line, point]
    if any(row["alone"] for row in shown):
        lone = base.transform_filter(alt.datum.alone).encode(opacity=dimmed(dims, 1.0, 0.12))
        layers += [
            lone.mark_rule().encode(**bounds),
            lone.mark_point(filled=True, size=44).encode(y=alt.Y("value:Q", **y)),
        ]
    return alt.layer(*layers, title=alt.TitleParams(title, subtitle=told)).properties(width=_WIDTH, height=_HEIGHT)


def _computed(chart: alt.Chart, name: str, scale: alt.Scale) -> alt.Chart:
    """Value, ends of the band and the texts of the tooltip, worked out where the chart is drawn."""
    scale_ = scale.to_dict()
    floor, top = scale_["domain"]
    valid = f"isValid(datum.{name})" + (f" && datum.{name} > 0" if scale_["type"] == "log" else "")
    has_band = f"{valid} && isValid(datum.{name}_se)"
    texts = {
        f"{q} ± se": f"isValid(datum.{q}) ? format(datum.{q}, '.4~g') + ' ± ' + "
        f"(isValid(datum.{q}_se) ? format(datum.{q}_se, '.2~g') : '?') : ''"
        for q in ("accuracy", "loss")
    }
    return chart.transform_calculate(
        value=f"{valid} ? datum.{name} : null",
        low=f"{has_band} ? max({floor!r}, datum.{name} - {Z95} * datum.{name}_se) : null",
        high=f"{has_band} ? min({top!r}, datum.{name} + {Z95} * datum.{name}_se) : null",
        **texts,
    )


def _x(rows: Rows) -> alt.X:
    last = max((row["x"] for row in rows), default=1)
    axis = alt.Axis(title="epoch", format="~s" if last >= 10_000 else "d", tickMinStep=1, grid=False)
    return alt.X("x:Q", scale=alt.Scale(domain=[min(1, last), max(last, 2)], nice=False), axis=axis)


def _y(rows: Rows, name: str) -> tuple[dict[str, Any], list[str]]:
    """The axis, and what it cannot show."""
    if name == "accuracy":
        known = [row[name] - Z95 * (row[f"{name}_se"] or 0) for row in rows if row[name] is not None]
        low = max(0.0, np.floor(10 * min(known, default=0.0)) / 10)
        scale = alt.Scale(type="linear", domain=[float(min(low, 0.9)), 1.0], nice=False, zero=False)
        return {"scale": scale, "axis": alt.Axis(title=None, format="~%", grid=True)}, []
    errors = [0.0 if name == "lr" else row[f"{name}_se"] for row in rows]
    axis = log_axis([row[name] for row in rows], errors)
    return axis.channel(title=None), axis.remarks


def _dash(rows: Rows, legend: bool) -> alt.StrokeDash:
    found = distinct(rows, "images")
    names = [name for name in (TEST, TRAINING) if name in found] or [TRAINING]
    dashes = [[1, 0], [4, 3]][-len(names) :] if len(names) > 1 else [[1, 0]]
    look = legend_of(names if legend else [], symbolStrokeColor=MUTED, **STROKE)
    return alt.StrokeDash("images:N", scale=alt.Scale(domain=names, range=dashes), legend=look)


def _tooltip() -> list[alt.Tooltip]:
    numbers = [alt.Tooltip(f"{name} ± se:N") for name in ("accuracy", "loss")]
    facts = [alt.Tooltip("run:N"), alt.Tooltip("images:N"), alt.Tooltip("x:Q", title="epoch")]
    return [*facts, *numbers, alt.Tooltip("lr:Q", title="step size", format=".3~g"), alt.Tooltip("n:Q", title="images")]
