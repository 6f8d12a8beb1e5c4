"""Random crops and flips of training images, keyed so that they depend on no batch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import torch
import torch.nn.functional as F

from flexure import rng
from flexure.errors import ArgumentError
from flexure.perturb.augment import RandomDiffeomorphism

__all__ = ["AUGMENTATIONS", "Augmentation", "RandomCrop", "RandomFlip"]


class Augmentation(Protocol):
    """Changes training images; called with the epoch as ``draw``."""

    def __call__(self, x: torch.Tensor, index: torch.Tensor, *, seed: int, draw: int) -> torch.Tensor:
        """Images ``(b, C, H, W)`` to images of the same shape, each by what its index, seed and draw decide alone."""


@dataclass(frozen=True)
class RandomCrop:
    """Surround each image by zeros and cut a window of its own size out, anywhere with equal chance.

    Attributes:
        padding: Pixels on every side, at least 1; the image is moved by as many at most.

    Source: as torchvision's RandomCrop with padding, the usual augmentation on CIFAR-10; zeros are black before
        normalization.
    """

    padding: int = 4

    def __post_init__(self) -> None:
        if self.padding < 1:
            raise ArgumentError(f"RandomCrop: padding must be at least 1 pixel; got {self.padding}.")

    def __call__(self, x: torch.Tensor, index: torch.Tensor, *, seed: int, draw: int) -> torch.Tensor:
        """Moved images, same shape; arguments as for :class:`Augmentation`."""
        height, width = x.shape[-2:]
        words = rng.integers(2, seed=seed, purpose="crop", index=index, draw=draw)
        top, left = (words * (2 * self.padding + 1) >> 32).to(x.device).unbind(1)
        rows = top[:, None, None] + torch.arange(height, device=x.device)[:, None]
        columns = left[:, None, None] + torch.arange(width, device=x.device)
        image = torch.arange(len(x), device=x.device)[:, None, None]
        padded = F.pad(x, [self.padding] * 4).permute(0, 2, 3, 1)
        return padded[image, rows, columns].permute(0, 3, 1, 2).contiguous()


@dataclass(frozen=True)
class RandomFlip:
    """Mirror each image left to right, or leave it, with equal chance."""

    def __call__(self, x: torch.Tensor, index: torch.Tensor, *, seed: int, draw: int) -> torch.Tensor:
        """Images of the same shape; arguments as for :class:`Augmentation`."""
        words = rng.integers(1, seed=seed, purpose="flip", index=index, draw=draw)
        flipped = (words[:, 0] >> 31).bool().to(x.device)
        return torch.where(flipped[:, None, None, None], x.flip(-1), x)


AUGMENTATIONS: Mapping[str, Callable[..., Augmentation]] = MappingProxyType(
    {"crop": RandomCrop, "flip": RandomFlip, "diffeomorphism": RandomDiffeomorphism}
)
