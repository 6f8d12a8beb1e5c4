"""Networks that train within seconds."""

import torch
from torch import nn

__all__ = ["LeNet5", "SmallCNN"]


class SmallCNN(nn.Module):
    """Four 3 x 3 convolutions with batch norm and ReLU, two of stride 2's worth of pooling, and a linear layer.

    Any image size from 4 x 4 up: what is left of the image is averaged before the linear layer.

    Args:
        num_classes: Outputs.
        channels: Channels of the images.
        width: Channels of the first two convolutions; the others have twice as many.
    """

    def __init__(self, *, num_classes: int = 10, channels: int = 1, width: int = 16) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(width, 2 * width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(2 * width)
        self.relu3 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.conv4 = nn.Conv2d(2 * width, 2 * width, 3, padding=1, bias=False)
        self.bn4 = nn.BatchNorm2d(2 * width)
        self.relu4 = nn.ReLU()
        self.pool3 = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(2 * width, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``(b, channels, H, W)`` to logits ``(b, num_classes)``."""
        x = self.pool1(self.relu1(self.bn1(self.conv1(x))))
        x = self.relu2(self.bn2(self.conv2(x)))
        x = self.pool2(self.relu3(self.bn3(self.conv3(x))))
        x = self.relu4(self.bn4(self.conv4(x)))
        return self.linear(self.flatten(self.pool3(x)))


class LeNet5(nn.Module):
    """LeCun's network for digits in today's form: ReLU and max pooling where the original has tanh and averages.

    Images of 28 x 28 are padded to the original's 32 x 32 by the first convolution; 61,706 parameters.

    Args:
        num_classes: Outputs.
        channels: Channels of the images.

    Source: LeCun et al., Gradient-Based Learning Applied to Document Recognition (1998); all feature maps of the second
        convolution see all of the first's, and the output is linear.
    """

    def __init__(self, *, num_classes: int = 10, channels: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 6, 5, padding=2)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.relu3 = nn.ReLU()
        self.fc2 = nn.Linear(120, 84)
        self.relu4 = nn.ReLU()
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``(b, channels, 28, 28)`` to logits ``(b, num_classes)``."""
        x = self.pool1(self.relu1(self.conv1(x)))
        x = self.flatten(self.pool2(self.relu2(self.conv2(x))))
        return self.fc3(self.relu4(self.fc2(self.relu3(self.fc1(x)))))
