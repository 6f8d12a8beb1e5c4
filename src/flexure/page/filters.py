"""What the page says about filters: how many layers are more constant than chance, the pictures, the numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flexure.charts import chart
from flexure.charts.records import column, has_numbers
from flexure.charts.scales import Z95
from flexure.charts.theme import colors
from flexure.page.embed import Picture, picture
from flexure.page.facts import NOT_RECORDED, settings_of
from flexure.page.numbers import Number, interval, number, plain
from flexure.results import MEASURED, Result

__all__ = ["Answer", "Contents", "Table", "contents"]

_HEIGHT = 300
_SPECTRA = 4  # runs whose spectra are drawn
_GROUPS = {"": ("pooling_index", "frequency", "squared_norm"), "_init": ("pooling_index", "frequency")}
_COLUMNS = [
    *("layer", "kind", "kernel", "channels", "n", "status", "pooling_index_null_low", "pooling_index_null_high"),
    *(f"{name}{suffix}{error}" for suffix, names in _GROUPS.items() for name in names for error in ("", "_se")),
]


@dataclass(frozen=True)
class Answer:
    """One run's answer.

    Attributes:
        name: The run.
        color: Its color in the pictures.
        facts: Network, number of convolutions and of filters in one line.
        layers: Convolutions that have an index.
        above, below: Of these, those whose index lies above or below what chance gives 95 % of layers.
        highest: Layer, index and interval of the one with the largest index.
        fewer: Layers whose mean frequency is below that of the initialized network.
        fewer_apart: Of these, those whose 95 % intervals do not overlap.
        compared: Layers that could be compared.
        refused: Why nothing is compared although that was asked for; else empty.
    """

    name: str
    color: str
    facts: str
    layers: int
    above: int
    below: int
    highest: tuple[str, Number, str] | None
    fewer: int
    fewer_apart: int
    compared: int
    refused: str


@dataclass(frozen=True)
class Table:
    """One run's table.

    Attributes:
        name: The run.
        rows: Layer, kind and kernel, channels, number of filters, index, its interval by chance, frequency, squared
            norm, index and frequency of the initialized network, status.
        compared: Whether there is an initialized network.
        has_remark: Whether a row has another status than ``"measured"``.
    """

    name: str
    rows: list[dict[str, Any]]
    compared: bool
    has_remark: bool


@dataclass(frozen=True)
class Contents:
    """Everything the template of this panel needs.

    Attributes:
        answers: One per run.
        pictures: The index over depth, then the spectra of the first runs; empty where no layer has an index.
        left_out: Runs whose spectra are not drawn.
        tables: One per run that has convolutions.
        setup: How it was measured, as the macro ``setup`` takes it.
    """

    answers: list[Answer]
    pictures: list[Picture]
    left_out: int
    tables: list[Table]
    setup: list[tuple[str, list[str]]]


def contents(results: Sequence[Result], labels: Sequence[str]) -> Contents:
    """The panel's content for these results, one per run."""
    drawn = [
        (result, label) for result, label in zip(results, labels, strict=True) if has_numbers(result, "pooling_index")
    ]
    return Contents(
        answers=list(map(_answer, results, labels, colors(len(results)))),
        pictures=_pictures(results, labels, drawn) if drawn else [],
        left_out=len(drawn[_SPECTRA:]),
        tables=[_table(result, label) for result, label in zip(results, labels, strict=True) if len(result)],
        setup=_setup(results),
    )


def _pictures(results: Sequence[Result], labels: Sequence[str], drawn: Sequence[tuple[Result, str]]) -> list[Picture]:
    """The index of all runs in one picture, and the spectra of the first ones, each in its own."""
    over_depth = picture(chart(list(results), labels=labels), _HEIGHT)
    spectra = [picture(chart(result, labels=[label], y="power"), _HEIGHT) for result, label in drawn[:_SPECTRA]]
    if len(results) > 1:
        spectra = [
            Picture(f"{one.title}: {label}", one.remarks, one.spec)
            for one, (_, label) in zip(spectra, drawn[:_SPECTRA], strict=True)
        ]
    return [over_depth, *spectra]


def _answer(result: Result, label: str, color: str) -> Answer:
    rows = [row for row in _rows(result) if row["pooling_index"] is not None]
    top = max(rows, key=lambda row: row["pooling_index"], default=None)
    pairs = [row for row in rows if None not in (row["frequency"], row["frequency_init"])]
    fewer = [row for row in pairs if row["frequency"] < row["frequency_init"]]
    return Answer(
        name=label,
        color=color,
        facts=_facts(result),
        layers=len(rows),
        above=sum(row["pooling_index"] > (row["pooling_index_null_high"] or 0) for row in rows),
        below=sum(row["pooling_index"] < (row["pooling_index_null_low"] or 0) for row in rows),
        highest=_highest(top) if top else None,
        fewer=len(fewer),
        fewer_apart=sum(_is_apart(row) for row in fewer),
        compared=len(pairs),
        refused="" if pairs else next((str(text) for text in column(result, "status_init", "") if text), ""),
    )


def _rows(result: Result) -> list[dict[str, Any]]:
    """The table row by row, None for what is not finite or not there."""
    columns = {name: column(result, name) for name in _COLUMNS}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _facts(result: Result) -> str:
    name = (result.provenance.get("specimen") or {}).get("name") or "network"
    filters = sum(int(value or 0) for value in column(result, "n"))
    if not len(result):
        return f"{name} · no convolutions"
    return f"{name} · {len(result)} convolution{'s' if len(result) > 1 else ''} · {filters:,} filters"


def _highest(row: dict[str, Any]) -> tuple[str, Number, str]:
    pair = row["pooling_index"], row["pooling_index_se"]
    return str(row["layer"]), number(*pair) or Number(""), interval(*pair)


def _is_apart(row: dict[str, Any]) -> bool:
    errors = (row["frequency_se"] or 0) + (row["frequency_init_se"] or 0)
    return row["frequency_init"] - row["frequency"] > Z95 * errors


def _table(result: Result, label: str) -> Table:
    compared = has_numbers(result, "squared_norm_init")
    rows = []
    for row in _rows(result):
        low, high = row["pooling_index_null_low"], row["pooling_index_null_high"]
        groups = [
            [number(row[f"{name}{suffix}"], row[f"{name}{suffix}_se"]) for name in names]
            for suffix, names in _GROUPS.items()
            if compared or not suffix
        ]
        rows.append(
            {name: str(row[name] or "") for name in ("layer", "kind", "kernel", "channels")}
            | {
                "n": f"{row['n'] or 0:,}",
                "chance": "" if None in (low, high) else f"{plain(low, 2)} to {plain(high, 2)}",
            }
            | {"groups": groups, "remark": "" if row["status"] in (MEASURED, None) else row["status"]}
        )
    return Table(label, rows, compared, any(row["remark"] for row in rows))


def _setup(results: Sequence[Result]) -> list[tuple[str, list[str]]]:
    """How it was measured: label, one phrase per run."""
    phrases = [_phrases(result) for result in results]
    return [(label, [own[label] for own in phrases]) for label in phrases[0]]


def _phrases(result: Result) -> dict[str, str]:
    about, layers = result.provenance, settings_of(result).get("layers")
    return {
        "network": str((about.get("specimen") or {}).get("name") or NOT_RECORDED),
        "images": "none: the weights alone are read",
        "convolutions": "all" if layers is None else ", ".join([layers] if isinstance(layers, str) else layers),
        "initialized networks": str(about.get("initialized", NOT_RECORDED)),
        "modes": "of the grid Laplacian with free boundary (DCT-II), summed over equal eigenvalues",
        "independent unit": "the filter: one pair of channels of a layer",
        "seed": str(about.get("seed", NOT_RECORDED)),
        "arithmetic": "float64" + (f", weights as {about['dtype']}" if about.get("dtype") else ""),
    }
