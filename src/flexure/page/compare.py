"""What the page says about many networks: the powers and correlations, the scatter, and every point."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flexure.charts import chart
from flexure.charts.compare import CORRELATION, levels, quantities
from flexure.page.embed import Picture, picture, pictures
from flexure.page.facts import NOT_RECORDED, settings_of
from flexure.page.numbers import Number, number
from flexure.results import MEASURED, Result

__all__ = ["Contents", "Fit", "Network", "contents"]

_WORDS = {
    "layer": "taken at", "error": "error", "corruption": "corruption level", "by": "fitted together", "seeds": "seeds",
    "bootstrap": "resamples of networks",
}  # fmt: skip
_PHRASES: dict[tuple[str, Any], str] = {
    ("error", "error"): "share of wrong answers on test images",
    ("error", "loss"): "mean loss on test images",
    ("corruption", "trained"): "the one each network was trained at",
    ("corruption", "all"): "all that were measured",
    ("by", "corruption"): "networks of one corruption level",
    ("by", None): "all networks",
    ("seeds", "each"): "each seed a network of its own",
    ("seeds", "mean"): "geometric mean over the seeds of a network",
}


@dataclass(frozen=True)
class Fit:
    """One row of the comparison.

    Attributes:
        name: The comparison it belongs to.
        level: Corruption level, or empty.
        quantity: D, G, R, …
        correlation, correlation_interval: Of the logs.
        exponent, exponent_interval: b of error = a X^b.
        prefactor: a.
        n, families: Networks and families behind it.
        noise: Share of the variance of log X that is error of measurement, in words.
        status: Why there is no fit, or what should be known; else empty.
    """

    name: str
    level: str
    quantity: str
    correlation: Number | None
    correlation_interval: str
    exponent: Number | None
    exponent_interval: str
    prefactor: Number | None
    n: int
    families: int
    noise: str
    status: str


@dataclass(frozen=True)
class Network:
    """One point: network, family, seed, corruption level, then its error and each quantity."""

    name: str
    family: str
    seed: str
    level: str
    numbers: list[Number | None]


@dataclass(frozen=True)
class Contents:
    """Everything the template of this panel needs."""

    fits: list[Fit]
    quantities: list[str]
    pictures: list[Picture]
    correlations: Picture | None
    tables: list[tuple[str, list[Network]]]
    setup: list[tuple[str, list[str]]]
    has_levels: bool
    best: Fit | None


def contents(results: Sequence[Result], labels: Sequence[str]) -> Contents:
    """The panel's content for these results, one per comparison."""
    names = quantities(results)
    ordered = sorted(names, key=lambda name: name != "R")
    scatters = pictures(results, labels, {name: 280 if i else 380 for i, name in enumerate(ordered)})
    has_levels = len(levels(results)) > 1
    across = [picture(chart(list(results), labels=labels, y=CORRELATION), 260)] if has_levels else []
    fits = [fit for result, label in zip(results, labels, strict=True) for fit in _fits(result, label)]
    known = [fit for fit in fits if fit.correlation is not None and fit.quantity == ordered[0]]
    return Contents(
        fits=fits,
        quantities=ordered,
        pictures=[*scatters, *across],
        correlations=across[0] if across else None,
        tables=[(label, _networks(result, ordered)) for result, label in zip(results, labels, strict=True)],
        setup=_setup(results),
        has_levels=has_levels,
        best=known[0] if len(known) == 1 else None,
    )


def _fits(result: Result, label: str) -> list[Fit]:
    return [_fit(row, label) for row in result.table.to_dict("records")]


def _fit(row: Mapping[Any, Any], label: str) -> Fit:
    return Fit(
        name=label,
        level=_level(row["corruption"]),
        quantity=str(row["quantity"]),
        correlation=number(row["correlation"], row["correlation_se"]),
        correlation_interval=_between(row["correlation_low"], row["correlation_high"], 3),
        exponent=number(row["exponent"], row["exponent_se"]),
        exponent_interval=_between(row["exponent_low"], row["exponent_high"]),
        prefactor=number(row["prefactor"], row["prefactor_se"]),
        n=int(row["n"]),
        families=int(row["families"]),
        noise="" if row["x_noise"] != row["x_noise"] else f"{row['x_noise']:.1%}".replace("%", " %"),
        status="" if row["status"] == MEASURED else str(row["status"]),
    )


def _between(low: float, high: float, places: int = 2) -> str:
    """Both ends to so many places after the point, empty where there are none."""
    if low != low or high != high:
        return ""
    return f"{low:.{places}f} to {high:.{places}f}".replace("-", "−")


def _level(value: Any) -> str:
    return "" if value is None or value != value else f"{value:g}"


def _networks(result: Result, names: Sequence[str]) -> list[Network]:
    """Every point, those with the smallest error first."""
    about = list(result.provenance.get("networks") or [])
    places = [int(place) for place in result["point_network"]]
    columns = [(result[f"point_{name}"], result[f"point_{name}_se"]) for name in ("error", *names)]
    order = sorted(range(len(places)), key=lambda i: (result["point_corruption"][i], columns[0][0][i]))
    return [
        Network(
            name=str(about[places[i]]["name"]),
            family=str(about[places[i]]["family"]),
            seed=_seed(about[places[i]]),
            level=_level(float(result["point_corruption"][i])),
            numbers=[number(float(values[i]), float(errors[i])) for values, errors in columns],
        )
        for i in order
    ]


def _seed(about: dict[str, Any]) -> str:
    count = about.get("seeds") or 1
    return f"{count} seeds" if count > 1 else "" if about.get("seed") is None else str(about["seed"])


def _setup(results: Sequence[Result]) -> list[tuple[str, list[str]]]:
    """How they were compared, a phrase per comparison."""
    settings = [settings_of(result) for result in results]
    rows = {words: [_phrase(key, own.get(key)) for own in settings] for key, words in _WORDS.items()}
    rows["networks"] = [str(len(result.provenance.get("networks") or [])) for result in results]
    rows["images of the sensitivities"] = [
        str((result.provenance.get("data") or {}).get("name") or NOT_RECORDED) for result in results
    ]
    rows["seed"] = [str(result.provenance.get("seed")) for result in results]
    return list(rows.items())


def _phrase(key: str, value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return _PHRASES.get((key, value), str(value))
