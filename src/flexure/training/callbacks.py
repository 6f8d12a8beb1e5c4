"""What a training tells anyone who listens."""

from dataclasses import dataclass
from typing import Protocol

from torch import nn

__all__ = ["Callback", "EpochRecord", "History"]


@dataclass(frozen=True)
class EpochRecord:
    """One pass over the data, averaged over its images while the weights were moving.

    Attributes:
        epoch: 1 for the first.
        loss: Mean cross-entropy, in nats.
        accuracy: Share of images whose largest logit was the right one, in [0, 1].
        lr: Step size of the last step.
        n: Images that were used.
        skipped: Images that could not be read.
    """

    epoch: int
    loss: float
    accuracy: float
    lr: float
    n: int
    skipped: int = 0


@dataclass(frozen=True)
class History:
    """How a training went: one record per epoch, in order."""

    records: tuple[EpochRecord, ...] = ()

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

    The network is in evaluation mode during each call, and what a callback draws from global generators does not change
    the training.
    """

    def on_start(self, model: nn.Module, epochs: int) -> None:
        """Before the first epoch, of ``epochs``."""

    def on_step_end(self, step: int, model: nn.Module) -> None:
        """After step ``step`` (1 is the first, counted over all epochs)."""

    def on_epoch_end(self, epoch: int, model: nn.Module, record: EpochRecord) -> None:
        """After epoch ``epoch`` (1 is the first)."""

    def on_end(self, model: nn.Module, history: History) -> None:
        """After the last epoch; not called if the training raised."""
