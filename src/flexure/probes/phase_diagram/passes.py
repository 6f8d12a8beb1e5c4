"""The forward passes of a phase diagram: every image once as it is, then at every point, never drawn twice."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from flexure import distributed
from flexure.bench import Mounted
from flexure.data import Images, usable
from flexure.errors import SpecimenError
from flexure.probes.phase_diagram.copies import Copies, critical
from flexure.probes.phase_diagram.settings import Point, Settings
from flexure.probes.phase_diagram.sums import Sums
from flexure.results import Checkpoint, Progress
from flexure.stats import squared_norms
from flexure.survey import Op

__all__ = ["Passes"]


@dataclass(frozen=True)
class _Pass:
    """One forward pass: some neighboring points of one cut-off, in one draw."""

    draw: int
    cutoff: int
    points: range
    temperatures: tuple[float, ...]


@dataclass(eq=False)
class Passes:
    """All forward passes over the images of this process, which can be stopped and taken up between any two.

    Attributes:
        mounted: The network.
        images: The data.
        settings: What was asked for.
        points: The points of the plane.
        output: The network's output, as the survey met it.
        limit: Rows of one forward pass at most: the batch size, or less where memory has taught so.
        checkpoint: Where partial sums go.
        identity: What they belong to.
        progress: Told after every pass.
    """

    mounted: Mounted
    images: Images
    settings: Settings
    points: Sequence[Point]
    output: Op
    limit: int
    checkpoint: Checkpoint | None = None
    identity: Mapping[str, Any] = field(default_factory=dict)
    progress: Progress | None = None

    def run(self) -> Sums:
        """Everything that this process has to do, from where it was left."""
        sums = self._start()
        chunks = self._chunks()
        lengths = [len(self._plan(len(chunk))) for chunk in chunks]
        try:
            for number in range(sums.chunk, len(chunks)):
                for after in self._steps(sums, chunks[number]):
                    sums = after
                    done = sum(lengths[:number]) + (sums.passes or lengths[number])
                    if self.progress is not None:
                        self.progress(done, sum(lengths))
                    self._save(sums)
        except KeyboardInterrupt:
            self._save(sums, force=True)
            raise
        return sums

    def _start(self) -> Sums:
        saved = self.checkpoint.load(self.identity) if self.checkpoint is not None else None
        if saved is None:
            return Sums.empty(len(self.points), self.output.features, self.mounted.device)
        sums = Sums.restored(saved, self.mounted.device)
        self.limit = min(self.limit, sums.shrunk or self.limit)
        return sums

    def _save(self, sums: Sums, *, force: bool = False) -> None:
        if self.checkpoint is not None:
            self.checkpoint.save(self.identity, sums.arrays(), force=force)

    def _chunks(self) -> list[Sequence[int]]:
        """Positions of this process, as many at a time as fill a pass with one deformed and one noisy copy each."""
        mine = distributed.shard(range(len(self.images)))
        step = max(1, self.settings.batch_size // 2)
        return [mine[start : start + step] for start in range(0, len(mine), step)]

    def _plan(self, images: int) -> list[_Pass]:
        """The passes of so many images."""
        some = max(1, self.settings.batch_size // (2 * images))
        row = self.settings.n_temperatures
        rows = [range(first, first + row) for first in range(0, len(self.points), row)]
        parts = [part[start : start + some] for part in rows for start in range(0, row, some)]
        return [self._pass(draw, part) for draw in range(self.settings.draws) for part in parts]

    def _pass(self, draw: int, part: range) -> _Pass:
        return _Pass(draw, self.points[part.start].cutoff, part, tuple(self.points[i].temperature for i in part))

    def _steps(self, sums: Sums, chunk: Sequence[int]) -> Iterator[Sums]:
        """The sums after each pass of these images that is still to be made."""
        x, index, skipped = usable(self.images, chunk, self.mounted)
        if not len(index):
            yield sums.after_chunk(x, index, sums.folded, skipped)
            return
        copies = Copies(self.mounted, self.settings, x, index)
        plan = self._plan(len(chunk))
        clean = self._outputs(copies.clean())
        center = torch.zeros_like(clean[0]) if self.output.center is None else self.output.center
        changes = sums.changes if sums.passes else self._room(len(index))
        for number in range(sums.passes, len(plan)):
            part = plan[number]
            rows = copies.disturbed(part.cutoff, part.temperatures, part.draw)
            moved = self._outputs(rows).view(2, len(part.points), *clean.shape).sub_(clean)
            changes[part.points.start : part.points.stop, part.draw] = squared_norms(moved).transpose(0, 1)
            passed = len(rows) + (0 if number else len(clean))
            sums = sums.after_pass(passed, self._shrunk, changes)
            if number == len(plan) - 1:
                sums = sums.after_chunk(clean - center, index, self._folded(x, index), skipped)
            yield sums

    def _room(self, images: int) -> torch.Tensor:
        shape = (len(self.points), self.settings.draws, 2, images)
        return torch.zeros(shape, dtype=torch.float64, device=self.mounted.device)

    def _folded(self, x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """How many of these images' fields fold, per point."""
        seed, size = self.settings.seed, (int(x.shape[-2]), int(x.shape[-1]))
        limits = {
            cutoff: torch.cat([critical(index, size, cutoff, seed, draw) for draw in range(self.settings.draws)])
            for cutoff in self.settings.cutoffs
        }
        return torch.stack([(limits[point.cutoff] <= point.temperature).sum() for point in self.points])

    @property
    def _shrunk(self) -> int:
        return self.limit if self.limit < self.settings.batch_size else 0

    def _outputs(self, rows: torch.Tensor) -> torch.Tensor:
        """The network's output for each row, flattened, in float32 at least."""
        while True:
            try:
                parts = [self._output(part) for part in rows.split(self.limit)]
                return parts[0] if len(parts) == 1 else torch.cat(parts)
            except torch.cuda.OutOfMemoryError as wrong:
                torch.cuda.empty_cache()
                if self.limit == 1:
                    raise SpecimenError(
                        f"{self.mounted.specimen.name}: out of memory at a single image. Use smaller images or "
                        "device='cpu'."
                    ) from wrong
                self.limit = min(self.limit, len(rows)) // 2 or 1

    def _output(self, rows: torch.Tensor) -> torch.Tensor:
        found = self.mounted.forward(rows)
        if found.numel() != len(rows) * self.output.features:
            raise SpecimenError(
                f"{self.mounted.specimen.name}: its output changes shape from batch to batch; now "
                f"{tuple(found.shape)} for {len(rows)} images, before {self.output.shape} for each."
            )
        return found.reshape(len(rows), -1).to(torch.promote_types(found.dtype, torch.float32))
