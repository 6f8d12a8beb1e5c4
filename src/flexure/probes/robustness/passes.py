"""The attacks on all images of a process, batch by batch, which can be stopped and taken up between any two."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from flexure import distributed
from flexure.bench import Mounted
from flexure.data import Batch, Images, usable_batch
from flexure.errors import DataError
from flexure.probes._outputs import count_outputs
from flexure.probes.robustness.attacked import AttackedBatch
from flexure.probes.robustness.differentiable import refuse_indifferent
from flexure.probes.robustness.outcomes import Outcomes
from flexure.probes.robustness.settings import Settings
from flexure.results import Checkpoint, Progress

__all__ = ["Passes"]

_WORK = "work/"


@dataclass(eq=False)
class Passes:
    """All attacks on the images of this process.

    Attributes:
        mounted: The network.
        bounds: Smallest and largest value that a pixel may have.
        images: The data.
        settings: What was asked for.
        checkpoint: Where partial sums go.
        identity: What they belong to.
        progress: Told after every attack on a batch.
    """

    mounted: Mounted
    bounds: tuple[float, float]
    images: Images
    settings: Settings
    checkpoint: Checkpoint | None = None
    identity: Mapping[str, Any] = field(default_factory=dict)
    progress: Progress | None = None

    def run(self) -> Outcomes:
        """Everything that this process has to do, from where it was left.

        Raises:
            DataError: Values outside the bounds, or a label that no output stands for; before anything is attacked.
            SpecimenError: The network has no gradient with respect to its images, or two clean passes differ.
        """
        batches = self._batches()
        looked = self._look(batches)
        if looked.reason or not looked.outputs:
            return looked
        found, work, first, done = self._load(looked)
        jobs, kept = self.settings.jobs, self._arrays(found, work, first, done)
        try:
            for cursor in range(first, len(batches)):
                batch = _labelled(usable_batch(self.images, batches[cursor], self.mounted))
                attacked = AttackedBatch(self.mounted, self.bounds, self.settings, batch, work)
                for job in jobs[done:] if len(batch.y) else []:
                    attacked.carry_out(job)
                    done += 1
                    kept = self._arrays(found, attacked.parts, cursor, done)
                    self._tell(kept, cursor * len(jobs) + done, len(batches) * len(jobs))
                if len(batch.y):
                    found.add(attacked.parts)
                work, done = {}, 0
                kept = self._arrays(found, work, cursor + 1, done)
        except KeyboardInterrupt:
            self._save(kept, force=True)
            raise
        return found

    def _batches(self) -> list[Sequence[int]]:
        mine, size = distributed.shard(range(len(self.images))), self.settings.batch_size
        return [mine[start : start + size] for start in range(0, len(mine), size)]

    def _look(self, batches: Sequence[Sequence[int]]) -> Outcomes:
        """What can be said before anything is attacked: bounds, labels and the network's outputs."""
        found = Outcomes()
        for positions in batches:
            batch = usable_batch(self.images, positions, self.mounted)
            found.skipped |= dict(batch.skipped)
            found.unlabelled += int((batch.y < 0).sum())
            batch = _labelled(batch)
            if not len(batch.y):
                continue
            if not found.outputs:
                found.outputs, found.reason = count_outputs(self.mounted, self.mounted.normalized(batch.x))
                if found.reason:
                    return found
                refuse_indifferent(self.mounted, batch.x, batch.y.clamp(max=max(found.outputs, 2) - 1))
            self._check_labels(batch, max(found.outputs, 2))
        return found

    def _check_labels(self, batch: Batch, classes: int) -> None:
        if bool((stray := batch.y >= classes).any()):
            index, label = int(batch.index[stray][0]), int(batch.y[stray][0])
            raise DataError(
                f"{self.images.name}: image {index} has label {label}, but the outputs of "
                f"{self.mounted.specimen.name} stand for labels 0 to {classes - 1}. Do the network "
                "and the data belong together?"
            )

    def _load(self, looked: Outcomes) -> tuple[Outcomes, dict[str, np.ndarray], int, int]:
        """The outcomes to go on from, those of the batch at work, its number, and how many attacks on it are done."""
        saved = self.checkpoint.load(self.identity) if self.checkpoint is not None else None
        if saved is None:
            return looked, {}, 0, 0
        cursor, done = (int(number) for number in saved.pop("place"))
        work = {name.removeprefix(_WORK): part for name, part in saved.items() if name.startswith(_WORK)}
        return Outcomes.of({name: saved[name] for name in saved if not name.startswith(_WORK)}), work, cursor, done

    def _arrays(self, found: Outcomes, work: Mapping[str, np.ndarray], cursor: int, done: int) -> dict[str, np.ndarray]:
        under_work = {f"{_WORK}{name}": part for name, part in work.items()}
        return {**found.arrays(), **under_work, "place": np.array([cursor, done])}

    def _tell(self, kept: Mapping[str, np.ndarray], done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(done, total)
        self._save(kept)

    def _save(self, kept: Mapping[str, np.ndarray], *, force: bool = False) -> None:
        if self.checkpoint is not None:
            self.checkpoint.save(self.identity, kept, force=force)


def _labelled(batch: Batch) -> Batch:
    known: torch.Tensor = batch.y >= 0
    return Batch(batch.x[known], batch.y[known], batch.index[known], batch.skipped)
