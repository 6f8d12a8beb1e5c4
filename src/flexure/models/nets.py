"""The networks that Flexure builds itself, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import nn

from flexure.models.normalization import NORMALIZATIONS, Normalization
from flexure.models.resnet import resnet20, resnet32, resnet44, resnet56
from flexure.models.small import LeNet5, SmallCNN

__all__ = ["NETS", "Net"]


@dataclass(frozen=True)
class Net:
    """How to build a network, and what its inputs are.

    Attributes:
        factory: Called as ``factory(num_classes=…, channels=…)``.
        image_size: ``(height, width)`` it is usually trained at.
        channels: Channels of those images.
        normalize: ``(mean, std)`` its published weights were trained with; None: pixels in [0, 1] as they are.
    """

    factory: Callable[..., nn.Module]
    image_size: tuple[int, int]
    channels: int
    normalize: Normalization | None = None


_IMAGENET = NORMALIZATIONS["imagenet"]

NETS: Mapping[str, Net] = MappingProxyType(
    {
        "small_cnn": Net(SmallCNN, (28, 28), 1),
        "lenet5": Net(LeNet5, (28, 28), 1),
        "resnet20": Net(resnet20, (32, 32), 3, _IMAGENET),
        "resnet32": Net(resnet32, (32, 32), 3, _IMAGENET),
        "resnet44": Net(resnet44, (32, 32), 3, _IMAGENET),
        "resnet56": Net(resnet56, (32, 32), 3, _IMAGENET),
    }
)
"""The small residual networks come with ImageNet's statistics: their best-known weights were trained with those."""
