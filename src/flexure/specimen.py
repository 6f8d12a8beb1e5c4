"""A network and what its inputs mean: frozen, and never written to."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from torch import nn

from flexure.errors import ArgumentError, nearest

__all__ = ["Specimen"]

_TASKS = ("classification", "features")
_PAIRS = {"normalize": "(mean, std)", "bounds": "(low, high)", "image_size": "(height, width)"}


@dataclass(frozen=True, eq=False)
class Specimen:
    """A model with the meaning of its inputs and output.

    Attributes:
        model: The network; called as ``model(x)`` on normalized images ``(b, C, H, W)``.
        normalize: ``(mean, std)`` per channel (or one number each), applied before ``model``; None: the model takes the
            data as they are.
        bounds: Smallest and largest value a raw input may have; batches outside are refused. None: not checked.
        output: Which part of a tuple or dict output is *the* output: a key, an index or a function; None where it is a
            tensor, or is the only tensor or the ``logits`` of what the model returns.
        factory: Builds the same network with fresh weights, for comparisons with initialized networks.
        name: What the page calls it.
        image_size: ``(H, W)`` the network was made for, where known.
        task: ``"classification"`` (the output holds one logit per class) or ``"features"``.
    """

    model: nn.Module
    normalize: tuple[Sequence[float] | float, Sequence[float] | float] | None = None
    bounds: tuple[float, float] | None = None
    output: str | int | Callable[[Any], Any] | None = None
    factory: Callable[[], nn.Module] | None = None
    name: str = ""
    image_size: tuple[int, int] | None = None
    task: str = "classification"

    def __post_init__(self) -> None:
        if not isinstance(self.model, nn.Module):
            raise ArgumentError(f"Specimen: model must be a torch.nn.Module; got {_what(self.model)}.")
        if self.normalize is not None:
            object.__setattr__(self, "normalize", _statistics(self.normalize))
        if self.bounds is not None:
            low, high = _pair("bounds", self.bounds)
            if not low < high:
                raise ArgumentError(f"Specimen: bounds must be (low, high) with low < high; got {self.bounds}.")
            object.__setattr__(self, "bounds", (low, high))
        if self.image_size is not None:
            sides = _pair("image_size", self.image_size)
            if any(not isinstance(side, Integral) or side < 1 for side in sides):
                raise ArgumentError(f"Specimen: image_size must be (height, width) in pixels; got {self.image_size!r}.")
            object.__setattr__(self, "image_size", tuple(int(side) for side in sides))
        if self.factory is not None and (isinstance(self.factory, nn.Module) or not callable(self.factory)):
            raise ArgumentError(f"Specimen: factory must build the network when called; got {_what(self.factory)}.")
        if self.task not in _TASKS:
            raise ArgumentError(f"Specimen: no task {self.task!r}. {nearest(str(self.task), _TASKS)}")
        if not self.name:
            object.__setattr__(self, "name", type(self.model).__name__)

    @classmethod
    def of(cls, model: "Specimen | nn.Module") -> "Specimen":
        """The specimen itself, or a bare module as one: no normalization, no bounds."""
        return model if isinstance(model, Specimen) else cls(model)


def _statistics(normalize: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    mean, std = (_numbers(part) for part in _pair("normalize", normalize))
    if not mean or len(mean) != len(std):
        raise ArgumentError(f"Specimen: normalize holds {len(mean)} means and {len(std)} standard deviations.")
    if not all(map(math.isfinite, mean)) or not all(0 < value < math.inf for value in std):
        raise ArgumentError(
            f"Specimen: every standard deviation in normalize must be > 0 and every mean finite; got {(mean, std)}."
        )
    return mean, std


def _pair(name: str, value: Any) -> tuple[Any, Any]:
    try:
        if isinstance(value, str):
            raise TypeError
        first, second = value
    except (TypeError, ValueError):
        raise ArgumentError(f"Specimen: {name} must be a pair {_PAIRS[name]}; got {value!r}.") from None
    return first, second


def _numbers(part: Any) -> tuple[float, ...]:
    try:
        numbers = np.atleast_1d(np.asarray(part, dtype=float))
    except (TypeError, ValueError):
        numbers = np.empty((0, 0))
    if numbers.ndim != 1:
        raise ArgumentError(f"Specimen: normalize takes numbers, one per channel; got {part!r}.")
    return tuple(float(number) for number in numbers)


def _what(value: Any) -> str:
    return f"the class {value.__name__}, not an object of it" if isinstance(value, type) else type(value).__name__
