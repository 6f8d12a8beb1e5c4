"""A short name for exactly these images."""

import hashlib

import numpy as np

from flexure.data.stream import Images, labels_of

__all__ = ["content_hash"]

_ENDS = 8


def content_hash(images: Images) -> str:
    """Are these the images that were measured? Sixteen hexadecimal digits for a run's provenance.

    The first half of a SHA-256 over the indices, all labels where they are known without reading, and the pixels,
    labels and indices of the first and last eight images as they are read. It tells another sample, order, size or data
    set; it does not notice a change within the images between. The name is left out, so that the same data under
    another path keep their hash.

    Cost: reads sixteen images.
    """
    digest = hashlib.sha256()
    digest.update(np.ascontiguousarray(images.indices, dtype="<i8").tobytes())
    labels = labels_of(images)
    if labels is not None:
        digest.update(np.ascontiguousarray(labels, dtype="<i8").tobytes())
    count = len(images)
    batch = images.read(sorted({*range(min(_ENDS, count)), *range(max(count - _ENDS, 0), count)}))
    for tensor in (batch.x, batch.y, batch.index):
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
