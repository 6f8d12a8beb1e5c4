"""Similarities of images that a kernel of predictions gives: what a step on one does to the prediction on another."""

import numpy as np

__all__ = ["cosine", "relative"]


def relative(kernel: np.ndarray, own: np.ndarray) -> np.ndarray:
    r"""How far does a step on i move j, as a share of how far it moves i? :math:`K_{ij} / K_{ii}`, signed.

    Args:
        kernel: ``(n, m)``.
        own: :math:`K_{ii}` ``(n,)``.

    Returns:
        ``(n, m)``, without unit; 1 where j is i; NaN in rows of images that do not move themselves.

    >>> relative(np.array([[2.0, -1.0], [-1.0, 4.0]]), np.array([2.0, 4.0]))
    array([[ 1.  , -0.5 ],
           [-0.25,  1.  ]])
    """
    return kernel / np.where(own == 0, np.nan, own)[:, None]


def cosine(kernel: np.ndarray, own: np.ndarray, own_to: np.ndarray) -> np.ndarray:
    r"""How alike are the directions in which i and j pull the weights? :math:`K_{ij} / \sqrt{K_{ii} K_{jj}}`.

    In the limit of small steps the cosine of the angle between two gradients, in [-1, 1].

    Args:
        kernel: ``(n, m)``.
        own: :math:`K_{ii}` ``(n,)``.
        own_to: :math:`K_{jj}` ``(m,)``.

    Returns:
        ``(n, m)``, without unit; NaN where an image does not move itself forward.
    """
    scale = np.sqrt(np.where(own > 0, own, np.nan))[:, None] * np.sqrt(np.where(own_to > 0, own_to, np.nan))
    return kernel / scale
