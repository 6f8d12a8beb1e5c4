"""How strongly images of one class, and of others, drive a prediction: over time, and as a path in a plane."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from flexure.charts.asked import asked
from flexure.charts.records import column
from flexure.charts.scales import Z95
from flexure.charts.theme import LINE, MUTED, STROKE, color_scale, configured, legend_of, stacked
from flexure.results import MEASURED, Result

__all__ = ["PHASE", "QUANTITIES", "draw"]

PHASE = "phase"
QUANTITIES = {
    "gamma": "γ = α − β, while it learns: classes part above 0",
    "alpha": "α: impact of images of the same class",
    "beta": "β: impact of images of other classes",
    PHASE: "Impact within classes against impact between them",
}
_WIDTH, _HEIGHT, _SIZE = 640, 300, 420

Rows = list[dict[str, Any]]


def draw(
    results: Sequence[Result], labels: Sequence[str], *, y: str | Sequence[str] | None = None, legend: bool = True
) -> Any:
    """How strongly do images of one class, and of others, drive a prediction while the network learns?

    Args:
        results: Results of ``impacts`` or ``impacts_of_kernels``.
        labels: A distinct name for each.
        y: ``"gamma"``, ``"alpha"``, ``"beta"`` over time, ``"phase"`` for the path of the two in a plane, or several;
            by default the phase plot and gamma.
        legend: Whether to draw legends.

    Raises:
        ArgumentError: ``y`` names something else.
    """
    panels = []
    for at, name in enumerate(asked("impacts", y, QUANTITIES, [PHASE, "gamma"])):
        rows = [row for result, label in zip(results, labels, strict=True) for row in _rows(result, label)]
        panels.append((_phase if name == PHASE else _curve)(rows, list(labels), name, legend and not at))
    return configured(stacked(panels))


def _rows(result: Result, label: str) -> Rows:
    """One record per moment, or pair of moments, with the ends of its intervals."""
    names = ("begin", "end", "n", *(f"{one}{end}" for one in ("alpha", "beta", "gamma") for end in ("", "_se")))
    columns = {name: column(result, name) for name in names} | {"status": column(result, "status", MEASURED)}
    found = []
    for at in range(len(result)):
        row: dict[str, Any] = {name: values[at] for name, values in columns.items()} | {"run": label}
        row["at"] = (row["begin"] + row["end"]) / 2
        for name in ("alpha", "beta", "gamma"):
            value, error = row[name], row[f"{name}_se"]
            known = value is not None and error is not None
            row |= {f"{name}_low": value - Z95 * error if known else None}
            row |= {f"{name}_high": value + Z95 * error if known else None}
        found.append(row)
    return found


def _curve(rows: Rows, runs: list[str], name: str, legend: bool) -> Any:
    y: dict[str, Any] = {"scale": alt.Scale(zero=name == "gamma", nice=True)}
    y["axis"] = alt.Axis(title=None, format=".3~g", tickCount=6)
    base = _base(rows, runs, legend).encode(
        x=alt.X("at:Q", title="time", axis=alt.Axis(grid=False, format="~s", tickCount=8))
    )
    band = base.mark_area(opacity=0.14).encode(y=alt.Y(f"{name}_low:Q", **y), y2=f"{name}_high:Q")
    line = base.mark_line(strokeWidth=2).encode(y=alt.Y(f"{name}:Q", **y))
    dots = base.mark_point(filled=True, size=34, opacity=1).encode(y=alt.Y(f"{name}:Q", **y), tooltip=_tooltip())
    layers = [band, line, dots]
    if name == "gamma":
        zero = alt.Chart(alt.InlineData(values=[{"zero": 0}])).encode(y=alt.Y("zero:Q", **y))
        layers.insert(0, zero.mark_rule(color=LINE, strokeDash=[4, 4], aria=False))
    told = alt.TitleParams(QUANTITIES[name], subtitle=["Bands: 95 % intervals over images."])
    return alt.layer(*layers, title=told).properties(width=_WIDTH, height=_HEIGHT)


def _phase(rows: Rows, runs: list[str], name: str, legend: bool) -> Any:
    """The path of (beta, alpha); on the diagonal classes neither part nor meet."""
    known = [row for row in rows if row["alpha"] is not None and row["beta"] is not None]
    values = [row[side] for row in known for side in ("alpha", "beta")] or [0.0, 1.0]
    room = 0.06 * (max(values) - min(values)) or 1.0
    ends = [min(values) - room, max(values) + room]
    scale = alt.Scale(domain=ends, nice=False, zero=False)
    x = {"scale": scale, "axis": alt.Axis(title="β, between classes", format=".3~g", grid=True, tickCount=6)}
    y = {"scale": scale, "axis": alt.Axis(title="α, within classes", format=".3~g", grid=True, tickCount=6)}
    base = _base(known, runs, legend).encode(x=alt.X("beta:Q", **x), y=alt.Y("alpha:Q", **y))
    even = alt.Chart(alt.InlineData(values=[{"beta": end, "alpha": end} for end in ends])).mark_line(
        color=LINE, strokeDash=[4, 4], aria=False
    )
    path = base.mark_line(strokeWidth=1.6, opacity=0.7).encode(order="at:Q")
    up = base.mark_rule(strokeWidth=1, opacity=0.6, clip=True, aria=False).encode(
        y=alt.Y("alpha_low:Q", **y), y2="alpha_high:Q"
    )
    wide = base.mark_rule(strokeWidth=1, opacity=0.6, clip=True, aria=False).encode(
        x=alt.X("beta_low:Q", **x), x2="beta_high:Q"
    )
    dots = base.mark_point(filled=True, size=44, opacity=1).encode(tooltip=_tooltip())
    firsts = [
        next(row for row in known if row["run"] == run) for run in runs if any(row["run"] == run for row in known)
    ]
    first = alt.Chart(alt.InlineData(values=firsts)).mark_text(text="first", dx=6, dy=-8, align="left", color=MUTED)
    layers = [even.encode(x=alt.X("beta:Q", **x), y=alt.Y("alpha:Q", **y)), path, up, wide, dots]
    layers.append(first.encode(x=alt.X("beta:Q", **x), y=alt.Y("alpha:Q", **y)))
    words = "Above the dashed line γ > 0: classes part. From the first moment on; lines: 95 % intervals over images."
    return alt.layer(*layers, title=alt.TitleParams(QUANTITIES[name], subtitle=[words])).properties(
        width=_SIZE, height=_SIZE
    )


def _base(rows: Rows, runs: list[str], legend: bool) -> alt.Chart:
    color = alt.Color("run:N", scale=color_scale(runs), legend=legend_of(runs if legend else [], **STROKE))
    return alt.Chart(alt.InlineData(values=rows)).encode(color=color)


def _tooltip() -> list[alt.Tooltip]:
    numbers = [alt.Tooltip(f"{one}{end}:Q", format=".3~g") for one in ("alpha", "beta", "gamma") for end in ("", "_se")]
    facts = [alt.Tooltip("run:N"), alt.Tooltip("begin:Q"), alt.Tooltip("end:Q")]
    return [*facts, *numbers, alt.Tooltip("n:Q", title="images"), alt.Tooltip("status:N")]
