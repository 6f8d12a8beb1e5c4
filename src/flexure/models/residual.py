"""The residual networks made for ImageNet, with a first layer for images of 32 x 32."""

from collections.abc import Sequence

import torch
from torch import nn

from flexure.models.sizes import scaled

__all__ = ["BasicBlock", "Bottleneck", "ResNet", "resnet18", "resnet34", "resnet50"]

_CHANNELS = (64, 128, 256, 512)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.shortcut = _shortcut(channels, width, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(b, channels, H, W)`` to ``(b, width, H / stride, W / stride)``."""
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu2(y + self.shortcut(x))


class Bottleneck(nn.Module):
    """A 1 x 1, a 3 x 3 and a 1 x 1 convolution, the last to four times the width, and a shortcut."""

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        wide = self.expansion * width
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(width, wide, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(wide)
        self.relu3 = nn.ReLU()
        self.shortcut = _shortcut(channels, wide, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(b, channels, H, W)`` to ``(b, 4 width, H / stride, W / stride)``."""
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.relu2(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu3(y + self.shortcut(x))


class ResNet(nn.Module):
    """Four stages of blocks behind one 3 x 3 convolution, the global average and a linear layer. Any image size.

    Parameters are named as in the implementations most trained weights come from: ``conv1``, ``bn1``,
    ``layer1.0.conv1`` … ``layer2.0.shortcut.0`` … ``linear``.

    Args:
        block: :class:`BasicBlock` or :class:`Bottleneck`.
        blocks: Blocks in each of the four stages.
        num_classes: Outputs.
        channels: Channels of the images.
        width: Factor on the stages' 64, 128, 256 and 512 channels; 4 at least.

    Source: He et al., Deep Residual Learning for Image Recognition (2016). The first convolution is 3 x 3 with stride 1
        and no pooling follows, as usual for images of 32 x 32; a bottleneck strides in its 3 x 3 convolution; layers
        keep PyTorch's default initialization.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: Sequence[int],
        *,
        num_classes: int = 10,
        channels: int = 3,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        wide = [scaled(published, width) for published in _CHANNELS]
        inputs = [wide[0], *(block.expansion * channels for channels in wide)]
        self.conv1 = nn.Conv2d(channels, wide[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(wide[0])
        self.relu = nn.ReLU()
        self.layer1 = _stage(block, blocks[0], inputs[0], wide[0], stride=1)
        self.layer2 = _stage(block, blocks[1], inputs[1], wide[1], stride=2)
        self.layer3 = _stage(block, blocks[2], inputs[2], wide[2], stride=2)
        self.layer4 = _stage(block, blocks[3], inputs[3], wide[3], stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(inputs[4], num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``(b, channels, H, W)`` to logits ``(b, num_classes)``."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.linear(self.flatten(self.pool(x)))


def resnet18(*, num_classes: int = 10, channels: int = 3, width: float = 1.0) -> ResNet:
    """18 layers, 11.2 million parameters."""
    return ResNet(BasicBlock, (2, 2, 2, 2), num_classes=num_classes, channels=channels, width=width)


def resnet34(*, num_classes: int = 10, channels: int = 3, width: float = 1.0) -> ResNet:
    """34 layers, 21.3 million parameters."""
    return ResNet(BasicBlock, (3, 4, 6, 3), num_classes=num_classes, channels=channels, width=width)


def resnet50(*, num_classes: int = 10, channels: int = 3, width: float = 1.0) -> ResNet:
    """50 layers, 23.5 million parameters."""
    return ResNet(Bottleneck, (3, 4, 6, 3), num_classes=num_classes, channels=channels, width=width)


def _stage(
    block: type[BasicBlock] | type[Bottleneck], blocks: int, channels: int, width: int, *, stride: int
) -> nn.Sequential:
    further = (block(block.expansion * width, width, 1) for _ in range(blocks - 1))
    return nn.Sequential(block(channels, width, stride), *further)


def _shortcut(channels: int, width: int, stride: int) -> nn.Sequential:
    """Nothing where the shape stays, else a strided 1 x 1 convolution (He et al.'s option B)."""
    if stride == 1 and channels == width:
        return nn.Sequential()
    return nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))
