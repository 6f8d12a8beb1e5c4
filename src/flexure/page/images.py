"""Sample images as the page shows them: PNG in the file itself, and the deformed lattice as a small drawing."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

__all__ = ["Samples", "lattice", "png", "samples", "shades"]

_LARGEST = 112
_CELLS = 8
_POINTS = 25
_ROWS = {"sample_image": "original", "sample_deformed": "{bent}", "sample_noisy": "with noise"}


@dataclass(frozen=True)
class Samples:
    """What was done to a few images.

    Attributes:
        rows: Label and data URIs, one per image, for the original and what was made of it.
        lattices: One SVG path per image, in pixels of the image.
        size: ``(width, height)`` of the image in pixels.
        magnified: How many times larger than true the lattices draw the displacement.
        index: Index of each image in the full set.
        remarks: What was done to make the values visible.
        bent: What to call images that were bent.
    """

    rows: list[tuple[str, list[str]]]
    lattices: list[str]
    size: tuple[int, int]
    magnified: int
    index: list[int]
    remarks: list[str]
    bent: str = "deformed"


def samples(arrays: Mapping[str, np.ndarray], bounds: Any, budget: int, bent: str = "deformed") -> Samples | None:
    """As many of a result's sample images as fit into ``budget`` bytes, at least one; None where it has none.

    ``bent`` is what to call images that were.
    """
    found = {name: np.nan_to_num(arrays[name]) for name in _ROWS if name in arrays and len(arrays[name])}
    if "sample_image" not in found:
        return None
    low, high = shades(found["sample_image"], bounds)
    rows = [[png(image, low, high) for image in images] for images in found.values()]
    sizes = np.cumsum([sum(map(len, uris)) for uris in zip(*rows, strict=True)])
    count = max(int((sizes <= budget).sum()), 1)
    height, width = found["sample_image"].shape[-2:]
    field = np.asarray(arrays.get("sample_field", np.zeros((0, 2, height, width))), dtype=float)[:count]
    magnified = _magnification(field, min(height, width) / _CELLS)
    index = arrays.get("sample_index", np.arange(count))[:count]
    remarks = _remarks(found, low, high, count)
    labelled = [(_ROWS[name].format(bent=bent), uris[:count]) for name, uris in zip(found, rows, strict=True)]
    lattices = [lattice(one * magnified) for one in field]
    return Samples(labelled, lattices, (width, height), magnified, index.tolist(), remarks, bent)


def shades(images: np.ndarray, bounds: Any) -> tuple[float, float]:
    """Black and white: the specimen's bounds, else [0, 1] where that holds the originals, else their extremes."""
    if bounds is not None:
        return float(bounds[0]), float(bounds[1])
    low, high = float(images.min()), float(images.max())
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high if high > low else low + 1)


def _remarks(found: Mapping[str, np.ndarray], low: float, high: float, count: int) -> list[str]:
    remarks = []
    channels = found["sample_image"].shape[1]
    if channels not in (1, 3):
        remarks.append(f"The images have {channels} channels; shown is their mean.")
    if any((images[:count].min() < low) or (images[:count].max() > high) for images in found.values()):
        remarks.append(f"Values outside [{low:g}, {high:g}] are cut for display only, not for the network.")
    return remarks


def png(image: np.ndarray, low: float, high: float) -> str:
    """An image ``(C, H, W)`` with these values for black and white as a data URI; larger than 112 pixels, reduced."""
    channels = image if image.shape[0] in (1, 3) else image.mean(0, keepdims=True)
    values = np.clip((channels - low) / (high - low), 0, 1)
    pixels = np.round(255 * values).astype(np.uint8).transpose(1, 2, 0)
    drawn = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    drawn.thumbnail((_LARGEST, _LARGEST), Image.Resampling.BOX)
    file = io.BytesIO()
    drawn.save(file, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _magnification(field: np.ndarray, cell: float) -> int:
    """The largest of 1, 2, 5, 10, … at which the typical displacement stays below half a cell."""
    typical = float(np.sqrt((field**2).sum(1).mean())) if field.size else 0.0
    return max(k for k in (1, 2, 5, 10, 20, 50) if k == 1 or 0 < k * typical <= cell / 2)


def lattice(field: np.ndarray) -> str:
    r"""Where the lines of a square lattice drawn on the original lie in the deformed image, as an SVG path.

    The warp reads the deformed image's pixel :math:`s` at :math:`s - \tau(s)`, so a point :math:`p` of the original
    shows up where :math:`s = p + \tau(s)`; that is iterated, and converges where the deformation does not fold.

    Args:
        field: Displacement ``(2, H, W)`` in pixels, columns first.
    """
    height, width = field.shape[1:]
    ends = np.array([width - 1, height - 1])
    along, across = np.linspace(0, 1, _POINTS), np.linspace(0, 1, _CELLS + 1)
    vertical = np.stack(np.broadcast_arrays(across[:, None], along), -1)
    lines = np.concatenate([vertical, vertical[..., ::-1]]) * ends
    points = lines
    for _ in range(12):
        points = lines + _at(field, points)
    texts = [" ".join(f"{x:.1f},{y:.1f}" for x, y in line + 0.5) for line in points]
    return "".join(f"M{text}" for text in texts)


def _at(field: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The field at points ``(..., 2)`` given as (column, row), bilinear between pixels, clamped at the border."""
    height, width = field.shape[1:]
    x, y = np.clip(points[..., 0], 0, width - 1), np.clip(points[..., 1], 0, height - 1)
    left, top = np.minimum(x.astype(int), max(width - 2, 0)), np.minimum(y.astype(int), max(height - 2, 0))
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    u, v = x - left, y - top
    upper = field[:, top, left] * (1 - u) + field[:, top, right] * u
    lower = field[:, bottom, left] * (1 - u) + field[:, bottom, right] * u
    return np.moveaxis(upper * (1 - v) + lower * v, 0, -1)
