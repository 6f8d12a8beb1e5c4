"""Log axes told in words: where they end, what they cut off, which ticks they carry."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

__all__ = ["Z95", "LogAxis", "log_axis", "short"]

Z95 = 1.96
"""Half the width of a 95 % interval, in standard errors."""


@dataclass(frozen=True)
class LogAxis:
    """A log axis for values with intervals.

    Attributes:
        low: Lower end; what lies below is cut here.
        high: Upper end.
        ticks: Where labels stand.
        remarks: Sentences on what the axis cannot show.
    """

    low: float
    high: float
    ticks: list[float]
    remarks: list[str]

    def channel(self, **look: Any) -> dict[str, Any]:
        """The scale and the axis of a channel, which looks like this."""
        scale = alt.Scale(type="log", domain=[self.low, self.high], nice=False)
        return {"scale": scale, "axis": alt.Axis(format="~g", values=self.ticks, grid=True, **look)}


def log_axis(values: Sequence[float | None], errors: Sequence[float | None], include: float | None = None) -> LogAxis:
    """The axis on which values ± 1.96 standard errors are seen best.

    A log axis has no zero, and an interval may reach it. The axis goes no lower than a quarter of the smallest
    value; intervals below that are cut, and a remark counts them. Values of zero get a remark too.
    """
    known = [(v, Z95 * (se or 0.0)) for v, se in zip(values, errors, strict=True) if v is not None]
    shown = [(value, width) for value, width in known if value > 0]
    if not shown:
        return LogAxis(0.1, 10.0, [0.1, 1.0, 10.0], ["No value above zero: nothing to draw."])
    lows = [value - width for value, width in shown]
    low = max(min(lows), min(value for value, _ in shown) / 4)
    high = max(value + width for value, width in shown)
    remarks = _remarks(sum(end < low for end in lows), sum(end <= 0 for end in lows), len(known) - len(shown))
    if include is not None:
        low, high = min(low, include), max(high, include)
    room = max((high / low) ** 0.04, 1.08)
    low, high = low / room, high * room
    return LogAxis(low, high, _ticks(low, high), remarks)


def _remarks(cut: int, at_zero: int, zeros: int) -> list[str]:
    found = []
    if cut:
        intervals = "1 interval reaches" if cut == 1 else f"{cut} intervals reach"
        also = f" ({at_zero} down to zero)" if at_zero else ""
        found.append(f"{intervals} below the axis{also}; cut there.")
    if zeros:
        values = "1 value" if zeros == 1 else f"{zeros} values"
        found.append(f"{values} of zero: not on a log axis.")
    return found


def _ticks(low: float, high: float) -> list[float]:
    """Steps of 1, 2, 5, or whole decades where those are too many; finer ones where even these are too few."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    choices = ([1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 7], [1 + i / 10 for i in range(90)])
    for steps in choices:
        inside = [round(step * 10.0**decade, 12 - decade) for decade in decades for step in steps]
        inside = [tick for tick in inside if low <= tick <= high]
        if len(inside) >= 4:
            return inside[:: -(-len(inside) // 9)]
    return [low, high]


def short(value: float) -> str:
    """Two significant digits, for a label in a picture.

    >>> [short(x) for x in (0.0698, 0.2, 12.4, 1250.0, 3.1e-5)]
    ['0.070', '0.20', '12', '1250', '3.1e-05']
    """
    if value >= 10:
        return f"{value:.0f}"
    return f"{value:#.2g}".rstrip(".")
