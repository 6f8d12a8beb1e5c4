"""The small residual networks that He et al. trained on CIFAR-10."""

import torch
import torch.nn.functional as F
from torch import nn

from flexure.models.sizes import scaled

__all__ = ["CifarResNet", "resnet20", "resnet32", "resnet44", "resnet56"]


class Subsample(nn.Module):
    """A shortcut without weights (He et al.'s option A): every second pixel, and zeros for the further channels."""

    def __init__(self, more_channels: int) -> None:
        super().__init__()
        self.more_channels = more_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(b, C, H, W)`` to ``(b, C + more, H / 2, W / 2)``; half of the zero channels go to either end."""
        first = self.more_channels // 2
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, first, self.more_channels - first))


class Block(nn.Module):
    """Two 3 x 3 convolutions and a shortcut."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.shortcut = Subsample(width - channels) if stride != 1 or width != channels else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(b, channels, H, W)`` to ``(b, width, H / stride, W / stride)``."""
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu2(y + (x if self.shortcut is None else self.shortcut(x)))


class CifarResNet(nn.Module):
    """A residual network of ``6 n + 2`` layers: 16, 32 and 64 channels, ``n`` blocks of each.

    Parameters are named as in the implementations most trained weights come from: ``conv1``, ``bn1``,
    ``layer1.0.conv1`` … ``layer3.2.bn2``, ``linear``.

    Args:
        n: Blocks per stage (3 in the ResNet-20).
        num_classes: Outputs.
        channels: Channels of the images.
        width: Factor on 16, 32 and 64 channels; 4 at least.

    Source: He et al., Deep Residual Learning for Image Recognition (2016), section 4.2, with option A shortcuts;
        convolutions and the last layer are initialized by He's normal law, as there.
    """

    def __init__(self, n: int, *, num_classes: int = 10, channels: int = 3, width: float = 1.0) -> None:
        super().__init__()
        first, second, third = (scaled(published, width) for published in (16, 32, 64))
        self.conv1 = nn.Conv2d(channels, first, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.relu = nn.ReLU()
        self.layer1 = _stage(n, first, first, stride=1)
        self.layer2 = _stage(n, first, second, stride=2)
        self.layer3 = _stage(n, second, third, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(third, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``(b, channels, H, W)`` to logits ``(b, num_classes)``."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(self.flatten(self.pool(x)))


def resnet20(*, num_classes: int = 10, channels: int = 3, width: float = 1.0) -> CifarResNet:
    """20 layers, 0.27 million parameters."""
    return CifarResNet(3, num_classes=num_classes, channels=channels, width=width)


def resnet32(*, num_classes: int = 10, channels: int = 3, width: float = 1.0) -> CifarResNet:
    """32 layers, 0.46 million parameters."""
    return CifarResNet(5, num_classes=num_classes, channels=channels, width=width)


def resnet44(*, num_classes: int = 10, channels: int = 3, width: float = 1.0) -> CifarResNet:
    """44 layers, 0.66 million parameters."""
    return CifarResNet(7, num_classes=num_classes, channels=channels, width=width)


def resnet56(*, num_classes: int = 10, channels: int = 3, width: float = 1.0) -> CifarResNet:
    """56 layers, 0.85 million parameters."""
    return CifarResNet(9, num_classes=num_classes, channels=channels, width=width)


def _stage(n: int, channels: int, width: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(Block(channels, width, stride), *(Block(width, width, 1) for _ in range(n - 1)))
