"""Which pairs of pixels are near, and which are far: the rules of the scale-detection tasks, without any image."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from types import MappingProxyType

import numpy as np

from flexure.errors import ArgumentError, nearest

__all__ = ["Rules"]

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

_TASKS = ("distance", "blocks")
_NORMS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = MappingProxyType(
    {
        "euclidean": lambda steps: np.sqrt(np.square(steps).sum(0)),
        "chebyshev": lambda steps: steps.max(0),
        "manhattan": lambda steps: steps.sum(0),
    }
)
_LARGEST = 20_000_000  # pairs; at 33 bytes each and some more on the way, about a gigabyte


@dataclass(frozen=True)
class Rules:
    """What makes a pair of pixels near or far; see :class:`~flexure.data.ScaleDetection`, whose arguments these are."""

    dimensions: int
    task: str
    side: int
    scale: int
    gap: float
    norm: str
    periodic: bool
    diagonal: bool

    def __post_init__(self) -> None:
        if self.dimensions not in (1, 2):
            raise ArgumentError(f"scale detection: dimensions must be 1 or 2; got {self.dimensions!r}.")
        for name, valid in (("task", _TASKS), ("norm", tuple(_NORMS))):
            if (found := getattr(self, name)) not in valid:
                raise ArgumentError(f"scale detection: no {name} {found!r}. {nearest(found, valid)}")
        for name, least in (("side", 2), ("scale", 1)):
            if not isinstance(found := getattr(self, name), Integral) or found < least:
                raise ArgumentError(
                    f"scale detection: {name} must be a whole number of pixels, {least} or more; got {found!r}."
                )
        if not isinstance(self.gap, Real) or not 0 <= self.gap < float("inf"):
            raise ArgumentError(f"scale detection: gap must be finite, 0 or more; got {self.gap!r}.")
        self._check_diagonal_and_size()

    def _check_diagonal_and_size(self) -> None:
        if self.dimensions == 1 and not self.diagonal:
            raise ArgumentError("scale detection: diagonal=False is for two dimensions; a ring has no diagonal.")
        if self.n_pairs > _LARGEST:
            raise ArgumentError(
                f"scale detection: side {self.side} in {self.dimensions} dimensions has {self.n_pairs:,} pairs of "
                f"pixels; at most {_LARGEST:,} are handled. Lower side."
            )

    @property
    def shape(self) -> tuple[int, int]:
        """``(height, width)`` of an image."""
        return (1 if self.dimensions == 1 else self.side), self.side

    @property
    def n_pairs(self) -> int:
        """Pairs of different pixels, of whatever class."""
        pixels = self.shape[0] * self.shape[1]
        return pixels * (pixels - 1) // 2

    def pairs(self) -> Pairs:
        """``(number, first pixel, second pixel, label)`` of every pair that has a class, by rising number."""
        height, width = self.shape
        first, second = np.triu_indices(height * width, 1)
        ends = np.stack([np.divmod(pixels, width) for pixels in (first, second)])  # (end, axis, pair)
        label = self._in_one_block(ends) if self.task == "blocks" else self._near(ends)
        keep = label >= 0
        if not self.diagonal:
            keep &= (ends[:, 0] != ends[:, 1]).all(0)
        return np.flatnonzero(keep), first[keep], second[keep], label[keep]

    def _in_one_block(self, ends: np.ndarray) -> np.ndarray:
        blocks = ends // self.scale
        return (blocks[0] == blocks[1]).all(0).astype(np.int64)

    def _near(self, ends: np.ndarray) -> np.ndarray:
        """1 for near, 0 for far, -1 for what lies in the gap between."""
        steps = np.abs(ends[1] - ends[0])
        if self.periodic:
            steps = np.minimum(steps, np.array(self.shape)[:, None] - steps)
        distance = _NORMS[self.norm](steps)
        margin = self.gap / 2 if self.dimensions == 2 else self.gap
        return np.where(distance < self.scale - margin, 1, np.where(distance >= self.scale + margin, 0, -1))
