"""The simple convolutional network of the scale-detection experiments: around a ring, in NTK parametrization."""

import math
from collections.abc import Sequence
from numbers import Integral

import torch
import torch.nn.functional as F
from torch import nn

from flexure.errors import ArgumentError
from flexure.models.sizes import scaled

__all__ = ["SimpleCNN", "conv_gap", "homogeneous"]

_HIDDEN = 1000


class NTKConv2d(nn.Conv2d):
    r"""A convolution around the image with weights of size 1: :math:`w * x / \sqrt{C |F|} + b`, N(0, 1) at first.

    C channels come in, :math:`|F|` is the number of a filter's places. A unit sees :math:`\lfloor (F-1)/2 \rfloor`
    places before its own and :math:`\lfloor F/2 \rfloor` after; opposite ends touch.
    """

    is_one_op = True

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int], stride: tuple[int, int], bias: bool) -> None:
        super().__init__(inputs, outputs, kernel, stride, bias=bias)

    def reset_parameters(self) -> None:
        """Draw every number from N(0, 1)."""
        for parameter in self.parameters():
            nn.init.normal_(parameter)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """``(b, inputs, H, W)`` to ``(b, outputs, ceil(H / stride), ceil(W / stride))``."""
        for dim, kernel in zip((2, 3), self.weight.shape[2:], strict=True):
            input = _around(input, dim, kernel)
        return F.conv2d(input, self.weight / math.sqrt(self.weight[0].numel()), self.bias, self.stride)


class ScaledReLU(nn.ReLU):
    r"""ReLU times a constant: :math:`\sqrt{|F|}\,\max(x, 0)`."""

    is_one_op = True

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Any shape."""
        return self.scale * F.relu(input)

    def extra_repr(self) -> str:
        """The constant."""
        return f"scale={self.scale:.4g}"


class Readout(nn.Linear):
    r"""The last layer, :math:`\alpha\,(x \cdot \beta / H + b)` of H channels, N(0, 1) at first."""

    is_one_op = True

    def __init__(self, inputs: int, outputs: int, bias: bool, alpha: float) -> None:
        super().__init__(inputs, outputs, bias=bias)
        self.alpha = alpha

    def reset_parameters(self) -> None:
        """Draw every number from N(0, 1)."""
        for parameter in self.parameters():
            nn.init.normal_(parameter)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """``(b, H)`` to ``(b, outputs)``."""
        return self.alpha * F.linear(input, self.weight / self.in_features, self.bias)


class SimpleCNN(nn.Module):
    r"""Convolutions around a ring with ReLU, averaged over what is left of it, and a linear readout.

    .. math:: y_k = \sqrt{|F|}\,\mathrm{ReLU}\left(\frac{w_k * y_{k-1}}{\sqrt{C_k |F|}} + b_k\right), \qquad
        f = \alpha\left(\frac{\beta \cdot \bar y_K}{H} + b\right), \qquad w, b, \beta \sim N(0, 1)

    with :math:`\bar y_K` the average over places, :math:`C_k` channels coming in and :math:`|F|` places per filter. The
    layers are ``conv1``, ``relu1``, ``conv2``, …, ``pool``, ``flatten``, ``readout``. As defined, with 7 layers of
    kernel and stride 2 and rings of 128, the last map has length 1.

    Args:
        num_classes: Outputs; 1 for a hinge loss on two classes.
        channels: Channels of the images.
        hidden: Channels H of each layer.
        width: Factor on ``hidden``.
        depth: Convolutions K; None: 7, or as many as lists below have entries.
        kernel: Kernel size F, or a list of one per layer.
        strides: Stride, or a list of one per layer.
        dimensions: 1: filters ``(1, F)`` along rows of images ``(1, 1, L)``; 2: filters ``(F, F)``.
        released: Apply the strides as the authors' released programs do: in one dimension to the first layer only (its
            list of layers starts one too early), in two to every second layer after the first (the 3rd, 5th, …).
        bias: Whether layers and readout have biases.
        alpha: Scale :math:`\alpha` of the output.

    Attributes:
        kernels: Kernel size of each layer.
        strides: Stride of each layer, as applied.
        dimensions: 1 or 2.

    Raises:
        ArgumentError: A number is out of range, or lists differ in length.

    Source: Tomasini et al., *How deep convolutional neural networks lose spatial information with training* (2022),
        and the programs released with it. In two dimensions :math:`|F| = F^2` is ours; the authors' network has biases.

    >>> SimpleCNN(hidden=4).strides, SimpleCNN(hidden=4, released=True).strides
    ((2, 2, 2, 2, 2, 2, 2), (2, 1, 1, 1, 1, 1, 1))
    """

    def __init__(
        self,
        *,
        num_classes: int = 1,
        channels: int = 1,
        hidden: int = _HIDDEN,
        width: float = 1.0,
        depth: int | None = None,
        kernel: int | Sequence[int] = 2,
        strides: int | Sequence[int] = 2,
        dimensions: int = 1,
        released: bool = False,
        bias: bool = True,
        alpha: float = 1.0,
    ) -> None:
        if dimensions not in (1, 2):
            raise ArgumentError(f"SimpleCNN: dimensions must be 1 or 2; got {dimensions!r}.")
        depth = _depth(depth, kernel, strides)
        units = hidden if width == 1 else scaled(hidden, width)
        kernels = _per_layer("kernel", kernel, depth)
        applied = _per_layer("strides", strides, depth)
        if released:
            applied = _released(applied, dimensions)
        super().__init__()
        for number, (size, stride) in enumerate(zip(kernels, applied, strict=True), 1):
            shape, step = ((1, size), (1, stride)) if dimensions == 1 else ((size, size), (stride, stride))
            inputs = channels if number == 1 else units
            self.add_module(f"conv{number}", NTKConv2d(inputs, units, shape, step, bias))
            self.add_module(f"relu{number}", ScaledReLU(math.sqrt(math.prod(shape))))
        self.pool, self.flatten = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.readout = Readout(units, num_classes, bias, alpha)
        self.kernels, self.strides, self.dimensions = kernels, applied, dimensions

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``(b, channels, H, W)`` to ``(b, num_classes)``."""
        for layer in self.children():
            x = layer(x)
        return x


def conv_gap(
    *, num_classes: int = 1, channels: int = 1, width: float = 1.0, strides: int = 2, released: bool = False
) -> SimpleCNN:
    """The simple network in two dimensions: 4 layers of 3 × 3 filters, stride 2, 256 channels."""
    return SimpleCNN(
        num_classes=num_classes, channels=channels, hidden=256, width=width, depth=4, kernel=3, strides=strides,
        dimensions=2, released=released,
    )  # fmt: skip


def homogeneous(model: SimpleCNN) -> SimpleCNN:
    r"""The same network, its filters constant: each weight 1, each bias 0, whatever they were.

    With one channel, layer k then emits the path counts' sums :math:`\sum_i n^{(k)}_i x_i` themselves, for which
    :mod:`~flexure.formulas.path_sensitivities` says what D and G must be.

    >>> net = homogeneous(SimpleCNN(hidden=1, depth=1))
    >>> net.relu1(net.conv1(torch.arange(8.0).view(1, 1, 1, 8))).flatten().round().tolist()
    [1.0, 5.0, 9.0, 13.0]
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(0.0 if name.endswith("bias") else 1.0)
    return model


def _around(x: torch.Tensor, dim: int, kernel: int) -> torch.Tensor:
    """The map continued around its ends, so that every place has a full window."""
    length, before = x.shape[dim], (kernel - 1) // 2
    if kernel == 1:
        return x
    places = torch.arange(-before, length + kernel // 2, device=x.device) % length
    return x.index_select(dim, places)


def _depth(depth: int | None, *lists: int | Sequence[int]) -> int:
    lengths = [len(entries) for entries in lists if isinstance(entries, Sequence)]
    depth = (lengths[0] if lengths else 7) if depth is None else depth
    if not isinstance(depth, Integral) or depth < 1 or any(length != depth for length in lengths):
        raise ArgumentError(
            f"SimpleCNN: depth must be at least 1, and lists of kernels and strides as long; got depth {depth!r} and "
            f"lists of {lengths or 'no'} entries."
        )
    return depth


def _per_layer(name: str, value: int | Sequence[int], depth: int) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, Sequence) else (value,) * depth
    if any(not isinstance(one, Integral) or one < 1 for one in values):
        raise ArgumentError(f"SimpleCNN: {name} must be whole numbers, at least 1; got {value!r}.")
    return values


def _released(strides: tuple[int, ...], dimensions: int) -> tuple[int, ...]:
    """Strides where the authors' released programs have them: the first layer, or the 3rd, 5th and so on."""
    applies = (lambda layer: layer == 0) if dimensions == 1 else (lambda layer: layer > 0 and layer % 2 == 0)
    return tuple(stride if applies(layer) else 1 for layer, stride in enumerate(strides))
