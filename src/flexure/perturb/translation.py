"""Local translations: every lit pixel of an image hops to a neighbor, each for itself."""

from dataclasses import dataclass

import torch

from flexure import rng
from flexure.errors import ArgumentError

__all__ = ["LocalTranslation"]

PURPOSE = "local translation"
# The unit vector at each 30° of the circle, rounded to whole (rows, columns): axes twice as often as diagonals.
_AROUND = torch.tensor(
    [(0, 1), (1, 1), (1, 0), (1, 0), (1, -1), (0, -1), (0, -1), (-1, -1), (-1, 0), (-1, 0), (-1, 1), (0, 1)]
)
_ALONG = torch.tensor([(0, 1), (0, -1)])


@dataclass(frozen=True)
class LocalTranslation:
    r"""Each lit pixel hops to a neighboring place: what a smooth deformation does to an image of a few points.

    On an image of several rows, by the unit vector of a uniformly random direction, rounded: to a neighbor along an
    axis with probability 1/6 each, along a diagonal with 1/12 each, never nowhere. On an image of one row, by one to
    the left or right. A pixel is lit where it differs from the smallest value of one of its channels; what it has above
    that goes along, and adds up where two pixels meet.

    It is a :class:`~flexure.perturb.disturbance.Transform`: give it to ``flexure.sensitivity(…, transform=…)``.

    Args:
        periodic: Whether opposite ends touch; False: at the border, the part of a hop that leads out is left out.
        block: Side of square blocks that no pixel leaves: hops that do are undone. None: there are none.

    Raises:
        ArgumentError: ``block`` is below 1.

    Cost: one random integer per lit pixel. A pixel's hop depends on ``seed``, ``draw``, the image's index and on how
    many lit pixels precede it, row by row.

    Exact case: a lit pixel away from others moves an image of value v by :math:`\|\tau x - x\|^2 = 2v^2`.

    Source: Tomasini et al., *How deep convolutional neural networks lose spatial information with training* (2022),
        whose program clips also where the task is periodic.
    """

    periodic: bool = False
    block: int | None = None

    def __post_init__(self) -> None:
        if self.block is not None and self.block < 1:
            raise ArgumentError(f"LocalTranslation: block must be at least 1 pixel; got {self.block}.")

    def clean(self, x: torch.Tensor) -> torch.Tensor:
        """The images themselves."""
        return x

    def __call__(self, x: torch.Tensor, index: torch.Tensor, *, seed: int, draw: int = 0) -> torch.Tensor:
        """Images ``(b, C, H, W)`` with their lit pixels moved, for indices ``(b,)``.

        Raises:
            ArgumentError: Not as many indices as images.
        """
        if len(index) != len(x):
            raise ArgumentError(f"LocalTranslation: {len(x)} images need as many indices; got {len(index)}.")
        height, width = x.shape[-2:]
        flat = x.flatten(2)
        ground = flat.amin(2, keepdim=True)
        image, pixel = (flat != ground).any(1).nonzero(as_tuple=True)
        target = self._target(pixel, self._hops(image, index, height, seed, draw), height, width)
        above = (flat - ground)[image, :, pixel]
        moved = ground.expand_as(flat).contiguous()
        moved.transpose(1, 2).index_put_((image, target), above, accumulate=True)
        return moved.view_as(x)

    def moves(self, height: int, width: int) -> torch.Tensor:
        """Where does a pixel go? Probabilities ``(H W, H W)``, float64: rows from, columns to, row by row."""
        pixels = height * width
        hops = _hops(height)
        start = torch.arange(pixels)
        law = torch.zeros(pixels, pixels, dtype=torch.float64)
        for hop in hops:
            end = self._target(start, hop.expand(pixels, 2), height, width)
            law[start, end] += 1 / len(hops)
        return law

    def _hops(self, image: torch.Tensor, index: torch.Tensor, height: int, seed: int, draw: int) -> torch.Tensor:
        """A hop ``(rows, columns)`` for each lit pixel, given the number of the image it lies in, in order."""
        counts = torch.bincount(image, minlength=len(index))
        first = counts.cumsum(0) - counts
        rank = torch.arange(len(image), device=image.device) - first[image]
        most = int(counts.max()) if len(image) else 0
        words = rng.integers(most, seed=seed, purpose=PURPOSE, index=index.to(image.device), draw=draw)
        hops = _hops(height).to(image.device)
        return hops[(words[image, rank] * len(hops)) >> 32]

    def _target(self, pixel: torch.Tensor, hop: torch.Tensor, height: int, width: int) -> torch.Tensor:
        sides = torch.tensor([height, width], device=pixel.device)
        start = torch.stack([pixel // width, pixel % width], dim=1)
        end = (
            (start + hop) % sides if self.periodic else (start + hop).clamp(min=torch.zeros_like(sides), max=sides - 1)
        )
        if self.block is not None:
            leaves = (end // self.block != start // self.block).any(1, keepdim=True)
            end = torch.where(leaves, start, end)
        return end[:, 0] * width + end[:, 1]


def _hops(height: int) -> torch.Tensor:
    return _AROUND if height > 1 else _ALONG
