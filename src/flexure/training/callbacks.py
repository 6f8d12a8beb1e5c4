"""What a training tells anyone who listens."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import nn

from flexure.errors import ArgumentError

__all__ = ["Callback", "EpochRecord", "History", "check_callbacks", "listens_to_steps"]


@dataclass(frozen=True)
class EpochRecord:
    r"""One pass over the data, averaged over its images while the weights were moving, and what it led to.

    Attributes:
        epoch: 1 for the first.
        loss: Mean loss, for cross-entropy in nats; a penalty on the weights is not in it.
        accuracy: Share of images whose largest output was the right one, in [0, 1].
        lr: Step size of the last step.
        n: Images that were used.
        skipped: Images that could not be read.
        loss_se: Standard error of the loss over images; NaN for a loss that gives only a mean.
        accuracy_se: Standard error of the accuracy, :math:`\sqrt{p (1 - p) / (n - 1)}`.
        test_loss, test_loss_se, test_accuracy, test_accuracy_se, test_n, test_skipped: The same for test images, after
            the epoch, with the network in evaluation mode; NaN and 0 where it was not tested.
    """

    epoch: int
    loss: float
    accuracy: float
    lr: float
    n: int
    skipped: int = 0
    loss_se: float = math.nan
    accuracy_se: float = math.nan
    test_loss: float = math.nan
    test_loss_se: float = math.nan
    test_accuracy: float = math.nan
    test_accuracy_se: float = math.nan
    test_n: int = 0
    test_skipped: int = 0

    @property
    def test_error(self) -> float:
        """Share of wrong answers on the test images; NaN where it was not tested."""
        return 1 - self.test_accuracy


@dataclass(frozen=True, eq=False)
class History:
    """How a training went: one record per epoch, in order.

    Attributes:
        records: One per epoch.
        ended: Why there are no more, in a sentence without a full stop.
        best_epoch: Epoch with the best accuracy on the test images, the first of several; None without any.
        best: The weights after that epoch, by name.
    """

    records: tuple[EpochRecord, ...] = ()
    ended: str = ""
    best_epoch: int | None = None
    best: dict[str, Any] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def loss(self) -> tuple[float, ...]:
        """Mean loss of each epoch."""
        return tuple(record.loss for record in self.records)

    @property
    def accuracy(self) -> tuple[float, ...]:
        """Accuracy on the training images during each epoch."""
        return tuple(record.accuracy for record in self.records)


class Callback(Protocol):
    """Told how a training goes. Subclass it and override what matters; what is left does nothing.

    What is no subclass needs ``on_start``, ``on_epoch_end`` and ``on_end``; without ``on_resume`` or ``on_step_end`` it
    is not told of these.

    The network is in evaluation mode during each call, and what a callback draws from global generators does not change
    the training.
    """

    def on_start(self, model: nn.Module, epochs: int) -> None:
        """Before the first epoch, of ``epochs``."""

    def on_resume(self, model: nn.Module, epochs: int, step: int) -> None:
        """In place of ``on_start`` where a training that was stopped goes on, after step ``step``.

        Some steps after the last one that was told may be told again: those since the state was saved last.
        """

    def on_step_end(self, step: int, model: nn.Module) -> None:
        """After step ``step`` (1 is the first, counted over all epochs); told only to those that override it."""

    def on_epoch_end(self, epoch: int, model: nn.Module, record: EpochRecord) -> None:
        """After epoch ``epoch`` (1 is the first)."""

    def on_end(self, model: nn.Module, history: History) -> None:
        """After the last epoch; not called if the training raised."""


_NEEDED = ("on_start", "on_epoch_end", "on_end")


def check_callbacks(callbacks: Any) -> None:
    """Refuse what cannot be told how a training goes.

    Raises:
        ArgumentError: They are no list, or one is a class or lacks a method that it needs.
    """
    if not isinstance(callbacks, Sequence):
        raise ArgumentError(f"callbacks: expected a list of callbacks; got {type(callbacks).__name__}. Give [it].")
    for place, callback in enumerate(callbacks):
        if isinstance(callback, type):
            raise ArgumentError(f"callbacks[{place}]: {callback.__name__} is a class; give {callback.__name__}(…).")
        missing = [name for name in _NEEDED if not callable(getattr(callback, name, None))]
        if missing:
            raise ArgumentError(
                f"callbacks[{place}]: {type(callback).__name__} has no {', '.join(missing)}. A subclass of "
                "flexure.training.Callback has all methods and overrides what matters."
            )


def listens_to_steps(callback: Callback) -> bool:
    """Whether a callback overrides ``on_step_end``: being told of every step costs a change of modes."""
    return getattr(type(callback), "on_step_end", Callback.on_step_end) is not Callback.on_step_end
