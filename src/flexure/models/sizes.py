"""Networks of another width than published, and images of another size than they were made for."""

import math

import torch
import torch.nn.functional as F

from flexure.errors import ArgumentError, SpecimenError

__all__ = ["averaged", "check_pixels", "padded", "scaled"]

_LEAST = 4


def scaled(channels: int, width: float) -> int:
    """Channels of a layer in a network ``width`` times as wide as published: rounded, 4 at least.

    Raises:
        ArgumentError: ``width`` is not a finite number above 0.

    >>> scaled(64, 1.0), scaled(64, 0.25), scaled(6, 0.25)
    (64, 16, 4)
    """
    if not 0 < width < math.inf:
        raise ArgumentError(f"width is a factor and must be a finite number > 0; got {width!r}. 1.0 is as published.")
    return max(_LEAST, round(channels * width))


def check_pixels(x: torch.Tensor, shape: tuple[int, ...]) -> None:
    """Look at images ``(b, C, H, W)`` of which each pixel has weights of its own.

    Raises:
        SpecimenError: They are not of the shape the network was made for.
    """
    if isinstance(x, torch.Tensor) and tuple(x.shape[1:]) != shape:  # what only traces the calls has no shape
        made, found = ("×".join(map(str, sides)) for sides in (shape, x.shape[1:]))
        raise SpecimenError(
            f"a network made for images of {made}; got {found}. Build it for those: "
            "resolve(…, channels=…, image_size=…)."
        )


def padded(x: torch.Tensor, side: int) -> torch.Tensor:
    """Images ``(b, C, H, W)`` framed with zeros where a side is shorter than ``side``; handed back where none is."""
    height, width = (max(0, side - length) for length in x.shape[-2:])
    if not height and not width:
        return x
    return F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))


def averaged(x: torch.Tensor, side: int) -> torch.Tensor:
    """Maps ``(b, C, H, W)`` averaged to ``side`` by ``side``; handed back where they are that size."""
    return x if tuple(x.shape[-2:]) == (side, side) else F.adaptive_avg_pool2d(x, side)
