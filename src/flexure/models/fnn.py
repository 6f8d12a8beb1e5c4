"""Fully connected networks in torch's own parametrization: very wide, with one output, on pixels or points."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from flexure.errors import ArgumentError, nearest
from flexure.models.sizes import check_pixels, scaled

__all__ = ["FNN", "SkipFNN", "fnn", "fnn3", "fnn_sigmoid"]

_ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}
_SKIPPED = 4096


class FNN(nn.Module):
    """Linear layers with an activation function between them, on the pixels of an image.

    The layers are ``layers.linear1``, ``layers.relu1``, ``layers.linear2``, …

    Args:
        hidden: Units of each hidden layer.
        num_classes: Outputs.
        channels: Channels of the images.
        image_size: ``(height, width)`` of the images: each pixel has weights of its own. Points of d coordinates are
            images of ``(1, d)``.
        width: Factor on the hidden units; 4 at least.
        activation: ``"relu"`` or ``"sigmoid"``.
        probabilities: End in a sigmoid, ``head``.

    Raises:
        ArgumentError: There is no such activation.

    Source: He & Su, The Local Elasticity of Neural Networks (2020), and the program released with it, which has one
        output; weights and biases start as torch draws them.
    """

    def __init__(
        self,
        hidden: Sequence[int],
        *,
        num_classes: int = 1,
        channels: int = 1,
        image_size: tuple[int, int] = (28, 28),
        width: float = 1.0,
        activation: str = "relu",
        probabilities: bool = False,
    ) -> None:
        if activation not in _ACTIVATIONS:
            raise ArgumentError(f"FNN: no activation {activation!r}. {nearest(str(activation), _ACTIVATIONS)}")
        super().__init__()
        self.shape = (channels, *image_size)
        sizes = [channels * image_size[0] * image_size[1], *(scaled(units, width) for units in hidden)]
        self.flatten = nn.Flatten()
        self.layers = nn.Sequential()
        for number, (inputs, outputs) in enumerate(pairwise(sizes), 1):
            self.layers.add_module(f"linear{number}", nn.Linear(inputs, outputs))
            self.layers.add_module(f"{activation}{number}", _ACTIVATIONS[activation]())
        self.layers.add_module(f"linear{len(sizes)}", nn.Linear(sizes[-1], num_classes))
        self.head = nn.Sigmoid() if probabilities else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``(b, channels, *image_size)`` to outputs ``(b, num_classes)``.

        Raises:
            SpecimenError: Images of another shape.
        """
        check_pixels(x, self.shape)
        y = self.layers(self.flatten(x))
        return y if self.head is None else self.head(y)


class SkipFNN(nn.Module):
    """Three linear layers of which the last reads both hidden layers, added: the paper's residual network.

    Args:
        num_classes: Outputs.
        channels: Channels of the images.
        image_size: ``(height, width)`` of the images: each pixel has weights of its own.
        width: Factor on the 4,096 units of either hidden layer; 4 at least.

    Source: He & Su (2020), where it is called ResNet; 20,000,769 parameters on images of 28 x 28.
    """

    def __init__(
        self, *, num_classes: int = 1, channels: int = 1, image_size: tuple[int, int] = (28, 28), width: float = 1.0
    ) -> None:
        super().__init__()
        units = scaled(_SKIPPED, width)
        self.shape = (channels, *image_size)
        self.flatten = nn.Flatten()
        self.linear1 = nn.Linear(channels * image_size[0] * image_size[1], units)
        self.relu1 = nn.ReLU()
        self.linear2 = nn.Linear(units, units)
        self.relu2 = nn.ReLU()
        self.linear3 = nn.Linear(units, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``(b, channels, *image_size)`` to outputs ``(b, num_classes)``.

        Raises:
            SpecimenError: Images of another shape.
        """
        check_pixels(x, self.shape)
        first = self.relu1(self.linear1(self.flatten(x)))
        return self.linear3(first + self.relu2(self.linear2(first)))


def fnn(
    *,
    num_classes: int = 1,
    channels: int = 1,
    image_size: tuple[int, int] = (28, 28),
    width: float = 1.0,
    probabilities: bool = False,
) -> FNN:
    """Two linear layers with 40,960 units between them, 32.2 million parameters on images of 28 x 28."""
    return FNN(
        [40960],
        num_classes=num_classes,
        channels=channels,
        image_size=image_size,
        width=width,
        probabilities=probabilities,
    )


def fnn3(
    *,
    num_classes: int = 1,
    channels: int = 1,
    image_size: tuple[int, int] = (28, 28),
    width: float = 1.0,
    probabilities: bool = False,
) -> FNN:
    """Three linear layers with twice 8,192 units between them, 67.2 million parameters on points in space."""
    return FNN(
        [8192, 8192],
        num_classes=num_classes,
        channels=channels,
        image_size=image_size,
        width=width,
        probabilities=probabilities,
    )


def fnn_sigmoid(
    *, num_classes: int = 1, channels: int = 1, image_size: tuple[int, int] = (28, 28), width: float = 1.0
) -> FNN:
    """Two linear layers with 40,960 sigmoid units between them."""
    return FNN(
        [40960], num_classes=num_classes, channels=channels, image_size=image_size, width=width, activation="sigmoid"
    )
