"""How the step size goes over a training: schedules that are stepped per step, and those that are stepped per epoch."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from flexure.errors import ArgumentError

__all__ = ["SCHEDULES", "Constant", "Cosine", "EpochCosine", "EpochExponential", "Schedule"]


class Schedule(Protocol):
    """The factor on the first step size, from how far the training is."""

    def __call__(self, done: float, epoch: int, epochs: int) -> float:
        """The factor of a step.

        Args:
            done: Share of all steps that have been made before it, in [0, 1).
            epoch: Whole epochs that have been made before it, from 0.
            epochs: Epochs of the whole training.
        """


@dataclass(frozen=True)
class Constant:
    """The same step size throughout."""

    def __call__(self, done: float, epoch: int, epochs: int) -> float:
        """Always 1."""
        return 1.0


@dataclass(frozen=True)
class Cosine:
    r"""Half a cosine from 1 down to 0, anew at every step: :math:`\tfrac12 (1 + \cos \pi d)`, d the share done."""

    def __call__(self, done: float, epoch: int, epochs: int) -> float:
        """The factor of a step, in (0, 1]."""
        return 0.5 * (1 + math.cos(math.pi * done))


@dataclass(frozen=True)
class EpochCosine:
    r"""The papers' cosine: :math:`\tfrac12 (1 + \cos(\pi e / T))` in epoch e = 0, 1, …, with T a share of all epochs.

    Stepped at the end of each epoch, as in the papers' code. **Past epoch T it rises again**: with T at 80 %, from 0 to
    0.14 of the first step size at the end.

    Attributes:
        share: :math:`T` as a share of all epochs, > 0; at 1 it ends near 0.

    Exact case: 250 epochs from 0.1 have step size 0 in epoch 200 and 0.0141 in epoch 249, the last.
    Source: the training code of Petrini et al., Relative stability toward diffeomorphisms indicates performance in deep
        nets (2021), and of Tomasini et al., How deep convolutional neural networks lose spatial information with
        training (2022).
    """

    share: float = 0.8

    def __post_init__(self) -> None:
        if not 0 < self.share < math.inf:
            raise ArgumentError(f"EpochCosine: share must be > 0; got {self.share}.")

    def __call__(self, done: float, epoch: int, epochs: int) -> float:
        """The factor of a step, in [0, 1]."""
        return 0.5 * (1 + math.cos(math.pi * epoch / (self.share * epochs)))


@dataclass(frozen=True)
class EpochExponential:
    """A constant factor per epoch: gamma to the power of the epochs made.

    Attributes:
        gamma: In (0, 1].

    Source: the transfer learning of Petrini et al. (2021), with gamma = 0.975.
    """

    gamma: float = 0.975

    def __post_init__(self) -> None:
        if not 0 < self.gamma <= 1:
            raise ArgumentError(f"EpochExponential: gamma must lie in (0, 1]; got {self.gamma}.")

    def __call__(self, done: float, epoch: int, epochs: int) -> float:
        """The factor of a step, in (0, 1]."""
        return self.gamma**epoch


SCHEDULES: Mapping[str, Callable[..., Schedule]] = MappingProxyType(
    {"constant": Constant, "cosine": Cosine, "epoch_cosine": EpochCosine, "epoch_exponential": EpochExponential}
)
