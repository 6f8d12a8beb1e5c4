"""The tangent kernel between all images, strip by strip of rows, so that a large number of images fits into memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from flexure import distributed
from flexure.probes.elasticity.contraction import squares
from flexure.probes.elasticity.plan import Plan
from flexure.probes.elasticity.tangent import Gradients, Tangent, kernels
from flexure.results import Progress

__all__ = ["KERNEL", "OUTPUTS", "OWN", "OWN_TO", "Store", "Strips", "TangentStrips", "blocks", "carry_out"]

KERNEL, OUTPUTS = "kernel", "kernel_outputs"
OWN, OWN_TO = "own", "own_to"


class Strips(Protocol):
    """Something that is computed as strips of the rows of matrices."""

    @property
    def places(self) -> Sequence[slice]:
        """The rows of each strip."""

    def strip(self, number: int) -> dict[str, torch.Tensor]:
        """Rows of each matrix by name, and sums for them (``own (parameters, rows)``)."""


class Store(Protocol):
    """Where strips are kept until all are there."""

    def missing(self) -> list[int]:
        """Strips that are not there yet."""

    def put(self, number: int, strip: Mapping[str, torch.Tensor]) -> None:
        """Keep a strip."""


def carry_out(strips: Strips, store: Store, progress: Progress | None) -> None:
    """Compute the strips that are missing, each in one of the processes."""
    missing = distributed.gather(store.missing())[0]
    mine = distributed.shard(missing)
    there = len(strips.places) - len(missing)
    for done, number in enumerate(mine, start=1):
        store.put(number, strips.strip(number))
        if progress is not None:
            progress(there + done, there + len(mine))


def blocks(start: int, stop: int, size: int) -> list[slice]:
    """Consecutive ranges of at most so many."""
    return [slice(first, min(first + size, stop)) for first in range(start, stop, size)]


@dataclass(frozen=True, eq=False)
class TangentStrips:
    """Sums of tangent kernels over parameters and outputs.

    A strip begins, where the columns are the rows' images, at the column of its first row: what lies left of it is
    above the diagonal of earlier strips.

    Attributes:
        tangent: The network.
        x: Normalized images of the rows ``(n, C, H, W)``.
        to: Those of the columns; None: the same.
        outputs: Outputs whose kernels are added up: one of them, or all for the trace.
        layers: The layer of each parameter.
        per_layer: Whether each layer's kernel is kept, too.
        is_full: Whether the kernels of all pairs of outputs are kept, too.
        plan: How much is done at a time.
    """

    tangent: Tangent
    x: torch.Tensor
    to: torch.Tensor | None
    outputs: Sequence[int]
    layers: Mapping[str, str]
    per_layer: bool
    is_full: bool
    plan: Plan

    @property
    def places(self) -> list[slice]:
        """The rows of each strip."""
        return blocks(0, len(self.x), self.plan.rows)

    @property
    def matrices(self) -> list[str]:
        """Names of the matrices."""
        found = [KERNEL, *([OUTPUTS] if self.is_full else [])]
        return found + (
            [f"{KERNEL}/{layer}" for layer in dict.fromkeys(self.layers.values())] if self.per_layer else []
        )

    def strip(self, number: int) -> dict[str, torch.Tensor]:
        """Rows of the matrices ``(rows, columns)``, ``own (parameters, rows)``, and with the first ``own_to``; float64.

        All gradients of a strip's rows are there at a time; those of the columns come and go.
        """
        rows = self.places[number]
        points, left = (self.x, rows.start) if self.to is None else (self.to, 0)
        new = {"dtype": torch.float64, "device": self.x.device}
        size = rows.stop - rows.start, len(points) - left
        found = {name: torch.zeros(*size, **new) for name in self.matrices if name != OUTPUTS}
        if self.is_full:
            found[OUTPUTS] = torch.zeros(*size, len(self.outputs), len(self.outputs), **new)
        found[OWN] = torch.zeros(len(self.layers), size[0], **new)
        if self.to is not None and number == 0:
            found[OWN_TO] = torch.zeros(len(self.layers), size[1], **new)
        for tangent in self._parts():
            one = tangent.gradients(self.x[rows], self.outputs)
            self._count(found[OWN], one, slice(None))
            for columns in self._columns(rows):
                is_same = self.to is None and columns == rows
                two = one if is_same else tangent.gradients(points[columns], self.outputs)
                if OWN_TO in found:
                    self._count(found[OWN_TO], two, columns)
                self._add(found, one, two, slice(columns.start - left, columns.stop - left))
        return found

    def _parts(self) -> Iterator[Tangent]:
        """The network with some of its parameters at a time."""
        if len(self.plan.groups) < 2:
            yield self.tangent
            return
        for names in self.plan.groups:
            parameters = {name: self.tangent.parameters[name] for name in names}
            fallback = {name: why for name, why in self.tangent.fallback.items() if name in names}
            yield replace(self.tangent, parameters=parameters, fallback=fallback)

    def _columns(self, rows: slice) -> list[slice]:
        if self.to is not None:
            return blocks(0, len(self.to), self.plan.columns)
        return [rows, *blocks(rows.stop, len(self.x), self.plan.columns)]

    def _count(self, own: torch.Tensor, gradients: Sequence[Gradients], images: slice) -> None:
        numbers = {name: number for number, name in enumerate(self.layers)}
        for of_output in gradients:
            for name, part in of_output.items():
                own[numbers[name], images] += squares(part)

    def _add(
        self, found: Mapping[str, torch.Tensor], one: Sequence[Gradients], two: Sequence[Gradients], columns: slice
    ) -> None:
        for c, mine in enumerate(one):
            for d, theirs in enumerate(two) if self.is_full else [(c, two[c])]:
                for name, block in kernels(mine, theirs).items():
                    if self.is_full:
                        found[OUTPUTS][:, columns, c, d] += block
                    if c == d:
                        found[KERNEL][:, columns] += block
                    if c == d and self.per_layer:
                        found[f"{KERNEL}/{self.layers[name]}"][:, columns] += block
