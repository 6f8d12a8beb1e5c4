"""Image data sets of the Hugging Face hub."""

import contextlib
import importlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from flexure import ecosystem
from flexure.data.dataset import DatasetImages
from flexure.data.pictures import Size
from flexure.errors import DataError

__all__ = ["hub_images"]


@dataclass(frozen=True)
class _Rows:
    """A table with an image column and perhaps a label column, as items ``(image, label)``."""

    table: Any
    image: str
    label: str | None

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, position: int) -> tuple[Any, Any]:
        row = self.table[position]
        return row[self.image], row[self.label] if self.label else None


def hub_images(name: str, split: str, *, download: bool, image_size: Size | None) -> DatasetImages:
    """One split of an image data set of the hub, or of a folder in one of the layouts the hub knows; RGB.

    The first column of images and the first of class labels are used. Without ``download`` only what an earlier call
    left in the local cache is read. Scripts that come with a data set are never run.

    Raises:
        MissingPackageError: The package datasets is not installed.
        DataError: It is not there, has no such split, or no column of images.
    """
    hub = ecosystem.datasets()
    try:
        with contextlib.nullcontext() if download else _offline():
            table = hub.load_dataset(name, split=split)
    except (OSError, ValueError, RuntimeError) as wrong:
        fetch = "" if download else " Not in the local cache? download=True (--download) fetches it."
        raise DataError(f"hub:{name}, split {split!r}: cannot be loaded ({wrong}).{fetch}") from wrong
    image = _first_column(table, ("Image",))
    if image is None:
        raise DataError(f"hub:{name}: no column of images; it has {', '.join(table.column_names)}.")
    label = _first_column(table, ("ClassLabel",))
    return DatasetImages(
        _Rows(table, image, label),
        name=f"hub:{name} ({split})",
        labels=None if label is None else np.asarray(table[label], dtype=np.int64),
        classes=None if label is None else tuple(table.features[label].names),
        image_size=image_size,
        channels=3,
    )


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """What HF_HUB_OFFLINE=1 in the environment does, for a while: only the local cache is used."""
    switches: list[Any] = [importlib.import_module(name) for name in ("huggingface_hub.constants", "datasets.config")]
    before = [switch.HF_HUB_OFFLINE for switch in switches]
    try:
        for switch in switches:
            switch.HF_HUB_OFFLINE = True
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.HF_HUB_OFFLINE = value


def _first_column(table: Any, kinds: Iterable[str]) -> str | None:
    return next((name for name, feature in table.features.items() if type(feature).__name__ in kinds), None)
