"""Count, mean and covariance of vector-valued observations, mergeable, for many quantities side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

__all__ = ["Moments", "standard_error"]


def standard_error(squares: torch.Tensor | float, n: torch.Tensor | float) -> torch.Tensor:
    r"""Standard error of a mean of n independent numbers, :math:`\sqrt{\sum_i (z_i - \bar z)^2 / (n (n - 1))}`.

    The divisor is ``n - 1``, since deviations from the numbers' own mean are too small: the variance is then right on
    average, for right answers (:math:`p (1 - p) / (n - 1)`) as for losses.

    Args:
        squares: Sum of squared deviations from the mean; for a share p of right answers ``n p (1 - p)``.
        n: How many numbers; below two the error is NaN.
    """
    squares, n = (torch.as_tensor(part, dtype=torch.float64) for part in (squares, n))
    return (squares.clamp(min=0) / (n * torch.where(n > 1, n - 1, torch.nan))).sqrt()


@dataclass(frozen=True, eq=False)
class Moments:
    r"""First and second moments of observations :math:`z \in R^k`, for ``q`` quantities at once.

    Merging follows Chan, Golub and LeVeque (1979): means and centered products, so nothing cancels. Frozen; float64
    inside; memory ``q (1 + k + k²)`` numbers, whatever the number of observations.

    Attributes:
        n: Observations of each quantity ``(q,)``, float64.
        mean: Their mean ``(q, k)``; 0 where ``n`` is 0.
        products: Centered sums of products ``(q, k, k)``.
    """

    n: torch.Tensor
    mean: torch.Tensor
    products: torch.Tensor

    @classmethod
    def empty(cls, quantities: int, k: int, device: torch.device | str = "cpu") -> "Moments":
        """No observations: the neutral element of ``merge``."""
        shapes = (quantities,), (quantities, k), (quantities, k, k)
        return cls(*(torch.zeros(shape, dtype=torch.float64, device=device) for shape in shapes))

    @classmethod
    def of(cls, z: torch.Tensor, keep: torch.Tensor | None = None) -> "Moments":
        """Moments of ``z (q, b, k)``; observations where ``keep (q, b)`` is False do not count."""
        z = z.double()
        weight = torch.ones(z.shape[:2], dtype=torch.float64, device=z.device) if keep is None else keep.double()
        z = torch.where(weight[..., None] > 0, z, 0.0)
        n = weight.sum(1)
        mean = (weight[..., None] * z).sum(1) / n.clamp(min=1)[:, None]
        centered = (z - mean[:, None]) * weight[..., None]
        return cls(n, mean, torch.einsum("qbi,qbj->qij", centered, centered))

    def merge(self, other: "Moments") -> "Moments":
        """Moments of both sets of observations together."""
        n = self.n + other.n
        share = other.n / n.clamp(min=1)
        gap = other.mean - self.mean
        cross = (self.n * share)[:, None, None] * gap[:, :, None] * gap[:, None, :]
        return Moments(n, self.mean + share[:, None] * gap, self.products + other.products + cross)

    @property
    def covariance(self) -> torch.Tensor:
        """Sample covariance ``(q, k, k)`` with divisor ``n - 1``; NaN below two observations."""
        divisor = torch.where(self.n > 1, self.n - 1, torch.nan)
        return self.products / divisor[:, None, None]

    def arrays(self) -> tuple[torch.Tensor, ...]:
        """The three tensors, for storage and for sending."""
        return self.n, self.mean, self.products

    @classmethod
    def merged(cls, parts: Sequence["Moments"]) -> "Moments":
        """All parts together, in their order."""
        total = parts[0]
        for part in parts[1:]:
            total = total.merge(part)
        return total
