"""The weights that a network had before, from whatever a user kept of it."""

import os
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from flexure.bench import tensors_hash
from flexure.errors import ArgumentError
from flexure.models.weights import load_state
from flexure.weights.every import every_weight
from flexure.weights.layer import LayerWeight

__all__ = ["Earlier", "Kept", "weights_before"]

Earlier = nn.Module | Mapping[str, torch.Tensor] | str | os.PathLike
"""A network as it was, its state dict, or the file of one."""


class Kept(dict[str, torch.Tensor]):
    """Weights by name as they are now, copied, so that a training that goes on does not change them.

    Two with the same numbers are equal, and what is printed of one is the hash of its numbers.

    Args:
        before: A network, its state dict, or the file of one.

    Raises:
        ArgumentError: It is none of these.
        SpecimenError: A file cannot be read.
    """

    def __init__(self, before: Earlier) -> None:
        super().__init__({name: value.detach().clone() for name, value in sorted(_by_name(before).items())})
        self.hash = tensors_hash(self)

    def __repr__(self) -> str:
        return f"<weights {self.hash}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Kept) and self.hash == other.hash

    def __hash__(self) -> int:
        return hash(self.hash)


def weights_before(before: Earlier, now: Sequence[LayerWeight]) -> list[torch.Tensor | None]:
    """The weight of each of these layers in another network, a state dict or a file; None where there is no such layer.

    In a state dict a layer's weight is ``"<layer>.weight"``, or what bears its name.

    Raises:
        ArgumentError: It is none of these.
        SpecimenError: A file cannot be read.
    """
    there = _by_name(before)
    found = [there.get(f"{one.name}.weight", there.get(one.name)) for one in now]
    return [None if weight is None else weight.detach() for weight in found]


def _by_name(before: Earlier) -> dict[str, torch.Tensor]:
    """All weights: of a network by the names of its layers, else by their names in the state dict."""
    if isinstance(before, str | os.PathLike):
        before = load_state(before)
    if isinstance(before, nn.Module):
        return {one.name: one.weight for one in every_weight(before) if one.weight is not None}
    if isinstance(before, Mapping):
        return {name: value for name, value in before.items() if isinstance(value, torch.Tensor)}
    raise ArgumentError(f"before: expected a network, a state dict, or a weights file; got a {type(before).__name__}.")
