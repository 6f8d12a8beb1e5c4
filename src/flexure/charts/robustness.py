"""How many images withstand attacks, against the budget and against the steps that an attack may take."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from flexure.charts.asked import asked
from flexure.charts.records import column
from flexure.charts.theme import MUTED, STROKE, UPRIGHT, color_scale, configured, legend_of, stacked
from flexure.results import Result

__all__ = ["BY_STEP", "QUANTITIES", "draw"]

BY_STEP = "by_step"
QUANTITIES = {
    "robust_accuracy": ("Robust accuracy", "Share of images right as they are and under attack."),
    "success": ("Success of the attacks", "Share of the images right at first that are fooled."),
    BY_STEP: ("PGD, step by step", "Robust accuracy after so many steps from all starts, a line for each eps."),
}
_WIDTH, _HEIGHT = 480, 300
_CLEAN = "clean"
_DASHES = {
    "sign-noise": [1.5, 3], "fgsm": [6, 3], "pgd": [1, 0], "pgd-margin": [10, 3, 2, 3], "autoattack": [3, 2],
    "worst": [1, 0],
}  # fmt: skip
_MANY = ("fgsm", "pgd", "worst")  # of several networks: an FGSM number is not shown without one of PGD

Rows = list[dict[str, Any]]


def draw(
    results: Sequence[Result], labels: Sequence[str], *, y: str | Sequence[str] | None = None, legend: bool = True
) -> Any:
    """How does robust accuracy fall with the budget?

    Lines over eps from the images as they are, with Wilson's 95 % intervals as bands. Of one network every attack has
    its color; several networks have a color each, and FGSM, PGD and the worst of all attacks a kind of line each.

    Args:
        results: Results of ``robustness``.
        labels: A distinct name for each.
        y: ``"robust_accuracy"`` (default), ``"success"``, ``"by_step"``, or several of them for one panel each.
        legend: Whether to draw the legends.

    Raises:
        ArgumentError: ``y`` names something else, or nothing.
    """
    wanted = asked("robustness", y, QUANTITIES, ["robust_accuracy"])
    panels = [
        _steps(results, labels, legend) if name == BY_STEP else _curves(results, labels, name, legend)
        for name in wanted
    ]
    return configured(stacked(panels))


def _curves(results: Sequence[Result], labels: Sequence[str], name: str, legend: bool) -> Any:
    rows = [row for result, label in zip(results, labels, strict=True) for row in _records(result, label, name)]
    many = len(results) > 1
    rows = [row for row in rows if row["attack"] in _MANY] if many else rows
    title, what = QUANTITIES[name]
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X(
            "eps:Q",
            axis=alt.Axis(title=f"eps: {_unit(results)}", grid=True, format="~g", tickCount=10),
            scale=alt.Scale(nice=False),
        ),
        **_channels(rows, list(labels), many, legend),
    )
    look: dict[str, Any] = {
        "axis": alt.Axis(title=_spoken(name), grid=True, **UPRIGHT),
        "scale": alt.Scale(domain=[0, 1]),
    }
    band = base.mark_area(opacity=0.13).encode(
        y=alt.Y("low:Q", **look), y2="high:Q", strokeDash=alt.value([1, 0]), detail=["run:N", "attack:N"]
    )
    line = base.mark_line(strokeWidth=1.8).encode(y=alt.Y("value:Q", **look))
    dots = base.mark_point(size=36, filled=True, opacity=1).encode(
        y=alt.Y("value:Q", **look), tooltip=_tooltip(name), strokeDash=alt.value([1, 0])
    )
    subtitle = [f"{what} {'Bands: 95 % intervals over images.' if name == 'robust_accuracy' else ''}".strip()]
    layers = [band, line, dots] if name == "robust_accuracy" else [line, dots]
    return alt.layer(*layers, title=alt.TitleParams(title, subtitle=subtitle)).properties(width=_WIDTH, height=_HEIGHT)


def _spoken(name: str) -> str:
    return name.replace("_", " ")


def _unit(results: Sequence[Result]) -> str:
    bounds = {tuple((result.provenance.get("specimen") or {}).get("bounds") or ()) for result in results}
    known = bounds.pop() if len(bounds) == 1 else ()
    return f"largest change of a pixel, of {known[0]:g} to {known[1]:g}" if known else "largest change of a pixel"


def _records(result: Result, label: str, name: str) -> Rows:
    """One record per attack and eps; every attack begins at 0 with the images as they are."""
    names = ["attack", "eps", name, "low", "high", "n", "status"]
    columns = {key: column(result, key) for key in names}
    rows = [{key: columns[key][i] for key in names} for i in range(len(result))]
    clean = [row for row in rows if row["attack"] == _CLEAN]
    budget = [row for row in rows if row["attack"] != _CLEAN and row["eps"] is not None]
    first = {row["attack"]: row["eps"] for row in reversed(budget)}
    begin = [{**row, "attack": attack} for attack, eps in first.items() if eps > 0 for row in clean]
    found = sorted([*begin, *budget], key=lambda row: (list(first)[::-1].index(row["attack"]), row["eps"]))
    return [{"run": label, "value": row.pop(name), **row} for row in map(dict, found)]


def _channels(rows: Rows, runs: list[str], many: bool, legend: bool) -> dict[str, Any]:
    """Color by attack, or by network with a kind of line per attack."""
    attacks = [name for name in _DASHES if any(row["attack"] == name for row in rows)]
    look = {**STROKE, "values": attacks}
    if not many:
        keys = legend_of(attacks if legend else [], **look)
        return {"color": alt.Color("attack:N", scale=color_scale(list(_DASHES)), legend=keys)}
    dashes = alt.Scale(domain=list(_DASHES), range=[[1, 3] if name == "worst" else _DASHES[name] for name in _DASHES])
    keys = legend_of(attacks if legend else [], **{**look, "symbolSize": 900})
    return {
        "color": alt.Color("run:N", scale=color_scale(runs), legend=legend_of(runs if legend else [], **STROKE)),
        "strokeDash": alt.StrokeDash("attack:N", scale=dashes, legend=keys),
    }


def _steps(results: Sequence[Result], labels: Sequence[str], legend: bool) -> Any:
    rows = [row for result, label in zip(results, labels, strict=True) for row in _by_step(result, label)]
    many = len(results) > 1
    rows = [row for row in rows if row["attack"] in _MANY] if many else rows
    title, what = QUANTITIES[BY_STEP]
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X("step:Q", axis=alt.Axis(title="steps", grid=True, tickMinStep=1), scale=alt.Scale(nice=False)),
        y=alt.Y(
            "value:Q",
            axis=alt.Axis(title=_spoken("robust_accuracy"), grid=True, **UPRIGHT),
            scale=alt.Scale(domain=[0, 1]),
        ),
        **_channels(rows, list(labels), many, legend),
    )
    tooltip = [alt.Tooltip(f"{name}:N") for name in ("run", "attack", "eps", "step")]
    numbers = [*tooltip, alt.Tooltip("value:Q", format=".3f")]
    line = base.mark_line(strokeWidth=1.8).encode(tooltip=numbers, detail=["run:N", "attack:N", "eps:N"])
    first = [row for row in rows if row["step"] == 0 and (row["run"], row["attack"]) == (rows[0]["run"], "pgd")]
    told = alt.Chart(alt.InlineData(values=[{**row, "words": f"eps {row['eps']:g}"} for row in first]))
    names = told.mark_text(align="left", dx=6, dy=-7, color=MUTED).encode(x="step:Q", y="value:Q", text="words:N")
    words = alt.TitleParams(title, subtitle=[what])
    return alt.layer(names, line, title=words).properties(width=_WIDTH, height=_HEIGHT)


def _by_step(result: Result, label: str) -> Rows:
    if BY_STEP not in result.arrays:
        return []
    curves, climbs = np.asarray(result[BY_STEP]), result.provenance.get("climbs") or []
    budgets = (result.provenance.get("settings") or {}).get("eps") or []
    return [
        {"run": label, "attack": name, "eps": eps, "step": step, "value": float(value)}
        for name, several in zip(climbs, curves, strict=True)
        for eps, curve in zip(budgets, several, strict=True)
        for step, value in enumerate(curve)
    ]


def _tooltip(name: str) -> list[alt.Tooltip]:
    ends = [("low", "95 % from"), ("high", "to")] if name == "robust_accuracy" else []
    return [
        *(alt.Tooltip(f"{key}:N") for key in ("run", "attack", "eps")),
        *(alt.Tooltip(f"{key}:Q", title=title, format=".3f") for key, title in [("value", name), *ends]),
        alt.Tooltip("n:Q", title="images"),
        alt.Tooltip("status:N"),
    ]
