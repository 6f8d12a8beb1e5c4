"""The tangent kernel between all images, block by block of rows, so that a large number of images fits into memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from flexure import distributed
from flexure.probes.elasticity.contraction import squares
from flexure.probes.elasticity.tangent import Gradients, Tangent, kernels
from flexure.results import Progress

__all__ = ["Kernel"]


@dataclass(eq=False)
class Kernel:
    """Sums of tangent kernels over parameters and outputs.

    Attributes:
        matrices: By group of parameters, ``(n, m)``, float64.
        own: What each parameter adds to the kernel of an image with itself, ``(n,)``, float64.
        own_to: The same for the images of the columns ``(m,)``, where they are others.
    """

    matrices: dict[str, torch.Tensor] = field(default_factory=dict)
    own: dict[str, torch.Tensor] = field(default_factory=dict)
    own_to: dict[str, torch.Tensor] = field(default_factory=dict)

    @classmethod
    def between(
        cls,
        tangent: Tangent,
        x: torch.Tensor,
        to: torch.Tensor | None,
        *,
        outputs: Sequence[int],
        groups: Mapping[str, str],
        rows: int,
        progress: Progress | None = None,
    ) -> "Kernel":
        """The kernels between images, from every block of rows with every block of columns.

        Args:
            tangent: The network.
            x: Normalized images of the rows ``(n, C, H, W)``.
            to: Those of the columns; None: the same, of which the blocks above the diagonal are enough.
            outputs: Outputs whose kernels are added up: one of them, or all for the trace.
            groups: Which matrix a parameter's kernel is added to, by parameter.
            rows: Images per block. With one block all gradients are there at a time; with more, those of the columns
                are computed once for every block of rows.
            progress: Told after each block of rows.
        """
        n, m = len(x), len(x if to is None else to)
        new = {"dtype": torch.float64, "device": x.device}
        found = cls({group: torch.zeros(n, m, **new) for group in dict.fromkeys(groups.values())})
        found.own = {name: torch.zeros(n, **new) for name in groups}
        found.own_to = {} if to is None else {name: torch.zeros(m, **new) for name in groups}
        blocks, columns = _blocks(n, rows), _blocks(m, rows)
        mine = distributed.shard(range(len(blocks)))
        for done, number in enumerate(mine, start=1):
            one = tangent.gradients(x[blocks[number]], outputs)
            _count(found.own, one, blocks[number])
            for place in range(number if to is None else 0, len(columns)):
                is_same = to is None and place == number
                two = one if is_same else tangent.gradients((x if to is None else to)[columns[place]], outputs)
                if to is not None and number == 0:
                    _count(found.own_to, two, columns[place])
                found._add(one, two, blocks[number], columns[place], groups)
                if to is None and not is_same:
                    found._mirror(blocks[number], columns[place])
            if progress is not None:
                progress(done, len(mine))
        distributed.sum_in_place([*found.matrices.values(), *found.own.values(), *found.own_to.values()])
        return found

    def _add(
        self, one: Sequence[Gradients], two: Sequence[Gradients], rows: slice, columns: slice, groups: Mapping[str, str]
    ) -> None:
        for mine, theirs in zip(one, two, strict=True):
            for name, block in kernels(mine, theirs).items():
                self.matrices[groups[name]][rows, columns] += block

    def _mirror(self, rows: slice, columns: slice) -> None:
        for matrix in self.matrices.values():
            matrix[columns, rows] = matrix[rows, columns].T


def _count(own: Mapping[str, torch.Tensor], gradients: Sequence[Gradients], rows: slice) -> None:
    for of_output in gradients:
        for name, part in of_output.items():
            own[name][rows] += squares(part)


def _blocks(n: int, rows: int) -> list[slice]:
    return [slice(start, min(start + rows, n)) for start in range(0, n, rows)]
