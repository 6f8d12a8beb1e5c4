"""Data sets that torchvision knows how to read and fetch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from flexure import ecosystem
from flexure.data.dataset import DatasetImages, known_labels
from flexure.data.pictures import Size
from flexure.errors import DataError, MissingPackageError

__all__ = ["VISION", "vision_images"]


@dataclass(frozen=True)
class _Source:
    """A class of ``torchvision.datasets`` and how it is told which split is wanted."""

    kind: str
    train: Mapping[str, Any]
    test: Mapping[str, Any]
    folder: str = ""  # below the root, for classes that do not choose one themselves
    fetches: bool = True


def _by(option: str, train: Any, test: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    return MappingProxyType({option: train}), MappingProxyType({option: test})


_FLAG = _by("train", True, False)
_SPLIT = _by("split", "train", "test")

VISION: Mapping[str, _Source] = MappingProxyType(
    {
        "cifar10": _Source("CIFAR10", *_FLAG),
        "cifar100": _Source("CIFAR100", *_FLAG),
        "svhn": _Source("SVHN", *_SPLIT, folder="svhn"),
        "stl10": _Source("STL10", *_SPLIT),
        "gtsrb": _Source("GTSRB", *_SPLIT),
        "flowers102": _Source("Flowers102", *_SPLIT),
        "food101": _Source("Food101", *_SPLIT),
        "pets": _Source("OxfordIIITPet", *_by("split", "trainval", "test")),
        "textures": _Source("DTD", *_SPLIT),
        "imagenet": _Source("ImageNet", *_by("split", "train", "val"), folder="imagenet", fetches=False),
    }
)
"""Our names for them; ``test`` is the validation split for ImageNet, whose test labels are not public."""


def vision_images(name: str, root: Path, split: str, *, download: bool, image_size: Size | None) -> DatasetImages:
    """One split of a torchvision data set, RGB.

    Raises:
        MissingPackageError: torchvision is not installed.
        DataError: The files are not under ``root`` (or there is no fetching them).
    """
    source, hint = VISION[name], _folder_hint(name, root, split)
    try:
        kind = getattr(ecosystem.torchvision().datasets, source.kind)
    except MissingPackageError as wrong:
        raise MissingPackageError(f"{name}: {wrong}{hint}", name=wrong.name) from wrong
    options = dict(source.train if split == "train" else source.test)
    if source.fetches:
        options["download"] = download
    try:
        dataset = kind(str(root / source.folder), **options)
    except (RuntimeError, OSError) as wrong:
        fetch = " download=True (--download) fetches it." if source.fetches and not download else ""
        raise DataError(f"{name}: not found under {root} ({_first_line(wrong)}).{fetch}{hint}") from wrong
    names = getattr(dataset, "classes", None)
    return DatasetImages(
        dataset,
        name=f"{name} ({split})",
        labels=known_labels(dataset),
        classes=tuple(_plain(entry) for entry in names) if names else None,
        image_size=image_size,
        channels=3,
    )


def _folder_hint(name: str, root: Path, split: str) -> str:
    """Where class folders of that name lie ready, the way to use them."""
    folder = root / name / split
    if not folder.is_dir() or not any(entry.is_dir() for entry in folder.iterdir()):
        return ""
    return f" There are class folders in {folder}: use folder:{folder}"


def _first_line(wrong: Exception) -> str:
    return (str(wrong).splitlines() or [type(wrong).__name__])[0].rstrip(". ")


def _plain(entry: Any) -> str:
    """A class name; ImageNet gives several synonyms for each, of which the first is kept."""
    return str(entry[0] if isinstance(entry, tuple) else entry)
