"""Freshly initialized networks to compare with: those the user gives, or copies drawn anew."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from flexure import rng
from flexure.errors import ArgumentError
from flexure.models import reinitialized
from flexure.specimen import Specimen

__all__ = ["Initialized", "check_initialized", "initialized_networks"]


@dataclass(frozen=True, eq=False)
class Initialized:
    """Networks to compare with, or why there are none although they were asked for."""

    modules: tuple[nn.Module, ...] = ()
    refusal: str = ""


def check_initialized(probe: str, wanted: int | nn.Module | Sequence[nn.Module]) -> None:
    """Refuse a count below 0.

    Raises:
        ArgumentError: It is.
    """
    if isinstance(wanted, int) and wanted < 0:
        raise ArgumentError(f"{probe}: initialized counts networks and must be at least 0; got {wanted}.")


def initialized_networks(
    probe: str, specimen: Specimen, wanted: int | nn.Module | Sequence[nn.Module], seed: int
) -> Initialized:
    """So many freshly initialized networks, the same for the same seed in every probe; or those that were given."""
    check_initialized(probe, wanted)
    if isinstance(wanted, nn.Module):
        return Initialized((wanted,))
    if isinstance(wanted, Sequence):
        return Initialized(tuple(wanted))
    modules = []
    for number in range(wanted):
        fresh = reinitialized(specimen, rng.key(seed, f"initialized {number}")[0])
        if isinstance(fresh, str):
            return Initialized(refusal=fresh)
        modules.append(fresh)
    return Initialized(tuple(modules))
