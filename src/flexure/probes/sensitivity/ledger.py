"""What was found out about each network, kept while the others are still being measured."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from flexure import distributed
from flexure.results import Checkpoint

__all__ = ["VALUES", "Ledger", "Outcome"]

VALUES = ("D", "D_se", "G", "G_se", "R", "R_se")


@dataclass(frozen=True, eq=False)
class Outcome:
    """What was found out about one network.

    Attributes:
        table: One row per op.
        passes: What it cost: rows forward, clean rows passed again.
        notes: What was left out or adapted.
    """

    table: pd.DataFrame
    passes: Mapping[str, int]
    notes: tuple[str, ...]

    def packed(self) -> np.ndarray:
        """As bytes, every number exactly."""
        table = {name: column.tolist() for name, column in self.table.items()}
        return np.frombuffer(json.dumps([table, dict(self.passes), list(self.notes)]).encode(), dtype=np.uint8)

    @classmethod
    def unpacked(cls, packed: np.ndarray) -> "Outcome":
        """Back from :meth:`packed`."""
        table, passes, notes = json.loads(packed.tobytes())
        return cls(pd.DataFrame(table), passes, tuple(notes))


class Ledger:
    """Outcomes of the networks that are done, and the partial sums of the one that is not.

    Several processes must agree on where they go on. Where they do not (one was stopped in another round), the partial
    sums are dropped; finished outcomes stay if all have the same.
    """

    def __init__(self, checkpoint: Checkpoint | None, settings: Mapping[str, Any]) -> None:
        self.checkpoint, self.settings = checkpoint, settings
        saved = checkpoint.load(settings) if checkpoint is not None else None
        self._saved = dict(saved) if saved is not None else {}
        self.finished: dict[str, np.ndarray] = {k: v for k, v in self._saved.items() if k.startswith("finished.")}
        cursor = self._saved.get("cursor")
        places = distributed.gather((sorted(self.finished), None if cursor is None else int(cursor[0])))
        if any(place != places[0] for place in places):
            self._saved = {}
        if any(done != places[0][0] for done, _ in places):
            self.finished = {}

    def outcome(self, number: int) -> Outcome | None:
        """The outcome of network ``number``, if it was finished before."""
        packed = self.finished.get(f"finished.{number}")
        return None if packed is None else Outcome.unpacked(packed)

    def partial(self) -> dict[str, np.ndarray] | None:
        """The sums to go on from, once."""
        saved, self._saved = self._saved, {}
        return saved if "cursor" in saved else None

    def finish(self, number: int, outcome: Outcome) -> None:
        """Keep an outcome."""
        self.finished[f"finished.{number}"] = outcome.packed()
        if self.checkpoint is not None:
            self.checkpoint.save(self.settings, self.finished)

    def keep(self) -> dict[str, np.ndarray]:
        """What is stored beside partial sums."""
        return self.finished
