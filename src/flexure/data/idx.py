"""MNIST and its relatives from their IDX files, without torchvision."""

import gzip
import math
import os
from pathlib import Path

import numpy as np
import torch

from flexure.data.tensors import TensorImages
from flexure.errors import DataError

__all__ = ["IDX", "idx_images", "read_idx"]

IDX = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST"}
"""Data sets in IDX files, and the folder under the root that torchvision keeps them in."""

_PREFIX = {"train": "train", "test": "t10k"}
_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_UNSIGNED_BYTES = 0x08


def idx_images(name: str, root: Path, split: str) -> TensorImages:
    """Images and labels of one split, ``(n, 1, 28, 28)``.

    Raises:
        DataError: A file is missing (all places looked in are named), cut off or not an IDX file.
    """
    folder = root / IDX[name] / "raw"
    images = read_idx(_find(folder, f"{_PREFIX[split]}-images-idx3-ubyte", name), 3)
    labels = read_idx(_find(folder, f"{_PREFIX[split]}-labels-idx1-ubyte", name), 1)
    classes = _FASHION if name == "fashion-mnist" else tuple(map(str, range(10)))
    return TensorImages(torch.from_numpy(images)[:, None], labels.astype(np.int64), f"{name} ({split})", classes)


def read_idx(path: str | os.PathLike, ndim: int) -> np.ndarray:
    """An IDX file of bytes with ``ndim`` axes, plain or compressed (``.gz``).

    The format: two zero bytes, a type (8: unsigned bytes), the number of axes, each axis' length as a big-endian 32-bit
    number, then the values.

    Raises:
        DataError: It is not that.
    """
    path = Path(path)
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as wrong:
        raise DataError(f"{path}: cannot be read ({wrong}).") from wrong
    if data[:4] != bytes((0, 0, _UNSIGNED_BYTES, ndim)) or len(data) < 4 + 4 * ndim:
        begins = f"begins with {data[:4].hex()}" if data else "is empty"
        raise DataError(f"{path}: not an IDX file of bytes with {ndim} axes (it {begins}).")
    shape = tuple(np.frombuffer(data, ">u4", ndim, offset=4).tolist())
    found = len(data) - 4 - 4 * ndim
    if found != math.prod(shape):
        raise DataError(f"{path}: {found} bytes of values where {math.prod(shape)} are announced; is it cut off?")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * ndim).reshape(shape).copy()


def _find(folder: Path, stem: str, name: str) -> Path:
    places = [folder / stem, folder / f"{stem}.gz"]
    for place in places:
        if place.is_file():
            return place
    raise DataError(
        f"{name}: no {stem} or {stem}.gz in {folder}. Put the IDX files there, give another root (--root), or let "
        "torchvision fetch them (download=True, --download)."
    )
