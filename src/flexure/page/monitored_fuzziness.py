"""What the page says of fuzziness while a network learnt: each layer at its start and end, curves, numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flexure.charts import chart
from flexure.charts.monitor import moments
from flexure.charts.monitored_fuzziness import layers_of, reading_of
from flexure.charts.records import column
from flexure.charts.theme import colors
from flexure.page.embed import Picture, picture
from flexure.page.numbers import Number, number
from flexure.results import MEASURED, Result

__all__ = ["Answer", "Contents", "contents"]

_HEIGHT = 270
_LAYERS, _RUNS = 4, 3  # that are drawn


@dataclass(frozen=True)
class Answer:
    """One run's answer.

    Attributes:
        name: The run.
        color: Its color.
        reading: Interval and index in words.
        looks: At how many moments it was looked at.
        layers: Layers that have a value at the first and the last look.
        fell, rose: Of these, those whose fuzziness fell or rose.
        furthest: Layer whose fuzziness changed most, with its last and its first value.
        rows: Layer, first and last fuzziness and distance, what is left out and why.
    """

    name: str
    color: str
    reading: str
    looks: int
    layers: int
    fell: int
    rose: int
    furthest: tuple[str, Number | None, Number | None] | None
    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class Contents:
    """Everything the template of this panel needs.

    Attributes:
        answers: One per run.
        pictures: All layers of the first runs, then the first layers of the first run beside independent weights.
        left_out: Runs that are not drawn.
    """

    answers: list[Answer]
    pictures: list[Picture]
    left_out: int


def contents(results: Sequence[Result], labels: Sequence[str]) -> Contents:
    """The panel's content for these results, one per run."""
    drawn = [(result, label) for result, label in zip(results, labels, strict=True) if layers_of(result)]
    pictures = [_picture(result, label, "fuzziness", len(results) > 1) for result, label in drawn[:_RUNS]]
    for result, label in drawn[:1]:
        pictures += [
            _picture(result, label, f"fuzziness:{layer}", len(results) > 1) for layer in layers_of(result)[:_LAYERS]
        ]
    answers = list(map(_answer, results, labels, colors(len(results))))
    return Contents(answers, pictures, len(drawn[_RUNS:]))


def _picture(result: Result, label: str, y: str, is_named: bool) -> Picture:
    one = picture(chart(result, labels=[label], y=y), _HEIGHT)
    return Picture(f"{label}: {one.title}", one.remarks, one.spec) if is_named else one


def _answer(result: Result, label: str, color: str) -> Answer:
    rows = _rows(result)
    known = [row for row in rows if row["first"] is not None and row["last"] is not None]
    change = {row["layer"]: row["last_value"] - row["first_value"] for row in known}
    furthest = max(known, key=lambda row: abs(change[row["layer"]]), default=None)
    interval, index = reading_of(result)
    return Answer(
        name=label,
        color=color,
        reading=f"interval {interval}, index {index.replace('_', ' ')}",
        looks=len(set(moments(result)[1])),
        layers=len(known),
        fell=sum(value < 0 for value in change.values()),
        rose=sum(value > 0 for value in change.values()),
        furthest=None if furthest is None else (furthest["layer"], furthest["last"], furthest["first"]),
        rows=rows,
    )


def _rows(result: Result) -> list[dict[str, Any]]:
    """A row per layer with what it was at the first and at the last look."""
    reading = reading_of(result)
    names = ("fuzziness", "center_distance")
    keys = ["layer", "interval", "index", "n", "status", *names, *(f"{name}_se" for name in names)]
    columns = {key: column(result, key) for key in keys}
    rows = []
    for layer in layers_of(result):
        own = [
            i
            for i, name in enumerate(columns["layer"])
            if name == layer and (columns["interval"][i], columns["index"][i]) == reading
        ]
        first, last = own[0], own[-1]
        row = {"layer": layer, "n": columns["n"][last], "remark": ""}
        row |= {f"{end}_value": columns["fuzziness"][i] for end, i in (("first", first), ("last", last))}
        for end, i in (("first", first), ("last", last)):
            row[end] = number(columns["fuzziness"][i], columns["fuzziness_se"][i])
            row[f"{end}_distance"] = number(columns["center_distance"][i], columns["center_distance_se"][i])
        if columns["status"][last] != MEASURED:
            row["remark"] = str(columns["status"][last])
        rows.append(row)
    return rows
