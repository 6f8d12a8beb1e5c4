"""When to stop before the last epoch."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flexure.errors import ArgumentError
from flexure.training.callbacks import EpochRecord

__all__ = ["EarlyStop", "Stop"]

Stop = Callable[[Sequence[EpochRecord]], str | None]
"""Asked after each epoch with the records so far; says why to stop, or None. Whatever it needs, it takes from them."""


@dataclass(frozen=True)
class EarlyStop:
    """Stop when the network has learnt all there is, or learns no more.

    The thresholds that are given have to be reached together, in one epoch, and that epoch must be at least
    ``patience_factor`` times the first one that reached ``train_loss``. Apart from that, ``patience`` epochs without a
    smaller test loss are enough.

    Attributes:
        train_loss: Largest mean loss on the training images, as the epoch's record has it, at least 0.
        test_error: Largest share of wrong answers on the test images, in [0, 1].
        patience_factor: At least 0; needs ``train_loss``.
        patience: Epochs, at least 1.

    Raises:
        ArgumentError: A number is out of range, or none is given.

    Source: ``EarlyStop(train_loss=0, test_error=0, patience_factor=500)`` is the rule of the one-dimensional task in
        the code of Tomasini et al. (2022). There the loss is evaluated after the epoch; here it is the mean during
        it, which is 0 at most one epoch later.
    """

    train_loss: float | None = None
    test_error: float | None = None
    patience_factor: float = 0.0
    patience: int | None = None

    def __post_init__(self) -> None:
        rules = (
            ("train_loss", self.train_loss is None or self.train_loss >= 0, "at least 0"),
            ("test_error", self.test_error is None or 0 <= self.test_error <= 1, "in [0, 1]"),
            ("patience_factor", 0 <= self.patience_factor < math.inf, "at least 0"),
            ("patience", self.patience is None or self.patience >= 1, "at least 1 epoch"),
        )
        for name, good, wanted in rules:
            if not good:
                raise ArgumentError(f"stop: {name} must be {wanted}; got {getattr(self, name)}.")
        if self.train_loss is None and self.test_error is None and self.patience is None:
            raise ArgumentError("stop: give train_loss, test_error or patience, else nothing ever stops it.")
        if self.patience_factor and self.train_loss is None:
            raise ArgumentError("stop: patience_factor counts from the first epoch that reached train_loss; give it.")

    def __call__(self, records: Sequence[EpochRecord]) -> str | None:
        """Why to stop after these epochs, or None."""
        if not records:
            return None
        return self._finished(records) or self._stalled(records)

    def _finished(self, records: Sequence[EpochRecord]) -> str | None:
        last, told = records[-1], []
        for limit, value, what in (
            (self.train_loss, last.loss, "training loss"),
            (self.test_error, last.test_error, "test error"),
        ):
            if limit is not None:
                if not value <= limit:
                    return None
                told.append(f"{what} {value:.4g}")
        if not told or last.epoch < self.patience_factor * self._first_epoch(records):
            return None
        return f"epoch {last.epoch} reached {' and '.join(told)}"

    def _first_epoch(self, records: Sequence[EpochRecord]) -> int:
        limit = math.inf if self.train_loss is None else self.train_loss
        return next(record.epoch for record in records if record.loss <= limit)

    def _stalled(self, records: Sequence[EpochRecord]) -> str | None:
        known = [record for record in records if not math.isnan(record.test_loss)]
        if self.patience is None or not known:
            return None
        best = min(known, key=lambda record: record.test_loss)
        if records[-1].epoch - best.epoch < self.patience:
            return None
        return f"the test loss has not fallen since epoch {best.epoch}"
