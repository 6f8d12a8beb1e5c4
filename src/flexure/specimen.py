"""A network and what its inputs mean: frozen, and never written to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from flexure.errors import ArgumentError

__all__ = ["Specimen"]


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
        factory: Builds the same network with fresh weights, for comparisons with initialised networks.
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
            raise ArgumentError(f"Specimen: model must be a torch.nn.Module; got {type(self.model).__name__}.")
        if self.normalize is not None:
            mean, std = (_numbers(part) for part in self.normalize)
            if len(mean) != len(std):
                raise ArgumentError(f"Specimen: normalize holds {len(mean)} means and {len(std)} standard deviations.")
            if min(std) <= 0:
                raise ArgumentError(f"Specimen: every standard deviation in normalize must be > 0; got {std}.")
            object.__setattr__(self, "normalize", (mean, std))
        if self.bounds is not None and not self.bounds[0] < self.bounds[1]:
            raise ArgumentError(f"Specimen: bounds must be (low, high) with low < high; got {self.bounds}.")
        if not self.name:
            object.__setattr__(self, "name", type(self.model).__name__)

    @classmethod
    def of(cls, model: "Specimen | nn.Module") -> "Specimen":
        """The specimen itself, or a bare module as one: no normalization, no bounds."""
        return model if isinstance(model, cls) else cls(model)


def _numbers(part: Sequence[float] | float) -> tuple[float, ...]:
    return (float(part),) if isinstance(part, int | float) else tuple(float(value) for value in part)
