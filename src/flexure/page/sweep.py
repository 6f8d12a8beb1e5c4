"""What the panel of a sweep needs: how many runs ended how, and a table that leads to the page of each."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from flexure.page.numbers import Number, as_given, duration, number
from flexure.page.sweep_folder import PAGE
from flexure.results import Result

__all__ = ["contents"]

_HEADINGS = {"error": "test error", "D": "D", "G": "G", "R": "R"}


@dataclass(frozen=True)
class Row:
    """One run.

    Attributes:
        fields: What the sweep varies, as text.
        page: Where its page lies; empty where it has none.
        status: How it ended, or that it did not.
        lasted: How long it took, in words.
        numbers: What was measured, in the order of the headings.
        reason: What went wrong.
    """

    fields: list[str]
    page: str
    status: str
    lasted: str
    numbers: list[Number | None]
    reason: str


@dataclass(frozen=True)
class Table:
    """One sweep.

    Attributes:
        name: The sweep.
        fields: Names of what it varies, as short as they can be told apart.
        headings: Names of what was measured.
        rows: Its runs.
        counts: Number of runs by status, in words.
        lasted: What they took together, in words.
        best: Which row has the smallest error; None where none was measured.
    """

    name: str
    fields: list[str]
    headings: list[str]
    rows: list[Row]
    counts: list[tuple[str, int]]
    lasted: str
    best: int | None


@dataclass(frozen=True)
class Contents:
    """Everything the template of this panel needs."""

    tables: list[Table]


def contents(results: Sequence[Result], labels: Sequence[str]) -> Contents:
    """The panel's content for these results, one per sweep."""
    return Contents([_table(result, label) for result, label in zip(results, labels, strict=True)])


def _table(result: Result, name: str) -> Table:
    records = result.table.to_dict("records")
    fields = dict((result.provenance.get("settings") or {}).get("fields") or {})
    measured = [column for column in _HEADINGS if column in result.table]
    errors = [(row["error"], place) for place, row in enumerate(records) if math.isfinite(row.get("error", math.nan))]
    return Table(
        name=name,
        fields=list(fields.values()),
        headings=[_HEADINGS[column] for column in measured],
        rows=[_row(record, list(fields), measured) for record in records],
        counts=Counter(str(row["status"]) for row in records).most_common(),
        lasted=duration(sum(row["seconds"] for row in records if math.isfinite(row["seconds"]))),
        best=min(errors)[1] if len(errors) > 1 else None,
    )


def _row(record: Mapping[Any, Any], fields: Sequence[str], measured: Sequence[str]) -> Row:
    return Row(
        fields=[as_given(record[field]) for field in fields],
        page=quote(str(record.get(PAGE) or "")),
        status=str(record["status"]),
        lasted=duration(record["seconds"]),
        numbers=[number(record[column], record.get(f"{column}_se")) for column in measured],
        reason=str(record["reason"] or ""),
    )
