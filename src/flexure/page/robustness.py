"""What the panel of robustness needs: what attacks leave, over budgets and steps, and whether they were any good."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flexure.charts.records import column
from flexure.charts.theme import colors
from flexure.page.embed import Picture, pictures
from flexure.page.facts import NOT_RECORDED, settings_of
from flexure.page.numbers import Number, number, plain
from flexure.results import MEASURED, Result

__all__ = ["contents"]

_HEIGHTS = {"robust_accuracy": 310, "by_step": 250}
_CLEAN, _WORST = "clean", "worst"
_BUDGETS = 2  # that a card has room for
_NAMES = {
    _CLEAN: "none", "sign-noise": "random signs", "fgsm": "FGSM", "pgd": "PGD",
    "pgd-margin": "PGD on the margin", "autoattack": "AutoAttack", _WORST: "worst of all these", "deepfool": "DeepFool",
    "carlini-wagner": "Carlini and Wagner", "jsma": "JSMA",
}  # fmt: skip
_NORMS = {"l2": "Euclidean distance", "l0": "numbers changed"}
_MARKS = {True: "fine", False: "doubtful", None: "told"}


@dataclass(frozen=True)
class Cell:
    """What one run answers in one row.

    Attributes:
        value: The number; None where there is none.
        interval: Its 95 % interval, in words.
        status: Why there is none; empty where there is.
    """

    value: Number | None
    interval: str
    status: str


@dataclass(frozen=True)
class Row:
    """One attack at one budget, a cell per run.

    Attributes:
        attack: Its name, in words.
        eps: The budget, as text; of an attack without one, in what the distance is measured.
        is_first: Whether it begins another attack.
        cells: Per run.
        distances: Per run, the median distance of an attack without a budget.
    """

    attack: str
    eps: str
    is_first: bool
    cells: list[Cell]
    distances: list[Cell]


@dataclass(frozen=True)
class Answer:
    """One run in short.

    Attributes:
        name: The run.
        color: Its color in the pictures.
        clean: Right on the images as they are.
        left: Per budget, what the worst of all attacks leaves, and FGSM and PGD in words.
        n: Images.
        status: Why there are no numbers; empty where there are.
    """

    name: str
    color: str
    clean: Cell
    left: list[tuple[str, Cell, str]]
    n: str
    status: str


@dataclass(frozen=True)
class Contents:
    """Everything the template of this panel needs."""

    answers: list[Answer]
    pictures: list[Picture]
    rows: list[Row]
    nearest: list[Row]
    checks: list[tuple[str, list[tuple[str, str]]]]
    how: list[tuple[str, str]]
    is_doubtful: bool


def contents(results: Sequence[Result], labels: Sequence[str]) -> Contents:
    """The panel's content for these results, one per run."""
    tables = [_keyed(result) for result in results]
    keys = list(dict.fromkeys(key for table in tables for key in table))
    budget = sorted((key for key in keys if key[1] is not None), key=lambda key: (_order(keys, key), key[1]))
    known = any(row["robust_accuracy"] is not None for table in tables for row in table.values())
    checks = [(label, _checks(result)) for result, label in zip(results, labels, strict=True)]
    return Contents(
        answers=[_answer(*one) for one in zip(results, labels, colors(len(results)), strict=True)],
        pictures=pictures(results, labels, _HEIGHTS) if known else [],
        rows=[_row(tables, key, budget[i - 1] if i else None) for i, key in enumerate(budget)],
        nearest=[_row(tables, key, None) for key in keys if key[1] is None],
        checks=checks,
        how=[(label, _how(result)) for result, label in zip(results, labels, strict=True)],
        is_doubtful=any(mark == _MARKS[False] for _, lines in checks for mark, _ in lines),
    )


def _keyed(result: Result) -> dict[tuple[str, float | None], dict[str, Any]]:
    names = [str(name) for name in result.table]
    columns = {name: column(result, name) for name in names}
    rows = [{name: columns[name][i] for name in names} for i in range(len(result))]
    return {(row["attack"], row["eps"]): row for row in rows}


def _order(keys: Sequence[tuple[str, float | None]], key: tuple[str, float | None]) -> tuple[bool, int]:
    """Attacks in the order in which they were first met, the worst of all last."""
    attacks = list(dict.fromkeys(name for name, _ in keys))
    return key[0] == _WORST, attacks.index(key[0])


def _row(
    tables: Sequence[Mapping[tuple[str, float | None], Mapping[str, Any]]],
    key: tuple[str, float | None],
    before: tuple[str, float | None] | None,
) -> Row:
    found = [table.get(key, {}) for table in tables]
    norm = next((str(row["norm"]) for row in found if row), "")
    return Row(
        attack=_NAMES.get(key[0], key[0]),
        eps=f"{key[1]:g}" if key[1] is not None else _NORMS.get(norm, norm),
        is_first=before is None or before[0] != key[0],
        cells=[_cell(row) for row in found],
        distances=[_distance(row) for row in found],
    )


def _cell(row: Mapping[str, Any], name: str = "robust_accuracy") -> Cell:
    if not row:
        return Cell(None, "", "not measured")
    status = "" if row["status"] == MEASURED else str(row["status"])
    return Cell(number(row[name], row[f"{name}_se"]), _between(row["low"], row["high"]), status)


def _distance(row: Mapping[str, Any]) -> Cell:
    value = row.get("median_norm")
    low, high = row.get("median_norm_low"), row.get("median_norm_high")
    return Cell(number(value), f"{plain(low)} to {plain(high)}" if low is not None and high is not None else "", "")


def _between(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.3f} to {high:.3f}"


def _answer(result: Result, label: str, color: str) -> Answer:
    table = _keyed(result)
    clean = _cell(table.get((_CLEAN, 0.0), {}))
    worst = [row for (name, eps), row in table.items() if name == _WORST and eps]
    left = [(f"{row['eps']:g}", _cell(row), _beside(table, row["eps"])) for row in (worst[-_BUDGETS:])]
    n = max((int(row["n"] or 0) for row in table.values()), default=0)
    return Answer(label, color, clean, left, f"{n:,}", clean.status)


def _beside(table: Mapping[tuple[str, float | None], Mapping[str, Any]], eps: float) -> str:
    """FGSM's number, never without PGD's."""
    two = [table.get((name, eps), {}).get("robust_accuracy") for name in ("fgsm", "pgd")]
    return "" if None in two else f"FGSM alone {two[0]:.3f}, PGD {two[1]:.3f}"


def _checks(result: Result) -> list[tuple[str, str]]:
    """The panel of checks: a mark, and the finding in a sentence."""
    return [(_MARKS[one["fine"]], str(one["says"])) for one in result.provenance.get("sanity") or []]


def _how(result: Result) -> str:
    settings = settings_of(result)
    if "steps" not in settings:
        return NOT_RECORDED
    starts = ", ".join(settings["starts"])
    size = f"{settings['step']:g}"
    return f"PGD: {settings['steps']} steps of {size} eps from each start ({starts}); eps bounds every pixel's change"
