"""The weights that a network had before, from whatever a user kept of it."""

import os
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from flexure.errors import ArgumentError
from flexure.models.weights import load_state
from flexure.weights.every import every_weight
from flexure.weights.layer import LayerWeight

__all__ = ["Earlier", "weights_before"]

Earlier = nn.Module | Mapping[str, torch.Tensor] | str | os.PathLike
"""A network as it was, its state dict, or the file of one."""


def weights_before(before: Earlier, now: Sequence[LayerWeight]) -> list[torch.Tensor | None]:
    """The weight of each of these layers in another network, a state dict or a file; None where there is no such layer.

    In a state dict a layer's weight is ``"<layer>.weight"``, or what bears its name.

    Raises:
        ArgumentError: It is none of these.
        SpecimenError: A file cannot be read.
    """
    if isinstance(before, str | os.PathLike):
        before = load_state(before)
    if isinstance(before, nn.Module):
        there = {one.name: one.weight for one in every_weight(before)}
        return [_detached(there.get(one.name)) for one in now]
    if isinstance(before, Mapping):
        return [_detached(before.get(f"{one.name}.weight", before.get(one.name))) for one in now]
    raise ArgumentError(f"before: expected a network, a state dict, or a weights file; got a {type(before).__name__}.")


def _detached(weight: torch.Tensor | None) -> torch.Tensor | None:
    return weight.detach() if isinstance(weight, torch.Tensor) else None
