"""Means and standard deviations by name, or as the user writes them."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from flexure.errors import ArgumentError, nearest

__all__ = ["NORMALIZATIONS", "Normalization", "as_normalization"]

Normalization = tuple[Sequence[float] | float, Sequence[float] | float]

NORMALIZATIONS: Mapping[str, Normalization | None] = MappingProxyType(
    {
        "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        "none": None,
    }
)
"""``cifar10`` holds the means over images of each image's standard deviation, as most published networks use."""


def as_normalization(given: str | Normalization) -> Normalization | None:
    """``(mean, std)`` from a name of ``NORMALIZATIONS``, from ``"MEAN/STD"``, or as given.

    Args:
        given: In ``"0.5,0.5,0.5/0.2,0.2,0.2"`` numbers are separated by commas, one per channel, or one for all.

    Raises:
        ArgumentError: No such name, not numbers, as many means as standard deviations are wanted, or one is not > 0.

    >>> as_normalization("0.5/0.25")
    ((0.5,), (0.25,))
    """
    if isinstance(given, str) and "/" not in given:
        if given not in NORMALIZATIONS:
            raise ArgumentError(f"no normalization {given!r}. {nearest(given, NORMALIZATIONS)} Or MEAN/STD: 0.5/0.25")
        return NORMALIZATIONS[given]
    mean, std = (_numbers(part, given) for part in (given.split("/", 1) if isinstance(given, str) else given))
    if len(mean) != len(std):
        raise ArgumentError(f"normalize {given!r}: {len(mean)} means, but {len(std)} standard deviations.")
    if min(std) <= 0:
        raise ArgumentError(f"normalize {given!r}: every standard deviation must be > 0.")
    return mean, std


def _numbers(part: str | Sequence[float] | float, given: object) -> tuple[float, ...]:
    try:
        pieces = part.split(",") if isinstance(part, str) else [part] if isinstance(part, int | float) else part
        return tuple(float(piece) for piece in pieces)
    except (TypeError, ValueError):
        raise ArgumentError(f"normalize {given!r}: {part!r} is not numbers; write MEAN/STD: 0.5/0.25") from None
