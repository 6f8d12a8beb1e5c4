r"""Frequencies of small filters: the modes of the Laplacian of a grid, and what independent weights put on them."""

import math
from dataclasses import dataclass
from functools import cache

import torch
from scipy import special

__all__ = ["Modes", "modes", "null_interval", "null_p_value", "pooling_index", "powers"]

_APART = 1e-9  # rounding is below 1e-14; different eigenvalues of grids up to 16×16 are 8e-5 or more apart


@dataclass(frozen=True, eq=False)
class Modes:
    """Orthonormal modes of a grid, sorted by eigenvalue, and which of them share one.

    Attributes:
        shape: Sides of the grid.
        basis: The modes ``(m, m)``, one per row, float64; a row reshaped to ``shape`` is a filter.
        eigenvalue: The different eigenvalues ``(groups,)``, ascending, the first one 0; float64.
        degeneracy: How many modes have each ``(groups,)``; int64.
        members: 1 where a mode belongs to a group ``(m, groups)``, else 0; float64.
    """

    shape: tuple[int, ...]
    basis: torch.Tensor
    eigenvalue: torch.Tensor
    degeneracy: torch.Tensor
    members: torch.Tensor

    @property
    def count(self) -> int:
        """Number of modes, which is that of the grid's points."""
        return len(self.basis)


@cache
def modes(shape: tuple[int, ...]) -> Modes:
    r"""The modes of the graph Laplacian of a grid with free boundary, for any sides and any number of them.

    Neighbors along the axes are joined, and the diagonal holds each point's number of neighbors. On
    :math:`F_1 \times F_2` points the eigenvalues are

    .. math::
        \lambda_{ab} = 4 - 2\cos(\pi a/F_1) - 2\cos(\pi b/F_2), \qquad 0 \le a < F_1,\ 0 \le b < F_2,

    one such term :math:`2 - 2\cos` per axis, and the modes are products of the cosines of the DCT-II. Where
    eigenvalues coincide, any rotation of their modes would do as well; only sums over such a group mean something.

    >>> modes((3, 3)).eigenvalue.tolist(), modes((3, 3)).degeneracy.tolist()
    ([0.0, 1.0, 2.0, 3.0, 4.0, 6.0], [1, 2, 1, 2, 2, 1])
    """
    basis, eigenvalue = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    for side in shape:
        waves, own = _axis(side)
        basis = torch.kron(basis, waves)
        eigenvalue = (eigenvalue[:, None] + own).reshape(-1)
    eigenvalue, order = torch.sort(eigenvalue, stable=True)
    group = (torch.diff(eigenvalue, prepend=eigenvalue[:1]) > _APART).cumsum(0)
    members = torch.nn.functional.one_hot(group).double()
    degeneracy = members.sum(0)
    different = (members.T @ eigenvalue / degeneracy).round(decimals=12)
    return Modes(shape, basis[order], different, degeneracy.long(), members)


def _axis(side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Modes ``(side, side)``, a row each, and eigenvalues of a path of so many points."""
    frequency = torch.pi * torch.arange(side, dtype=torch.float64) / side
    waves = torch.cos(frequency[:, None] * (torch.arange(side, dtype=torch.float64) + 0.5))
    return waves / waves.norm(dim=1, keepdim=True), 2 - 2 * torch.cos(frequency)


def powers(filters: torch.Tensor, grid: Modes) -> torch.Tensor:
    r"""Squared projections of filters ``(n, m)`` on each group of modes, summed over the group: ``(n, groups)``.

    They add up to :math:`\|w\|^2`. Filters and result have the same dtype; gradients flow.
    """
    if grid.count == 1:
        return filters.square()
    return (filters @ grid.basis.T.to(filters)).square() @ grid.members.to(filters)


def pooling_index(share: float, count: int) -> float:
    """1 where all the power lies in the constant mode, 0 where that has no more than its share of ``count`` modes.

    >>> pooling_index(1.0, 9), pooling_index(1 / 9, 9), pooling_index(0.0, 9)
    (1.0, 0.0, -0.125)
    """
    return (count * share - 1) / (count - 1) if count > 1 else math.nan


def null_interval(filters: int, count: int, level: float = 0.95) -> tuple[float, float]:
    r"""Where the pooling index of so many filters of independent Gaussian weights lies with probability ``level``.

    The power in the constant mode and that in all others are then :math:`\chi^2` of :math:`N` and :math:`N(m-1)`
    degrees of freedom, so the share of the first is :math:`\mathrm{Beta}(N/2, N(m-1)/2)`, exactly.

    Args:
        filters: Number :math:`N` of filters.
        count: Number :math:`m` of modes, at least 2.
        level: Half of the rest lies on either side.
    """
    ends = special.betaincinv(*_beta(filters, count), [(1 - level) / 2, (1 + level) / 2])
    low, high = (pooling_index(float(end), count) for end in ends)
    return low, high


def null_p_value(index: float, filters: int, count: int) -> float:
    """How probable a pooling index at least as far out is for independent Gaussian weights, both sides counted.

    0 where that is less than a float can say.
    """
    share = min(max((index * (count - 1) + 1) / count, 0.0), 1.0)
    a, b = _beta(filters, count)
    return min(1.0, 2 * min(float(special.betainc(a, b, share)), float(special.betaincc(a, b, share))))


def _beta(filters: int, count: int) -> tuple[float, float]:
    return filters / 2, filters * (count - 1) / 2
