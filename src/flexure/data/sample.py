"""Fewer images, drawn so that classes stay balanced and every image keeps its index."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from flexure import rng
from flexure.data.stream import Batch, Images, distances_of, labels_of, notes_of, own_labels_of
from flexure.errors import ArgumentError

__all__ = ["Selected", "balanced", "hold_out", "sample"]


@dataclass(frozen=True, eq=False)
class Selected:
    """Some of the images of another set, under the indices they have there."""

    base: Images
    positions: np.ndarray

    @property
    def name(self) -> str:
        """Name of the full set."""
        return self.base.name

    @property
    def indices(self) -> np.ndarray:
        """Index in the full set of each image."""
        return self.base.indices[self.positions]

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Class names of the full set."""
        return self.base.classes

    @property
    def labels(self) -> np.ndarray | None:
        """Labels where they are known without reading an image."""
        labels = labels_of(self.base)
        return None if labels is None else labels[self.positions]

    @property
    def distances(self) -> np.ndarray | None:
        """Distances between points, where the full set knows them."""
        found = distances_of(self.base)
        return None if found is None else found[np.ix_(self.positions, self.positions)]

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth knowing about the full set."""
        return notes_of(self.base)

    def __len__(self) -> int:
        return len(self.positions)

    def read(self, positions: Sequence[int]) -> Batch:
        """The images at these positions of the selection."""
        return self.base.read(self.positions[np.asarray(positions, dtype=np.int64)].tolist())


def balanced(
    labels: np.ndarray | None,
    indices: np.ndarray,
    limit: int | None,
    *,
    within: np.ndarray | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Positions of a seeded, class-balanced sample, increasing.

    Every image draws a number that depends on ``(seed, its index)`` alone. Classes take turns, each giving its image
    with the smallest number; a class that has run out is passed over. So class counts differ by at most one while all
    classes last, and a smaller sample is part of a larger one with the same seed.

    Args:
        labels: Class indices ``(n,)``; None where they are unknown, and all images count as one class.
        indices: Index in the full set of each image ``(n,)``.
        limit: Images wanted, at least 1; None or more than there are: all of them.
        within: Finer classes ``(n,)``, which take turns within each class in the same way.
        seed: Same seed, same sample.

    Raises:
        ArgumentError: ``limit`` is below 1.
    """
    if limit is not None and limit < 1:
        raise ArgumentError(f"limit must be at least 1; got {limit}. Leave it out to use every image.")
    count = len(indices)
    if limit is None or limit >= count:
        return np.arange(count)
    lots = rng.integers(1, seed=seed, purpose="sample", index=torch.as_tensor(indices))[:, 0].numpy()
    classes = np.zeros(count, dtype=np.int64) if labels is None else np.asarray(labels)
    order: tuple[np.ndarray, ...] = (indices, lots)
    if within is not None:
        order = (*order, _turns(np.asarray(within), order))
    return np.sort(np.lexsort((indices, lots, _turns(classes, order)))[:limit])


def _turns(classes: np.ndarray, order: tuple[np.ndarray, ...]) -> np.ndarray:
    """When each image is its class's choice, the class going by ``order`` (its last key first)."""
    by_class = np.lexsort((*order, classes))
    _, first, sizes = np.unique(classes[by_class], return_index=True, return_counts=True)
    turn = np.empty(len(classes), dtype=np.int64)
    turn[by_class] = np.arange(len(classes)) - np.repeat(first, sizes)
    return turn


def sample(images: Images, limit: int | None, *, seed: int = 0) -> Images:
    """A class-balanced sample of ``limit`` images (see :func:`balanced`); the images themselves where that is all.

    Where a label stands for several classes (:func:`flexure.data.grouped`), these are balanced, too.
    """
    positions = _chosen(images, limit, seed)
    return images if len(positions) == len(images) else Selected(images, positions)


def hold_out(images: Images, fraction: float = 0.2, *, seed: int = 0) -> tuple[Images, Images]:
    """Divide images into ``(kept, held out)``: a class-balanced sample is set aside, nothing is in both.

    Args:
        images: At least two.
        fraction: Share held out, in (0, 1); at least one image goes to either side.
        seed: Same seed, same division.

    Raises:
        ArgumentError: ``fraction`` is outside (0, 1), or there is only one image.
    """
    if not 0 < fraction < 1:
        raise ArgumentError(f"hold_out: fraction must lie in (0, 1); got {fraction}.")
    if len(images) < 2:
        raise ArgumentError(f"hold_out: {len(images)} image cannot be divided; at least 2 are needed.")
    wanted = min(max(round(fraction * len(images)), 1), len(images) - 1)
    held = _chosen(images, wanted, seed)
    return Selected(images, np.setdiff1d(np.arange(len(images)), held)), Selected(images, held)


def _chosen(images: Images, limit: int | None, seed: int) -> np.ndarray:
    return balanced(labels_of(images), images.indices, limit, within=own_labels_of(images)[0], seed=seed)
