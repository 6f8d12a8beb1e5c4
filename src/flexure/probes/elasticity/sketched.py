"""The tangent kernel of a sketch, strip by strip, and how far it is from the exact one."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from flexure.probes.elasticity.kernel import KERNEL, OWN, OWN_TO, blocks
from flexure.probes.elasticity.sketch import Sketch

__all__ = ["SKETCH", "KernelStrips", "SketchStrips", "checked_places", "measured_error"]

SKETCH = "sketch"
_CHECKED = 32  # images whose exact kernel the sketch is held against
_STRIP = 256  # images that are sketched, and kept, together


@dataclass(frozen=True, eq=False)
class SketchStrips:
    """The sketches of images, some at a time.

    Attributes:
        sketch: The random map.
        x: Normalized images.
        batch: Images in a pass.
    """

    sketch: Sketch
    x: torch.Tensor
    batch: int

    @property
    def places(self) -> list[slice]:
        """The images of each strip."""
        return blocks(0, len(self.x), _STRIP)

    def strip(self, number: int) -> dict[str, torch.Tensor]:
        """Sketches ``(images, k)`` and ``own (parameters, images)``."""
        images = self.places[number]
        parts = [self.sketch.rows(self.x[some]) for some in blocks(images.start, images.stop, self.batch)]
        found, own = zip(*parts, strict=True)
        return {SKETCH: torch.cat(found), OWN: torch.cat(own, 1)}


@dataclass(frozen=True, eq=False)
class KernelStrips:
    """Inner products of sketches.

    Attributes:
        one, two: Sketches of the rows' images and of the columns'; the same where these are.
        own, own_to: What each parameter adds to the exact kernel of an image with itself ``(parameters, images)``;
            None for the columns where they are the rows' images.
        rows: Images of a strip.
    """

    one: torch.Tensor
    two: torch.Tensor
    own: torch.Tensor
    own_to: torch.Tensor | None
    rows: int

    @property
    def places(self) -> list[slice]:
        """The rows of each strip."""
        return blocks(0, len(self.one), self.rows)

    def strip(self, number: int) -> dict[str, torch.Tensor]:
        """Rows of the kernel from the column of the first on, and the sums."""
        rows = self.places[number]
        left = rows.start if self.own_to is None else 0
        mine, found = self.one[rows].double(), []
        for columns in blocks(left, len(self.two), self.rows):
            found.append(mine @ self.two[columns].double().T)
        strip = {KERNEL: torch.cat(found, 1), OWN: self.own[:, rows]}
        return strip | ({OWN_TO: self.own_to} if self.own_to is not None and number == 0 else {})


def checked_places(n: int) -> np.ndarray:
    """Images whose exact kernel is computed, too, evenly spread."""
    return np.unique(np.linspace(0, n - 1, min(n, _CHECKED)).astype(int))


def measured_error(exact: np.ndarray, sketched: np.ndarray, errors: np.ndarray) -> dict[str, float]:
    """How far a sketched kernel is from the exact one, and how far it was expected to be; where both are finite.

    Args:
        exact: Of some images.
        sketched: Of the same.
        errors: Standard errors by the formula.

    Returns:
        ``sketch_error``: norm of the difference over that of the exact kernel; ``sketch_expected``: the same of the
        standard errors; ``sketch_worst``: the largest difference in standard errors; ``sketch_images``.
    """
    fine = np.isfinite(exact) & np.isfinite(sketched) & (errors > 0)
    gap, norm = (sketched - exact)[fine], np.linalg.norm(exact[fine])
    return {
        "sketch_images": float(len(exact)),
        "sketch_error": float(np.linalg.norm(gap) / norm) if norm > 0 else math.nan,
        "sketch_expected": float(np.linalg.norm(errors[fine]) / norm) if norm > 0 else math.nan,
        "sketch_worst": float(np.max(np.abs(gap) / errors[fine], initial=0.0)),
    }
