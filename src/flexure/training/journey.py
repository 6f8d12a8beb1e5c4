"""How far a training is, and everything it has found out on the way."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch

from flexure.training.callbacks import EpochRecord, History
from flexure.training.tally import Tally

__all__ = ["Journey"]

_COUNTS = {"epoch", "n", "skipped", "test_n", "test_skipped"}
_FACTS = ("epoch", "batch", "step", "lr", "best_epoch")


@dataclass
class Journey:
    """Where a training stands.

    Attributes:
        epoch: The epoch it is in, from 1.
        batch: Batches of it that have been used.
        step: Batches of all epochs that have been used.
        lr: Step size of the last step.
        tally: Losses and right answers of this epoch so far.
        records: Of the epochs that are finished.
        best_epoch: The first one with the best accuracy on test images.
        best: The weights after it.
    """

    epoch: int = 1
    batch: int = 0
    step: int = 0
    lr: float = math.nan
    tally: Tally = field(default_factory=Tally)
    records: list[EpochRecord] = field(default_factory=list)
    best_epoch: int | None = None
    best: dict[str, torch.Tensor] | None = None

    @property
    def is_between_epochs(self) -> bool:
        """Whether no batch of this epoch has been used."""
        return self.batch == 0

    def finish(self, tested: Tally | None) -> EpochRecord:
        """Close the epoch and begin the next one."""
        found = {} if tested is None else {f"test_{name}": value for name, value in tested.summary().items()}
        numbers: dict[str, Any] = {**self.tally.summary(), **found}
        record = EpochRecord(epoch=self.epoch, lr=self.lr, **numbers)
        self.records.append(record)
        self.epoch, self.batch, self.tally = self.epoch + 1, 0, Tally()
        return record

    def is_best(self, record: EpochRecord) -> bool:
        """Whether this epoch does better on the test images than all before it; noted if so."""
        if math.isnan(record.test_accuracy):
            return False
        if self.best_epoch is not None and record.test_accuracy <= self.records[self.best_epoch - 1].test_accuracy:
            return False
        self.best_epoch = record.epoch
        return True

    def history(self, ended: str) -> History:
        """What is handed out at the end."""
        return History(tuple(self.records), ended, self.best_epoch, self.best)

    def facts(self) -> dict[str, Any]:
        """The part of it that is no tensor, as JSON values."""
        return {**{name: getattr(self, name) for name in _FACTS}, "tally": asdict(self.tally)}

    def tensors(self) -> dict[str, torch.Tensor]:
        """The records, field by field, and the best weights."""
        found = {f"best.{name}": value for name, value in (self.best or {}).items()}
        for entry in fields(EpochRecord):
            values = [getattr(record, entry.name) for record in self.records]
            found[f"history.{entry.name}"] = torch.tensor(values, dtype=torch.float64)
        return found

    @classmethod
    def read(cls, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> "Journey":
        """What :meth:`tensors` and :meth:`facts` gave."""
        columns = {entry.name: tensors[f"history.{entry.name}"].tolist() for entry in fields(EpochRecord)}
        for name in _COUNTS:
            columns[name] = list(map(int, columns[name]))
        records = [EpochRecord(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
        best = {name.removeprefix("best."): value for name, value in tensors.items() if name.startswith("best.")}
        known = {name: facts[name] for name in _FACTS}
        return cls(**known, tally=Tally(**facts["tally"]), records=records, best=best or None)
