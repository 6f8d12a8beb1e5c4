"""Which classes training on one class moves: a cell for each pair of classes, with its value in it."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from flexure.charts.asked import asked
from flexure.charts.records import column
from flexure.charts.scales import short
from flexure.charts.shades import end_of, shades
from flexure.charts.theme import INK, configured, stacked
from flexure.results import MEASURED, Result

__all__ = ["QUANTITIES", "draw"]

QUANTITIES = {
    "sensitivity": "Mean size over pairs of different images",
    "signed": "Mean over pairs of different images",
}
_TITLES = {
    "cosine": ("How alike two classes pull at the weights", "cosine of what steps on the two do"),
    "kernel": ("What a step on one class does to another", "per step and slope of the loss"),
    "relative": ("How far training on one class moves another", "as a share of how far it moves its own prediction"),
}
_SIZE = 480
_WRITTEN = 12  # classes, up to which the values are written into the cells
_DARK = 0.55  # of the colors' end; from there on writing is light

Rows = list[dict[str, Any]]


def draw(
    results: Sequence[Result], labels: Sequence[str], *, y: str | Sequence[str] | None = None, legend: bool = True
) -> Any:
    """Which classes does training on one class move?

    A row for each class that was stepped on, a column for each that was watched; a panel per result, all with the same
    colors for the same values.

    Args:
        results: Results of ``class_sensitivity``.
        labels: A distinct name for each.
        y: ``"signed"`` (by default), ``"sensitivity"``, or both.
        legend: Whether to draw legends.

    Raises:
        ArgumentError: ``y`` names something else.
    """
    panels: list[Any] = []
    for name in asked("class_sensitivity", y, QUANTITIES, ["signed"]):
        rows = [_cells(result, name) for result in results]
        known = [abs(row["value"]) for cells in rows for row in cells if row["value"] is not None]
        end = end_of(known, beyond=0.0)
        for cells, label in zip(rows, labels, strict=True):
            suffix = f": {label}" if len(results) > 1 else ""
            panels.append(_panel(name, cells, end, *_told(results[0], name, suffix), legend))
    return configured(stacked(panels).resolve_scale(color="independent") if len(panels) > 1 else panels[0])


def _told(result: Result, name: str, suffix: str) -> tuple[str, str]:
    """The heading, and what the values are."""
    similarity = str((result.provenance.get("settings") or {}).get("similarity") or "similarity")
    title, unit = _TITLES.get(similarity.removesuffix("_signed"), ("Classes that move one another", similarity))
    sign = "; below 0: the other way" if name == "signed" and similarity != "relative" else ""
    return title + suffix, f"{QUANTITIES[name]}, {unit}{sign}."


def _cells(result: Result, name: str) -> Rows:
    """One record per pair of classes."""
    names = ("stepped", "watched", name, f"{name}_se", "n", "pairs")
    columns = [*(column(result, one) for one in names), column(result, "status", MEASURED)]
    found = [dict(zip(("stepped", "watched", "value", "se", "n", "pairs", "status"), row, strict=True)) for row in
             zip(*columns, strict=True)]  # fmt: skip
    return [row | {"written": _written(row["value"])} for row in found if row["stepped"] != "all"]


def _written(value: float | None) -> str:
    return "" if value is None else ("−" if value < 0 else "") + short(abs(value))


def _panel(name: str, rows: Rows, end: float, title: str, meaning: str, legend: bool) -> Any:
    classes = list(dict.fromkeys(row["stepped"] for row in rows)) or list(dict.fromkeys(row["watched"] for row in rows))
    place = {
        "sort": None,
        "scale": alt.Scale(domain=list(dict.fromkeys([*classes, *(row["watched"] for row in rows)]))),
    }
    look = alt.Axis(domain=False, ticks=False, labelAngle=0, labelOverlap=True)
    facts = [alt.Tooltip("n:Q", title="images"), alt.Tooltip("pairs:Q", format=","), alt.Tooltip("status:N")]
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X("watched:N", title="class watched", axis=look, **place),
        y=alt.Y("stepped:N", title="class stepped on", axis=look, **place),
    )
    cells = base.mark_rect(aria=False).encode(
        color=shades(
            "mean, signed" if name == "signed" else "mean size", end, is_signed=name == "signed", legend=legend
        ),
        tooltip=[
            alt.Tooltip("stepped:N", title="stepped on"),
            alt.Tooltip("watched:N"),
            alt.Tooltip("value:Q", title=name, format=".3~g"),
            alt.Tooltip("se:Q", title=f"{name}_se", format=".2~g"),
            *facts,
        ],
    )
    layers = [cells]
    if len(classes) <= _WRITTEN:
        dark = f"isValid(datum.value) && abs(datum.value) > {_DARK * end!r}"
        ink = alt.condition(dark, alt.value("white"), alt.value(INK))
        layers.append(base.mark_text(fontSize=11, aria=False).encode(text="written:N", color=ink))
    told = alt.TitleParams(title, subtitle=[meaning, *_remarks(rows)])
    return alt.layer(*layers, title=told).properties(width=_SIZE, height=_SIZE)


def _remarks(rows: Rows) -> list[str]:
    errors = [row["se"] for row in rows if row["se"] is not None]
    found = [f"Standard errors over images: up to {max(errors):.2g}."] if errors else []
    if any(row["value"] is None for row in rows):
        found.append("Blank: no pair of different images.")
    return [" ".join(found)] if found else []
