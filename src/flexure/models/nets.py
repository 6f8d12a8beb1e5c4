"""The networks that Flexure builds itself, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import nn

from flexure.models.alexnet import AlexNet
from flexure.models.efficientnet import EfficientNetB0
from flexure.models.fnn import SkipFNN, fnn, fnn3, fnn_sigmoid
from flexure.models.mlp import densenetl2, densenetl4, densenetl6
from flexure.models.mnist_cnn import MNISTCNN
from flexure.models.normalization import NORMALIZATIONS, Normalization
from flexure.models.residual import resnet18, resnet34, resnet50
from flexure.models.resnet import resnet20, resnet32, resnet44, resnet56
from flexure.models.simple_cnn import SimpleCNN, conv_gap
from flexure.models.small import LeNet, LeNet5, LeNet8, SmallCNN
from flexure.models.vgg import vgg11, vgg11bn, vgg13, vgg13bn, vgg16, vgg16bn, vgg19, vgg19bn

__all__ = ["NETS", "Net"]


@dataclass(frozen=True)
class Net:
    """How to build a network, and what its inputs are.

    Attributes:
        factory: Called as ``factory(num_classes=…, channels=…)``; also takes ``width``, a factor on its layers'
            channels.
        image_size: ``(height, width)`` it is usually trained at.
        channels: Channels of those images.
        normalize: ``(mean, std)`` its published weights were trained with; None: pixels in [0, 1] as they are.
        is_sized: Whether the factory also takes ``image_size``, because the weights depend on it.
    """

    factory: Callable[..., nn.Module]
    image_size: tuple[int, int]
    channels: int
    normalize: Normalization | None = None
    is_sized: bool = False


_CIFAR10, _IMAGENET = NORMALIZATIONS["cifar10"], NORMALIZATIONS["imagenet"]

NETS: Mapping[str, Net] = MappingProxyType(
    {
        "small_cnn": Net(SmallCNN, (28, 28), 1),
        "lenet5": Net(LeNet5, (28, 28), 1),
        "lenet8": Net(LeNet8, (8, 8), 1),
        "resnet20": Net(resnet20, (32, 32), 3, _IMAGENET),
        "resnet32": Net(resnet32, (32, 32), 3, _IMAGENET),
        "resnet44": Net(resnet44, (32, 32), 3, _IMAGENET),
        "resnet56": Net(resnet56, (32, 32), 3, _IMAGENET),
        "lenet": Net(LeNet, (32, 32), 3, _CIFAR10),
        "alexnet": Net(AlexNet, (32, 32), 3, _CIFAR10),
        "vgg11": Net(vgg11, (32, 32), 3, _CIFAR10),
        "vgg11bn": Net(vgg11bn, (32, 32), 3, _CIFAR10),
        "vgg13": Net(vgg13, (32, 32), 3, _CIFAR10),
        "vgg13bn": Net(vgg13bn, (32, 32), 3, _CIFAR10),
        "vgg16": Net(vgg16, (32, 32), 3, _CIFAR10),
        "vgg16bn": Net(vgg16bn, (32, 32), 3, _CIFAR10),
        "vgg19": Net(vgg19, (32, 32), 3, _CIFAR10),
        "vgg19bn": Net(vgg19bn, (32, 32), 3, _CIFAR10),
        "resnet18": Net(resnet18, (32, 32), 3, _CIFAR10),
        "resnet34": Net(resnet34, (32, 32), 3, _CIFAR10),
        "resnet50": Net(resnet50, (32, 32), 3, _CIFAR10),
        "efficientnetb0": Net(EfficientNetB0, (32, 32), 3, _CIFAR10),
        "densenetl2": Net(densenetl2, (32, 32), 3, _CIFAR10, is_sized=True),
        "densenetl4": Net(densenetl4, (32, 32), 3, _CIFAR10, is_sized=True),
        "densenetl6": Net(densenetl6, (32, 32), 3, _CIFAR10, is_sized=True),
        "simple_cnn": Net(SimpleCNN, (1, 128), 1),
        "conv_gap": Net(conv_gap, (28, 28), 1),
        "fnn": Net(fnn, (28, 28), 1, is_sized=True),
        "fnn3": Net(fnn3, (28, 28), 1, is_sized=True),
        "fnn_sigmoid": Net(fnn_sigmoid, (28, 28), 1, is_sized=True),
        "fnn_skip": Net(SkipFNN, (28, 28), 1, is_sized=True),
        "mnist_cnn": Net(MNISTCNN, (28, 28), 1, is_sized=True),
    }
)
"""Names are in lower case and looked up in any; the papers write ``LeNet``, ``VGG11bn``, ``ResNet18``, ``DenseNetL4``.

The small residual networks come with ImageNet's statistics: their best-known weights were trained with those."""
