r"""Pulling an image back along a displacement: :math:`(\tau x)(s) = x(s - \tau(s))`, by three ways of interpolating."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F

from flexure.errors import ArgumentError, nearest

__all__ = ["INTERPOLATIONS", "SIGMA", "Grid", "check_interpolation", "gaussian_smooth", "pull_back", "working_dtype"]

SIGMA = 0.4715
"""Width of the Gaussian interpolation, pixels."""


def pull_back(
    x: torch.Tensor, fields: torch.Tensor, interpolation: str = "bilinear", *, grid: "Grid | None" = None
) -> torch.Tensor:
    r"""What does an image look like after a displacement?

    .. math:: (\tau x)(s) = x(s - f(s))

    with the image continued beyond its border by its outermost pixels. All channels move together. Differentiable in
    ``x`` and, except for ``nearest``, in ``fields``.

    Args:
        x: Images ``(b, C, H, W)``, floating point, any layout in memory.
        fields: Displacements f ``(b, 2, H, W)``, pixels: first along a row (towards larger columns), then along a
            column (towards larger rows).
        interpolation: ``"bilinear"``: the four neighbors. ``"gaussian"``: normalized weights
            :math:`e^{-r^2/2\sigma^2}`, σ = 0.4715 pixels, over all neighbors that matter to rounding; it blurs also
            where nothing moves (:func:`gaussian_smooth`). ``"nearest"``: the nearest pixel.
        grid: The pixels' positions in the working precision, where several batches share them; made if not given.

    Returns:
        ``(b, C, H, W)`` in the dtype of ``x``; half precisions are worked on in float32.

    Raises:
        ArgumentError: Shapes do not fit, ``x`` is not floating point, or no such interpolation.

    Cost: one ``grid_sample`` (Gaussian: 9 in float32, 16 in float64) and a grid of the size of ``fields``.
    Exact case: where both sides are powers of two (32, 64, 256), whole displacements, zero among them, move pixels bit
    for bit. At other sizes positions are off by up to ``side * 1.2e-7`` pixels in float32 (3e-6 at 28, 2.7e-5 at
    224), also where nothing moves; ``nearest`` is exact for whole displacements at every size.
    """
    check_interpolation(interpolation)
    _check_shapes(x, fields)
    dtype = torch.promote_types(working_dtype(x.dtype), fields.dtype)
    height, width = x.shape[-2:]
    grid = Grid.of(height, width, dtype, x.device) if grid is None else grid
    return INTERPOLATIONS[interpolation](grid, x.to(dtype), fields.to(dtype)).to(x.dtype)


def gaussian_smooth(x: torch.Tensor) -> torch.Tensor:
    r"""What is left of an image under Gaussian interpolation where nothing moves?

    Each axis is averaged with weights :math:`e^{-(m-k)^2/2\sigma^2}`, normalized over the pixels there are: 0.087,
    0.826, 0.087 away from the border. It is what a Gaussian-deformed image has to be compared with.

    Args:
        x: Images ``(b, C, H, W)``, floating point.

    Returns:
        The smoothed images, same shape and dtype.

    Cost: two matrix products of the images with matrices of their sides.
    Exact case: :func:`pull_back` with a field of zeros, to rounding.
    """
    rows, columns = (_smoothing(side).to(x.device, working_dtype(x.dtype)) for side in x.shape[-2:])
    with torch.autocast(x.device.type, enabled=False):
        return (rows @ x.to(rows.dtype) @ columns.T).to(x.dtype)


def check_interpolation(name: str) -> str:
    """The name itself, if there is such an interpolation.

    Raises:
        ArgumentError: There is none; the message lists those there are.
    """
    if name not in INTERPOLATIONS:
        raise ArgumentError(f"no interpolation {name!r}. {nearest(name, INTERPOLATIONS)}")
    return name


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """The precision positions are computed in: the images' own, float32 for half precisions.

    Raises:
        ArgumentError: The images are not floating point.
    """
    if not dtype.is_floating_point:
        raise ArgumentError(f"images must be floating point to be deformed; got {dtype}. Convert them, with x / 255.")
    return dtype if dtype in (torch.float32, torch.float64) else torch.float32


def _check_shapes(x: torch.Tensor, fields: torch.Tensor) -> None:
    if x.dim() != 4:
        raise ArgumentError(f"images must be (b, C, H, W); got shape {tuple(x.shape)}.")
    if fields.shape != (expected := (len(x), 2, *x.shape[-2:])):
        raise ArgumentError(
            f"images of shape {tuple(x.shape)} need fields of shape {tuple(expected)}; got {tuple(fields.shape)}."
        )


@dataclass(frozen=True, eq=False)
class Grid:
    """The positions of an image's pixels, as ``grid_sample`` numbers them.

    Attributes:
        base: Of the pixels themselves, ``(2, H, W)``: along a row, along a column.
        steps: What a displacement by one pixel changes, ``(2, 1, 1)``.
        corners: Which of two ways of numbering is used; that for powers of two is exact at whole pixels.
    """

    base: torch.Tensor
    steps: torch.Tensor
    corners: bool

    @classmethod
    def of(cls, height: int, width: int, dtype: torch.dtype, device: torch.device | str = "cpu") -> "Grid":
        """The grid of an image size."""
        corners = bool(height & (height - 1) or width & (width - 1))
        down, across = (_axis(side, corners) for side in (height, width))
        base = torch.stack([across.expand(height, width), down[:, None].expand(height, width)])
        steps = torch.tensor([-2 / (side - corners) for side in (width, height)], dtype=torch.float64)
        return cls(base.to(device, dtype), steps.view(2, 1, 1).to(device, dtype), corners)

    def fetch(self, x: torch.Tensor, fields: torch.Tensor, mode: str = "bilinear") -> torch.Tensor:
        """``x`` at each pixel less its displacement in pixels; the planes are read as they lie, not interleaved."""
        places = torch.addcmul(self.base, fields, self.steps).permute(0, 2, 3, 1)
        return F.grid_sample(x, places, mode=mode, padding_mode="border", align_corners=self.corners)


def _axis(side: int, corners: bool) -> torch.Tensor:
    pixels = torch.arange(side, dtype=torch.float64)
    return 2 * pixels / (side - 1) - 1 if corners else (2 * pixels + 1) / side - 1


def _bilinear(grid: Grid, x: torch.Tensor, fields: torch.Tensor) -> torch.Tensor:
    return grid.fetch(x, fields)


def _nearest(grid: Grid, x: torch.Tensor, fields: torch.Tensor) -> torch.Tensor:
    return grid.fetch(x, fields, "nearest")


def _gaussian(grid: Grid, x: torch.Tensor, fields: torch.Tensor) -> torch.Tensor:
    """Two neighboring taps of each axis are one bilinear fetch between them, so four taps cost one."""
    height, width = x.shape[-2:]
    columns = torch.arange(width, dtype=fields.dtype, device=fields.device)
    rows = torch.arange(height, dtype=fields.dtype, device=fields.device)[:, None]
    across, down = _taps(columns, fields[:, 0], width), _taps(rows, fields[:, 1], height)
    total = torch.zeros_like(x)
    for weight_y, shift_y in down:
        for weight_x, shift_x in across:
            part = grid.fetch(x, torch.stack([shift_x, shift_y], dim=1))
            total = total + (weight_y * weight_x)[:, None] * part
    return total


def _taps(pixels: torch.Tensor, field: torch.Tensor, side: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Weight and displacement of each fetch that makes one axis of a Gaussian, of 6 taps in float32, 8 in float64."""
    half = 4 if field.dtype == torch.float64 else 3
    positions = (pixels - field).clamp(0, side - 1)
    taps = [positions.floor() + offset for offset in range(1 - half, 1 + half)]
    weights = [torch.exp((positions - tap).square() / (-2 * SIGMA**2)) * _inside(tap, side) for tap in taps]
    total = torch.stack(weights).sum(0)
    fetches = []
    for tap, left, right in zip(taps[::2], weights[::2], weights[1::2], strict=True):
        both = left + right
        between = right / both.clamp_min(torch.finfo(both.dtype).tiny)
        fetches.append((both / total, pixels - tap - between))
    return fetches


def _inside(tap: torch.Tensor, side: int) -> torch.Tensor:
    return (tap >= 0) & (tap <= side - 1)


def _smoothing(side: int) -> torch.Tensor:
    pixels = torch.arange(side, dtype=torch.float64)
    weights = torch.exp((pixels[:, None] - pixels).square() / (-2 * SIGMA**2))
    return weights / weights.sum(1, keepdim=True)


INTERPOLATIONS: Mapping[str, Callable[[Grid, torch.Tensor, torch.Tensor], torch.Tensor]] = MappingProxyType(
    {"bilinear": _bilinear, "gaussian": _gaussian, "nearest": _nearest}
)
