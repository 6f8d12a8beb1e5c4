"""What the page says about fuzziness: which layers became more decided, by growth or more than that, their kernels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flexure.charts.fuzziness import panels
from flexure.charts.records import column, has_numbers
from flexure.charts.scales import Z95
from flexure.charts.theme import colors
from flexure.page.embed import Picture, picture
from flexure.page.facts import NOT_RECORDED, settings_of
from flexure.page.images import png
from flexure.page.numbers import Number, number, plain
from flexure.results import MEASURED, Result

__all__ = ["Answer", "Contents", "Kernels", "Table", "contents"]

_HEIGHT, _SMALL = 300, 130
_DENSITIES = 3  # runs whose densities are drawn
_ESTIMATES = ("fuzziness", "center_distance", "center_distance_raw", "kurtosis", "hoyer")
_COLUMNS = [
    *(
        "step",
        "layer",
        "kind",
        "interval",
        "scope",
        "index",
        "low",
        "high",
        "n",
        "kept",
        "status",
        "near_zero",
        "excess",
    ),
    *(f"{name}{error}" for name in _ESTIMATES for error in ("", "_se")),
    *("fuzziness_uniform", "fuzziness_uniform_low", "fuzziness_uniform_high", "fuzziness_gaussian"),
    *("fuzziness_before", "fuzziness_before_se", "fuzziness_change", "fuzziness_change_se", "grown", "drift"),
    *("fuzziness_shuffled", "fuzziness_shuffled_low", "fuzziness_shuffled_high"),
]


@dataclass(frozen=True)
class Answer:
    """One run's answer, of its first interval and index.

    Attributes:
        name: The run.
        color: Its color in the pictures.
        facts: Network, number of layers and weights in one line.
        way: Interval and index in words.
        layers: Layers that have a fuzziness.
        above, below: Of these, those above or below 95 % of layers of independent uniform weights.
        fell, rose: Layers whose fuzziness changed since before, where the 95 % interval excludes 0; None: no weights
            before.
        shuffled: Layers below 95 % of shuffles of the same changes, and layers that were shuffled.
    """

    name: str
    color: str
    facts: str
    way: str
    layers: int
    above: int
    below: int
    fell: int | None
    rose: int | None
    shuffled: tuple[int, int] | None


@dataclass(frozen=True)
class Kernels:
    """A few kernels of one layer as memberships: name, rows of label and pictures, side of a picture in pixels."""

    name: str
    rows: list[tuple[str, list[str]]]
    size: tuple[int, int]


@dataclass(frozen=True)
class Table:
    """One run's table, a row per layer, interval and index.

    Attributes:
        name: The run.
        rows: What stands in each.
        compared: Whether there are weights before.
        has_shuffles: Whether changes were shuffled.
        has_remark: Whether a row has another status than ``"measured"``.
    """

    name: str
    rows: list[dict[str, Any]]
    compared: bool
    has_shuffles: bool
    has_remark: bool


@dataclass(frozen=True)
class Contents:
    """Everything the template of this panel needs.

    Attributes:
        answers: One per run.
        pictures: Over depth or steps, one per interval and index, then the densities of layers; empty where nothing was
            measured.
        densities: How many of the pictures are densities.
        kernels: One per run that has any.
        tables: One per run that has rows.
        setup: How it was measured, as the macro ``setup`` takes it.
    """

    answers: list[Answer]
    pictures: list[Picture]
    densities: int
    kernels: list[Kernels]
    tables: list[Table]
    setup: list[tuple[str, list[str]]]


def contents(results: Sequence[Result], labels: Sequence[str]) -> Contents:
    """The panel's content for these results, one per run."""
    drawn = [(result, label) for result, label in zip(results, labels, strict=True) if has_numbers(result, "fuzziness")]
    named = list(zip(results, labels, strict=True))
    spread = _spread(drawn)
    return Contents(
        answers=[_answer(*one, color) for one, color in zip(named, colors(len(results)), strict=True)],
        pictures=(_pictures(drawn) if drawn else []) + spread,
        densities=len(spread),
        kernels=[found for result, label in named if (found := _kernels(result, label if len(named) > 1 else ""))],
        tables=[_table(result, label) for result, label in named if len(result)],
        setup=_setup(results),
    )


def _pictures(drawn: Sequence[tuple[Result, str]]) -> list[Picture]:
    results, labels = [result for result, _ in drawn], [label for _, label in drawn]
    return [picture(one, _HEIGHT) for one in panels(results, labels, "fuzziness")]


def _spread(drawn: Sequence[tuple[Result, str]]) -> list[Picture]:
    """The densities of the layers of the first runs that hold any."""
    found = []
    for result, label in [one for one in drawn if "density" in one[0].arrays][:_DENSITIES]:
        small = [picture(one, _SMALL) for one in panels([result], [label], "density")]
        found += [Picture(f"{label}: {one.title}" if len(drawn) > 1 else one.title, (), one.spec) for one in small]
    return found


def _rows(result: Result) -> list[dict[str, Any]]:
    """The table row by row, None for what is not finite or not there."""
    columns = {name: column(result, name) for name in _COLUMNS}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _answer(result: Result, label: str, color: str) -> Answer:
    every = _rows(result)
    way = tuple(every[0][name] for name in ("interval", "scope", "index")) if every else ("", "", "")
    last = every[-1]["step"] if every else None
    own = [
        row
        for row in every
        if (row["interval"], row["scope"], row["index"]) == way and row["step"] == last and row["fuzziness"] is not None
    ]
    changes = [(row["fuzziness_change"], Z95 * (row["fuzziness_change_se"] or 0)) for row in own]
    changes = [(value, width) for value, width in changes if value is not None]
    shuffled = [row for row in own if row["fuzziness_shuffled_low"] is not None]
    nulls = [row for row in own if row["fuzziness_uniform_low"] is not None]
    return Answer(
        name=label,
        color=color,
        facts=_facts(result, every),
        way=f"{way[0]}, one per {way[1]}; {way[2]}" if every else "",
        layers=len(own),
        above=sum(row["fuzziness"] > row["fuzziness_uniform_high"] for row in nulls),
        below=sum(row["fuzziness"] < row["fuzziness_uniform_low"] for row in nulls),
        fell=sum(value < -width for value, width in changes) if changes else None,
        rose=sum(value > width for value, width in changes) if changes else None,
        shuffled=(
            sum(row["excess"] < row["fuzziness_shuffled_low"] - row["fuzziness_shuffled"] for row in shuffled),
            len(shuffled),
        )
        if shuffled
        else None,
    )


def _facts(result: Result, rows: Sequence[dict[str, Any]]) -> str:
    name = (result.provenance.get("specimen") or {}).get("name") or "network"
    weights = {row["layer"]: int(row["n"] or 0) for row in rows}
    if not rows:
        return f"{name} · no layers"
    return f"{name} · {len(weights)} layer{'s' if len(weights) > 1 else ''} · {sum(weights.values()):,} weights"


def _kernels(result: Result, label: str) -> Kernels | None:
    if "kernels" not in result.arrays or not len(result["kernels"]):
        return None
    states = {"before": "kernels_before", "as given": "kernels"}
    rows = [
        (words, [png(1 - np.nan_to_num(kernel, nan=0.5)[None], 0.0, 1.0) for kernel in result[name]])
        for words, name in states.items()
        if name in result.arrays
    ]
    height, width = result["kernels"].shape[1:]
    scale = max(1, 40 // max(height, width))
    layer = str(result.provenance.get("kernels") or "first layer")
    return Kernels(f"{label}: {layer}" if label else layer, rows, (width * scale, height * scale))


def _table(result: Result, label: str) -> Table:
    every = _rows(result)
    compared = any(row["fuzziness_change"] is not None for row in every)
    has_shuffles = any(row["fuzziness_shuffled"] is not None for row in every)
    return Table(label, [_cells(row) for row in every], compared, has_shuffles, any(_remark(row) for row in every))


def _cells(row: dict[str, Any]) -> dict[str, Any]:
    """What stands in a row, as text and numbers."""

    def pair(name: str) -> Number | None:
        return number(row[name], row[f"{name}_se"])

    def of(name: str) -> str:
        return "" if row[name] is None else plain(row[name])

    def between(name: str) -> str:
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        return "" if None in (low, high) else f"{plain(low)} to {plain(high)}"

    ends = "" if None in (row["low"], row["high"]) else f"{plain(row['low'])} … {plain(row['high'])}"
    scope = f" per {row['scope']}" if row["scope"] in ("filter", "kernel") else ""
    return {
        "layer": str(row["layer"]) + ("" if row["step"] is None else f" · step {int(row['step'])}"),
        "interval": f"{row['interval']}{scope}",
        "index": row["index"],
        "ends": ends,
        "n": f"{int(row['n'] or 0):,}",
        "kept": "" if row["kept"] in (None, 1.0) else f"{100 * row['kept']:.3g} %",
        **{name: pair(name) for name in ("fuzziness", "center_distance_raw", "kurtosis", "hoyer")},
        "uniform": between("fuzziness_uniform"),
        "gaussian": of("fuzziness_gaussian"),
        "before": pair("fuzziness_before"),
        "change": pair("fuzziness_change"),
        "grown": of("grown"),
        "drift": of("drift"),
        "shuffled": between("fuzziness_shuffled"),
        "near_zero": of("near_zero"),
        "remark": _remark(row),
    }


def _remark(row: dict[str, Any]) -> str:
    return "" if row["status"] in (MEASURED, None) else str(row["status"])


def _setup(results: Sequence[Result]) -> list[tuple[str, list[str]]]:
    """How it was measured: label, one phrase per run."""
    phrases = [_phrases(result) for result in results]
    return [(label, [own[label] for own in phrases]) for label in phrases[0]]


def _phrases(result: Result) -> dict[str, str]:
    about, settings = result.provenance, settings_of(result)
    layers, draws = settings.get("layers"), settings.get("shuffle_draws")
    return {
        "network": str((about.get("specimen") or {}).get("name") or NOT_RECORDED),
        "images": "none: the weights alone are read",
        "layers": "all convolutions" if layers is None else ", ".join([layers] if isinstance(layers, str) else layers),
        "interval": "; ".join(settings.get("interval") or [NOT_RECORDED]),
        "index": ", ".join(settings.get("index") or [NOT_RECORDED]),
        "shuffles of the changes": str(draws or "none"),
        "independent unit": "the weight",
        "seed": str(about.get("seed", NOT_RECORDED)),
        "arithmetic": "float64" + (f", weights as {about['dtype']}" if about.get("dtype") else ""),
    }
