"""Colors of a matrix: they part at 0 where its values have a sign."""

import math
from collections.abc import Sequence

import altair as alt
import numpy as np

__all__ = ["end_of", "shades"]

_SIGNED = ["#083d63", "#0072b2", "#7fb4d6", "#f7f7f5", "#f0a878", "#d55e00", "#7a2c00"]
_UNSIGNED = _SIGNED[3:]
_BEYOND = 0.01  # share of the values that colors may leave undistinguished


def end_of(sizes: Sequence[float] | np.ndarray, beyond: float = _BEYOND) -> float:
    """Where the colors end: beyond nearly all of these absolute values, at two digits.

    >>> end_of([0.1, 0.234]), end_of([])
    (0.24, 1.0)
    """
    end = float(np.quantile(sizes, 1 - beyond)) if len(sizes) else 1.0
    if not end > 0:
        return 1.0
    step = 10.0 ** (math.floor(math.log10(end)) - 1)
    return float(f"{math.ceil(end / step - 1e-9) * step:.2g}")


def shades(name: str, end: float, *, is_signed: bool, legend: bool = True) -> alt.Color:
    """The channel that colors ``value`` from 0, or from ``-end``, to ``end``; values beyond have the last color."""
    ends, colors = ([-end, end], _SIGNED) if is_signed else ([0.0, end], _UNSIGNED)
    stops = np.linspace(ends[0], ends[1], len(colors)).tolist()
    scale = alt.Scale(domain=stops, range=colors, interpolate="rgb", clamp=True)
    ticks = [-end, 0, end] if is_signed else [0, end]
    look = alt.Legend(title=name, format=".2~g", gradientLength=200, values=ticks, type="gradient")
    return alt.Color("value:Q", scale=scale, legend=look if legend else None)
