"""A loss that counts some mistakes for more than others."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from flexure.errors import ArgumentError, SpecimenError
from flexure.losses.outputs import CrossEntropy

__all__ = ["CostSensitive"]


@dataclass(frozen=True)
class CostSensitive:
    r"""How surprised is the network by the right class, and how dear are the answers that it gives instead?

    Cross-entropy plus the expected cost of an answer drawn from the softmax:

    .. math:: -\ln p_y + \lambda \sum_j p_j\, C_{jy}, \qquad p = \mathrm{softmax}(f)

    Attributes:
        protected: The class for which mistakes are dear, both those on its images and those that name it.
        cost: What these cost, at least 0; every other mistake costs 1 and the right answer nothing.
        strength: :math:`\lambda`, at least 0.
        costs: All of :math:`C` instead, one row per answer and one column per right class; each at least 0.

    Exact case: with all outputs equal over k classes, an image of the protected class adds
        :math:`\lambda\, \text{cost}\, (k-1)/k`, any other :math:`\lambda\, (k - 2 + \text{cost})/k`.

    Source: the code of Shen, Chen, Wang & Wang, *Adversarial Learning with Cost-Sensitive Classes* (2021), with
        :math:`\lambda` from 0.1 to 10 and a cost of 10.
    """

    protected: int = 0
    cost: float = 10.0
    strength: float = 1.0
    costs: Sequence[Sequence[float]] | None = None

    def __post_init__(self) -> None:
        if not (self.protected >= 0 and self.cost >= 0 and self.strength >= 0):
            raise ArgumentError(
                f"CostSensitive: protected, cost and strength must be at least 0; got {self.protected}, {self.cost}, "
                f"{self.strength}."
            )
        if self.costs is None:
            return
        rows = tuple(tuple(float(value) for value in row) for row in self.costs)
        if any(len(row) != len(rows) or not all(value >= 0 for value in row) for row in rows):
            raise ArgumentError(
                f"CostSensitive: costs must be a square table of numbers that are at least 0; got {self.costs}."
            )
        object.__setattr__(self, "costs", rows)

    def __call__(self, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Outputs ``(b, classes)`` and class indices ``(b,)`` to a loss per image ``(b,)``.

        Raises:
            SpecimenError: There is a single output, there is no such class, or the costs are for another number.
        """
        surprise = CrossEntropy()(outputs, y)
        costs = self.matrix(outputs.shape[1]).to(outputs)
        return surprise + self.strength * (outputs.softmax(1) * costs.T[y]).sum(1)

    def matrix(self, classes: int) -> torch.Tensor:
        """The costs ``(answer, right class)`` for so many classes.

        Raises:
            SpecimenError: There is no such class, or the costs are for another number.
        """
        if self.costs is not None:
            if len(self.costs) != classes:
                raise SpecimenError(f"the costs are for {len(self.costs)} classes, the network has {classes} outputs.")
            return torch.tensor(self.costs, dtype=torch.float64)
        if self.protected >= classes:
            raise SpecimenError(
                f"class {self.protected} is to be protected, but the network has {classes} outputs: 0 to {classes - 1}."
            )
        costs = torch.ones(classes, classes, dtype=torch.float64)
        costs[self.protected] = costs[:, self.protected] = self.cost
        return costs.fill_diagonal_(0)
