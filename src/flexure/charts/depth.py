"""Where each op stands on the axis of depth, and which names fit beneath it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import altair as alt

__all__ = ["FITTING", "Depth", "depth_of", "ticks"]

FITTING = {0: 14, 420: 22, 620: 36, 860: 48}
"""How many tilted names fit beneath a plot that is at least so many pixels wide."""


@dataclass(frozen=True)
class Depth:
    """A shared axis of depth for one or several networks.

    Attributes:
        positions: Per network, the position of each of its rows.
        domain: Ends of the axis.
        labels: For each width in ``FITTING``, the positions that carry a label and its text.
        title: What the axis shows, or empty where the names speak for themselves.
    """

    positions: list[list[float]]
    domain: tuple[float, float]
    labels: list[dict[float, str]]
    title: str

    @property
    def channel(self) -> alt.X:
        """Where the field ``x`` stands, with as many names beneath as fit; needs the parameters."""
        which = " + ".join(f"(width >= {width} ? 1 : 0)" for width in sorted(FITTING)[1:])
        how: tuple[int, Any] = (0, "center") if self.title else (-40, "right")
        axis = alt.Axis(
            title=self.title or None, values=alt.expr(f"layer_ticks[{which}]"),
            labelExpr=f"layer_names[{which}][datum.value]", labelAngle=how[0], labelAlign=how[1], labelBaseline="top",
            labelLimit=120, labelOverlap=False, tickCount=999, grid=True, gridDash=[1, 3],
        )  # fmt: skip
        return alt.X("x:Q", scale=alt.Scale(domain=list(self.domain), nice=False, zero=False), axis=axis)

    @property
    def parameters(self) -> list[alt.VariableParameter]:
        """Names and ticks for each width, which the whole picture has to know."""
        labels = [{f"{at:g}": text for at, text in labels.items()} for labels in self.labels]
        return [
            alt.VariableParameter("layer_names", value=labels),
            alt.VariableParameter("layer_ticks", value=[list(labels) for labels in self.labels]),
        ]


def depth_of(networks: Sequence[Sequence[str]]) -> Depth:
    """The axis for these lists of layer names, each in order of emission.

    Networks with equal lists share an axis of ops with their names. Others are laid over one another by the share of
    ops passed, so that their outputs meet at the right end.
    """
    first = list(networks[0])
    if all(list(other) == first for other in networks):
        return _by_op(first, len(networks))
    shares = [[1.0 if n == 1 else row / (n - 1) for row in range(n)] for n in map(len, networks)]
    labels = {0.0: "first op", 0.25: "25 %", 0.5: "50 %", 0.75: "75 %", 1.0: "output"}
    return Depth(shares, (-0.015, 1.015), [labels] * len(FITTING), "share of the network's ops passed")


def _by_op(layers: list[str], copies: int) -> Depth:
    labels = [{float(row): name for row, name in ticks(layers, fitting).items()} for fitting in FITTING.values()]
    room = 0.5 if len(layers) <= 1 else 0.015 * (len(layers) - 1)
    positions = [[float(row) for row in range(len(layers))]] * copies
    return Depth(positions, (-room, max(len(layers) - 1, 0) + room), labels, "")


def ticks(layers: Sequence[str], fitting: int) -> dict[int, str]:
    """Rows to label and what to write there: every op of a small network, the blocks or stages of a large one.

    The output is always labelled; then longer stages go before shorter ones while there is room.

    >>> ticks(["conv1", "relu", "output"], fitting=10)
    {0: 'conv1', 1: 'relu', 2: 'output'}
    >>> ticks(["a.0", "a.1", "a.2", "b.0", "b.1", "b.2", "output"], fitting=3)
    {0: 'a', 3: 'b', 6: 'output'}
    """
    if len(layers) <= fitting:
        return dict(enumerate(layers))
    gap, last = len(layers) / fitting, len(layers) - 1
    kept = {last: layers[last]}
    for row, name, _ in sorted(_stages(layers, fitting), key=lambda stage: (-stage[2], stage[0])):
        if all(abs(row - other) >= gap for other in kept):
            kept[row] = name
    return dict(sorted(kept.items()))


def _stages(layers: Sequence[str], fitting: int) -> list[tuple[int, str, int]]:
    """First row, name and length of the stages, at the finest level of the dotted names that fits."""
    deepest = max(name.count(".") for name in layers) + 1
    for level in range(deepest, 0, -1):
        found = _at_level(layers, level)
        if len(found) <= fitting:
            return found
    step = -(-len(layers) // fitting)
    return [(row, layers[row], step) for row in range(0, len(layers), step)]


def _at_level(layers: Sequence[str], level: int) -> list[tuple[int, str, int]]:
    found, row = [], 0
    for name, members in groupby(layers, key=lambda layer: ".".join(layer.split(".")[:level])):
        length = len(list(members))
        found.append((row, name, length))
        row += length
    return found
