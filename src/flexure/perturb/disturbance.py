"""Clean, bent and shaken copies of the same images, laid one under another for a single forward pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from flexure.bench import Mounted
from flexure.perturb.noise import NOISES, match_magnitude

__all__ = ["Disturbance", "Transform"]


@runtime_checkable
class Transform(Protocol):
    """How an image is bent: a :class:`~flexure.Diffeomorphism`, or anything else that can be called like one."""

    def clean(self, x: torch.Tensor) -> torch.Tensor:
        """The images ``(m, C, H, W)`` as the transform leaves them at size 0: what bent ones are compared with."""

    def __call__(self, x: torch.Tensor, index: torch.Tensor, *, seed: int, draw: int) -> torch.Tensor:
        """Each image bent by itself, by what its index, ``seed`` and ``draw`` decide alone."""


@dataclass(frozen=True)
class Disturbance:
    """How images are bent and shaken, and where: everything that decides the copies of an image but its index.

    Attributes:
        transform: The smooth deformation, or what stands in its place.
        match: How the noise's norm follows from the deformation's: ``"per_image"``, ``"batch_mean"``, ``"batch_rms"``,
            or ``"fixed"`` at ``sigma``.
        sigma: Norm of the noise where it is fixed.
        space: ``"normalized"`` (what the network sees) or ``"pixel"`` (what the file holds).
        seed: The run's seed.
        noise: ``"sphere"`` (of uniform direction) or ``"rectified"`` (normal numbers, the negative ones made 0).
    """

    transform: Transform
    match: str = "per_image"
    sigma: float | None = None
    space: str = "normalized"
    seed: int = 0
    noise: str = "sphere"

    def copies(self, mounted: Mounted, x: torch.Tensor, index: torch.Tensor, draws: Sequence[int]) -> torch.Tensor:
        """Rows ``[clean; deformed per draw; noisy per draw]`` of raw images ``x (m, C, H, W)``, normalized."""
        x = x if self.space == "pixel" else mounted.normalized(x)
        clean = self.transform.clean(x)
        deformed = [self.transform(x, index, seed=self.seed, draw=draw) for draw in draws]
        noisy = [clean + self._noise(clean, bent, index, draw) for bent, draw in zip(deformed, draws, strict=True)]
        rows = torch.cat([clean, *deformed, *noisy])
        return mounted.normalized(rows) if self.space == "pixel" else rows

    def _noise(self, clean: torch.Tensor, deformed: torch.Tensor, index: torch.Tensor, draw: int) -> torch.Tensor:
        magnitude = match_magnitude(clean, deformed, match=self.match, sigma=self.sigma)
        return NOISES[self.noise](clean, index, seed=self.seed, draw=draw, magnitude=magnitude)
