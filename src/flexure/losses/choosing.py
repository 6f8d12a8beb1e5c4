"""Losses and penalties by name."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from flexure.formulas.choices import chosen
from flexure.losses.costs import CostSensitive
from flexure.losses.filters import FilterPenalty, Penalty
from flexure.losses.minmax import MinMaxPenalty
from flexure.losses.outputs import BinaryCrossEntropy, CrossEntropy, Hinge, Loss, Squared

__all__ = ["LOSSES", "PENALTIES", "as_loss", "unit_of"]

LOSSES: Mapping[str, Callable[..., Loss]] = MappingProxyType(
    {
        "cross_entropy": CrossEntropy,
        "hinge": Hinge,
        "squared": Squared,
        "binary_cross_entropy": BinaryCrossEntropy,
        "cost_sensitive": CostSensitive,
    }
)
PENALTIES: Mapping[str, Callable[..., Penalty]] = MappingProxyType({"filters": FilterPenalty, "minmax": MinMaxPenalty})


def as_loss(choice: str | Mapping[str, Mapping[str, Any]] | Loss) -> Loss:
    """The loss of a name, of a name with options beneath it as files write it, or the loss itself.

    Raises:
        ArgumentError: There is no such loss, or it refuses an option.

    >>> as_loss({"squared": {"half": True}})
    Squared(half=True)
    """
    return chosen("loss", choice, LOSSES)


def unit_of(loss: Loss) -> str:
    """In which unit a loss comes: nats, or its own, which has its name."""
    if isinstance(loss, CrossEntropy | BinaryCrossEntropy):
        return "nats"
    return next((name for name, kind in LOSSES.items() if type(loss) is kind), "loss")
