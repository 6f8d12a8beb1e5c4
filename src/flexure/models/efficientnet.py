"""Tan and Le's smallest network, with a first layer for images of 32 x 32."""

import torch
from torch import nn

from flexure.models.sizes import scaled

__all__ = ["EfficientNetB0"]

_STAGES = (  # expansion, channels, blocks, kernel, stride
    (1, 16, 1, 3, 1),
    (6, 24, 2, 3, 2),
    (6, 40, 2, 5, 2),
    (6, 80, 3, 3, 2),
    (6, 112, 3, 5, 1),
    (6, 192, 4, 5, 2),
    (6, 320, 1, 3, 1),
)
_STEM = 32
_SQUEEZED = 4
_DROPPED = 0.2  # of the units before the linear layer, and of the blocks at the end of the network


class Excitation(nn.Module):
    """Every channel times a number between 0 and 1 that follows from the means of all channels."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.conv1 = nn.Conv2d(channels, squeezed, 1)
        self.silu = nn.SiLU()
        self.conv2 = nn.Conv2d(squeezed, channels, 1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(b, channels, H, W)`` to the same shape."""
        return x * self.sigmoid(self.conv2(self.silu(self.conv1(self.pool(x)))))


class DropBlock(nn.Module):
    """While training, leave out a block of an image with a given chance, and enlarge it where it stays."""

    def __init__(self, chance: float) -> None:
        super().__init__()
        self.chance = chance

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(b, C, H, W)`` to the same shape; handed back in evaluation mode."""
        if not self.training or self.chance == 0:
            return x
        stays = torch.rand(len(x), 1, 1, 1, device=x.device, dtype=x.dtype) >= self.chance
        return x * stays / (1 - self.chance)


class Block(nn.Module):
    """Expand by 1 x 1, filter each channel by itself, excite, shrink by 1 x 1; a shortcut in all but a stage's first.

    ``dropped`` is the chance that the block is left out beside its shortcut; None: there is no shortcut.
    """

    def __init__(
        self, channels: int, width: int, *, expansion: int, kernel: int, stride: int, dropped: float | None
    ) -> None:
        super().__init__()
        wide = expansion * channels
        self.expand = nn.Sequential()
        if expansion > 1:
            self.expand = nn.Sequential(nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.SiLU())
        self.conv = nn.Conv2d(wide, wide, kernel, stride, padding=kernel // 2, groups=wide, bias=False)
        self.bn = nn.BatchNorm2d(wide)
        self.silu = nn.SiLU()
        self.excitation = Excitation(wide, max(1, channels // _SQUEEZED))
        self.shrink = nn.Sequential(nn.Conv2d(wide, width, 1, bias=False), nn.BatchNorm2d(width))
        self.drop = None if dropped is None else DropBlock(dropped)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(b, channels, H, W)`` to ``(b, width, H / stride, W / stride)``."""
        y = self.silu(self.bn(self.conv(self.expand(x))))
        y = self.shrink(self.excitation(y))
        return y if self.drop is None else self.drop(y) + x


class EfficientNetB0(nn.Module):
    """Sixteen blocks in seven stages, the global average and a linear layer. 3.6 million parameters; any image size.

    Args:
        num_classes: Outputs.
        channels: Channels of the images.
        width: Factor on the stages' channels; 4 at least.

    Source: Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks (2019), in the form
        that is trained on CIFAR-10: the first convolution has stride 1, the last 1 x 1 convolution to 1,280 channels is
        missing, and layers keep PyTorch's default initialization. The original is timm's ``timm:efficientnet_b0``.
    """

    def __init__(self, *, num_classes: int = 10, channels: int = 3, width: float = 1.0) -> None:
        super().__init__()
        inputs = scaled(_STEM, width)
        self.conv1 = nn.Conv2d(channels, inputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.silu = nn.SiLU()
        self.layers = nn.Sequential()
        total = sum(blocks for _, _, blocks, _, _ in _STAGES)
        for expansion, published, blocks, kernel, stride in _STAGES:
            outputs = scaled(published, width)
            for number in range(blocks):
                step, chance = (1, _DROPPED * len(self.layers) / total) if number else (stride, None)
                self.layers.append(
                    Block(inputs, outputs, expansion=expansion, kernel=kernel, stride=step, dropped=chance)
                )
                inputs = outputs
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(_DROPPED)
        self.linear = nn.Linear(inputs, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``(b, channels, H, W)`` to logits ``(b, num_classes)``."""
        x = self.layers(self.silu(self.bn1(self.conv1(x))))
        return self.linear(self.dropout(self.flatten(self.pool(x))))
