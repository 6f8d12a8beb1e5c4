"""Forward passes of clean, deformed and noisy copies of the same images, driven through a reduction."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from flexure import distributed
from flexure.bench import BatchStatistics, Mounted
from flexure.data import Images, usable
from flexure.errors import SpecimenError
from flexure.perturb.disturbance import Disturbance
from flexure.recorder import OUTPUT, Recorder
from flexure.results import Checkpoint, Progress

__all__ = ["Emissions", "Passes", "Reduction", "groups"]


class Emissions(Protocol):
    """What looks on during a pass."""

    def emit(self, name: str, value: torch.Tensor, images: int, draws: int) -> None:
        """Take what an op emitted for ``images * (1 + 2 draws)`` rows."""


class Reduction(Emissions, Protocol):
    """What :class:`Passes` feeds; see :class:`~flexure.probes.sensitivity.reductions.MeanReduction`."""

    def begin(self) -> None:
        """Forget what the current chunk has added."""

    def commit(self, index: torch.Tensor) -> None:
        """Count the chunk."""

    def arrays(self) -> dict[str, np.ndarray]:
        """The sums so far."""

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from those."""


@dataclass(eq=False)
class Passes:
    """All forward passes of one measurement, in chunks that can be stopped and taken up between any two.

    Attributes:
        mounted: The network.
        images: The data.
        disturbance: What is done to them.
        draws: Draws per image in each round.
        batch_size: Rows of one forward pass at most.
        group_size: Images that belong together where a batch is part of the definition; None where it is not.
        batch_norm: ``"running"`` or ``"batch"`` statistics.
        blocks: Whether blocks are watched instead of ops.
        maps: Shape ``(C, H, W)`` of the ops whose maps are averaged over channels before anything is made of them.
        contexts: Entered around every pass.
        progress: Told after every chunk.
        rows: Rows that went through the network so far.
        extra_clean: Clean rows among them that were passed again, for draws that did not fit beside the first.
        skipped: Index and reason of each image that could not be used.
        shrunk: The batch size that memory forced, or None.
    """

    mounted: Mounted
    images: Images
    disturbance: Disturbance
    draws: int
    batch_size: int
    group_size: int | None = None
    batch_norm: str = "running"
    blocks: bool = False
    maps: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    contexts: Sequence[AbstractContextManager[Any]] = ()
    progress: Progress | None = None
    rows: int = 0
    extra_clean: int = 0
    skipped: dict[int, str] = field(default_factory=dict)
    shrunk: int | None = None

    def chunks(self) -> list[list[int]]:
        """Positions of this process, cut into what goes through the network together."""
        if self.group_size is not None:
            return groups(len(self.images), self.group_size)
        return [list(part) for part in _cut(distributed.shard(range(len(self.images))), self._images_per_pass())]

    def run(
        self,
        reduction: Reduction,
        number: int,
        *,
        checkpoint: Checkpoint | None = None,
        settings: Mapping[str, Any] | None = None,
        keep: Callable[[], dict[str, np.ndarray]] = dict,
        start: int = 0,
    ) -> None:
        """One round: every image of this process once, with draws ``number * draws …``; saves between chunks.

        Args:
            reduction: What takes the emissions.
            number: Which round.
            checkpoint: Where partial sums go.
            settings: What they belong to.
            keep: What else has to be stored beside them.
            start: The chunk to begin with.
        """
        chunks = self.chunks()
        draws = range(number * self.draws, (number + 1) * self.draws)

        def save(done: int, *, force: bool = False) -> None:
            if checkpoint is not None:
                cursor = {"cursor": np.array([number, done]), **self._boundary}
                checkpoint.save(settings or {}, {**reduction.arrays(), **cursor, **keep()}, force=force)

        done = start
        self._close()
        try:
            for position in range(start, len(chunks)):
                self._chunk(reduction, chunks[position], draws)
                done = position + 1
                self._close()
                if self.progress is not None:
                    self.progress(number * len(chunks) + done, (number + 1) * len(chunks))
                save(done)
        except KeyboardInterrupt:
            if not self._is_open:
                save(done, force=True)
            raise

    def _close(self) -> None:
        """Mark the boundary between two chunks: what is saved afterwards belongs to whole chunks."""
        self._boundary = self._counters()
        self._is_open = False

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Counters from what was saved; the sums are the reduction's."""
        self.rows, self.extra_clean, shrunk = (int(value) for value in arrays["counters"])
        self.shrunk = shrunk or None
        reasons = bytes(arrays["reasons"]).decode().split("\n") if arrays["reasons"].size else []
        self.skipped = dict(zip((int(i) for i in arrays["skipped"]), reasons, strict=True))

    def _counters(self) -> dict[str, np.ndarray]:
        reasons = "\n".join(text.replace("\n", " ") for text in self.skipped.values()).encode()
        return {
            "counters": np.array([self.rows, self.extra_clean, self.shrunk or 0]),
            "skipped": np.array(list(self.skipped), dtype=np.int64),
            "reasons": np.frombuffer(reasons, dtype=np.uint8),
        }

    def _images_per_pass(self) -> int:
        return max(1, self.batch_size // (1 + 2 * self.draws))

    def _chunk(self, reduction: Reduction, positions: Sequence[int], draws: range) -> None:
        x, index, skipped = usable(self.images, positions, self.mounted)
        self.skipped.update(skipped)
        if len(index):
            for part in self._fitting(len(index)):
                self._portion(reduction, x[part], index[part], draws)

    def _fitting(self, images: int) -> Iterator[slice]:
        """The chunk whole, or in the smaller pieces that an earlier lack of memory has taught."""
        size = images if self.shrunk is None or self.group_size else max(1, self.shrunk // (1 + 2 * self.draws))
        for start in range(0, images, size):
            yield slice(start, start + size)

    def _portion(self, reduction: Reduction, x: torch.Tensor, index: torch.Tensor, draws: range) -> None:
        try:
            self._forward(reduction, x, index, draws)
            self._is_open = True
            reduction.commit(index)
        except torch.cuda.OutOfMemoryError as wrong:
            reduction.begin()
            torch.cuda.empty_cache()
            self._halve(len(index), wrong)
            half = -(-len(index) // 2)
            for part in (slice(half), slice(half, None)):
                if len(index[part]):
                    self._portion(reduction, x[part], index[part], draws)

    def _halve(self, images: int, wrong: Exception) -> None:
        rows = images * (1 + 2 * self._draws_per_pass(images))
        if self.group_size is not None or rows <= 3:
            reason = " (the group is part of the definition)" if self.group_size else ""
            raise SpecimenError(
                f"{self.mounted.specimen.name}: out of memory at {rows} rows of one pass, which cannot be made "
                f"smaller{reason}. Use smaller images or device='cpu'."
            ) from wrong
        self.shrunk = max(3, rows // 2)

    def _draws_per_pass(self, images: int) -> int:
        limit = self.shrunk or self.batch_size
        return max(1, min(self.draws, (limit // images - 1) // 2))

    def _forward(self, reduction: Reduction, x: torch.Tensor, index: torch.Tensor, draws: range) -> None:
        reduction.begin()
        for number, part in enumerate(_cut(draws, self._draws_per_pass(len(x)))):
            rows = self.disturbance.copies(self.mounted, x, index, part)
            self.through(reduction, rows, len(x), len(part))
            self.rows += len(rows)
            self.extra_clean += len(x) if number else 0

    def through(self, emissions: Emissions, rows: torch.Tensor, images: int, draws: int) -> None:
        """One pass of ``images * (1 + 2 draws)`` rows, everything emitted on the way handed over."""

        def take(name: str, value: torch.Tensor) -> None:
            emissions.emit(name, self._seen(name, value, len(rows)), images, draws)

        recorder = Recorder(self.mounted.model, lambda e: take(e.name, e.value), blocks=self.blocks)
        with ExitStack() as stack:
            if self.batch_norm == "batch":
                statistics = stack.enter_context(BatchStatistics())
                statistics.copies = 1 + 2 * draws
            for context in self.contexts:
                stack.enter_context(context)
            stack.enter_context(recorder)
            recorder.begin()
            output = self.mounted.forward(rows)
        take(OUTPUT, output)

    def alone(self, rows: torch.Tensor, *contexts: AbstractContextManager[Any]) -> None:
        """One pass that nobody watches but these contexts."""
        with ExitStack() as stack:
            for context in (*self.contexts, *contexts):
                stack.enter_context(context)
            self.mounted.forward(rows)

    def _seen(self, name: str, value: torch.Tensor, rows: int) -> torch.Tensor:
        """What is looked at of an emission: all of it, or the mean of its maps over channels."""
        shape = self.maps.get(name)
        if shape is None or value.numel() != rows * math.prod(shape):
            return value
        return value.reshape(rows, *shape).mean(1)


def groups(n: int, size: int) -> list[list[int]]:
    """Positions of this process in groups of ``size``, in the images' order."""
    whole = [list(part) for part in _cut(range(n), size)]
    if len(whole) > 1 and len(whole[-1]) == 1:  # one image alone has no statistics: it joins the last group
        whole[-2:] = [whole[-2] + whole[-1]]
    return list(distributed.shard(whole))


def _cut(items: Any, size: int) -> list[Any]:
    return [items[start : start + size] for start in range(0, len(items), size)]
