"""What the page says about a monitored training: the answer before and after, the curves, the map, the numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flexure.charts import chart
from flexure.charts.monitor import KINDS, LAYERS, moments
from flexure.charts.records import column
from flexure.charts.theme import colors
from flexure.charts.training import thinned
from flexure.charts.words import bend_of
from flexure.page.embed import Picture, picture, pictures
from flexure.page.facts import settings_of
from flexure.page.numbers import Number, interval, number
from flexure.results import MEASURED, Result

__all__ = ["Change", "Contents", "Table", "contents"]

_HEIGHTS = (320, 230, 230)
_MAPS = 3
_ROWS = 60
_WORDS = {
    "ratio": "within ÷ (within + between)",
    "same_class": "cosine within a class",
    "relative_mean": "another’s move ÷ its own",
}


@dataclass(frozen=True)
class Change:
    """One run's answer at the output, before the first step and at the last measured one.

    Attributes:
        name: The run.
        color: Its color in the pictures.
        first, first_interval: Value at the first measured step.
        last, last_interval: Value at the last one.
        lowest, highest: Extremes over the training, with their moment in words.
        steps: Measured steps.
        failed: Of these, those without a value.
    """

    name: str
    color: str
    first: Number | None
    first_interval: str
    last: Number | None
    last_interval: str
    lowest: tuple[Number, str] | None
    highest: tuple[Number, str] | None
    steps: int
    failed: int


@dataclass(frozen=True)
class Table:
    """One run's numbers at the output.

    Attributes:
        name: The run.
        rows: Step, epoch, corruption level, a number per quantity, and a remark where it was not measured.
        left_out: Steps in between that are not shown.
        has_levels: Whether there are several corruption levels.
    """

    name: str
    rows: list[tuple[str, str, str, list[Number | None], str]]
    left_out: int
    has_levels: bool


@dataclass(frozen=True)
class Contents:
    """Everything the template of this panel needs; ``word`` and ``words`` are what it calls the quantities."""

    probe: str
    quantity: str
    names: list[str]
    word: str
    words: list[str]
    changes: list[Change]
    pictures: list[Picture]
    maps: list[Picture]
    tables: list[Table]
    bend: str


def contents(results: Sequence[Result], labels: Sequence[str]) -> Contents:
    """The panel's content for these results, one per run."""
    kind = KINDS[results[0].probe]
    names = list(kind.curves)
    curves = pictures(results, labels, dict(zip(names, _HEIGHTS, strict=True)))
    shown = list(zip(results, labels, strict=True))[:_MAPS] if kind.mapped else []
    maps = [picture(chart([result], labels=[label], y=LAYERS), 300) for result, label in shown]
    if len(maps) > 1:
        maps = [
            Picture(f"{label}: {one.title}", one.remarks, one.spec) for one, (_, label) in zip(maps, shown, strict=True)
        ]
    return Contents(
        probe=results[0].probe.removeprefix("monitor_"),
        quantity=names[0],
        names=names,
        word=_WORDS.get(names[0], names[0]),
        words=[_WORDS.get(name, name) for name in names],
        changes=[_change(*each, names[0]) for each in zip(results, labels, colors(len(results)), strict=True)],
        pictures=[*curves, *maps],
        maps=maps,
        tables=[_table(result, label, names) for result, label in zip(results, labels, strict=True)],
        bend=bend_of([settings_of(result) for result in results]),
    )


def _output_rows(result: Result, names: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of the output, as plain records with the moment in words."""
    keys = ["layer", "step", "epoch", "corruption", "status", *names, *(f"{name}_se" for name in names)]
    columns = {key: column(result, key) for key in keys}
    axis, places = moments(result)
    return [
        {key: values[i] for key, values in columns.items()} | {"when": f"{axis} {places[i]:g}"}
        for i in range(len(result))
        if columns["layer"][i] in (None, "output")
    ]


def _change(result: Result, label: str, color: str, name: str) -> Change:
    rows = _output_rows(result, [name])
    level = rows[0]["corruption"] if rows else None
    rows = [row for row in rows if row["corruption"] in (None, level)]
    known = [row for row in rows if row[name] is not None]
    ends = [(row[name], row[f"{name}_se"]) for row in known[:1] + known[-1:]] or [(None, None)] * 2
    ordered = sorted(known, key=lambda row: row[name])
    return Change(
        name=label,
        color=color,
        first=number(*ends[0]),
        first_interval=interval(*ends[0]),
        last=number(*ends[-1]),
        last_interval=interval(*ends[-1]),
        lowest=_extreme(ordered[:1], name),
        highest=_extreme(ordered[-1:], name),
        steps=len(rows),
        failed=len(rows) - len(known),
    )


def _extreme(rows: Sequence[dict[str, Any]], name: str) -> tuple[Number, str] | None:
    found = [(number(row[name], row[f"{name}_se"]), row["when"]) for row in rows]
    return next(((value, when) for value, when in found if value is not None), None)


def _table(result: Result, label: str, names: Sequence[str]) -> Table:
    rows = _output_rows(result, names)
    kept = [rows[i] for i in thinned(len(rows), _ROWS)] if rows else []
    lines = [
        (
            f"{int(row['step']):,}",
            "–" if row["epoch"] is None else f"{row['epoch']:.4g}",
            "" if row["corruption"] is None else f"{row['corruption']:g}",
            [number(row[name], row[f"{name}_se"]) for name in names],
            "" if row["status"] in (None, MEASURED) else str(row["status"]),
        )
        for row in kept
    ]
    return Table(label, lines, len(rows) - len(kept), len({row["corruption"] for row in rows}) > 1)
