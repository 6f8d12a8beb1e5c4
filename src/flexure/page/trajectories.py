"""What the page says of the paths of weights: how many end near an end, beside random walks; pictures, numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flexure.charts import chart
from flexure.charts.records import column
from flexure.charts.scales import Z95
from flexure.charts.theme import colors
from flexure.charts.trajectories import PATHS, layers_with_paths
from flexure.page.embed import Picture, picture
from flexure.page.numbers import Number, number
from flexure.results import MEASURED, Result

__all__ = ["Answer", "Contents", "Table", "contents"]

_HEIGHT = 260
_PATHS = 4  # layers whose paths are drawn
_NUMBERS = ("near_end", "center_distance", "fuzziness")


@dataclass(frozen=True)
class Answer:
    """One run's answer.

    Attributes:
        name: The run.
        color: Its color in the pictures.
        facts: Network, looks and weights in one line.
        layers: Layers that have a number.
        more: Of these, those of which more weights end near an end than of random walks, beyond both errors.
        fewer: Those of which fewer do.
        highest: Layer with the largest share, the share, and that of random walks.
    """

    name: str
    color: str
    facts: str
    layers: int
    more: int
    fewer: int
    highest: tuple[str, Number | None, Number | None] | None


@dataclass(frozen=True)
class Table:
    """One run's table: rows of layer, kind, channels, weights, share that moved, pairs of numbers, status."""

    name: str
    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class Contents:
    """Everything the template of this panel needs.

    Attributes:
        answers: One per run.
        pictures: The share near an end over layers, then paths of the first layers of the first run.
        left_out: Layers with paths that are not drawn.
        tables: One per run.
    """

    answers: list[Answer]
    pictures: list[Picture]
    left_out: int
    tables: list[Table]


def contents(results: Sequence[Result], labels: Sequence[str]) -> Contents:
    """The panel's content for these results, one per run."""
    there = layers_with_paths(results[0])
    pictures = [picture(chart(list(results), labels=labels), _HEIGHT)]
    pictures += [picture(chart(results[0], labels=[labels[0]], y=f"{PATHS}:{one}"), _HEIGHT) for one in there[:_PATHS]]
    return Contents(
        answers=list(map(_answer, results, labels, colors(len(results)))),
        pictures=pictures,
        left_out=sum(len(layers_with_paths(result)) for result in results) - len(there[:_PATHS]),
        tables=[_table(result, label) for result, label in zip(results, labels, strict=True)],
    )


def _answer(result: Result, label: str, color: str) -> Answer:
    keys = ("layer", "near_end", "near_end_se", "near_end_null", "near_end_null_se", "points", "n")
    columns = {key: column(result, key) for key in keys}
    rows = [{key: columns[key][i] for key in keys} for i in range(len(result))]
    known = [row for row in rows if row["near_end"] is not None and row["near_end_null"] is not None]
    apart = [row["near_end"] - row["near_end_null"] for row in known]
    wide = [Z95 * ((row["near_end_se"] or 0) ** 2 + (row["near_end_null_se"] or 0) ** 2) ** 0.5 for row in known]
    top = max(known, key=lambda row: row["near_end"], default=None)
    looks, weights = max((row["points"] or 0 for row in rows), default=0), sum(row["n"] or 0 for row in rows)
    return Answer(
        name=label,
        color=color,
        facts=f"{weights:,.0f} weights of {len(rows)} layers, looked at {looks:,.0f} times",
        layers=len(known),
        more=sum(gap > reach for gap, reach in zip(apart, wide, strict=True)),
        fewer=sum(gap < -reach for gap, reach in zip(apart, wide, strict=True)),
        highest=None
        if top is None
        else (
            str(top["layer"]),
            number(top["near_end"], top["near_end_se"]),
            number(top["near_end_null"], top["near_end_null_se"]),
        ),
    )


def _table(result: Result, label: str) -> Table:
    facts = {key: column(result, key) for key in ("layer", "kind", "channels", "n", "moved", "status")}
    values = {
        f"{name}{end}": (column(result, f"{name}{end}"), column(result, f"{name}{end}_se"))
        for name in _NUMBERS
        for end in ("", "_null")
    }
    rows = [
        {key: own[i] for key, own in facts.items()}
        | {"moved": "–" if facts["moved"][i] is None else f"{facts['moved'][i]:.3g}"}
        | {key: number(known[i], errors[i]) for key, (known, errors) in values.items()}
        | {"remark": "" if facts["status"][i] == MEASURED else str(facts["status"][i])}
        for i in range(len(result))
    ]
    return Table(label, rows)
