"""The paths that weights have taken: the extremes of every weight, all points of a sample; in one file."""

import bisect
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as pack

from flexure import rng
from flexure.errors import RunError
from flexure.results import write_atomically
from flexure.weights import LayerWeight

__all__ = ["LayerPath", "Paths", "Point"]

_FORMAT = 1
_TENSORS = ("low", "high", "last", "chosen", "values")


@dataclass
class LayerPath:
    """The paths of one layer's weights, on the CPU.

    Attributes:
        name: The layer.
        kind: Its kind.
        channels: Channels in and out.
        low: The smallest value that each weight has had, in the weight's shape.
        high: The largest.
        last: The latest.
        chosen: Positions of the sampled weights in the flattened weight, in order.
        values: Their values, ``(points, sampled)``.
        moves: For each point but the first the root mean square by which weights have moved since the one before.
        remark: Why the layer was not seen to the end; empty where it was.
    """

    name: str
    kind: str
    channels: str
    low: torch.Tensor
    high: torch.Tensor
    last: torch.Tensor
    chosen: torch.Tensor
    values: torch.Tensor
    moves: list[float] = field(default_factory=list)
    remark: str = ""

    @classmethod
    def begin(cls, one: LayerWeight, weight: torch.Tensor, *, sample: int, seed: int) -> "LayerPath":
        """Start at a weight; the weights of a small sample are among those of a larger one."""
        index = torch.arange(weight.numel())
        lots = rng.uniform(1, seed=seed, purpose=f"sampled weights of {one.name}", index=index)[:, 0]
        chosen = lots.argsort(stable=True)[:sample].sort().values
        return cls(
            one.name,
            one.kind,
            one.channels,
            weight,
            weight.clone(),
            weight.clone(),
            chosen,
            weight.flatten()[chosen][None],
        )

    def extend(self, weight: torch.Tensor, place: int, *, is_new: bool) -> None:
        """Go on to a weight, at a place among the points; a point that is told again is replaced there."""
        self.low, self.high = torch.minimum(self.low, weight), torch.maximum(self.high, weight)
        point = weight.flatten()[self.chosen][None]
        self.values = torch.cat([self.values[:place], point, self.values[place + (not is_new) :]])
        if is_new:
            moved = (weight.double() - self.last.double()).square()
            self.moves.insert(max(place - 1, 0), math.sqrt(float(moved[moved.isfinite()].mean())))
        self.last = weight


@dataclass
class Point:
    """A moment at which the weights were looked at."""

    step: int
    epoch: float | None
    weights_hash: str


@dataclass
class Paths:
    """The paths of several layers, of one training.

    Attributes:
        training: Name of the training.
        origin: What decides which weights are followed.
        reading: How the paths are read at the end.
        name: The network.
        points: Where they were looked at, by step.
        layers: The layers.
        retold: Points that were told again, with other weights, after the training had gone back to them.
    """

    training: str
    origin: Mapping[str, Any]
    reading: Mapping[str, Any]
    name: str
    points: list[Point] = field(default_factory=list)
    layers: list[LayerPath] = field(default_factory=list)
    retold: int = 0

    @property
    def steps(self) -> list[int]:
        """The steps of the points."""
        return [point.step for point in self.points]

    def take(self, point: Point, found: Sequence[LayerWeight]) -> bool:
        """Go on to a point, with these weights; whether anything has changed by it."""
        place = bisect.bisect_left(self.steps, point.step)
        is_new = place == len(self.points) or self.points[place].step != point.step
        if not is_new and self.points[place].weights_hash == point.weights_hash:
            learnt = point.epoch is not None and point.epoch != self.points[place].epoch
            self.points[place].epoch = point.epoch if learnt else self.points[place].epoch
            return learnt
        self.retold += not is_new or place < len(self.points)
        self.points[place : place + (not is_new)] = [point]
        there = {one.name: one.weight for one in found}
        for layer in self.layers:
            self._extend(layer, there.get(layer.name), point.step, place, is_new)
        return True

    def begin(self, found: Sequence[LayerWeight], *, sample: int, seed: int) -> None:
        """Start with these weights."""
        for one in found:
            if one.weight is not None:
                self.layers.append(LayerPath.begin(one, _own(one.weight), sample=sample, seed=seed))

    def save(self, path: Path) -> None:
        """Write the file.

        Raises:
            RunError: It cannot be written; the one before is as it was.
        """
        tensors = {
            f"{number}.{name}": getattr(layer, name).contiguous()
            for number, layer in enumerate(self.layers)
            for name in _TENSORS
        }
        facts = {name: value for name, value in vars(self).items() if name not in ("points", "layers")}
        facts["points"] = [vars(point) for point in self.points]
        facts["layers"] = [
            {name: value for name, value in vars(layer).items() if name not in _TENSORS} for layer in self.layers
        ]
        write_atomically(path, pack(tensors, {"flexure": json.dumps({"format": _FORMAT, **facts})}))

    @classmethod
    def load(cls, path: Path) -> "Paths":
        """Read the file back; nothing in it is ever executed.

        Raises:
            RunError: It is missing, damaged, or from a newer version.
        """
        try:
            with safe_open(path, framework="pt") as file:
                facts = json.loads((file.metadata() or {})["flexure"])
                if facts.pop("format") > _FORMAT:
                    raise RunError(f"{path}: written by a newer version. Update Flexure.")
                layers = [
                    LayerPath(**about, **{name: file.get_tensor(f"{number}.{name}") for name in _TENSORS})
                    for number, about in enumerate(facts.pop("layers"))
                ]
                return cls(points=[Point(**point) for point in facts.pop("points")], layers=layers, **facts)
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as wrong:
            raise RunError(f"{path}: the paths of weights cannot be read ({wrong}).") from wrong

    @staticmethod
    def _extend(layer: LayerPath, weight: torch.Tensor | None, step: int, place: int, is_new: bool) -> None:
        if layer.remark:
            return
        if weight is None or weight.shape != layer.low.shape:
            layer.remark = f"gone at step {step}" if weight is None else f"of another shape at step {step}"
            return
        layer.extend(_own(weight), place, is_new=is_new)


def _own(weight: torch.Tensor) -> torch.Tensor:
    """A copy of a weight on the CPU, in float32 or finer."""
    return weight.detach().to("cpu", torch.promote_types(weight.dtype, torch.float32), copy=True)
