"""Penalties on the weights of a network."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from flexure.errors import ArgumentError, SpecimenError

__all__ = ["FilterPenalty", "Penalty"]

Penalty = Callable[[nn.Module], torch.Tensor]
"""From a network to a number that is added to the mean loss."""


@dataclass(frozen=True)
class FilterPenalty:
    r"""How large are the filters? :math:`\frac{\lambda}{K} \sum_k \sum |w^k|^p / H_k^{p/2}` over K convolutions.

    :math:`H_k` are the channels that come out of convolution k: all of them have as many in the networks this is for.

    Attributes:
        strength: :math:`\lambda`, at least 0.
        power: The exponent p, at least 1.

    Source: the code of the one-dimensional task in Tomasini et al. (2022), with :math:`\lambda = 0.01`, p = 2.
    """

    strength: float = 0.01
    power: float = 2.0

    def __post_init__(self) -> None:
        if not (self.strength >= 0 and self.power >= 1):
            raise ArgumentError(
                f"FilterPenalty: strength must be at least 0 and power at least 1; got {self.strength}, {self.power}."
            )

    def __call__(self, model: nn.Module) -> torch.Tensor:
        """The penalty of a network.

        Raises:
            SpecimenError: It has no convolution.
        """
        kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
        filters = [m.weight for m in model.modules() if isinstance(m, kinds)]
        filters += [p for name, p in model.named_parameters() if p.ndim == 4 and not any(p is w for w in filters)]
        if not filters:
            raise SpecimenError(f"{type(model).__name__}: a penalty on filters, but it has no convolution.")
        sums = [w.abs().pow(self.power).sum() / len(w) ** (self.power / 2) for w in filters]
        return self.strength * torch.stack(sums).mean()
