"""Krizhevsky's network, cut down for images of 32 x 32."""

import torch
from torch import nn

from flexure.models.sizes import averaged, padded, scaled

__all__ = ["AlexNet"]

_SIDE = 32
_LEFT = 2  # side of what five layers leave of 32 x 32


class AlexNet(nn.Module):
    """Five 3 x 3 convolutions, the first with stride 2, three max pools, and three linear layers with dropout.

    Images smaller than 32 x 32 get a frame of zeros; what is left of larger ones is averaged to 2 x 2. 23.3 million
    parameters.

    Args:
        num_classes: Outputs.
        channels: Channels of the images.
        width: Factor on 64, 192, 384, 256 and 256 channels and on 4,096 units; 4 at least.

    Source: Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks (2012), whose filters of
        11 x 11 and 5 x 5 are 3 x 3 here, without response normalization: the variant that is trained on CIFAR-10.
    """

    def __init__(self, *, num_classes: int = 10, channels: int = 3, width: float = 1.0) -> None:
        super().__init__()
        first, second, third, fourth, fifth, units = (scaled(n, width) for n in (64, 192, 384, 256, 256, 4096))
        self.features = nn.Sequential(
            nn.Conv2d(channels, first, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(first, second, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(second, third, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(third, fourth, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(fourth, fifth, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            nn.Dropout(),
            nn.Linear(fifth * _LEFT * _LEFT, units),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(units, units),
            nn.ReLU(),
            nn.Linear(units, num_classes),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``(b, channels, H, W)`` to logits ``(b, num_classes)``."""
        x = averaged(self.features(padded(x, _SIDE)), _LEFT)
        return self.classifier(self.flatten(x))
