"""Images as a network on the bench takes them, less those that cannot be used."""

from collections.abc import Sequence

import torch

from flexure.bench import Mounted
from flexure.data.stream import Batch, Images
from flexure.errors import DataError

__all__ = ["usable", "usable_batch"]


def usable(
    images: Images, positions: Sequence[int], mounted: Mounted
) -> tuple[torch.Tensor, torch.Tensor, dict[int, str]]:
    """Raw images and indices on the network's device, less those that cannot be used, with the reasons.

    Raises:
        DataError: Values outside the specimen's bounds.
    """
    batch = usable_batch(images, positions, mounted)
    return batch.x, batch.index, dict(batch.skipped)


def usable_batch(images: Images, positions: Sequence[int], mounted: Mounted) -> Batch:
    """The same with the labels, all on the network's device.

    Raises:
        DataError: Values outside the specimen's bounds.
    """
    batch = images.read(positions)
    x, y, index = batch.x.to(mounted.device, mounted.dtype), batch.y.to(mounted.device), batch.index.to(mounted.device)
    skipped = dict(batch.skipped)
    if not bool(x.flatten(1).sum(1).isfinite().all()):  # else every number is
        finite = x.flatten(1).isfinite().all(1)
        skipped |= {int(i): "non-finite pixels" for i in index[~finite]}
        x, y, index = x[finite], y[finite], index[finite]
    bounds = mounted.specimen.bounds
    if bounds is not None and len(x):
        low, high = float(x.min()), float(x.max())
        slack = 1e-6 * (bounds[1] - bounds[0])
        if low < bounds[0] - slack or high > bounds[1] + slack:
            cause = "Already normalized? Give the statistics to Specimen(normalize=...) and pass raw inputs."
            if tuple(bounds) == (0, 1) and low >= 0 and 16 < high <= 255:
                cause = "Bytes from 0 to 255? Divide them by 255."
            raise DataError(
                f"{images.name}: images {int(index[0])} to {int(index[-1])} span [{low:.2f}, {high:.2f}], outside "
                f"bounds {bounds}. {cause}"
            )
    return Batch(x, y, index, tuple(skipped.items()))
