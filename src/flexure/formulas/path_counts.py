r"""Path counts: through how many paths does each pixel reach one unit, and what follows for its sensitivities.

Where all filters of a convolutional network are constant and nothing is negative, a unit of layer k is
:math:`\sum_i n^{(k)}_i x_i` up to a factor: :math:`n^{(k)}_i` counts the paths from pixel i to the unit, one offset of
the kernel chosen at each layer. Everything here is along one axis; the counts of an image are products of those of
its axes, since constant filters are.

Source: Tomasini et al., *How deep convolutional neural networks lose spatial information with training* (2022), whose
scalings :math:`D_k \sim A_k^{-\alpha}`, :math:`G_k \sim A_k` these counts make exact. Their "α = 1 with stride" is the
case of kernels as wide as the stride: see :func:`decay_exponent`.
"""

import math
from collections.abc import Sequence
from numbers import Integral

import numpy as np
import torch

from flexure.errors import ArgumentError

__all__ = ["check_layers", "decay_exponent", "effective_size", "one_pixel_sensitivities", "path_counts"]


def check_layers(kernels: Sequence[int], strides: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Kernel sizes and strides, one each per layer.

    Raises:
        ArgumentError: No layer, not as many strides as kernels, or a number below 1.
    """
    kernels, strides = tuple(kernels), tuple(strides)
    if not kernels or len(kernels) != len(strides):
        raise ArgumentError(
            f"path counts: {len(kernels)} kernels and {len(strides)} strides; expected one of each per layer."
        )
    if any(not isinstance(n, Integral) or n < 1 for n in (*kernels, *strides)):
        raise ArgumentError(
            f"path counts: kernels and strides must be whole numbers, at least 1; got {kernels} and {strides}."
        )
    return kernels, strides


def path_counts(kernels: Sequence[int], strides: Sequence[int], *, ring: int | None = None) -> list[torch.Tensor]:
    r"""Through how many paths does each pixel reach one unit of each layer?

    The coefficients of :math:`\prod_{m \le k} (1 + z^{S_m} + \dots + z^{(F_m - 1) S_m})` with :math:`S_m` the product
    of the strides before layer m.

    Args:
        kernels: Kernel sizes :math:`F_m`, first layer first.
        strides: Strides :math:`s_m`.
        ring: Pixels of a ring around which the counts are wrapped; None: a line without end.

    Returns:
        For every layer the counts ``(w,)``, float64, ``w`` the width of the receptive field, or ``ring``; they sum to
        the product of the kernel sizes.

    Raises:
        ArgumentError: As :func:`check_layers`, or ``ring`` is below 1.

    >>> path_counts([3, 3], [1, 1])[1].tolist(), path_counts([2, 2], [2, 2])[1].tolist()
    ([1.0, 2.0, 3.0, 2.0, 1.0], [1.0, 1.0, 1.0, 1.0])
    """
    kernels, strides = check_layers(kernels, strides)
    if ring is not None and ring < 1:
        raise ArgumentError(f"path counts: ring must be at least 1 pixel; got {ring}.")
    found, counts, step = [], np.ones(1), 1
    for kernel, stride in zip(kernels, strides, strict=True):
        taps = np.zeros((kernel - 1) * step + 1)
        taps[::step] = 1
        counts, step = np.convolve(counts, taps), step * stride
        found.append(torch.from_numpy(counts if ring is None else _wrapped(counts, ring)))
        counts = counts if ring is None else _wrapped(counts, ring)
    return found


def effective_size(counts: torch.Tensor) -> float:
    r"""How many pixels does a unit effectively see?

    .. math:: A = \left(\sum_i n_i\right)^2 / \sum_i n_i^2

    the participation ratio: the number of pixels where all seen ones count alike, fewer where the center counts more.

    Exact case: :math:`s^k` where kernel and stride are both s; about :math:`2\sqrt{\pi}\,\sqrt{k (F^2 - 1) / 12}`
    without stride.

    >>> effective_size(path_counts([2] * 5, [2] * 5)[-1])
    32.0
    """
    return float(counts.sum() ** 2 / counts.square().sum())


def one_pixel_sensitivities(counts: torch.Tensor) -> tuple[float, float, float]:
    r"""How sensitive is a layer of constant filters to moving the only lit pixel of a ring, and to noise?

    .. math::
        D = \frac{\sum_i (n_{i+1} - n_i)^2}{2 \sum_i n_i^2} / \left(1 - \frac{A}{N}\right), \qquad
        G = \left(\frac{A}{2\pi} + \frac{1}{2} - \frac{1}{2\pi}\right) / \left(1 - \frac{A}{N}\right), \qquad R = D/G

    for one lit pixel anywhere on a ring of N, moved to a neighboring place, and rectified Gaussian noise on all pixels
    whose squared norm before it is rectified is in the mean that of the move. Exact as expectations over places, moves
    and noise, for any strides whose product divides N, pairs of a place with itself included in the denominator.

    Args:
        counts: Path counts ``(N,)`` around the ring.

    Returns:
        D, G and R; NaN where a unit sees every place alike, since then nothing tells two images apart.
    """
    ring = len(counts)
    size = effective_size(counts)
    spread = 1 - size / ring
    if spread < 1e-12:
        return math.nan, math.nan, math.nan
    steps = counts - counts.roll(1)
    d = float(steps.square().sum() / (2 * counts.square().sum())) / spread
    g = (size / (2 * math.pi) + 0.5 - 1 / (2 * math.pi)) / spread
    return d, g, d / g


def decay_exponent(kernel: int, stride: int) -> float:
    r"""How fast does D fall with the effective size, :math:`D_k \sim A_k^{-\alpha}`, in many layers all alike?

    2 without stride. With a stride s that does not divide the kernel size F, neighboring pixels have different numbers
    of paths at every depth, and :math:`\alpha = 0`. With :math:`F = q s`,

    .. math:: \alpha = \frac{\ln(\lambda/\mu)}{\ln(F^2/\lambda)}, \qquad
        \sum_i n_i^2 \sim \lambda^k, \quad \sum_i (n_{i+1} - n_i)^2 \sim \mu^k,

    the largest eigenvalues of the matrices that carry the autocorrelation of :math:`n^{(k)}`, and of its differences,
    from layer to layer.

    Args:
        kernel: Kernel size F, at least 2 (with 1, a unit sees one pixel at any depth).
        stride: Stride s, at least 1.

    Returns:
        The exponent :math:`\alpha`.

    Raises:
        ArgumentError: ``kernel`` is below 2, or ``stride`` below 1.

    Exact case: 1 for F = s, 2 for F = 2s = 4, 0 for F = 3 or 5 and s = 2.

    >>> [decay_exponent(kernel, stride) for kernel, stride in ((3, 1), (2, 2), (4, 2), (3, 2))]
    [2.0, 1.0, 2.0, 0.0]
    """
    check_layers([kernel], [stride])
    if kernel < 2:
        raise ArgumentError("decay_exponent: with kernels of 1 a unit sees one pixel at any depth; give 2 or more.")
    if stride == 1:
        return 2.0
    if kernel % stride:
        return 0.0
    counts = _growth(np.ones(kernel), stride)
    taps = np.zeros(kernel - stride + 1)
    taps[::stride] = 1
    return round(math.log(counts / _growth(taps, stride)) / math.log(kernel**2 / counts), 12)


def _wrapped(counts: np.ndarray, ring: int) -> np.ndarray:
    padded = np.zeros(-(-len(counts) // ring) * ring)
    padded[: len(counts)] = counts
    return padded.reshape(-1, ring).sum(0)


def _growth(taps: np.ndarray, stride: int) -> float:
    """By what factor one more layer multiplies the sum of squares, in the limit of many layers."""
    lags = np.correlate(taps, taps, "full")
    middle = len(taps) - 1
    reach = max(middle // (stride - 1), 1)
    span = np.arange(-reach, reach + 1)
    at = span[:, None] - stride * span[None, :] + middle
    matrix = np.where((at >= 0) & (at < len(lags)), lags[at.clip(0, len(lags) - 1)], 0.0)
    return float(np.abs(np.linalg.eigvals(matrix)).max())
