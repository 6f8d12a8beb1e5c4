"""Networks that train within seconds."""

import torch
from torch import nn

from flexure.models.sizes import averaged, padded, scaled

__all__ = ["LeNet", "LeNet5", "LeNet8", "SmallCNN"]

_LENET = (6, 16, 120, 84)
_SIDE, _LEFT = 32, 5  # of the images, and of what two layers leave of them


class SmallCNN(nn.Module):
    """Four 3 x 3 convolutions with batch norm and ReLU, two of stride 2's worth of pooling, and a linear layer.

    Any image size from 4 x 4 up: what is left of the image is averaged before the linear layer.

    Args:
        num_classes: Outputs.
        channels: Channels of the images.
        width: Factor on the 16 channels of the first two convolutions and the 32 of the others; 4 at least.
    """

    def __init__(self, *, num_classes: int = 10, channels: int = 1, width: float = 1.0) -> None:
        super().__init__()
        first, last = scaled(16, width), scaled(32, width)
        self.conv1 = nn.Conv2d(channels, first, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(first, first, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(first)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(first, last, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(last)
        self.relu3 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.conv4 = nn.Conv2d(last, last, 3, padding=1, bias=False)
        self.bn4 = nn.BatchNorm2d(last)
        self.relu4 = nn.ReLU()
        self.pool3 = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(last, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``(b, channels, H, W)`` to logits ``(b, num_classes)``."""
        x = self.pool1(self.relu1(self.bn1(self.conv1(x))))
        x = self.relu2(self.bn2(self.conv2(x)))
        x = self.pool2(self.relu3(self.bn3(self.conv3(x))))
        x = self.relu4(self.bn4(self.conv4(x)))
        return self.linear(self.flatten(self.pool3(x)))


class _TwoConvolutions(nn.Module):
    """What the networks after LeCun consist of, whatever they pad and whatever is left of their images."""

    def __init__(self, *, num_classes: int, channels: int, width: float, padding: tuple[int, int], left: int) -> None:
        super().__init__()
        first, second, third, fourth = (scaled(n, width) for n in _LENET)
        self.conv1 = nn.Conv2d(channels, first, 5, padding=padding[0])
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(first, second, 5, padding=padding[1])
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(second * left * left, third)
        self.relu3 = nn.ReLU()
        self.fc2 = nn.Linear(third, fourth)
        self.relu4 = nn.ReLU()
        self.fc3 = nn.Linear(fourth, num_classes)

    def _convolved(self, x: torch.Tensor) -> torch.Tensor:
        """Images to maps ``(b, maps, left, left)``."""
        return self.pool2(self.relu2(self.conv2(self.pool1(self.relu1(self.conv1(x))))))

    def _classified(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps to logits."""
        return self.fc3(self.relu4(self.fc2(self.relu3(self.fc1(self.flatten(maps))))))


class LeNet5(_TwoConvolutions):
    """LeCun's network for digits in today's form: ReLU and max pooling where the original has tanh and averages.

    Images of 28 x 28 are padded to the original's 32 x 32 by the first convolution; 61,706 parameters.

    Args:
        num_classes: Outputs.
        channels: Channels of the images.
        width: Factor on 6 and 16 channels and 120 and 84 units; 4 at least.

    Source: LeCun et al., Gradient-Based Learning Applied to Document Recognition (1998); all feature maps of the second
        convolution see all of the first's, and the output is linear.
    """

    def __init__(self, *, num_classes: int = 10, channels: int = 1, width: float = 1.0) -> None:
        super().__init__(num_classes=num_classes, channels=channels, width=width, padding=(2, 0), left=_LEFT)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``(b, channels, 28, 28)`` to logits ``(b, num_classes)``."""
        return self._classified(self._convolved(x))


class LeNet8(_TwoConvolutions):
    """LeNet-5 for digits of 8 x 8, as scikit-learn has them: both convolutions are padded; 21,386 parameters.

    Its convolutions have as many weights as those of :class:`LeNet5`; what is left of the image is 2 x 2.

    Args:
        num_classes: Outputs.
        channels: Channels of the images.
        width: Factor on 6 and 16 channels and 120 and 84 units; 4 at least.
    """

    def __init__(self, *, num_classes: int = 10, channels: int = 1, width: float = 1.0) -> None:
        super().__init__(num_classes=num_classes, channels=channels, width=width, padding=(2, 2), left=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``(b, channels, 8, 8)`` to logits ``(b, num_classes)``."""
        return self._classified(self._convolved(x))


class LeNet(_TwoConvolutions):
    """LeCun's network as it is trained on CIFAR-10: no padding in its two convolutions; 62,006 parameters.

    Images smaller than 32 x 32 get a frame of zeros; what is left of larger ones is averaged to 5 x 5.

    Args:
        num_classes: Outputs.
        channels: Channels of the images.
        width: Factor on 6 and 16 channels and 120 and 84 units; 4 at least.

    Source: LeCun et al., Gradient-Based Learning Applied to Document Recognition (1998), with ReLU and max pooling.
        Tomasini et al. (2022) leave single-channel images of 28 x 28 as they are and have fewer weights behind them.
    """

    def __init__(self, *, num_classes: int = 10, channels: int = 3, width: float = 1.0) -> None:
        super().__init__(num_classes=num_classes, channels=channels, width=width, padding=(0, 0), left=_LEFT)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``(b, channels, H, W)`` to logits ``(b, num_classes)``."""
        return self._classified(averaged(self._convolved(padded(x, _SIDE)), _LEFT))
