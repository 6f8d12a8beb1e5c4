"""The weights that a network had before, from whatever a user kept of it."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from flexure.errors import ArgumentError
from flexure.weights.every import every_weight
from flexure.weights.layer import LayerWeight

__all__ = ["Earlier", "weights_before"]

Earlier = nn.Module | Mapping[str, torch.Tensor]
"""A network as it was, or its state dict."""


def weights_before(before: Earlier, now: Sequence[LayerWeight]) -> list[torch.Tensor | None]:
    """The weight of each of these layers in another network or a state dict; None where that has no such layer.

    In a state dict a layer's weight is ``"<layer>.weight"``, or what bears its name.

    Raises:
        ArgumentError: It is neither.
    """
    if isinstance(before, nn.Module):
        there = {one.name: one.weight for one in every_weight(before)}
        return [_detached(there.get(one.name)) for one in now]
    if isinstance(before, Mapping):
        return [_detached(before.get(f"{one.name}.weight", before.get(one.name))) for one in now]
    raise ArgumentError(f"before: expected a network, or the state dict of one; got a {type(before).__name__}.")


def _detached(weight: torch.Tensor | None) -> torch.Tensor | None:
    return weight.detach() if isinstance(weight, torch.Tensor) else None
