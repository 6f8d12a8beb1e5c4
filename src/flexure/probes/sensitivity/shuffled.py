"""A network with its channels shuffled: the same passes in other surroundings, seen from the place where it is."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from flexure.data import usable
from flexure.errors import SpecimenError
from flexure.perturb.normalization import RunningStatistics
from flexure.probes.sensitivity.passes import Passes, groups
from flexure.survey import Op

__all__ = ["centered", "reestimate"]


def centered(passes: Passes, ops: Sequence[Op], clean: torch.Tensor, rows: int) -> list[Op]:
    """The same ops with the mean emission of these passes' network as center: an op's statistics are taken near it.

    Args:
        passes: How the network is passed.
        ops: As the survey of the network itself found them.
        clean: The survey's images, normalized.
        rows: Images per pass at most. They are cut as the survey cuts them, should a batch be part of the definition.

    Cost: ``len(clean)`` rows forward.
    """
    means = _Means(ops)
    rows = max(rows, 2)
    first = min(max(2, len(clean) // 8), rows)
    for portion in (clean[:first], *(clean[first:].split(rows) if len(clean) > first else ())):
        passes.through(means, portion, len(portion), 0)
    return [means.centered(op) for op in ops]


def reestimate(passes: Passes, statistics: RunningStatistics, size: int) -> tuple[int, int]:
    """Have the statistics of batch norms gathered over the clean images of all processes, and settled.

    Args:
        passes: How the network is passed, and over which images.
        statistics: What gathers them.
        size: Images per group, in the images' order: batch norms before the one that gathers use their group's.

    Returns:
        Rows passed by this process, batch norms that have new statistics.
    """
    rows = 0
    for positions in groups(len(passes.images), size):
        x, index, _ = usable(passes.images, positions, passes.mounted)
        if len(x):
            clean = passes.disturbance.copies(passes.mounted, x, index, [])
            rows += len(clean)
            try:
                passes.alone(clean, statistics)
            except torch.cuda.OutOfMemoryError as wrong:
                raise SpecimenError(
                    f"{passes.mounted.specimen.name}: out of memory at {len(clean)} images, a group for the batch "
                    "norms' statistics. Give a smaller group_size, smaller images or device='cpu'."
                ) from wrong
    return rows, statistics.settle()


class _Means:
    """Takes emissions and adds them up."""

    def __init__(self, ops: Sequence[Op]) -> None:
        self._sums = {op.name: torch.zeros_like(op.center) for op in ops if op.center is not None}
        self._squares = dict.fromkeys(self._sums, 0.0)
        self._images = dict.fromkeys(self._sums, 0)

    def emit(self, name: str, value: torch.Tensor, images: int, draws: int) -> None:
        """Count what an op emitted for so many images."""
        if (sums := self._sums.get(name)) is None or value.numel() != images * sums.numel():
            return
        flat = value.reshape(images, -1).to(sums.dtype)
        sums.add_(flat.sum(0))
        self._squares[name] += float(torch.linalg.vector_norm(flat, dim=1).double().square().sum())
        self._images[name] += images

    def centered(self, op: Op) -> Op:
        """The op with what was found."""
        if not (n := self._images.get(op.name, 0)):
            return op
        center = torch.nan_to_num(self._sums[op.name] / n, nan=0.0, posinf=0.0, neginf=0.0)
        return replace(op, center=center, scale=(self._squares[op.name] / n) ** 0.5)
