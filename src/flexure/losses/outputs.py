"""Losses of outputs and labels, and which class outputs stand for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
import torch.nn.functional as F

from flexure.errors import ArgumentError, SpecimenError, nearest

__all__ = ["BinaryCrossEntropy", "CrossEntropy", "Hinge", "Loss", "Squared", "answers"]

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From outputs ``(b, outputs)`` and class indices ``(b,)`` to a loss per image ``(b,)``, or to their mean.

One that compares outputs with something else than 0 says which class they stand for by a method ``answers``; one that
needs a single output says so by an attribute ``outputs = 1``."""


def answers(outputs: torch.Tensor, loss: Loss | None = None) -> torch.Tensor:
    """The class ``(b,)`` that outputs ``(b, outputs)`` stand for: the largest, or of a single one the sign.

    A network learnt by a loss with another threshold answers as that loss says.

    >>> answers(torch.tensor([[0.1, 0.7, 0.2]])), answers(torch.tensor([[-0.3], [2.0]]))
    (tensor([1]), tensor([0, 1]))
    >>> answers(torch.tensor([[0.3], [0.9]]), Squared())
    tensor([0, 1])
    """
    own = getattr(loss, "answers", None)
    return _beyond(outputs, 0.0) if own is None else own(outputs)


def _beyond(outputs: torch.Tensor, threshold: float) -> torch.Tensor:
    return outputs.argmax(1) if outputs.shape[1] > 1 else (outputs[:, 0] > threshold).long()


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
    outputs: ClassVar[int] = 1

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
class Squared:
    r"""How far is the output from the label? :math:`(f - y)^2`, summed over the outputs, at least 0.

    A single output is compared with the label itself, a whole number: 0 or 1 for two classes, between which 0.5
    decides. Several are compared with 1 for the image's class and 0 for the others.

    Attributes:
        half: Half of that, whose derivative is :math:`f - y` instead of :math:`2 (f - y)`.

    Source: He & Su, The Local Elasticity of Neural Networks (2020), whose program trains with :math:`(f - y)^2`.
    """

    half: bool = False

    def __call__(self, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Outputs ``(b, outputs)`` and class indices ``(b,)`` to a loss per image ``(b,)``."""
        aims = y[:, None] if outputs.shape[1] == 1 else F.one_hot(y, outputs.shape[1])
        losses = (outputs - aims.to(outputs.dtype)).square().sum(1)
        return losses / 2 if self.half else losses

    def answers(self, outputs: torch.Tensor) -> torch.Tensor:
        """The class ``(b,)`` whose target is nearest, of two where there is a single output."""
        return _beyond(outputs, 0.5)


@dataclass(frozen=True)
class BinaryCrossEntropy:
    r"""How surprised is the network by the right one of two classes? :math:`-\ln p_y`, in nats, at least 0.

    Attributes:
        of: What the single output is: ``"logits"``, for which :math:`p_1 = 1 / (1 + e^{-f})`, or ``"probabilities"``,
            for which it is :math:`p_1` itself, in [0, 1].

    Exact case: the derivative by the output is :math:`p_1 - y` of logits, :math:`(p_1 - y) / (p_1 (1 - p_1))` of
        probabilities.
    """

    of: str = "logits"
    outputs: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.of not in _SCALES:
            raise ArgumentError(f"BinaryCrossEntropy: of no {self.of!r}. {nearest(str(self.of), _SCALES)}")

    def __call__(self, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Outputs ``(b, 1)`` and classes ``(b,)``, 0 or 1, to a loss per image ``(b,)``.

        Raises:
            SpecimenError: There are several outputs, or a probability is outside [0, 1].
        """
        if (found := outputs.shape[1]) != 1:
            raise SpecimenError(f"binary cross-entropy needs one output, the network has {found}: num_classes=1.")
        f = outputs[:, 0]
        if self.of == "logits":
            return F.binary_cross_entropy_with_logits(f, y.to(f.dtype), reduction="none")
        if (outside := f[(f < 0) | (f > 1)]).numel():
            raise SpecimenError(
                f"binary cross-entropy of probabilities, but the output is {float(outside[0]):.3g}. End the network in "
                "a sigmoid, or take that of logits."
            )
        return -torch.where(y == 1, f, 1 - f).log()

    def answers(self, outputs: torch.Tensor) -> torch.Tensor:
        """The more probable class ``(b,)``."""
        return _beyond(outputs, _SCALES[self.of])


_SCALES: Mapping[str, float] = MappingProxyType({"logits": 0.0, "probabilities": 0.5})
"""Where both classes are as probable, by what the output is."""
