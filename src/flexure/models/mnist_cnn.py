"""The convolutional network of many an introduction to MNIST."""

import torch
from torch import nn

from flexure.errors import SpecimenError
from flexure.models.sizes import check_pixels, scaled

__all__ = ["MNISTCNN"]

_SMALLEST = 16


class MNISTCNN(nn.Module):
    """Two 5 x 5 convolutions without padding, each with ReLU and max pooling, and two linear layers.

    Args:
        num_classes: Outputs.
        channels: Channels of the images.
        image_size: ``(height, width)`` of the images, 16 at least: what is left of them is not averaged.
        width: Factor on 20 and 50 channels and 500 units; 4 at least.

    Raises:
        SpecimenError: Nothing would be left of the images.

    Source: He & Su, The Local Elasticity of Neural Networks (2020), who took it from PyTorch's examples; 426,571
        parameters with one output on images of 28 x 28.
    """

    def __init__(
        self, *, num_classes: int = 1, channels: int = 1, image_size: tuple[int, int] = (28, 28), width: float = 1.0
    ) -> None:
        if min(image_size) < _SMALLEST:
            height, breadth = image_size
            raise SpecimenError(f"mnist_cnn: images need {_SMALLEST} pixels a side, or more; got {height}×{breadth}.")
        super().__init__()
        first, second, units = (scaled(n, width) for n in (20, 50, 500))
        height, breadth = (((side - 4) // 2 - 4) // 2 for side in image_size)
        self.shape = (channels, *image_size)
        self.conv1 = nn.Conv2d(channels, first, 5)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(first, second, 5)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(second * height * breadth, units)
        self.relu3 = nn.ReLU()
        self.fc2 = nn.Linear(units, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``(b, channels, *image_size)`` to outputs ``(b, num_classes)``.

        Raises:
            SpecimenError: Images of another shape.
        """
        check_pixels(x, self.shape)
        x = self.pool1(self.relu1(self.conv1(x)))
        x = self.flatten(self.pool2(self.relu2(self.conv2(x))))
        return self.fc2(self.relu3(self.fc1(x)))
