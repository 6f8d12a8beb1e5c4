"""Pictures in class folders: ``PATH/<class>/<file>``."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from flexure.data.pictures import BROKEN, Size, as_size, decode, header
from flexure.data.sample import balanced
from flexure.data.stream import Batch
from flexure.errors import ArgumentError, DataError

__all__ = ["FolderImages", "check_folder", "part_of"]

_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
_PARTS = {"train": ("train",), "test": ("test", "val", "valid", "validation")}
_THREADS_PAY = 128 * 128  # pixels; below, handing a picture to another thread costs more than decoding it
_THREADS = min(8, os.cpu_count() or 1)


@dataclass(frozen=True, eq=False)
class FolderImages:
    """Pictures in class folders, read from disk each time they are asked for.

    As in torchvision's ``ImageFolder``, every folder directly in ``path`` is a class, in alphabetical order, and its
    pictures are taken from it and the folders within, in alphabetical order; an image's index is its place in that
    list. Gray, transparent and CMYK pictures become RGB (``channels=1``: all become gray); rotation marks of cameras
    are not followed. A class folder without a picture keeps its class index and is named in ``notes``; a damaged file
    is skipped and named when its turn comes.

    Args:
        path: The folder that holds the class folders.
        limit: Images wanted: a class-balanced sample, see :func:`flexure.data.balanced`. None: all.
        seed: Seed of the sample.
        image_size: ``(height, width)`` or one side. Pictures are resized (bilinear, antialiased) until they just
            cover it, and the center is cut out. None: as they are, and then all must be of one size, which is checked
            here from the headers of the files.
        channels: 3 or 1.

    Raises:
        DataError: No such folder, no class folder, no picture, or pictures of different sizes without ``image_size``.
    """

    path: str | os.PathLike
    limit: int | None = None
    seed: int = 0
    image_size: int | Size | None = None
    channels: int = 3
    classes: tuple[str, ...] = field(init=False)
    notes: tuple[str, ...] = field(init=False)
    indices: np.ndarray = field(init=False, repr=False)
    labels: np.ndarray = field(init=False, repr=False)
    _files: tuple[Path, ...] = field(init=False, repr=False)
    _wanted: Size | None = field(init=False, repr=False)
    _size: Size = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise ArgumentError(f"{self.name}: channels must be 1 (gray) or 3 (RGB); got {self.channels}.")
        root, wanted = Path(self.path).expanduser(), as_size(self.image_size)
        files, labels, classes = _listing(root)
        keep = balanced(labels, np.arange(len(files)), self.limit, seed=self.seed)
        settled = {
            "path": root,
            "classes": classes,
            "notes": _empty_classes(labels, classes, self.name),
            "indices": keep.astype(np.int64),
            "labels": labels[keep],
            "_files": tuple(files[k] for k in keep),
            "_wanted": wanted,
        }
        for name, value in settled.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_size", wanted or _common_size(self._files, self.name))

    @property
    def name(self) -> str:
        """``folder:`` and the path."""
        return f"folder:{os.fspath(self.path)}"

    def __len__(self) -> int:
        return len(self._files)

    def read(self, positions: Sequence[int]) -> Batch:
        """The pictures at these positions, in [0, 1], without those that cannot be read."""
        decoded = self._decode_all([self._files[position] for position in positions])
        good = [position for position, array in zip(positions, decoded, strict=True) if isinstance(array, np.ndarray)]
        arrays = [array for array in decoded if isinstance(array, np.ndarray)]
        skipped = tuple(
            (int(self.indices[position]), reason)
            for position, reason in zip(positions, decoded, strict=True)
            if isinstance(reason, str)
        )
        x = torch.from_numpy(np.stack(arrays)) if arrays else torch.empty(0, *self._size, self.channels)
        x = x.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format).div_(255)
        return Batch(x, torch.from_numpy(self.labels[good]), torch.from_numpy(self.indices[good]), skipped)

    def _decode_all(self, files: list[Path]) -> list[np.ndarray | str]:
        """Each file's picture, or the reason why there is none, in order."""
        if len(files) < 2 or self._size[0] * self._size[1] < _THREADS_PAY:
            return [self._decode(file) for file in files]
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(self._decode, files))

    def _decode(self, file: Path) -> np.ndarray | str:
        try:
            array = decode(file, self.channels, self._wanted)
        except (*BROKEN, DataError) as wrong:
            return f"{_shown(file)}: {_reason(wrong)}"
        if array.shape[:2] != self._size:
            raise DataError(f"{self.name}: {_shown(file)} is {_sized(array.shape)}, not {_sized(self._size)} any more.")
        return array


def check_folder(path: str | os.PathLike) -> Path:
    """The folder as a path, if it is one.

    Raises:
        DataError: There is no such folder.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "no such folder"
        raise DataError(f"folder:{root}: {what}. It must hold one folder per class: {root}/<class>/<picture>.jpg.")
    return root


def part_of(path: str | os.PathLike, split: str) -> Path:
    """Where a split lies: ``PATH/train`` or ``PATH/test`` (or ``val``) where PATH holds those alone, else PATH.

    Raises:
        DataError: There is no such folder, or it has parts and not this one.
    """
    root = check_folder(path)
    found = {entry.name for entry in os.scandir(root) if entry.is_dir()}
    if "train" not in found or not found <= {name for names in _PARTS.values() for name in names}:
        return root
    if (name := next((name for name in _PARTS[split] if name in found), None)) is None:
        raise DataError(f"folder:{root}: it has the parts {', '.join(sorted(found))}, but none for split {split!r}.")
    return root / name


def _listing(root: Path) -> tuple[list[Path], np.ndarray, tuple[str, ...]]:
    classes = tuple(sorted(entry.name for entry in os.scandir(check_folder(root)) if entry.is_dir()))
    if not classes:
        loose = sum(1 for file in root.iterdir() if _is_picture(file.name))
        hint = f" It holds {loose} pictures itself: move them into {root}/all/." if loose else ""
        raise DataError(f"folder:{root}: it holds no class folder.{hint}")
    pairs = [(file, label) for label, name in enumerate(classes) for file in _pictures(root / name)]
    if not pairs:
        shown = ", ".join(classes[:5]) + (", …" if len(classes) > 5 else "")
        raise DataError(
            f"folder:{root}: none of its {len(classes)} class folders ({shown}) holds a picture: "
            f"{', '.join(_EXTENSIONS)}."
        )
    return [file for file, _ in pairs], np.array([label for _, label in pairs], dtype=np.int64), classes


def _pictures(folder: Path) -> list[Path]:
    found = sorted(os.walk(folder, followlinks=True))
    return [Path(place) / file for place, _, files in found for file in sorted(files) if _is_picture(file)]


def _is_picture(name: str) -> bool:
    return name.lower().endswith(_EXTENSIONS)


def _empty_classes(labels: np.ndarray, classes: tuple[str, ...], name: str) -> tuple[str, ...]:
    empty = [classes[k] for k in np.flatnonzero(np.bincount(labels, minlength=len(classes)) == 0)]
    if not empty:
        return ()
    plural = "class folder holds" if len(empty) == 1 else "class folders hold"
    return (f"{name}: {len(empty)} {plural} no picture: {', '.join(map(repr, empty))}.",)


def _common_size(files: Sequence[Path], name: str) -> Size:
    """The size all readable pictures have, from their headers."""
    first: tuple[Path, Size] | None = None
    for file in files:
        try:
            size = header(file)
        except BROKEN:
            continue  # named as skipped when its turn to be read comes
        first = first or (file, size)
        if size != first[1]:
            raise DataError(
                f"{name}: pictures differ in size: {_shown(first[0])} is {_sized(first[1])}, {_shown(file)} is "
                f"{_sized(size)} (height x width). Give image_size (--image-size) to bring them to one."
            )
    if first is None:
        raise DataError(f"{name}: none of its {len(files)} pictures can be read.")
    return first[1]


def _shown(file: Path) -> str:
    return f"{file.parent.name}/{file.name}"


def _sized(size: Sequence[int]) -> str:
    return f"{size[0]} x {size[1]}"


def _reason(wrong: Exception) -> str:
    if isinstance(wrong, FileNotFoundError):
        return "no such file"
    return "not a picture file" if "cannot identify" in str(wrong) else str(wrong)
