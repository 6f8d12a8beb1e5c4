"""The tables of several results as one list of plain records, the form in which a chart carries its data."""

import math
from collections.abc import Sequence
from typing import Any

from flexure.results import MEASURED, Result

__all__ = ["GIVEN", "INITIALIZED", "SHUFFLED", "WEIGHTS", "column", "distinct", "has_numbers", "records"]

GIVEN, SHUFFLED, INITIALIZED = "network as given", "channels shuffled", "initialized network"
WEIGHTS = {GIVEN: "", SHUFFLED: "_shuffled", INITIALIZED: "_init"}
"""Sets of weights that a table may hold, and what their columns end in."""
_FACTS = ("layer", "kind", "shape", "n")
_NUMBERS = ("D", "D_se", "G", "G_se", "R", "R_se")


def records(
    results: Sequence[Result], labels: Sequence[str], positions: Sequence[Sequence[float]]
) -> list[dict[str, Any]]:
    """One record per op, run and set of weights: ``x``, ``run``, ``weights`` (a key of ``WEIGHTS``), ``layer``,
    ``kind``, ``shape``, ``n``, ``status`` and the numbers of the table, unrounded; None where nothing was measured.
    """
    return [
        record
        for result, label, places in zip(results, labels, positions, strict=True)
        for weights, suffix in WEIGHTS.items()
        if has_numbers(result, f"R{suffix}") or not suffix
        for record in _of_one(result, {"run": label, "weights": weights}, suffix, places)
    ]


def _of_one(result: Result, who: dict[str, str], suffix: str, places: Sequence[float]) -> list[dict[str, Any]]:
    columns = {name: column(result, name) for name in _FACTS}
    columns["status"] = column(result, f"status{suffix}", MEASURED)
    for name in _NUMBERS:
        letter, _, error = name.partition("_")
        columns[name] = column(result, f"{letter}{suffix}" + ("_se" if error else ""))
    return [{"x": x, **who} | {name: values[i] for name, values in columns.items()} for i, x in enumerate(places)]


def column(result: Result, name: str, default: Any = None) -> list[Any]:
    """A column as plain values, None for what is not finite; ``default`` throughout where the table has no such."""
    if name not in result.table:
        return [default] * len(result)
    return [value if isinstance(value, str) else _finite(value) for value in result.table[name].tolist()]


def has_numbers(result: Result, name: str) -> bool:
    """Whether a column holds anything that was measured."""
    return any(value is not None for value in column(result, name))


def distinct(rows: Sequence[dict[str, Any]], name: str) -> list[Any]:
    """The different values of records, in order."""
    return list(dict.fromkeys(row[name] for row in rows))


def _finite(value: Any) -> Any:
    return value if isinstance(value, int | float) and math.isfinite(value) else None
