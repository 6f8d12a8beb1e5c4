"""What the panel of accuracy needs: the answer on the images as they are, a picture where noise was added, a table."""

from collections.abc import Sequence
from dataclasses import dataclass

from flexure.charts.draw import chart
from flexure.charts.records import column
from flexure.charts.theme import colors
from flexure.page.embed import Picture, picture
from flexure.page.numbers import Number, interval, number, share_interval
from flexure.results import MEASURED, Result

__all__ = ["contents"]

_HEIGHT = 300


@dataclass(frozen=True)
class Row:
    """One level of noise of one run.

    Attributes:
        run: The run's name.
        level: Norm of the noise, as text.
        numbers: Accuracy, error and loss; empty where they were not measured.
        n, draws: Images, and noises per image.
        status: Why there are no numbers; empty where there are.
    """

    run: str
    level: str
    numbers: list[Number | None]
    n: str
    draws: str
    status: str


@dataclass(frozen=True)
class Answer:
    """One run at its lowest level of noise.

    Attributes:
        name: The run.
        color: Its color in the picture.
        row: What was measured.
        interval, loss_interval: 95 %, in words.
        is_clean: Whether no noise was added.
    """

    name: str
    color: str
    row: Row
    interval: str
    loss_interval: str
    is_clean: bool


@dataclass(frozen=True)
class Contents:
    """Everything the template of this panel needs."""

    answers: list[Answer]
    pictures: list[Picture]
    rows: list[Row]
    has_status: bool
    loss_unit: str
    answer: str


def contents(results: Sequence[Result], labels: Sequence[str]) -> Contents:
    """The panel's content for these results, one per run."""
    rows = [row for result, label in zip(results, labels, strict=True) for row in _rows(result, label)]
    levels = {level for result in results for level in column(result, "corruption")}
    pictures = [picture(chart(list(results), labels=labels), _HEIGHT)] if len(levels) > 1 else []
    answers = [_answer(*one) for one in zip(results, labels, colors(len(results)), strict=True) if len(one[0])]
    units = {str(result.units.get("loss", "")) for result in results}
    unit = units.pop() if len(units) == 1 else ""
    return Contents(answers, pictures, rows, any(row.status for row in rows), unit, _answered(results, unit))


def _answered(results: Sequence[Result], unit: str) -> str:
    """What is taken for the network's answer."""
    if any(result.provenance.get("settings", {}).get("loss") for result in results):
        return "what the outputs stand for by their loss"
    return "the sign of the output" if unit == "hinge" else "the largest output"


def _answer(result: Result, label: str, color: str) -> Answer:
    levels = column(result, "corruption", 0.0)
    at = min(range(len(levels)), key=lambda place: levels[place] or 0.0)
    right, loss = (_pair(result, name, at) for name in ("accuracy", "loss"))
    count = int(column(result, "n", 0)[at] or 0)
    return Answer(
        label, color, _rows(result, label)[at], share_interval(*right, count), interval(*loss), not (levels[at] or 0.0)
    )


def _pair(result: Result, name: str, at: int) -> tuple[float | None, float | None]:
    return column(result, name)[at], column(result, f"{name}_se")[at]


def _rows(result: Result, label: str) -> list[Row]:
    levels, counts, draws = (column(result, name) for name in ("corruption", "n", "draws"))
    states = column(result, "status", "")
    return [
        Row(
            label,
            f"{levels[at] or 0:g}",
            [number(*_pair(result, name, at)) for name in ("accuracy", "error", "loss")],
            f"{int(counts[at] or 0):,}",
            f"{int(draws[at] or 0):,}",
            "" if states[at] == MEASURED else str(states[at] or "not measured"),
        )
        for at in range(len(result))
    ]
