"""Losses and right answers, added up over the images of an epoch or a test."""

import math
from dataclasses import asdict, dataclass

import torch

from flexure.stats import standard_error

__all__ = ["Tally"]


@dataclass
class Tally:
    """Sums over images.

    Attributes:
        loss: Sum of the losses.
        squares: Sum of their squares; NaN where a loss gave only a mean.
        right: Right answers.
        n: Images.
        skipped: Images that could not be read.
    """

    loss: float = 0.0
    squares: float = 0.0
    right: int = 0
    n: int = 0
    skipped: int = 0

    @classmethod
    def of(cls, losses: torch.Tensor, answered: torch.Tensor, y: torch.Tensor) -> "Tally":
        """The sums of one batch: losses ``(b,)`` or their mean ``()``, the network's classes and the right ones."""
        many = losses.detach().double()
        right = (answered == y).sum().double()
        if many.ndim == 0:
            many, squares = many * len(y), torch.full_like(many, math.nan)
        else:
            many, squares = many.sum(), many.square().sum()
        loss, square, hits = torch.stack([many, squares, right]).tolist()
        return cls(loss, square, int(hits), len(y))

    def add(self, other: "Tally") -> None:
        """Add the sums of other images to these."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)

    def summary(self) -> dict[str, float]:
        """Mean loss and accuracy with their standard errors (NaN for one image), ``n`` and ``skipped``."""
        mean, share = self.loss / self.n, self.right / self.n
        return {
            "loss": mean,
            "loss_se": float(standard_error(self.squares - self.n * mean * mean, self.n)),
            "accuracy": share,
            "accuracy_se": float(standard_error(self.n * share * (1 - share), self.n)),
            "n": self.n,
            "skipped": self.skipped,
        }
