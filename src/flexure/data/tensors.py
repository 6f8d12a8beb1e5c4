"""Images that lie in memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from flexure.data.pictures import Size, as_unit, fit
from flexure.data.stream import Batch
from flexure.errors import DataError

__all__ = ["TensorImages", "class_indices"]


@dataclass(frozen=True, eq=False)
class TensorImages:
    """Images in one tensor.

    Attributes:
        x: ``(n, C, H, W)``, bytes (scaled to [0, 1] when read) or floating point (read as they are).
        labels: Class indices ``(n,)``, int64, -1 where there is none; or None.
        name: As printed on the page.
        classes: Class names.
        image_size: Each batch is fitted to this when read: the shorter side resized (bilinear, antialiased), the
            center cut out. None: as they are.
        notes: Sentences that belong beside every number measured on them.
    """

    x: torch.Tensor
    labels: np.ndarray | None = None
    name: str = "tensors"
    classes: tuple[str, ...] | None = None
    image_size: Size | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        x = self.x
        if x.ndim != 4:
            raise DataError(f"{self.name}: images must be (n, C, H, W); got {tuple(x.shape)}.{_axis_hint(x)}")
        if not len(x):
            raise DataError(f"{self.name}: there is no image in it (shape {tuple(x.shape)}).")
        if x.dtype != torch.uint8 and not x.is_floating_point():
            raise DataError(f"{self.name}: images must be floating point or bytes (uint8); got {x.dtype}.")
        if x.shape[1] not in (1, 3, 4) and x.shape[3] in (1, 3, 4):
            raise DataError(f"{self.name}: {tuple(x.shape)} looks like channels last; use x.permute(0, 3, 1, 2).")
        if self.labels is not None and len(self.labels) != len(x):
            raise DataError(f"{self.name}: {len(x)} images but {len(self.labels)} labels.")
        object.__setattr__(self, "x", x.detach())

    @property
    def indices(self) -> np.ndarray:
        """0 … n - 1."""
        return np.arange(len(self.x), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.x)

    def read(self, positions: Sequence[int]) -> Batch:
        """Copies of the images at these positions, on the device of ``x``."""
        at = torch.as_tensor(np.asarray(positions, dtype=np.int64))
        x = fit(as_unit(self.x[at.to(self.x.device)]), self.image_size)
        y = torch.full_like(at, -1) if self.labels is None else torch.from_numpy(self.labels)[at]
        return Batch(x, y, at)


def class_indices(y: torch.Tensor | np.ndarray, name: str) -> np.ndarray:
    """Labels as int64 ``(n,)``.

    Raises:
        DataError: They are not one whole number per image (one-hot rows, probabilities, regression targets).
    """
    labels = y.detach().cpu().numpy() if isinstance(y, torch.Tensor) else np.asarray(y)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        found = f"{labels.dtype} {labels.shape}"
        raise DataError(f"{name}: labels must be class indices (n,), whole numbers; got {found}. One-hot? argmax(1).")
    return labels.astype(np.int64)


def _axis_hint(x: torch.Tensor) -> str:
    return " Gray images? Add the channel axis: x[:, None]." if x.ndim == 3 else ""
