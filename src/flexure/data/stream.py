"""What a probe reads: an indexed, replayable set of images, in whatever order and portions it likes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

__all__ = ["Batch", "Images", "bounds_of", "distances_of", "labels_of", "notes_of", "own_labels_of", "translation_of"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Some images, in the order they were asked for, less those that could not be used.

    Attributes:
        x: Images ``(b, C, H, W)``, floating point, as the file or the user gave them; in [0, 1] for what ``load``
            returns.
        y: Class indices ``(b,)``, int64; -1 where there is no label.
        index: Each image's index in the full set ``(b,)``, int64: what random numbers are keyed by.
        skipped: ``(index, reason)`` of each image that was asked for and cannot be used
            (``"truncated JPEG: a/b.jpg"``).
    """

    x: torch.Tensor
    y: torch.Tensor
    index: torch.Tensor
    skipped: tuple[tuple[int, str], ...] = ()


@runtime_checkable
class Images(Protocol):
    """Data as probes see them. ``read`` called twice with the same positions returns the same images."""

    @property
    def name(self) -> str:
        """Where the images come from, as printed on the page (``"digits"``, ``"folder:/data/x"``)."""

    @property
    def indices(self) -> np.ndarray:
        """Index in the full set of the image at each position ``(n,)``, int64, strictly increasing."""

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Class names, or None where there are none."""

    def __len__(self) -> int:
        """Number of images."""

    def read(self, positions: Sequence[int]) -> Batch:
        """The images at these positions (0 … len - 1)."""


def labels_of(images: Images) -> np.ndarray | None:
    """Labels ``(n,)`` where a set knows them without reading an image (an attribute ``labels``), else None."""
    return getattr(images, "labels", None)


def own_labels_of(images: Images) -> tuple[np.ndarray | None, tuple[str, ...] | None]:
    """Labels and class names as the full set has them, where others were put in their place; labels as for the above.

    What stands on another set (``base``) is asked through, a part of it (``positions``) for that part.
    """
    base, positions = getattr(images, "base", None), getattr(images, "positions", None)
    if base is None:
        return labels_of(images), images.classes
    labels, names = own_labels_of(base)
    return (labels if labels is None or positions is None else labels[positions]), names


def notes_of(images: Images) -> tuple[str, ...]:
    """Sentences about a set that belong beside every number measured on it (an attribute ``notes``)."""
    return tuple(getattr(images, "notes", ()))


def translation_of(images: Images) -> Any:
    """The local translation that goes with a set (an attribute ``translation``, its own or its base's), or None."""
    return _own(images, "translation")


def bounds_of(images: Images) -> tuple[float, float] | None:
    """Smallest and largest pixel value of a set that says so (an attribute ``bounds``, its own or its base's)."""
    return _own(images, "bounds")


def distances_of(images: Images) -> np.ndarray | None:
    """Distances ``(n, n)`` along what points lie on, of a set that knows them (an attribute ``distances``), or None."""
    return _own(images, "distances")


def _own(images: Any, name: str) -> Any:
    found, base = getattr(images, name, None), getattr(images, "base", None)
    return _own(base, name) if found is None and base is not None else found
