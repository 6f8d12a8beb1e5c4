"""What the page says about what was worked out from a matrix over images: the answer, its picture, its numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flexure.charts import chart
from flexure.charts.records import column
from flexure.charts.theme import colors
from flexure.page.embed import Picture, picture
from flexure.page.numbers import Number, interval, number
from flexure.results import MEASURED, Result

__all__ = ["KINDS", "Answer", "Contents", "Kind", "Table", "contents"]

_RUNS = 4  # whose pictures are drawn where each run has its own


@dataclass(frozen=True)
class Kind:
    """How one analysis is shown.

    Attributes:
        answers: Columns that answer the question, and what the page calls them; the first is the largest.
        facts: Columns of the table that are no estimates.
        words: What the page calls columns.
        heights: Pictures by quantity, and how high each is.
        square: Whether a picture is a square with one run in it.
        row: Row that answers.
    """

    answers: Mapping[str, str]
    facts: Mapping[str, str]
    heights: Mapping[str, int]
    words: Mapping[str, str]
    square: bool = False
    row: int = -1


_SIMILARITIES = {
    "kernel": "kernel",
    "relative": "another’s move ÷ its own, without sign",
    "relative_signed": "another’s move ÷ its own, with sign",
}
KINDS: Mapping[str, Kind] = {
    "class_sensitivity": Kind(
        {
            "worst_over_average": "largest ÷ average of its column",
            "sensitivity": "mean size over classes",
            "signed": "mean with its sign",
        },
        {"stepped": "stepped on", "watched": "watched", "pairs": "pairs"},
        {"signed": 440},
        {"sensitivity": "mean size", "signed": "mean", "worst_over_average": "largest ÷ average"},
        square=True,
    ),
    "against_distance": Kind(
        {
            "spearman": "rank correlation with distance",
            "monotonicity": "falling part of what medians move",
            "half_distance": "distance over which it halves",
        },
        {"similarity": "similarity", "n": "images", "pairs": "pairs"},
        {"": 340},
        {
            "pearson": "Pearson’s correlation",
            "spearman": "of ranks",
            "monotonicity": "falling part",
            "half_distance": "half distance",
            "decay_length": "decay length",
        },
        row=0,
    ),
    "activation_patterns": Kind(
        {
            "cosine_mean": "mean cosine of patterns",
            "agreement_mean": "units in the same state",
            "ratio": "within ÷ (within + between)",
        },
        {
            "layer": "op",
            "units": "units",
            "never_active": "never active",
            "always_active": "always active",
        },
        {"cosine_mean": 340},
        {
            "active": "active",
            "cosine_mean": "cosine",
            "agreement_mean": "agreement",
            "same_class": "within a class",
            "ratio": "within ÷ (within + between)",
        },
    ),
    "impacts": Kind(
        {"gamma": "γ at the end", "alpha": "α, within classes", "beta": "β, between classes"},
        {"begin": "from", "end": "to", "n": "images"},
        {"phase": 440, "gamma": 300},
        {"alpha": "α", "beta": "β", "gamma": "γ", "alpha_sum": "∫α", "beta_sum": "∫β", "gamma_sum": "∫γ"},
    ),
    "spectrum": Kind(
        {
            "effective_rank": "effective number of directions",
            "largest_share": "share of the largest",
            "negative": "share of negative ones",
        },
        {
            "similarity": "similarity",
            "at_least_zero": "at least 0",
            "at_least_tenth": "at least a tenth of the largest",
            "n": "images",
            "left_out": "left out",
        },
        {"": 340},
        {"largest": "largest", "effective_rank": "effective rank", "largest_share": "its share"},
        row=0,
    ),
}


@dataclass(frozen=True)
class Answer:
    """One run's answer: name, color, numbers with their names and intervals, and why there is none."""

    name: str
    color: str
    numbers: list[tuple[str, Number, str]]
    status: str


@dataclass(frozen=True)
class Table:
    """One run's table: its name, the heads, and rows of text or numbers."""

    name: str
    heads: list[str]
    rows: list[list[str | Number | None]]


@dataclass(frozen=True)
class Contents:
    """Everything the template of these panels needs."""

    probe: str
    answers: list[Answer]
    heads: list[str]
    pictures: list[Picture]
    square: bool
    left_out: int
    tables: list[Table]


def contents(results: Sequence[Result], labels: Sequence[str]) -> Contents:
    """The panel's content for these results, one per run."""
    kind = KINDS[results[0].probe]
    return Contents(
        probe=results[0].probe,
        answers=[_answer(*each, kind) for each in zip(results, labels, colors(len(results)), strict=True)],
        heads=list(kind.answers.values()),
        pictures=_pictures(results, labels, kind),
        square=kind.square,
        left_out=max(len(results) - _RUNS, 0) if kind.square else 0,
        tables=[_table(result, label, kind) for result, label in zip(results, labels, strict=True)],
    )


def _pictures(results: Sequence[Result], labels: Sequence[str], kind: Kind) -> list[Picture]:
    drawn = []
    for name, height in kind.heights.items():
        asked = name or None
        if not kind.square:
            drawn.append(picture(chart(list(results), labels=labels, y=asked), height))
            continue
        for result, label in list(zip(results, labels, strict=True))[:_RUNS]:
            one = picture(chart(result, y=asked), height)
            many = len(results) > 1
            drawn.append(Picture(f"{one.title}: {label}", one.remarks, one.spec) if many else one)
    return drawn


def _answer(result: Result, label: str, color: str, kind: Kind) -> Answer:
    if not len(result):
        return Answer(label, color, [], "the table is empty")
    found = []
    for name, words in kind.answers.items():
        pair = column(result, name)[kind.row], column(result, f"{name}_se")[kind.row]
        value = number(*pair)
        found += [(words, value, interval(*pair))] if value is not None else []
    status = str(column(result, "status", MEASURED)[kind.row])
    return Answer(label, color, found, "" if status == MEASURED else status)


def _table(result: Result, label: str, kind: Kind) -> Table:
    estimates = [name for name in result.table.columns if f"{name}_se" in result.table]
    known = {name: sum(value is not None for value in column(result, name)) for name in estimates}
    estimates = [name for name in estimates if known[name] > int(len(result) > 2)]  # what one row alone has is above
    facts = [name for name in kind.facts if name in result.table]
    states = [str(state) for state in column(result, "status", MEASURED)]
    told = any(state != MEASURED for state in states)
    rows: list[list[str | Number | None]] = []
    for at in range(len(result)):
        row: list[str | Number | None] = [_fact(column(result, name)[at]) for name in facts]
        row += [number(column(result, name)[at], column(result, f"{name}_se")[at]) for name in estimates]
        rows.append(row + ([("" if states[at] == MEASURED else states[at])] if told else []))
    heads = [kind.facts[name] for name in facts] + [kind.words.get(name, name) for name in estimates]
    return Table(label, heads + ([""] if told else []), rows)


def _fact(value: Any) -> str:
    if value is None:
        return "–"
    value = _SIMILARITIES.get(value, value)
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)
