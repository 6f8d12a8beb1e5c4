"""What a training makes small: losses of outputs and labels, and penalties on the weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import nn

from flexure.errors import ArgumentError, SpecimenError

__all__ = ["LOSSES", "PENALTIES", "CrossEntropy", "FilterPenalty", "Hinge", "Loss", "Penalty", "answers"]

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From outputs ``(b, outputs)`` and class indices ``(b,)`` to a loss per image ``(b,)``, or to their mean."""

Penalty = Callable[[nn.Module], torch.Tensor]
"""From a network to a number that is added to the mean loss."""


def answers(outputs: torch.Tensor) -> torch.Tensor:
    """The class ``(b,)`` that outputs ``(b, outputs)`` stand for: the largest, or of a single one the sign.

    >>> answers(torch.tensor([[0.1, 0.7, 0.2]])), answers(torch.tensor([[-0.3], [2.0]]))
    (tensor([1]), tensor([0, 1]))
    """
    return outputs.argmax(1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0).long()


@dataclass(frozen=True)
class CrossEntropy:
    r"""How surprised is the network by the right class? :math:`-\ln \mathrm{softmax}(f)_y`, in nats, at least 0."""

    def __call__(self, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Outputs ``(b, classes)`` and class indices ``(b,)`` to a loss per image ``(b,)``.

        Raises:
            SpecimenError: There is a single output, whose softmax is always 1.
        """
        if outputs.shape[1] == 1:
            raise SpecimenError("cross-entropy needs an output per class, the network has one. Use the hinge loss.")
        return F.cross_entropy(outputs, y, reduction="none")


@dataclass(frozen=True)
class Hinge:
    r"""How far is the answer from being right by a margin of 1? :math:`\max(0, 1 - y f) / \alpha`, at least 0.

    Attributes:
        alpha: The network's own scale :math:`\alpha > 0`, by which the loss is divided so that small outputs still
            learn.

    Source: the two-class tasks in the code of Tomasini et al., How deep convolutional neural networks lose spatial
        information with training (2022): one output, and :math:`f = \alpha (\dots)` in the simple networks.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        if not self.alpha > 0:
            raise ArgumentError(f"Hinge: alpha must be > 0; got {self.alpha}.")

    def __call__(self, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Outputs ``(b, 1)`` and classes ``(b,)``, 0 or 1 (which stand for -1 and +1), to a loss per image ``(b,)``.

        Raises:
            SpecimenError: There are several outputs.
        """
        if outputs.shape[1] != 1:
            raise SpecimenError(f"the hinge loss needs one output, the network has {outputs.shape[1]}: num_classes=1.")
        return (1 - (2 * y - 1) * outputs[:, 0]).clamp(min=0) / self.alpha


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


LOSSES: Mapping[str, Callable[..., Loss]] = MappingProxyType({"cross_entropy": CrossEntropy, "hinge": Hinge})
PENALTIES: Mapping[str, Callable[..., Penalty]] = MappingProxyType({"filters": FilterPenalty})
