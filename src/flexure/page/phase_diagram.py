"""What the page says about a phase diagram: the answer near one pixel, the plane, the curves, one image across it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flexure.charts import chart
from flexure.charts.records import column
from flexure.charts.theme import colors
from flexure.page.embed import Picture, picture, pictures
from flexure.page.facts import shared_settings
from flexure.page.images import lattice, png, shades
from flexure.page.numbers import Number, interval, number, plain
from flexure.results import MEASURED, Result

__all__ = ["Contents", "CutOff", "Diagram", "Gallery", "Table", "Tile", "contents"]

_HEIGHT = 300  # of the plane
_HEIGHTS = {"R": 340, "D": 230, "G": 230}
_PLANES = ("folding", "plane")  # with several runs only the first: it is the same for all, and R is in the curves


@dataclass(frozen=True)
class CutOff:
    """One cut-off of one run.

    Attributes:
        cutoff: The cut-off.
        low, high: T1 and T2.
        widest: Nominal displacement at T2, pixels; at T1 it is half a pixel.
        is_empty: Whether T1 lies above T2.
        near: Nominal displacement of the point nearest to one pixel.
        value: R there, or None.
        status: Why there is none.
        folding: Share of the deformations that fold there, in words.
        lowest: The smallest R within the band and its displacement, or None.
    """

    cutoff: int
    low: Number | None
    high: Number | None
    widest: str
    is_empty: bool
    near: str
    value: Number | None
    interval: str
    status: str
    folding: str
    lowest: tuple[Number, str] | None


@dataclass(frozen=True)
class Diagram:
    """One run's answer: its name and color, and a line per cut-off, the smallest first."""

    name: str
    color: str
    rows: list[CutOff]


@dataclass(frozen=True)
class Tile:
    """One deformed image: data URI, the path of its lattice, its displacement, whether it folds."""

    uri: str
    lattice: str
    displacement: str
    folds: bool


@dataclass(frozen=True)
class Gallery:
    """One image across the plane: the original, and a row of tiles per cut-off."""

    original: str
    rows: list[tuple[int, list[Tile]]]
    size: tuple[int, int]
    index: int


@dataclass(frozen=True)
class Table:
    """One run's table: cut-off, temperature, displacements, share that folds, then R, D and G or the reason why not."""

    name: str
    rows: list[tuple[int, Number | None, str, str, bool, Number | None, list[Number | None] | str]]


@dataclass(frozen=True)
class Contents:
    """Everything the template of this panel needs; ``planes`` counts the pictures of the plane at the beginning."""

    diagrams: list[Diagram]
    pictures: list[Picture]
    planes: int
    gallery: Gallery | None
    tables: list[Table]
    settings: dict[str, Any]


def contents(results: Sequence[Result], labels: Sequence[str]) -> Contents:
    """The panel's content for these results, one per run."""
    planes = [picture(chart(results[0], y=name), _HEIGHT) for name in _PLANES[: 1 if len(results) > 1 else 2]]
    return Contents(
        diagrams=[_diagram(*each) for each in zip(results, labels, colors(len(results)), strict=True)],
        pictures=[*planes, *pictures(results, labels, _HEIGHTS)],
        planes=len(planes),
        gallery=_gallery(results[0]),
        tables=[_table(result, label) for result, label in zip(results, labels, strict=True)],
        settings=shared_settings(results),
    )


def _diagram(result: Result, label: str, color: str) -> Diagram:
    cutoffs = sorted({int(cutoff) for cutoff in column(result, "cutoff") if cutoff is not None})
    return Diagram(label, color, [_cut_off(result, cutoff) for cutoff in cutoffs])


def _cut_off(result: Result, cutoff: int) -> CutOff:
    part = result.table[result.table["cutoff"] == cutoff]
    at = part.iloc[int(np.abs(np.log(part["displacement"].to_numpy(float))).argmin())]
    place = int(np.flatnonzero(result["curve_cutoff"] == cutoff)[0])
    low, high = float(result["curve_T1"][place]), float(result["curve_T2"][place])
    inside = part[part["in_band"] & np.isfinite(part["R"])]
    least = inside.loc[inside["R"].idxmin()] if len(inside) else None
    return CutOff(
        cutoff=cutoff,
        low=number(low),
        high=number(high),
        widest=plain(0.5 * (high / low) ** 0.5),
        is_empty=low > high,
        near=plain(float(at["displacement"])),
        value=number(at["R"], at["R_se"]),
        interval=interval(at["R"], at["R_se"]),
        status=str(at["status"]) if at["status"] != MEASURED else "no finite ratio",
        folding=_share(at["folding"]),
        lowest=None if least is None else _least(least),
    )


def _least(row: Any) -> tuple[Number, str] | None:
    value = number(row["R"], row["R_se"])
    return None if value is None else (value, plain(float(row["displacement"])))


def _share(value: float) -> str:
    """A share in words: none, all, or per cent."""
    if not np.isfinite(value):
        return "not counted"
    return {0.0: "none", 1.0: "all"}.get(float(value), f"{100 * value:.3g} %")


def _gallery(result: Result) -> Gallery | None:
    if "sample_deformed" not in result.arrays:
        return None
    original, deformed = (np.nan_to_num(result[f"sample_{name}"]) for name in ("image", "deformed"))
    low, high = shades(original, (result.provenance.get("specimen") or {}).get("bounds"))
    cutoffs = sorted({int(cutoff) for cutoff in result["cutoff"]})
    rows = [
        (cutoff, [_tile(result, row, place, low, high) for place in range(deformed.shape[1])])
        for row, cutoff in enumerate(cutoffs)
    ]
    height, width = original.shape[-2:]
    return Gallery(png(original, low, high), rows, (width, height), int(result["sample_index"][0]))


def _tile(result: Result, row: int, place: int, low: float, high: float) -> Tile:
    return Tile(
        png(np.nan_to_num(result["sample_deformed"][row, place]), low, high),
        lattice(np.asarray(result["sample_field"][row, place], dtype=float)),
        plain(float(result["sample_displacement"][row, place]), 2),
        bool(result["sample_folded"][row, place]),
    )


def _table(result: Result, label: str) -> Table:
    frame = result.table
    names = ("cutoff", "temperature", "displacement", "rms_displacement", "in_band", "folding", "folding_se")
    values = zip(*(frame[name].tolist() for name in names), strict=True)
    cells = [
        [number(*pair) for pair in zip(frame[name].tolist(), frame[f"{name}_se"].tolist(), strict=True)]
        for name in "RDG"
    ]
    rows: list[Any] = []
    for i, (cutoff, temperature, nominal, rms, inside, folding, error) in enumerate(values):
        own = [one[i] for one in cells]
        reason = str(frame["status"].iloc[i])
        about = int(cutoff), number(temperature), plain(nominal), plain(rms), bool(inside), number(folding, error)
        rows.append((*about, own if any(own) else reason))
    return Table(label, rows)
