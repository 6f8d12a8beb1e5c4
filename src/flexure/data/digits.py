"""scikit-learn's handwritten digits: 1,797 real images that need no download."""

import numpy as np
import torch
import torch.nn.functional as F

from flexure.data.tensors import TensorImages

__all__ = ["digits", "digits8"]


def digits8() -> TensorImages:
    """The digits as they are: ``(1797, 1, 8, 8)``, float32 in [0, 1], 17 gray levels, about 180 of each class."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    x = torch.from_numpy(np.asarray(pixels, dtype=np.float32) / 16).view(-1, 1, 8, 8)
    return TensorImages(x, np.asarray(labels, dtype=np.int64), "digits8", tuple(map(str, range(10))))


def digits() -> TensorImages:
    """The same, enlarged bilinearly to ``(1797, 1, 28, 28)`` (corners not aligned)."""
    small = digits8()
    x = F.interpolate(small.x, (28, 28), mode="bilinear", align_corners=False)
    return TensorImages(x, small.labels, "digits", small.classes)
