"""Images that are read often, kept in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from flexure.data.pictures import as_unit
from flexure.data.sample import Selected
from flexure.data.stream import Batch, Images, notes_of
from flexure.data.tensors import TensorImages

__all__ = ["Remembered", "in_memory"]

_PORTION = 512


@dataclass(frozen=True, eq=False)
class Remembered:
    """Images of another set, read once.

    Attributes:
        base: The set.
        x: Those that could be read ``(n, C, H, W)``, as bytes where nothing is lost by it.
        labels: Class index at each position of the set, -1 where there is none or the image cannot be read.
        rows: Row of ``x`` at each position of the set; -1 where the image cannot be read.
        skipped: ``(index, reason)`` by position.
    """

    base: Images
    x: torch.Tensor
    labels: np.ndarray
    rows: np.ndarray
    skipped: dict[int, tuple[int, str]]

    @property
    def name(self) -> str:
        """Name of the set."""
        return self.base.name

    @property
    def indices(self) -> np.ndarray:
        """Index of each image in the full set."""
        return self.base.indices

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Class names of the set."""
        return self.base.classes

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth knowing about the set."""
        return notes_of(self.base)

    def __len__(self) -> int:
        return len(self.base)

    def read(self, positions: Sequence[int]) -> Batch:
        """Copies of the images at these positions."""
        at = np.asarray(positions, dtype=np.int64)
        good = at[self.rows[at] >= 0]
        skipped = tuple(self.skipped[int(position)] for position in at if int(position) in self.skipped)
        x = as_unit(self.x[torch.from_numpy(self.rows[good])])
        return Batch(x, torch.from_numpy(self.labels[good]), torch.as_tensor(self.base.indices[good]), skipped)


def in_memory(images: Images, *, limit: int = 2 << 30) -> Images:
    """The same images, read once: for a training, which would read them again in every epoch.

    Args:
        images: Left as they are if they lie in memory already, or would take more than ``limit``.
        limit: Bytes.

    Cost: reads every image once; 1 byte per pixel value where all are whole 255ths, as pictures are, else their own.
    """
    first = images.read([0])
    size = first.x.numel() * len(images)
    if size > limit or _is_at_hand(images):
        return images
    parts = [_compact(images.read(positions.tolist())) for positions in torch.arange(len(images)).split(_PORTION)]
    batches = [batch for batch, _ in parts]
    kinds = {x.dtype for _, x in parts if len(x)}
    kept = [x if len(kinds) == 1 else as_unit(x) for _, x in parts if len(x)]
    if not kept or sum(x.nbytes for x in kept) > limit:
        return images
    reasons = {index: (index, why) for batch in batches for index, why in batch.skipped}
    position = {int(index): place for place, index in enumerate(images.indices)}
    index = torch.cat([batch.index for batch in batches]).numpy()
    rows, labels = np.full(len(images), -1, dtype=np.int64), np.full(len(images), -1, dtype=np.int64)
    places = np.array([position[int(one)] for one in index], dtype=np.int64)
    rows[places] = np.arange(len(places))
    labels[places] = torch.cat([batch.y for batch in batches]).numpy()
    return Remembered(images, torch.cat(kept), labels, rows, {position[one]: entry for one, entry in reasons.items()})


def _compact(batch: Batch) -> tuple[Batch, torch.Tensor]:
    """A batch, and its images as bytes where that is exact."""
    bytes_ = (batch.x * 255).round().clamp(0, 255).to(torch.uint8)
    exact = batch.x.dtype == torch.float32 and torch.equal(as_unit(bytes_), batch.x)
    return replace(batch, x=batch.x[:0]), bytes_ if exact else batch.x


def _is_at_hand(images: Images) -> bool:
    """Whether reading is no more than looking up."""
    base = images.base if isinstance(images, Selected) else images
    return isinstance(base, TensorImages) and base.image_size in (None, tuple(base.x.shape[-2:]))
