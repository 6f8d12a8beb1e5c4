r"""Exact sensitivities of constant filters: what D, G and R must come out as on given images of a few lit pixels.

:mod:`~flexure.formulas.path_counts` has the closed form for one lit pixel on a ring. Here the images may be any that
are not negative, of one row or several, with borders, blocks and any strides: the expectation over moves and noise is
taken exactly, the images are those that are measured.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from types import MappingProxyType

import torch

from flexure.errors import ArgumentError, nearest
from flexure.formulas.path_counts import check_layers

__all__ = ["PathSensitivities", "path_maps", "path_sensitivities"]

_ROUNDING = 1e-12  # of the images' own sums: what lies below is taken for nothing


@dataclass(frozen=True, eq=False)
class PathSensitivities:
    """What path counts predict, layer by layer, each ``(K,)`` float64; NaN where all images are alike to a layer.

    Attributes:
        A: Effective size of what a unit sees, pixels.
        D: Mean squared change by the moves over the mean squared distance of two images.
        G: The same by noise of the same norm.
    """

    A: torch.Tensor
    D: torch.Tensor
    G: torch.Tensor

    @property
    def R(self) -> torch.Tensor:
        """``D / G``."""
        return self.D / self.G


def path_maps(kernels: Sequence[int], strides: Sequence[int], side: int) -> list[torch.Tensor]:
    r"""From each pixel of a ring to each unit of each layer: how many paths are there?

    A layer of kernel F and stride s has :math:`\lceil N/s \rceil` units on a ring of N places; unit u sees the places
    :math:`us - \lfloor (F-1)/2 \rfloor + t`, :math:`t = 0 \dots F-1`, around the ring.

    Returns:
        Counts ``(units, side)`` for each layer, float64.

    Raises:
        ArgumentError: Not as many kernels as strides, or a number below 1.
    """
    kernels, strides = check_layers(kernels, strides)
    if side < 1:
        raise ArgumentError(f"path counts: side must be at least 1 pixel; got {side}.")
    return _composed(_single_layers(kernels, strides, side))


def path_sensitivities(
    x: torch.Tensor,
    moves: torch.Tensor,
    kernels: Sequence[int],
    strides: Sequence[int],
    *,
    noise: str = "rectified",
    same_pairs: bool = True,
) -> PathSensitivities:
    r"""What are D and G of a network of constant filters and circular padding, without bias, on these images?

    With :math:`\Phi` the path counts of a layer, :math:`K = \Phi^T \Phi`, T the law of the moves, :math:`B = T - 1`:
    the D numerator is the mean over images of

    .. math:: \sum_p x_p^2 c_p + \|\Phi B^T x\|^2, \qquad
        c_p = \sum_q T_{pq} \|\Phi(e_q - e_p)\|^2 - \|\Phi B^T e_p\|^2,

    since lit pixels move independently; its value :math:`r^2` at :math:`\Phi = 1` is the squared norm of the noise. For
    rectified noise :math:`\eta = \mathrm{ReLU}(g)`, :math:`g \sim N(0, r^2/d)` on d pixels, the G numerator is

    .. math:: \frac{\mathrm{E}\, r^2}{d} \sum_u \left[ \frac{(\sum_i \Phi_{ui})^2}{2\pi}
        + \left(\frac{1}{2} - \frac{1}{2\pi}\right) \sum_i \Phi_{ui}^2 \right].

    The denominator is twice the sum of the units' variances over the images.

    Args:
        x: Images ``(n, H, W)``, not negative.
        moves: Probability that a lit pixel goes from one place to another ``(H W, H W)``, rows from, row by row.
        kernels: Kernel sizes; along a single row ``(1, F)``, else ``(F, F)``.
        strides: Strides, along the same axes.
        noise: ``"rectified"`` before it is added; or ``"sphere"``: isotropic noise (also Gaussian), rectified by the
            first layer only where it does not see a lit pixel. That is exact but for noise larger than a lit pixel.
        same_pairs: Whether the denominator includes pairs of an image with itself.

    Returns:
        Expectations over moves and noise, given the images.

    Raises:
        ArgumentError: Shapes do not fit, a pixel is negative, or there is no such noise.

    Cost: :math:`d^3` operations per layer, d = H W; memory for a few d × d matrices.

    Exact case: one lit pixel at every place of a ring gives
        :func:`~flexure.formulas.path_counts.one_pixel_sensitivities`.

    Source: ours, after the mechanism of Tomasini et al., *How deep convolutional neural networks lose spatial
        information with training* (2022).
    """
    if x.dim() != 3 or len(x) < 2 or moves.shape != (x[0].numel(), x[0].numel()):
        raise ArgumentError(
            f"path sensitivities: at least 2 images (n, H, W) and moves (H W, H W) are needed; got {tuple(x.shape)} "
            f"and {tuple(moves.shape)}."
        )
    if noise not in _NOISES:
        raise ArgumentError(f"path sensitivities: no noise {noise!r}. {nearest(noise, _NOISES)}")
    if not bool((x >= 0).all()):
        raise ArgumentError("path sensitivities: pixels must not be negative, since no unit may be silent.")
    layers = _image_layers(*check_layers(kernels, strides), *x.shape[1:])
    maps = _composed(layers)
    scene = _Scene(x.flatten(1).double(), moves.double())
    shaken = _NOISES[noise](scene, layers)
    pairs = 1.0 if same_pairs else len(x) / (len(x) - 1)
    sizes = [float(phi.sum(1).square().sum() / phi.square().sum()) for phi in maps]
    spreads = [scene.spread(phi) * pairs for phi in maps]
    moved = [scene.moved(phi) / spread for phi, spread in zip(maps, spreads, strict=True)]
    noisy = [change / spread for change, spread in zip(shaken, spreads, strict=True)]
    return PathSensitivities(*(torch.tensor(column, dtype=torch.float64) for column in (sizes, moved, noisy)))


class _Scene:
    """Images ``(n, d)`` and the law of their pixels' moves, reduced to what every layer's sums need."""

    def __init__(self, x: torch.Tensor, moves: torch.Tensor) -> None:
        self.x, self.moves = x, moves
        self.drift = moves - torch.eye(len(moves), dtype=torch.float64)
        self.squares = x.square()
        self.mean_change = x @ self.drift
        centered = x - x.mean(0)
        self.covariance = centered.T @ centered / len(x)
        self.second = x.T @ x / len(x)
        self.changes = self.mean_change.T @ self.mean_change / len(x)

    def moved(self, phi: torch.Tensor) -> float:
        """Mean squared change of a layer when lit pixels move."""
        gram = phi.T @ phi
        moved = float(self.squares.mean(0) @ self._own(gram) + (self.changes * gram).sum())
        return moved if moved > _ROUNDING * float((self.second * gram).sum()) else 0.0

    def spread(self, phi: torch.Tensor) -> float:
        """Mean squared distance of two images in a layer; NaN where it is rounding alone."""
        gram = phi.T @ phi
        spread = 2 * float((self.covariance * gram).sum())
        return spread if spread > _ROUNDING * float((self.second * gram).sum()) else math.nan

    def squared_moves(self) -> torch.Tensor:
        """Expected squared norm of each image's change ``(n,)``."""
        own = self._own(torch.eye(len(self.moves), dtype=torch.float64))
        return self.squares @ own + self.mean_change.square().sum(1)

    def _own(self, gram: torch.Tensor) -> torch.Tensor:
        """What one lit pixel of value 1 adds beyond the change of its mean ``(d,)``."""
        diagonal = gram.diagonal()
        steps = self.moves @ diagonal + diagonal - 2 * (self.moves * gram).sum(1)
        return steps - ((self.drift @ gram) * self.drift).sum(1)


def _rectified(scene: _Scene, layers: Sequence[torch.Tensor]) -> list[float]:
    """Mean squared change of each layer by noise that is rectified before it is added."""
    variance = float(scene.squared_moves().mean()) / scene.x.shape[1]
    change = []
    for phi in _composed(layers):
        mean, spread = phi.sum(1).square().sum() / (2 * math.pi), (0.5 - 0.5 / math.pi) * phi.square().sum()
        change.append(variance * float(mean + spread))
    return change


def _isotropic(scene: _Scene, layers: Sequence[torch.Tensor]) -> list[float]:
    """Mean squared change of each layer by noise that the first layer rectifies where it sees no lit pixel."""
    first = layers[0]
    weight = scene.squared_moves() / scene.x.shape[1]
    lit = ((scene.x @ first.T) > 0).double()
    both = lit.T @ (lit * weight[:, None]) / len(lit)
    one = (lit * weight[:, None]).mean(0)
    either = one[:, None] + one[None, :]
    linear = first @ first.T
    response = (weight.mean() - either + both) * _rectified_moments(linear)
    response = response + (either - 2 * both) * linear / 2 + both * linear
    beyond = _composed([torch.eye(len(first), dtype=torch.float64), *layers[1:]])
    return [float(((ways.T @ ways) * response).sum()) for ways in beyond]


def _rectified_moments(linear: torch.Tensor) -> torch.Tensor:
    r"""Second moments of :math:`\mathrm{ReLU}(z)` for centered Gaussian z of these second moments."""
    norms = linear.diagonal().sqrt()
    scale = norms[:, None] * norms[None, :]
    cosine = (linear / scale).clamp(-1, 1)
    return scale / (2 * math.pi) * ((1 - cosine.square()).sqrt() + cosine * (math.pi - cosine.acos()))


_NOISES: Mapping[str, Callable[[_Scene, Sequence[torch.Tensor]], list[float]]] = MappingProxyType(
    {"rectified": _rectified, "sphere": _isotropic}
)


def _single_layers(kernels: Sequence[int], strides: Sequence[int], side: int) -> list[torch.Tensor]:
    """What each layer alone does along a ring: ``(units, units of the layer before)``."""
    found = []
    for kernel, stride in zip(kernels, strides, strict=True):
        units = torch.arange(-(-side // stride))
        layer = torch.zeros(len(units), side, dtype=torch.float64)
        for tap in range(kernel):
            layer[units, (units * stride + tap - (kernel - 1) // 2) % side] += 1
        found.append(layer)
        side = len(units)
    return found


def _image_layers(kernels: Sequence[int], strides: Sequence[int], height: int, width: int) -> list[torch.Tensor]:
    """The same for all places of an image, row by row; along the row alone where there is one."""
    along = _single_layers(kernels, strides, width)
    if height == 1:
        return along
    down = _single_layers(kernels, strides, height)
    return [torch.kron(rows, columns) for rows, columns in zip(down, along, strict=True)]


def _composed(layers: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return list(accumulate(layers, lambda before, layer: layer @ before))
