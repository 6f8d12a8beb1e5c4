"""What all pictures share: typefaces, legends, and colors that survive color blindness, gray print and a dark page."""

from collections.abc import Sequence
from functools import reduce
from itertools import accumulate
from operator import and_
from typing import Any

import altair as alt
import numpy as np

__all__ = [
    "INK", "LINE", "MUTED", "STROKE", "UPRIGHT", "VIRIDIS", "color_scale", "colors", "configured", "dimmed",
    "legend_of", "shape_scale", "stacked",
]  # fmt: skip

FONT = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"
INK, MUTED, LINE, GRID = "#1b1f24", "#667080", "#9aa3ae", "#e6e9ed"
# Okabe and Ito's palette without black, the two dark hues first: they carry most charts.
PALETTE = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#7f7f7f"]
VIRIDIS = ["#440154", "#443983", "#31688e", "#21918c", "#35b779", "#90d743", "#c8e020"]
STAR = "M0,-1L.22,-.31L.95,-.31L.36,.12L.59,.81L0,.38L-.59,.81L-.36,.12L-.95,-.31L-.22,-.31Z"
SHAPES = [
    "circle", "square", "diamond", "triangle-up", "cross", "triangle-down", "triangle-right", "triangle-left", STAR,
    "M-1,-.4H1V.4H-1Z", "M-.4,-1H.4V1H-.4Z", "M0,-1L.95,-.31L.59,.81L-.59,.81L-.95,-.31Z",
]  # fmt: skip

_COLUMNS = 12  # of a legend
STROKE: dict[str, Any] = {"symbolType": "stroke", "symbolSize": 420, "symbolStrokeWidth": 2.2, "symbolOpacity": 1}
"""Entries of a legend of lines."""
UPRIGHT: dict[str, Any] = {"titleAngle": 0, "titleAlign": "right", "titleY": -8, "titleX": -8}
"""A short title of an upright axis, above it."""


def color_scale(names: list[str]) -> alt.Scale:
    """One color per name."""
    return alt.Scale(domain=names, range=colors(len(names)))


def colors(count: int) -> list[str]:
    """So many colors, easily told apart up to seven; past those, steps of viridis.

    >>> colors(2), colors(8)[:2]
    (['#0072b2', '#d55e00'], ['#440154', '#44317c'])
    """
    if count <= len(PALETTE):
        return PALETTE[:count]
    stops = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in VIRIDIS])
    at = np.linspace(0, len(VIRIDIS) - 1, count)
    mixed = [np.interp(at, range(len(VIRIDIS)), stops[:, channel]) for channel in range(3)]
    return ["#" + "".join(f"{round(part):02x}" for part in color) for color in zip(*mixed, strict=True)]


def shape_scale(names: list[str]) -> alt.Scale:
    """One shape per name; past twelve they repeat."""
    return alt.Scale(domain=names, range=[SHAPES[i % len(SHAPES)] for i in range(len(names))])


def legend_of(names: Sequence[str], **look: Any) -> alt.Legend | None:
    """A legend without a title, in as many columns of these names as fit; None where there is no choice."""
    if len(names) < 2:
        return None
    room = [6.5 * min(len(name), 23) + 37 for name in names]  # pixels, with the symbol; longer names are cut
    needed = [sum(max(room[i::count]) for i in range(count)) for count in range(2, min(len(names), _COLUMNS) + 1)]
    fitting = [f"(width >= {width:.0f} ? 1 : 0)" for width in accumulate(needed, max)]
    return alt.Legend(title=None, columns=alt.expr(" + ".join(["1", *fitting])), **look)


def dimmed(picks: Sequence[alt.Parameter], full: float, faint: float) -> Any:
    """The opacity of what is picked in all legends, and of all else."""
    return alt.condition(reduce(and_, picks), alt.value(full), alt.value(faint)) if picks else alt.value(full)


def stacked(panels: Sequence[Any]) -> Any:
    """Panels one below another; a single one as it is."""
    return panels[0] if len(panels) == 1 else alt.vconcat(*panels, spacing=28)


def configured(picture: Any) -> Any:
    """The chart with the house's typography: quiet axes, no frame, titles and legends flush left."""
    quiet = {"labelColor": MUTED, "titleColor": MUTED, "domainColor": LINE, "tickColor": LINE, "gridColor": GRID}
    plain = {"titleFontWeight": "normal", "labelFontSize": 11}
    return (
        picture.configure(font=FONT, padding=4, background="white")
        .configure_view(stroke=None)
        .configure_axis(titleFontSize=12, **quiet, **plain)
        .configure_title(
            anchor="start", fontSize=14, fontWeight=600, color=INK, subtitleColor=MUTED, subtitleFontSize=11.5,
            subtitlePadding=5, offset=14, frame="group",
        )
        .configure_legend(
            orient="top", direction="horizontal", titleOrient="left", titleFontSize=11, titleColor=MUTED,
            labelColor=INK, labelLimit=150, symbolSize=60, columnPadding=12, rowPadding=2, offset=12, **plain,
        )
    )  # fmt: skip
