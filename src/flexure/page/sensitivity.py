"""What the page says about sensitivity: the answer at the output, the pictures, the samples, the numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flexure.charts.records import GIVEN, WEIGHTS, column, has_numbers
from flexure.charts.scales import Z95
from flexure.charts.sensitivity import words_of
from flexure.charts.theme import colors
from flexure.charts.words import bent_of
from flexure.page.embed import Picture, pictures
from flexure.page.facts import settings_of, shared_settings
from flexure.page.images import Samples, samples
from flexure.page.numbers import Number, interval, number
from flexure.results import MEASURED, Result

__all__ = ["Answer", "Comparison", "Contents", "Table", "contents"]

_HEIGHTS = {"R": 360, "D": 230, "G": 230}
_BUDGET = 380_000  # bytes of sample images on one page
_SETS = 3  # sets of sample images on one page


@dataclass(frozen=True)
class Comparison:
    """How the ops of a network compare with those of another: a freshly initialized one, or its own, shuffled.

    Attributes:
        ops: Ops measured in both.
        below, above: Ops where R is below or above that of the other network.
        below_apart, above_apart: Of these, the ops whose 95 % intervals do not overlap.
    """

    ops: int
    below: int
    above: int
    below_apart: int
    above_apart: int


@dataclass(frozen=True)
class Answer:
    """One run's answer.

    Attributes:
        name: The run.
        color: Its color in the pictures.
        value, interval: R at the output; None and empty where it was not measured.
        status: Why not.
        fresh, fresh_interval: The same for the freshly initialized network, where it was measured.
        fresh_status: Why there is no comparison, where one was asked for; else empty.
        lowest, highest: Layer and R of the op with the smallest and the largest R.
        measured, ops: Ops with a finite R, and all.
        comparison: With the freshly initialized network.
        shuffled, shuffled_interval, shuffled_status, shuffled_comparison: The same for shuffled channels.
    """

    name: str
    color: str
    value: Number | None
    interval: str
    status: str
    fresh: Number | None
    fresh_interval: str
    fresh_status: str
    lowest: tuple[str, Number] | None
    highest: tuple[str, Number] | None
    measured: int
    ops: int
    comparison: Comparison | None
    shuffled: Number | None = None
    shuffled_interval: str = ""
    shuffled_status: str = ""
    shuffled_comparison: Comparison | None = None


@dataclass(frozen=True)
class Table:
    """One run's table.

    Attributes:
        name: The run.
        groups: The sets of weights, one group of columns each.
        rows: Layer, kind, shape, and per group either three numbers (R, D, G) or the reason why there are none.
        remarks: Whatever holds for all rows, and so needs no column.
        has_remark: Whether a measured row has something to say; then ``rows`` end in that sentence.
    """

    name: str
    groups: list[str]
    rows: list[tuple[str, str, str, list[list[Number | None] | str], str]]
    remarks: str
    has_remark: bool


@dataclass(frozen=True)
class Contents:
    """Everything the template of this panel needs."""

    answers: list[Answer]
    pictures: list[Picture]
    samples: list[tuple[str, Samples]]
    samples_left_out: int
    tables: list[Table]
    settings: dict[str, Any]
    words: dict[str, str]


def contents(results: Sequence[Result], labels: Sequence[str]) -> Contents:
    """The panel's content for these results, one per run."""
    sets = _sample_sets(results, labels)
    return Contents(
        answers=list(map(_answer, results, labels, colors(len(results)))),
        pictures=pictures(results, labels, _HEIGHTS),
        samples=sets[:_SETS],
        samples_left_out=len(sets) - len(sets[:_SETS]),
        tables=[_table(result, label) for result, label in zip(results, labels, strict=True)],
        settings=shared_settings(results),
        words=words_of([settings_of(result) for result in results]),
    )


def _answer(result: Result, label: str, color: str) -> Answer:
    layers = [str(name) for name in column(result, "layer", "")]
    at = len(layers) - 1 - layers[::-1].index("output") if "output" in layers else len(layers) - 1
    given, fresh, mixed = (_values(result, suffix) for suffix in ("", "_init", "_shuffled"))
    known = sorted((value, i) for i, (value, _) in enumerate(given) if value is not None)
    ends = [(layers[i], number(*given[i]) or Number("")) for _, i in known[:1] + known[-1:]]
    value, fresh_value, mixed_value = (values[at] if values else (None, None) for values in (given, fresh, mixed))
    return Answer(
        name=label,
        color=color,
        value=number(*value),
        interval=interval(*value),
        status=_why(result, "", at),
        fresh=number(*fresh_value),
        fresh_interval=interval(*fresh_value),
        fresh_status=_why(result, "_init", at) if fresh and fresh_value[0] is None else "",
        lowest=ends[0] if ends else None,
        highest=ends[-1] if ends else None,
        measured=len(known),
        ops=len(layers),
        comparison=_compared(given, fresh),
        shuffled=number(*mixed_value),
        shuffled_interval=interval(*mixed_value),
        shuffled_status=_why(result, "_shuffled", at) if mixed and mixed_value[0] is None else "",
        shuffled_comparison=_compared(given, mixed),
    )


def _values(result: Result, suffix: str) -> list[tuple[float | None, float | None]]:
    """R with its error, row by row; empty where the table has no such column."""
    if f"R{suffix}" not in result.table:
        return []
    return list(zip(column(result, f"R{suffix}"), column(result, f"R{suffix}_se"), strict=True))


def _why(result: Result, suffix: str, row: int) -> str:
    status = column(result, f"status{suffix}", "") or [""]
    return str(status[row] or "not measured") if status[row] != MEASURED else "no finite ratio"


def _compared(given: Sequence[tuple], fresh: Sequence[tuple]) -> Comparison | None:
    pairs = [(a, b) for a, b in zip(given, fresh, strict=False) if a[0] is not None and b[0] is not None]
    if not pairs:
        return None
    sign = np.sign([a[0] - b[0] for a, b in pairs])
    apart = np.array([abs(a[0] - b[0]) > Z95 * ((a[1] or 0) + (b[1] or 0)) for a, b in pairs])
    below, above = sign < 0, sign > 0
    return Comparison(len(pairs), *(int(where.sum()) for where in (below, above, below & apart, above & apart)))


def _sample_sets(results: Sequence[Result], labels: Sequence[str]) -> list[tuple[str, Samples]]:
    """The sample images of each run, those that several runs share only once, under all their names."""
    groups: list[tuple[Result, list[str]]] = []
    for result, label in zip(results, labels, strict=True):
        same = next((names for other, names in groups if _same_samples(other, result)), None)
        if same is None:
            groups.append((result, [label]))
        else:
            same.append(label)
    budget = _BUDGET // min(max(len(groups), 1), _SETS)
    sets = [(", ".join(names), _samples(result, budget)) for result, names in groups]
    return [(names, found) for names, found in sets if found is not None]


def _same_samples(one: Result, other: Result) -> bool:
    names = {name for result in (one, other) for name in result.arrays if name.startswith("sample_")}
    return all(
        name in one.arrays and name in other.arrays and np.array_equal(one.arrays[name], other.arrays[name])
        for name in names
    )


def _samples(result: Result, budget: int) -> Samples | None:
    bounds = (result.provenance.get("specimen") or {}).get("bounds")
    return samples(result.arrays, bounds, budget, bent_of([settings_of(result)]))


def _table(result: Result, label: str) -> Table:
    groups = {name: suffix for name, suffix in WEIGHTS.items() if name == GIVEN or _is_compared(result, suffix)}
    facts = [[str(value or "") for value in column(result, name, "")] for name in ("layer", "kind", "shape")]
    cells = [_cells(result, suffix) for suffix in groups.values()]
    remarks = _remark_column(result)
    rows = [
        (layer, kind, shape, list(groups), remark)
        for layer, kind, shape, groups, remark in zip(*facts, zip(*cells, strict=True), remarks, strict=True)
    ]
    return Table(label, list(groups), rows, _constants(result), any(remarks))


def _is_compared(result: Result, suffix: str) -> bool:
    return has_numbers(result, f"R{suffix}")


def _cells(result: Result, suffix: str) -> list[list[Number | None] | str]:
    """Per row, R, D and G, or the reason why there are none."""
    columns = [
        [
            number(*pair)
            for pair in zip(column(result, name + suffix), column(result, f"{name}{suffix}_se"), strict=True)
        ]
        for name in "RDG"
    ]
    rows = [list(row) for row in zip(*columns, strict=True)]
    return [row if any(row) else _why(result, suffix, i) for i, row in enumerate(rows)]


def _remark_column(result: Result) -> list[str]:
    """The status of rows that were measured all the same."""
    status, values = column(result, "status", MEASURED), column(result, "D")
    return [
        str(text) if value is not None and text not in (MEASURED, None) else ""
        for text, value in zip(status, values, strict=True)
    ]


def _constants(result: Result) -> str:
    """Images and draws, where they are the same for all measured rows."""
    parts = []
    for name, unit in (("n", "image{s}"), ("draws", "draw{s} per image")):
        found = {int(value) for value in column(result, name) if value}
        if found:
            some = f"{max(found):,}" if len(found) == 1 else f"{min(found):,} to {max(found):,}"
            parts.append(f"{some} {unit.format(s='' if max(found) == 1 else 's')}")
    return ", ".join(parts)
