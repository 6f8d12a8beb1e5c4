"""What the page says about clusters: how well those of every similarity and method agree with the classes."""

from collections.abc import Sequence
from dataclasses import dataclass

from flexure.charts.records import column
from flexure.page.facts import NOT_RECORDED, settings_of
from flexure.page.numbers import Number, number
from flexure.results import MEASURED, Result

__all__ = ["Contents", "Row", "contents"]

_METHODS = {"kmeans": "K-means", "kernel_kmeans": "kernel K-means", "spectral": "spectral"}
_SIMILARITIES = {
    "kernel": "kernel",
    "relative": "another’s move ÷ its own, without sign",
    "relative_signed": "another’s move ÷ its own, with sign",
    "cosine": "cosine",
}
_REPAIRS = {"clip": "negative eigenvalues set to zero", "shift": "all eigenvalues raised"}
_SCORES = ("accuracy", "nmi", "ari")


@dataclass(frozen=True)
class Row:
    """One clustering of one run: what was clustered and how, its scores, points, and why there are no scores."""

    run: str
    similarity: str
    method: str
    scores: list[Number | None]
    n: str
    left_out: str
    status: str


@dataclass(frozen=True)
class Contents:
    """Everything the template of this panel needs; ``setup`` as the macro of that name takes it."""

    rows: list[Row]
    has_left_out: bool
    has_status: bool
    setup: list[tuple[str, list[str]]]


def contents(results: Sequence[Result], labels: Sequence[str]) -> Contents:
    """The panel's content for these results, one per run."""
    rows = [row for result, label in zip(results, labels, strict=True) for row in _rows(result, label)]
    return Contents(rows, any(row.left_out for row in rows), any(row.status for row in rows), _setup(results))


def _rows(result: Result, label: str) -> list[Row]:
    names = ("similarity", "method", "n", "left_out")
    facts = zip(*(column(result, name) for name in names), column(result, "status", MEASURED), strict=True)
    pairs = {name: list(zip(column(result, name), column(result, f"{name}_se"), strict=True)) for name in _SCORES}
    return [
        Row(
            label,
            _SIMILARITIES.get(str(similarity), str(similarity)),
            _METHODS.get(str(method), str(method)),
            [number(*pairs[name][at]) for name in _SCORES],
            f"{int(n or 0):,}",
            f"{int(left_out):,}" if left_out else "",
            "" if status == MEASURED else str(status),
        )
        for at, (similarity, method, n, left_out, status) in enumerate(facts)
    ]


def _setup(results: Sequence[Result]) -> list[tuple[str, list[str]]]:
    """How it was done: label, one phrase per run."""
    told = [(result.provenance, settings_of(result)) for result in results]
    rows = {
        "network": [(about.get("specimen") or {}).get("name") for about, _ in told],
        "images": [(about.get("data") or {}).get("name") for about, _ in told],
        "clusters": [settings.get("clusters") for _, settings in told],
        "starts of kernel K-means": [settings.get("restarts") for _, settings in told],
        "indefinite kernels": [_REPAIRS.get(str(settings.get("repair"))) for _, settings in told],
        "seed": [about.get("seed") for about, _ in told],
    }
    return [(label, [NOT_RECORDED if one is None else str(one) for one in own]) for label, own in rows.items()]
