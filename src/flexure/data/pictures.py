"""From picture files and arrays of all kinds to ``(C, H, W)``, and to one size."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from flexure.errors import ArgumentError, DataError

__all__ = ["BROKEN", "Size", "as_size", "as_unit", "decode", "fit", "fit_picture", "header", "to_array", "to_tensor"]

Size = tuple[int, int]

BROKEN = (OSError, SyntaxError, EOFError, Image.DecompressionBombError)
"""What Pillow raises on a damaged file: cut off, not a picture, a broken PNG chunk, or absurdly large."""


def as_size(size: int | Size | None) -> Size | None:
    """``image_size`` as ``(height, width)``; one number means a square.

    Raises:
        ArgumentError: A side is below 1, or there are not one or two.
    """
    if size is None:
        return None
    pair = (size, size) if isinstance(size, int) else tuple(int(side) for side in size)
    if len(pair) != 2 or min(pair) < 1:
        raise ArgumentError(f"image_size must be one side or (height, width), each at least 1; got {size}.")
    return pair


def header(path: Path) -> Size:
    """``(height, width)`` of a picture file, from its header alone."""
    with Image.open(path) as picture:
        return picture.height, picture.width


def decode(path: Path, channels: int, size: Size | None) -> np.ndarray:
    """A picture file as ``(H, W, channels)`` bytes, fitted to ``size``; raises one of ``BROKEN`` on a damaged file."""
    with Image.open(path) as picture:
        return to_array(picture, channels, size)


def to_array(picture: Image.Image, channels: int | None, size: Size | None = None) -> np.ndarray:
    """A Pillow picture as ``(H, W, C)`` bytes.

    Args:
        picture: Of any mode. Transparency is dropped, 16-bit gray is scaled to 8 bits.
        channels: 3: RGB; 1: gray; None: gray stays gray and all else becomes RGB.
        size: ``(height, width)`` to fit to, by :func:`fit_picture`.

    Raises:
        DataError: The picture holds floating-point numbers, whose range nobody knows.
    """
    picture = _eight_bit(picture)
    mode = {1: "L", 3: "RGB", None: "L" if picture.mode in ("1", "L", "LA") else "RGB"}[channels]
    if picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    picture = picture if picture.mode == mode else picture.convert(mode)
    array = np.array(picture if size is None else fit_picture(picture, size))
    return array[:, :, None] if array.ndim == 2 else array


def _eight_bit(picture: Image.Image) -> Image.Image:
    if picture.mode == "F":
        raise DataError("a picture of floating-point numbers; convert it to 8 bits, so that its range is known")
    if picture.mode.startswith("I"):
        return Image.fromarray((np.asarray(picture).clip(0, 65535) / 257).round().astype(np.uint8))
    return picture


def fit_picture(picture: Image.Image, size: Size) -> Image.Image:
    """Resize until ``size`` is just covered (bilinear, antialiased), then cut out the center."""
    (height, width), (top, left) = _cover((picture.height, picture.width), size)
    if (height, width) != (picture.height, picture.width):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    return picture.crop((left, top, left + size[1], top + size[0]))


def fit(x: torch.Tensor, size: Size | None) -> torch.Tensor:
    """Images ``(b, C, H, W)`` fitted to ``size`` as :func:`fit_picture` does; as they are where ``size`` is None."""
    if size is None or tuple(x.shape[-2:]) == size:
        return x
    (height, width), (top, left) = _cover((x.shape[-2], x.shape[-1]), size)
    x = F.interpolate(x, (height, width), mode="bilinear", antialias=True)
    return x[..., top : top + size[0], left : left + size[1]]


def _cover(found: Size, wanted: Size) -> tuple[Size, Size]:
    """Size after resizing, and the corner of the center cut: for a square that of torchvision's Resize + CenterCrop."""
    (h, w), (height, width) = found, wanted
    tall = height * w >= width * h  # the height decides; the width follows and is cut
    covered = (height, max(width, w * height // h)) if tall else (max(height, h * width // w), width)
    return covered, (round((covered[0] - height) / 2), round((covered[1] - width) / 2))


def to_tensor(item: Any, channels: int | None = None) -> torch.Tensor:
    """One image of a data set as ``(C, H, W)``, bytes or floating point.

    A Pillow picture, a tensor ``(C, H, W)`` or ``(H, W)``, or an array ``(H, W)``, ``(C, H, W)`` or, told by a last
    axis of 1 or 3 with a first that is neither, ``(H, W, C)``.

    Raises:
        DataError: It is none of these.
    """
    if isinstance(item, Image.Image):
        return torch.from_numpy(to_array(item, channels)).permute(2, 0, 1)
    if isinstance(item, np.ndarray):
        last = item.ndim == 3 and item.shape[2] in (1, 3) and item.shape[0] not in (1, 3)
        item = torch.from_numpy(np.array(item.transpose(2, 0, 1) if last else item, order="C"))
    if not isinstance(item, torch.Tensor) or item.ndim not in (2, 3):
        found = f"{type(item).__name__} {tuple(item.shape)}" if hasattr(item, "shape") else type(item).__name__
        raise DataError(f"an image must be a picture, a tensor (C, H, W) or an array (H, W, C); got {found}")
    return item.detach()[None] if item.ndim == 2 else item.detach()


def as_unit(x: torch.Tensor) -> torch.Tensor:
    """Bytes scaled to [0, 1] as float32; floating-point numbers as they are."""
    return x.to(torch.float32).div_(255) if x.dtype == torch.uint8 else x
