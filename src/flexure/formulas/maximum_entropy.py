r"""The law of maximum-entropy diffeomorphisms: modes, temperature and displacement.

On an image of H rows and W columns, with pixel columns :math:`x = 0 \dots W-1` and rows :math:`y = 0 \dots H-1`, each
of the two components of the displacement is, in pixels,

.. math:: f(x, y) = n \sum_{i,j \ge 1} C_{ij} \sin\frac{i\pi x}{W-1} \sin\frac{j\pi y}{H-1},
    \qquad C_{ij} \sim N(0, T/r_{ij}^2),

with :math:`n = \sqrt{HW}` and the radius :math:`r_{ij}^2 = i^2 H/W + j^2 W/H`; modes of radius below
:math:`c + 1/2` are kept. On a square this is the law of the papers (:math:`r^2 = i^2 + j^2`). On a rectangle it is the
same Gibbs measure of the elastic energy written in pixels: as stiff along rows as along columns, so that away from the
border the field looks alike in both directions, whatever the shape. Temperature T has no unit.

Source: Petrini, Favero, Geiger and Wyart, *Relative stability toward diffeomorphisms indicates performance in deep
nets* (2021); rectangles and the exact displacement are ours.
"""

import math
from functools import lru_cache
from numbers import Real

import torch

from flexure.errors import ArgumentError

__all__ = [
    "check_cutoff",
    "check_size",
    "cosines",
    "mode_sum",
    "modes",
    "nominal_displacement",
    "reach",
    "rms_displacement",
    "sines",
    "squared_radius",
    "temperature",
    "temperature_grid",
    "temperature_range",
    "variance_field",
    "wave_numbers",
]

Size = int | tuple[int, int]


def check_cutoff(cutoff: float) -> int:
    """The cut-off as an int; 3.0 counts as 3.

    Raises:
        ArgumentError: It is not a whole number, or below 2.
    """
    if isinstance(cutoff, bool) or not isinstance(cutoff, Real) or not float(cutoff).is_integer():
        raise ArgumentError(f"cutoff must be a whole number, 2 or more; got {cutoff!r}.")
    if cutoff < 2:
        raise ArgumentError(
            f"cutoff must be 2 or more; got {cutoff}. Displacement and temperature are tied by ln(cutoff), "
            "which is 0 at cutoff 1."
        )
    return int(cutoff)


def check_size(size: Size) -> tuple[int, int]:
    """``(height, width)`` of an image; one number stands for a square.

    Raises:
        ArgumentError: A side is not a whole number of at least 3 pixels (the outermost never move).
    """
    sides = tuple(size) if isinstance(size, tuple | list | torch.Size) else (size, size)
    if len(sides) != 2 or any(int(side) != side or side < 3 for side in sides):
        raise ArgumentError(f"size must be a side or (height, width), 3 pixels or more each; got {size!r}.")
    return int(sides[0]), int(sides[1])


@lru_cache(maxsize=64)
def modes(cutoff: int, aspect: float = 1.0) -> tuple[tuple[int, int], ...]:
    r"""Which waves does a cut-off keep?

    The pairs :math:`(i, j)`, i half-waves along a row and j along a column, of radius
    :math:`\sqrt{i^2/a + j^2 a} < c + 1/2`: a disc, not a square, so that a few modes of :math:`i^2 + j^2 > c^2` are in.

    Args:
        cutoff: Cut-off c, a whole number, at least 2.
        aspect: Width over height, :math:`a = W/H`.

    Returns:
        The modes by rising radius (equal radii by i, then j): those of a smaller cut-off come first.

    Raises:
        ArgumentError: The cut-off is not a whole number of at least 2, or keeps no mode at so long an image.

    Exact case: 3, 6, 19, 77 and 172 modes at c = 2, 3, 5, 10 and 15 on a square.

    >>> modes(2)
    ((1, 1), (1, 2), (2, 1))
    """
    limit = (check_cutoff(cutoff) + 0.5) ** 2
    reach_x, reach_y = math.sqrt(limit * aspect), math.sqrt(limit / aspect)
    candidates = [(i, j) for i in range(1, math.ceil(reach_x) + 1) for j in range(1, math.ceil(reach_y) + 1)]
    kept = [mode for mode in candidates if squared_radius(mode, aspect) < limit]
    if not kept:
        raise ArgumentError(
            f"cutoff {cutoff} keeps no mode on an image {aspect:.3g} times as wide as high. "
            f"Raise cutoff to {math.floor(math.sqrt(aspect + 1 / aspect) - 0.5) + 1}."
        )
    return tuple(sorted(kept, key=lambda mode: (squared_radius(mode, aspect), mode)))


def squared_radius(mode: tuple[int, int], aspect: float = 1.0) -> float:
    r"""Squared radius of a mode, :math:`i^2/a + j^2 a` at aspect a = W/H."""
    i, j = mode
    return i * i / aspect + j * j * aspect


def mode_sum(cutoff: int, aspect: float = 1.0) -> float:
    r"""How much do the kept modes add to the displacement?

    :math:`S(c) = \sum 1/r_{ij}^2` over :func:`modes`; about :math:`(\pi/2) \ln c` at large c. On a square 0.9 at
    c = 2 and 1.225 at c = 3.
    """
    return math.fsum(1 / squared_radius(mode, aspect) for mode in modes(cutoff, aspect))


def nominal_displacement(temperature: float, cutoff: int, size: Size) -> float:
    r"""How far does a pixel move at a temperature, as the papers count it?

    .. math:: \delta = \frac{n}{2} \sqrt{\pi T \ln c}, \qquad n = \sqrt{HW}

    pixels: the large-c limit of the root mean square over the image. The true value is smaller
    (:func:`rms_displacement`; 0.82 of it at c = 3 and 32 pixels), at the image's center it is larger.

    Args:
        temperature: Temperature T >= 0.
        cutoff: Cut-off c >= 2.
        size: Side of a square image in pixels, or ``(height, width)``.

    Returns:
        The nominal displacement, pixels.

    Raises:
        ArgumentError: ``temperature`` is negative or not finite, or ``cutoff`` or ``size`` is out of range.
    """
    return 0.5 * _side(size) * math.sqrt(math.pi * _check(temperature, "temperature") * _log(cutoff))


def temperature(displacement: float, cutoff: int, size: Size) -> float:
    r"""Which temperature gives a nominal displacement?

    The inverse of :func:`nominal_displacement`, :math:`T = 4\delta^2/(\pi n^2 \ln c)`.

    Args:
        displacement: Nominal displacement δ >= 0, pixels.
        cutoff: Cut-off c >= 2.
        size: Side of a square image in pixels, or ``(height, width)``.

    Returns:
        The temperature, no unit; 1.132e-3 at δ = 1, c = 3 and 32 pixels.

    Raises:
        ArgumentError: ``displacement`` is negative or not finite, or ``cutoff`` or ``size`` is out of range.
    """
    return 4 * _check(displacement, "displacement") ** 2 / (math.pi * _side(size) ** 2 * _log(cutoff))


def temperature_range(cutoff: int, size: Size) -> tuple[float, float]:
    r"""Between which temperatures is a deformation visible and still invertible?

    .. math:: T_1 = \frac{1}{\pi n^2 \ln c}, \qquad T_2 = \frac{4}{\pi^3 c^2 \ln c}

    At T1 the nominal displacement is half a pixel. T2 is a soft limit, where folds become common (about a third of the
    fields at c = 3, 6 % at c = 15): count them with ``Diffeomorphism.folds``. The range is empty, T1 > T2, where
    :math:`c > 2n/\pi`.

    Raises:
        ArgumentError: ``cutoff`` or ``size`` is out of range.
    """
    logarithm = _log(cutoff)
    return 1 / (math.pi * _side(size) ** 2 * logarithm), 4 / (math.pi**3 * cutoff**2 * logarithm)


def temperature_grid(cutoff: int, size: Size, count: int = 30) -> list[float]:
    r"""Which temperatures show a network below, within and above the range of good deformations?

    ``count`` temperatures, at least 2, in equal ratios from :math:`T_1/15` to :math:`2 T_2`
    (:func:`temperature_range`): on purpose beyond the range on both sides. At the lower end the nominal displacement
    is 0.13 pixels whatever the cut-off.

    Raises:
        ArgumentError: An argument is out of range, or so high a cut-off on so small an image that nothing lies between.

    Source: the grid of the paper's measurements (30 temperatures, cut-offs 3, 5 and 15).
    """
    if count < 2:
        raise ArgumentError(f"a grid of temperatures has 2 of them or more; got {count}.")
    visible, folding = temperature_range(cutoff, size)
    low, high = visible / 15, 2 * folding
    if low >= high:
        raise ArgumentError(
            f"cutoff {cutoff} leaves no temperatures between T1/15 = {low:.3g} and 2 T2 = {high:.3g} on an image of "
            f"{_side(size):.4g} pixels. Lower the cutoff."
        )
    ratio = high / low
    return [low * ratio ** (step / (count - 1)) for step in range(count - 1)] + [high]


def rms_displacement(temperature: float, cutoff: int, size: Size) -> float:
    r"""How far does a pixel really move, as the root mean square over pixels and fields?

    .. math:: \left(\frac{1}{HW} \sum_{x,y} E|f(x,y)|^2\right)^{1/2} = \left(\frac{T}{2} (W-1)(H-1)\, S(c)\right)^{1/2}

    pixels, both components together. Exact, because every mode has fewer half-waves than the image has gaps.

    Args:
        temperature: Temperature T >= 0.
        cutoff: Cut-off c >= 2.
        size: Side of a square image in pixels, or ``(height, width)``.

    Returns:
        The displacement, pixels; 0.816 where the nominal one is 1, c = 3, 32 pixels.

    Raises:
        ArgumentError: An argument is out of range, or the image is too small for the cut-off.
    """
    height, width = check_size(size)
    reach(cutoff, (height, width))
    area = (height - 1) * (width - 1)
    return math.sqrt(_check(temperature, "temperature") / 2 * area * mode_sum(cutoff, width / height))


def variance_field(temperature: float, cutoff: int, size: Size) -> torch.Tensor:
    r"""How much does each pixel's displacement vary?

    .. math:: K(x, y) = n^2 T \sum_{i,j} \sin^2\frac{i\pi x}{W-1} \sin^2\frac{j\pi y}{H-1} / r_{ij}^2

    Returns:
        ``(height, width)``, float64, pixels²: the variance of one component; 0 on the border. The components are
        independent and alike.

    Raises:
        ArgumentError: An argument is out of range, or the image is too small for the cut-off.
    """
    height, width = check_size(size)
    rows, columns = reach(cutoff, (height, width))
    weights = torch.zeros(rows, columns, dtype=torch.float64)
    for i, j in modes(cutoff, width / height):
        weights[j - 1, i - 1] = 1 / squared_radius((i, j), width / height)
    amplitude = height * width * _check(temperature, "temperature")
    return amplitude * (sines(rows, height).square().T @ weights @ sines(columns, width).square())


def reach(cutoff: int, size: Size) -> tuple[int, int]:
    """Largest number of half-waves along a column and along a row, ``(max j, max i)``.

    Raises:
        ArgumentError: A wave has as many half-waves as the image has gaps between pixels, and cannot be seen on it.
    """
    height, width = check_size(size)
    kept = modes(cutoff, width / height)
    columns, rows = (max(numbers) for numbers in zip(*kept, strict=True))
    if rows > height - 2 or columns > width - 2:
        raise ArgumentError(
            f"cutoff {cutoff} has waves of {rows} half-periods along columns and {columns} along rows, which need "
            f"{rows + 2}x{columns + 2} pixels; the image has {height}x{width}. Lower the cutoff."
        )
    return rows, columns


def sines(count: int, pixels: int) -> torch.Tensor:
    r"""The waves :math:`\sin(k\pi m/(p-1))`, ``(count, pixels)`` in float64: k = 1 … count, m = 0 … p - 1.

    The first and last column are exactly 0.
    """
    waves = torch.sin(_phases(count, pixels))
    waves[:, 0] = waves[:, -1] = 0
    return waves


def cosines(count: int, pixels: int) -> torch.Tensor:
    r"""The waves :math:`\cos(k\pi m/(p-1))`, ``(count, pixels)`` in float64: k = 1 … count, m = 0 … p - 1."""
    return torch.cos(_phases(count, pixels))


def wave_numbers(count: int, pixels: int) -> torch.Tensor:
    r"""The slopes :math:`k\pi/(p-1)` per pixel of those waves, ``(count,)`` in float64."""
    return torch.arange(1, count + 1, dtype=torch.float64) * (math.pi / (pixels - 1))


def _phases(count: int, pixels: int) -> torch.Tensor:
    numbers = torch.arange(1, count + 1, dtype=torch.float64)
    return numbers[:, None] * torch.linspace(0, math.pi, pixels, dtype=torch.float64)


def _side(size: Size) -> float:
    return math.sqrt(math.prod(check_size(size)))


def _log(cutoff: int) -> float:
    return math.log(check_cutoff(cutoff))


def _check(value: float, name: str) -> float:
    if not (math.isfinite(value) and value >= 0):
        raise ArgumentError(f"{name} must be finite and not negative; got {value}.")
    return value
