"""Simonyan and Zisserman's networks as they are trained on CIFAR-10: one linear layer at the end."""

from collections.abc import Sequence

import torch
from torch import nn

from flexure.models.sizes import padded, scaled

__all__ = ["VGG", "vgg11", "vgg11bn", "vgg13", "vgg13bn", "vgg16", "vgg16bn", "vgg19", "vgg19bn"]

_CHANNELS = (64, 128, 256, 512, 512)
_SIDE = 32


class VGG(nn.Module):
    """Five stages of 3 x 3 convolutions with ReLU, a max pool after each, and a linear layer.

    Parameters are named as in the implementations most trained weights come from: ``features.0`` …, ``classifier``.
    Images smaller than 32 x 32 get a frame of zeros; what is left of larger ones is averaged before the linear layer.

    Args:
        stages: Convolutions in each of the five stages.
        batch_norm: Whether a batch norm follows each of them.
        num_classes: Outputs.
        channels: Channels of the images.
        width: Factor on 64, 128, 256, 512 and 512 channels; 4 at least.

    Source: Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition (2015), whose
        three linear layers of ImageNet size are one here; layers keep PyTorch's default initialization.
    """

    def __init__(
        self, stages: Sequence[int], *, batch_norm: bool, num_classes: int = 10, channels: int = 3, width: float = 1.0
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for convolutions, published in zip(stages, _CHANNELS, strict=True):
            wide = scaled(published, width)
            for _ in range(convolutions):
                layers += [nn.Conv2d(channels, wide, 3, padding=1), *_norm(wide, batch_norm), nn.ReLU()]
                channels = wide
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``(b, channels, H, W)`` to logits ``(b, num_classes)``."""
        return self.classifier(self.flatten(self.pool(self.features(padded(x, _SIDE)))))


def vgg11(*, num_classes: int = 10, channels: int = 3, width: float = 1.0) -> VGG:
    """Eight convolutions, 9.2 million parameters."""
    return VGG((1, 1, 2, 2, 2), batch_norm=False, num_classes=num_classes, channels=channels, width=width)


def vgg11bn(*, num_classes: int = 10, channels: int = 3, width: float = 1.0) -> VGG:
    """Eight convolutions with batch norm, 9.2 million parameters."""
    return VGG((1, 1, 2, 2, 2), batch_norm=True, num_classes=num_classes, channels=channels, width=width)


def vgg13(*, num_classes: int = 10, channels: int = 3, width: float = 1.0) -> VGG:
    """Ten convolutions, 9.4 million parameters."""
    return VGG((2, 2, 2, 2, 2), batch_norm=False, num_classes=num_classes, channels=channels, width=width)


def vgg13bn(*, num_classes: int = 10, channels: int = 3, width: float = 1.0) -> VGG:
    """Ten convolutions with batch norm, 9.4 million parameters."""
    return VGG((2, 2, 2, 2, 2), batch_norm=True, num_classes=num_classes, channels=channels, width=width)


def vgg16(*, num_classes: int = 10, channels: int = 3, width: float = 1.0) -> VGG:
    """Thirteen convolutions, 14.7 million parameters."""
    return VGG((2, 2, 3, 3, 3), batch_norm=False, num_classes=num_classes, channels=channels, width=width)


def vgg16bn(*, num_classes: int = 10, channels: int = 3, width: float = 1.0) -> VGG:
    """Thirteen convolutions with batch norm, 14.7 million parameters."""
    return VGG((2, 2, 3, 3, 3), batch_norm=True, num_classes=num_classes, channels=channels, width=width)


def vgg19(*, num_classes: int = 10, channels: int = 3, width: float = 1.0) -> VGG:
    """Sixteen convolutions, 20.0 million parameters."""
    return VGG((2, 2, 4, 4, 4), batch_norm=False, num_classes=num_classes, channels=channels, width=width)


def vgg19bn(*, num_classes: int = 10, channels: int = 3, width: float = 1.0) -> VGG:
    """Sixteen convolutions with batch norm, 20.0 million parameters."""
    return VGG((2, 2, 4, 4, 4), batch_norm=True, num_classes=num_classes, channels=channels, width=width)


def _norm(channels: int, batch_norm: bool) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels)] if batch_norm else []
