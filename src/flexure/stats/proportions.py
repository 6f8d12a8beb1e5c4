"""Shares that merge: how many of how many, for several quantities side by side, with Wilson's interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtri

from flexure.stats.moments import standard_error

__all__ = ["Proportions"]


@dataclass(frozen=True, eq=False)
class Proportions:
    """Counts of ``q`` quantities: how often each was so, among how many.

    Attributes:
        hits: How often ``(q,)``, int64.
        n: Among how many ``(q,)``, int64.
    """

    hits: torch.Tensor
    n: torch.Tensor

    @classmethod
    def empty(cls, quantities: int) -> "Proportions":
        """No observations: the neutral element of ``merge``."""
        zeros = torch.zeros(quantities, dtype=torch.int64)
        return cls(zeros, zeros)

    @classmethod
    def of(cls, hits: torch.Tensor, keep: torch.Tensor | None = None) -> "Proportions":
        """Counts of ``hits (q, b)``; observations where ``keep (q, b)`` is False do not count."""
        keep = torch.ones_like(hits, dtype=torch.bool) if keep is None else keep.bool()
        return cls((hits.bool() & keep).sum(1).cpu(), keep.sum(1).cpu())

    def merge(self, other: "Proportions") -> "Proportions":
        """Counts of both sets of observations together."""
        return Proportions(self.hits + other.hits, self.n + other.n)

    @classmethod
    def merged(cls, parts: Sequence["Proportions"]) -> "Proportions":
        """All parts together."""
        total = parts[0]
        for part in parts[1:]:
            total = total.merge(part)
        return total

    def arrays(self) -> tuple[torch.Tensor, ...]:
        """Both tensors, for storage and for sending."""
        return self.hits, self.n

    @property
    def value(self) -> np.ndarray:
        """The shares ``(q,)``, float64; NaN where there are no observations."""
        return (self.hits.double() / torch.where(self.n > 0, self.n, torch.nan)).numpy()

    @property
    def se(self) -> np.ndarray:
        """Their standard errors, with divisor n - 1; NaN below two observations."""
        p = torch.from_numpy(self.value)
        return standard_error(self.n * p * (1 - p), self.n).numpy()

    def wilson(self, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        r"""Both ends of Wilson's interval ``(q,)``: all shares that the counts do not speak against.

        .. math:: \frac{p + z^2/2n \pm z \sqrt{p(1 - p)/n + z^2/4n^2}}{1 + z^2/n}

        with :math:`z = 1.96` at 95 %. Never outside [0, 1]; where all or none were so, it still has a width.

        Args:
            level: How often such an interval is to hold the true share.

        Exact case: 0 of n ends at :math:`z^2 / (n + z^2)`.
        Source: Wilson, Probable Inference, the Law of Succession, and Statistical Inference (1927).
        """
        z = float(ndtri((1 + level) / 2))
        n = np.where(self.n.numpy() > 0, self.n.numpy(), np.nan)
        p = self.value
        middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        low, high = ((middle + sign * half) / (1 + z**2 / n) for sign in (-1, 1))
        return np.where(p == 0, 0.0, np.clip(low, 0, 1)), np.where(p == 1, 1.0, np.clip(high, 0, 1))
