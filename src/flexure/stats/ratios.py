r"""From moments of numerators and denominators to D, G and R with their standard errors."""

from dataclasses import dataclass

import numpy as np
import torch

from flexure.stats.moments import Moments

__all__ = ["Sensitivities", "sensitivities"]


@dataclass(frozen=True, eq=False)
class Sensitivities:
    """D, G and R of ``q`` quantities, each ``(q,)`` float64, NaN where they do not exist.

    Attributes:
        D: Mean squared change under deformation over the mean squared distance of two images.
        D_se: Its standard error over images.
        G: The same under noise.
        G_se: Its standard error.
        R: ``D / G``.
        R_se: Its standard error.
        R_floor: The standard error of R that infinitely many draws on these images would leave; NaN where the draws of
            a round are too few (one) to tell.
    """

    D: np.ndarray
    D_se: np.ndarray
    G: np.ndarray
    G_se: np.ndarray
    R: np.ndarray
    R_se: np.ndarray
    R_floor: np.ndarray


def sensitivities(
    moments: Moments,
    within: torch.Tensor,
    drift: torch.Tensor,
    *,
    draws: int,
    rounds: int = 1,
    same_pairs: bool = True,
) -> Sensitivities:
    r"""Ratios of means, with standard errors by the delta method; the image is the independent unit.

    For each image the moments hold :math:`z = (a, b, v)`: squared change under deformation and under noise, averaged
    over the ``draws`` of a round, and squared distance to a fixed point near the mean. With
    :math:`V = 2(\mathrm{E}v - \|\mathrm{drift}\|^2)`: :math:`D = \mathrm{E}a / V`, :math:`G = \mathrm{E}b / V`,
    :math:`R = \mathrm{E}a / \mathrm{E}b`.

    Rounds repeat the same images with new draws. The covariance of an image's values over one round,
    :math:`C = A + W/d`, splits into what belongs to the image, :math:`A`, and the draws' share, with :math:`W`
    estimated within images; the mean over :math:`K` rounds has :math:`A + W/(dK)`, where the variance that :math:`A`
    gives to a ratio is taken as 0 if its estimate is negative.

    Args:
        moments: Of ``z``, over images and rounds; ``n`` counts images times rounds.
        within: Mean covariance of single draws' ``(a, b)`` within an image ``(q, 2, 2)``; NaN if unknown.
        drift: Squared distance of the features' mean from the fixed point ``(q,)``.
        draws: Draws per image and round.
        rounds: How many rounds the moments hold.
        same_pairs: Whether the distance of two images includes pairs of an image with itself (a factor 1 - 1/n).
    """
    n = moments.n / rounds
    a, b, v = moments.mean.unbind(1)
    pairs = torch.ones_like(n) if same_pairs else n / (n - 1)
    spread = 2 * (v - drift) * pairs
    covariance = moments.covariance
    draws_share = torch.zeros_like(covariance)
    draws_share[:, :2, :2] = within / draws
    zero = torch.zeros_like(a)
    slopes = {
        "D": torch.stack([1 / spread, zero, -2 * a * pairs / spread**2], 1),
        "G": torch.stack([zero, 1 / spread, -2 * b * pairs / spread**2], 1),
        "R": torch.stack([1 / b, -a / b**2, zero], 1),
    }
    values = {"D": a / spread, "G": b / spread, "R": a / b}
    total = {name: _variance(slope, covariance) for name, slope in slopes.items()}
    drawn = {name: _variance(slope, draws_share) for name, slope in slopes.items()}
    floor = {name: (total[name] - drawn[name]).clamp(min=0) for name in slopes}
    variance = total if rounds == 1 else {name: floor[name] + drawn[name] / rounds for name in slopes}
    errors = {f"{name}_se": (variance[name] / n).sqrt() for name in slopes} | {"R_floor": (floor["R"] / n).sqrt()}
    return Sensitivities(**{name: value.cpu().numpy() for name, value in (values | errors).items()})


def _variance(slope: torch.Tensor, covariance: torch.Tensor) -> torch.Tensor:
    """Variance of a linear combination of an image's numbers."""
    return torch.einsum("qi,qij,qj->q", slope, covariance, slope).clamp(min=0)
