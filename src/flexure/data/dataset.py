"""Anyone's map-style data set, and whatever else a user may hand over as data."""

import contextlib
import operator
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

from flexure.data.pictures import BROKEN, Size, as_unit, fit, to_tensor
from flexure.data.stream import Batch, Images
from flexure.data.tensors import TensorImages, class_indices
from flexure.errors import ArgumentError, DataError

__all__ = ["DatasetImages", "as_images"]

_READ_TWICE = 4  # items of the first batch that must come out the same on a second reading
_LABEL_FIELDS = ("targets", "labels", "_labels")


@dataclass(frozen=True, eq=False)
class DatasetImages:
    """A map-style data set whose items are ``(image, label, …)`` or an image alone.

    Items are read one after another in this process, and not kept. An item whose file is damaged or missing
    (an ``OSError``) is skipped and named; one that comes out differently on a second reading is refused, since random
    augmentation would be measured in place of the network.

    Attributes:
        dataset: Anything with ``len`` and whole-number positions.
        name: As printed on the page.
        labels: Class indices ``(n,)``, where known without reading; else None.
        classes: Class names.
        image_size: Every image is fitted to this when read; None: as they are, all of one size.
        channels: What pictures are converted to: 3, 1, or None for what they are.
        notes: Sentences that belong beside every number measured on them.
    """

    dataset: Any
    name: str = "dataset"
    labels: np.ndarray | None = None
    classes: tuple[str, ...] | None = None
    image_size: Size | None = None
    channels: int | None = None
    notes: tuple[str, ...] = ()
    _first: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not len(self.dataset):
            raise DataError(f"{self.name}: there is no image in it (its length is 0).")
        if self.labels is not None and len(self.labels) != len(self.dataset):
            raise DataError(f"{self.name}: {len(self.dataset)} images but {len(self.labels)} labels.")

    @property
    def indices(self) -> np.ndarray:
        """0 … n - 1, positions in ``dataset``."""
        return np.arange(len(self.dataset), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.dataset)

    def read(self, positions: Sequence[int]) -> Batch:
        """The images at these positions; see the class for what is skipped and what refused."""
        self._check_replayable(positions)
        found: list[tuple[torch.Tensor, int, int]] = []
        skipped: list[tuple[int, str]] = []
        for position in positions:
            try:
                found.append((*self._item(int(position)), int(position)))
            except BROKEN as wrong:
                skipped.append((int(position), f"item {int(position)} of {self.name}: {wrong}"))
        shape = self._shape(found)
        x = torch.stack([image for image, _, _ in found]) if found else torch.empty(0, *shape)
        y, index = (torch.tensor([row[k] for row in found], dtype=torch.int64) for k in (1, 2))
        return Batch(x, y, index, tuple(skipped))

    def _item(self, position: int) -> tuple[torch.Tensor, int]:
        try:
            item = self.dataset[position]
            image, label = _parts(item)
            x = as_unit(to_tensor(image, self.channels))
        except BROKEN:
            raise
        except Exception as wrong:
            raise DataError(f"{self.name}: item {position} cannot be read: {wrong}") from wrong
        if not x.is_floating_point():
            raise DataError(f"{self.name}: item {position} is {x.dtype}; images must be floating point or uint8.")
        return fit(x[None], self.image_size)[0], label

    def _shape(self, found: list[tuple[torch.Tensor, int, int]]) -> tuple[int, ...]:
        """The shape all images have; remembers the first, so that a later batch is held to it."""
        for image, _, position in found:
            expected, first = self._first.setdefault("shape", (tuple(image.shape), position))
            if tuple(image.shape) != expected:
                raise DataError(
                    f"{self.name}: images differ in shape: item {first} is {expected}, item {position} is "
                    f"{tuple(image.shape)}. Give image_size (--image-size), or a transform that makes them alike."
                )
        return self._first["shape"][0] if "shape" in self._first else self._first_readable()

    def _first_readable(self) -> tuple[int, ...]:
        for position in range(len(self)):
            with contextlib.suppress(*BROKEN):  # each is named when its turn comes
                image, _ = self._item(position)
                return self._first.setdefault("shape", (tuple(image.shape), position))[0]
        raise DataError(f"{self.name}: none of its {len(self)} images can be read.")

    def _check_replayable(self, positions: Sequence[int]) -> None:
        if self._first.setdefault("replayable", False):
            return
        for position in positions[:_READ_TWICE]:
            try:
                (one, _), (two, _) = self._item(int(position)), self._item(int(position))
            except BROKEN:
                continue  # named when it is read in earnest
            if one.shape != two.shape or not torch.equal(one.nan_to_num(), two.nan_to_num()):
                raise DataError(
                    f"{self.name}: item {position} came out differently when it was read again. Take random "
                    "augmentation out of the data set's transform."
                )
        self._first["replayable"] = True


def as_images(data: Any) -> Images:
    """Whatever a user calls data, as probes see it.

    Args:
        data: What :func:`load` returns; a map-style ``Dataset`` (items ``(image, label)`` or ``image``; Pillow
            pictures, or tensors ``(C, H, W)``); a ``DataLoader``, of which only the data set is used, in its own order
            (no shuffling, no collation, no worker processes); a tensor or array ``x (n, C, H, W)``; or a pair
            ``(x, y)`` with class indices ``y (n,)``. Bytes (uint8) are scaled to [0, 1], floating-point numbers are
            taken as they are.

    Returns:
        Indexed, replayable images. An image's index is its position in ``data``.

    Raises:
        ArgumentError: ``data`` is none of these, or cannot be read twice (an ``IterableDataset``).
        DataError: There is no image in it, or shapes or labels do not fit.
    """
    if isinstance(data, DataLoader):
        return as_images(data.dataset)
    if isinstance(data, Images):
        return _not_empty(data)
    if isinstance(data, IterableDataset):
        raise ArgumentError(
            f"data: {type(data).__name__} is an IterableDataset, which cannot be read by position. Give a map-style "
            "Dataset, or collect some images and pass (x, y)."
        )
    if _are_arrays(data if isinstance(data, tuple | list) else (data,)):
        return _from_arrays(data if isinstance(data, tuple | list) else (data,))
    if isinstance(data, TensorDataset) and data.tensors[0].ndim == 4:
        return _from_arrays(data.tensors)
    if isinstance(data, str | bytes | dict | tuple) or not (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        hint = f" For a data set by name, flexure.load({data!r})." if isinstance(data, str) else ""
        raise ArgumentError(
            "data: expected what flexure.load returns, a map-style Dataset, a DataLoader, a tensor x (n, C, H, W) or "
            f"a pair (x, y); got {type(data).__name__}.{hint}"
        )
    names = getattr(data, "classes", None)
    classes = tuple(map(str, names)) if isinstance(names, list | tuple) and names else None
    return DatasetImages(data, name=type(data).__name__, labels=known_labels(data), classes=classes)


def known_labels(dataset: Any) -> np.ndarray | None:
    """Class indices a data set keeps beside its images (``targets`` or ``labels``, as torchvision's do), else None."""
    if isinstance(dataset, Subset):
        labels = known_labels(dataset.dataset)
        return None if labels is None else labels[np.asarray(dataset.indices, dtype=np.int64)]
    kept = next((kept for name in _LABEL_FIELDS if (kept := getattr(dataset, name, None)) is not None), None)
    if not isinstance(kept, torch.Tensor | np.ndarray | list | tuple) or len(kept) != len(dataset):
        return None
    labels = kept.detach().cpu().numpy() if isinstance(kept, torch.Tensor) else np.asarray(kept)
    return labels.astype(np.int64) if labels.ndim == 1 and labels.dtype.kind in "iu" else None


def _parts(item: Any) -> tuple[Any, int]:
    """Image and class index of one item; -1 for a label that is not one whole number."""
    if isinstance(item, dict):
        raise DataError(f"it is a dict with keys {list(item)}; the data set must return (image, label)")
    if not isinstance(item, tuple | list):
        return item, -1
    try:
        return item[0], operator.index(item[1])
    except (TypeError, IndexError):
        return item[0], -1


def _are_arrays(parts: Sequence[Any]) -> bool:
    return 1 <= len(parts) <= 2 and all(isinstance(part, torch.Tensor | np.ndarray) for part in parts)


def _from_arrays(parts: Sequence[torch.Tensor | np.ndarray]) -> TensorImages:
    x = parts[0] if isinstance(parts[0], torch.Tensor) else _without_copy(parts[0])
    return TensorImages(x, class_indices(parts[1], "tensors") if len(parts) > 1 else None)


def _without_copy(array: np.ndarray) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable")  # a read-only map stays so: nobody writes to it
        try:
            return torch.from_numpy(np.ascontiguousarray(array))
        except TypeError:
            raise DataError(f"data: an array of {array.dtype} is not images; use float32 or uint8.") from None


def _not_empty(images: Images) -> Images:
    if not len(images):
        raise DataError(f"{images.name}: there is no image in it.")
    return images
