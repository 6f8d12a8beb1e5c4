"""Are a few weights large and all others nearly zero? Readings of magnitudes that a probe prints and a loss steers."""

import torch

__all__ = ["excess_kurtosis", "hoyer", "l1_minus_l2", "near_zero_share"]


def l1_minus_l2(weight: torch.Tensor) -> torch.Tensor:
    r"""By how much is the sum of magnitudes more than the norm? :math:`\|w\|_1 - \|w\|_2`, in the weight's unit.

    At least 0, and 0 where at most one weight is not; :math:`(k - \sqrt{k}) |c|` for k weights of size c. Proportional
    to the scale: made small, it shrinks all weights besides sharpening them. The gradient at 0 is 0.

    >>> l1_minus_l2(torch.tensor([[0.0, 3.0], [4.0, 0.0]]))
    tensor(2.)
    """
    return weight.abs().sum() - torch.linalg.vector_norm(weight)


def hoyer(weight: torch.Tensor) -> torch.Tensor:
    r"""Hoyer's sparsity of n weights: :math:`(\sqrt{n} - \|w\|_1 / \|w\|_2) / (\sqrt{n} - 1)`, whatever their scale.

    1 where one weight is not 0, 0 where all are as large. NaN for a single weight and where all are 0; there, the
    gradient is 0.
    """
    root, norm = weight.numel() ** 0.5, torch.linalg.vector_norm(weight)
    if weight.numel() < 2:
        return norm * 0 + torch.nan  # so that a gradient through it is 0, not NaN
    safe = torch.where(norm > 0, norm, 1.0)
    return torch.where(norm > 0, (root - weight.abs().sum() / safe) / (root - 1), torch.nan)


def excess_kurtosis(weight: torch.Tensor) -> torch.Tensor:
    r"""How heavy are the tails? :math:`m_4 / m_2^2 - 3` with central moments over the weights, at least -2.

    0 for a Gaussian law, -1.2 for a uniform one, 3 for Laplace's. NaN where all weights are the same; the gradient is 0
    there.
    """
    squares = (weight - weight.mean()).square()
    variance = squares.mean()
    safe = torch.where(variance > 0, variance, 1.0)
    return torch.where(variance > 0, squares.square().mean() / safe.square() - 3, torch.nan)


def near_zero_share(weight: torch.Tensor, below: float = 0.1) -> torch.Tensor:
    """Which share of the weights is smaller than ``below`` times the largest magnitude? NaN where all are 0.

    >>> near_zero_share(torch.tensor([0.05, -0.2, 1.0, 0.0]))
    tensor(0.5000)
    """
    magnitude = weight.abs()
    largest = magnitude.max()
    return torch.where(largest > 0, (magnitude < below * largest).to(magnitude.dtype).mean(), torch.nan)
