"""Losses and right answers, added up over the images of an epoch or a test."""

import math
from dataclasses import asdict, dataclass

import torch

from flexure.losses import answers

__all__ = ["Tally", "standard_error_of_share"]


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
    def of(cls, losses: torch.Tensor, outputs: torch.Tensor, y: torch.Tensor) -> "Tally":
        """The sums of one batch: losses ``(b,)`` or their mean ``()``, outputs ``(b, q)``, classes ``(b,)``."""
        many = losses.detach().double()
        right = (answers(outputs.detach()) == y).sum().double()
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
        """Mean loss and accuracy with their standard errors, ``n`` and ``skipped``."""
        mean, share = self.loss / self.n, self.right / self.n
        variance = max(self.squares / self.n - mean * mean, 0.0) if math.isfinite(self.squares) else math.nan
        return {
            "loss": mean,
            "loss_se": math.sqrt(variance / (self.n - 1)) if self.n > 1 else math.nan,
            "accuracy": share,
            "accuracy_se": standard_error_of_share(share, self.n),
            "n": self.n,
            "skipped": self.skipped,
        }


def standard_error_of_share(share: float, n: int) -> float:
    r""":math:`\sqrt{p (1 - p) / n}`."""
    return math.sqrt(share * (1 - share) / n)
