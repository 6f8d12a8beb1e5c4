"""Fully connected networks in the parametrization of the neural tangent kernel."""

from itertools import pairwise

import torch
from torch import nn

from flexure.models.sizes import check_pixels, scaled

__all__ = ["MLP", "densenetl2", "densenetl4", "densenetl6"]

_UNITS = 64


class NTKLinear(nn.Module):
    r"""A linear layer with weights of size 1: :math:`x\,w/\sqrt{d} + b`; as the last layer :math:`x\,w/d`, no bias."""

    def __init__(self, inputs: int, outputs: int, *, is_last: bool = False) -> None:
        super().__init__()
        self.inputs = inputs
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = None if is_last else nn.Parameter(torch.empty(outputs))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every number from N(0, 1)."""
        for parameter in self.parameters():
            nn.init.normal_(parameter)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(b, inputs)`` to ``(b, outputs)``."""
        if self.bias is None:
            return x.mm(self.weight).div(self.inputs)
        return torch.addmm(self.bias, x, self.weight, alpha=self.inputs**-0.5)


class MLP(nn.Module):
    """Linear layers of 64 units with ReLU between them, on the pixels of an image.

    Args:
        depth: Linear layers, the last included.
        num_classes: Outputs.
        channels: Channels of the images.
        image_size: ``(height, width)`` of the images: each pixel has weights of its own.
        width: Factor on the 64 units; 4 at least.

    Source: Petrini et al., Relative stability toward diffeomorphisms indicates performance in deep nets (2021), where
        they are called DenseNet L2, L4 and L6; every weight and bias starts as N(0, 1).
    """

    def __init__(
        self,
        depth: int,
        *,
        num_classes: int = 10,
        channels: int = 3,
        image_size: tuple[int, int] = (32, 32),
        width: float = 1.0,
    ) -> None:
        super().__init__()
        self.shape = (channels, *image_size)
        units = scaled(_UNITS, width)
        sizes = [channels * image_size[0] * image_size[1], *[units] * (depth - 1)]
        self.flatten = nn.Flatten()
        self.layers = nn.Sequential()
        for number, (inputs, outputs) in enumerate(pairwise(sizes), 1):
            self.layers.add_module(f"linear{number}", NTKLinear(inputs, outputs))
            self.layers.add_module(f"relu{number}", nn.ReLU())
        self.layers.add_module(f"linear{depth}", NTKLinear(sizes[-1], num_classes, is_last=True))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``(b, channels, *image_size)`` to logits ``(b, num_classes)``.

        Raises:
            SpecimenError: Images of another shape.
        """
        check_pixels(x, self.shape)
        return self.layers(self.flatten(x))


def densenetl2(
    *, num_classes: int = 10, channels: int = 3, image_size: tuple[int, int] = (32, 32), width: float = 1.0
) -> MLP:
    """Two linear layers, 0.20 million parameters."""
    return MLP(2, num_classes=num_classes, channels=channels, image_size=image_size, width=width)


def densenetl4(
    *, num_classes: int = 10, channels: int = 3, image_size: tuple[int, int] = (32, 32), width: float = 1.0
) -> MLP:
    """Four linear layers, 0.21 million parameters."""
    return MLP(4, num_classes=num_classes, channels=channels, image_size=image_size, width=width)


def densenetl6(
    *, num_classes: int = 10, channels: int = 3, image_size: tuple[int, int] = (32, 32), width: float = 1.0
) -> MLP:
    """Six linear layers, 0.21 million parameters."""
    return MLP(6, num_classes=num_classes, channels=channels, image_size=image_size, width=width)
