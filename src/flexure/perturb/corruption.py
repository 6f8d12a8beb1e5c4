"""Gaussian corruption of images by a prescribed norm, for training on noisy images and for testing on them."""

import math
from dataclasses import dataclass

import torch

from flexure import rng
from flexure.errors import ArgumentError

__all__ = ["LEVELS", "GaussianCorruption", "unit_noise"]

LEVELS = (0.0, 0.01, 0.1, 1.0, 10.0, 30.0, 100.0)
"""The levels of Tomasini et al.; a deformation by one pixel moves a CIFAR-10 image by about 19."""

PURPOSE = "corruption"


@dataclass(frozen=True)
class GaussianCorruption:
    r"""What do images look like under Gaussian noise of a given size?

    .. math:: x \mapsto x + \ell\, g / \sqrt{C H W}, \qquad g \sim N(0, I)

    The level is therefore the norm of the noise, nearly (the root of its mean square, exactly), in the unit of the
    images, and not the standard deviation of a pixel's noise. Nothing is clipped.

    Attributes:
        level: :math:`\ell \ge 0`, in the unit of the images; the papers add it to normalized ones.

    Raises:
        ArgumentError: The level is negative or not finite.

    Exact case: level 0 gives the images back, bit for bit; the mean norm is
        :math:`\ell \sqrt{2/d}\; \Gamma((d+1)/2) / \Gamma(d/2)` with :math:`d = C H W`: 0.9999 times the level for
        images of 3 x 32 x 32.
    Source: Tomasini et al., How deep convolutional neural networks lose spatial information with training (2022),
        where training and test images are corrupted anew at every access. Here a seed, an image's index and a draw
        decide the noise: give the epoch as draw when training, 0 when testing.

    >>> GaussianCorruption(0.1)(torch.rand(2, 3, 32, 32), torch.arange(2), seed=0).shape
    torch.Size([2, 3, 32, 32])
    """

    level: float

    def __post_init__(self) -> None:
        if not 0 <= self.level < math.inf:
            raise ArgumentError(f"corruption: a level must be finite, 0 or more; got {self.level!r}.")

    def clean(self, x: torch.Tensor) -> torch.Tensor:
        """The images ``(b, C, H, W)`` at level 0: as they are."""
        return x

    def __call__(
        self, x: torch.Tensor, index: torch.Tensor, *, seed: int, draw: int | torch.Tensor = 0
    ) -> torch.Tensor:
        """Corrupt each image by itself.

        Args:
            x: Images ``(b, C, H, W)``, floating point, normalized as the network wants them.
            index: Image indices ``(b,)``, int64, that key the noise together with ``seed`` and ``draw``.
            seed: The run's seed.
            draw: Number of the draw, one for all or ``(b,)``: the epoch when training, 0 when testing.

        Returns:
            The corrupted images, same shape, dtype and device.

        Raises:
            ArgumentError: ``index`` does not fit the images.
        """
        return x if self.level == 0 else x + self.level * unit_noise(x, index, seed=seed, draw=draw)


def unit_noise(like: torch.Tensor, index: torch.Tensor, *, seed: int, draw: int | torch.Tensor = 0) -> torch.Tensor:
    r"""The noise :math:`g / \sqrt{C H W}` of level 1 for images ``(b, C, H, W)``; other levels are multiples of it.

    Raises:
        ArgumentError: Not one index per image.
    """
    if len(index) != len(like):
        raise ArgumentError(f"corruption: {len(like)} images need as many indices; got {len(index)}.")
    count = math.prod(like.shape[1:])
    working = torch.promote_types(like.dtype, torch.float32)
    g = rng.normal(count, seed=seed, purpose=PURPOSE, index=index.to(like.device), draw=draw, dtype=working)
    return g.mul_(count**-0.5).view(like.shape).to(like.dtype)
