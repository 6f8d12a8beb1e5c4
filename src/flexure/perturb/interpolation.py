r"""Pulling an image back along a displacement: :math:`(\tau x)(s) = x(s - \tau(s))`, by three ways of interpolating."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F

from flexure.errors import ArgumentError, nearest

__all__ = ["INTERPOLATIONS", "SIGMA", "check_interpolation", "gaussian_smooth", "pull_back", "working_dtype"]

SIGMA = 0.4715
"""Width of the Gaussian interpolation, pixels."""


def pull_back(x: torch.Tensor, fields: torch.Tensor, interpolation: str = "bilinear") -> torch.Tensor:
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
    return INTERPOLATIONS[interpolation](x.to(dtype), fields.to(dtype)).to(x.dtype)


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


def _bilinear(x: torch.Tensor, fields: torch.Tensor) -> torch.Tensor:
    return _sample(x, fields, "bilinear")


def _nearest(x: torch.Tensor, fields: torch.Tensor) -> torch.Tensor:
    return _sample(x, fields, "nearest")


def _sample(x: torch.Tensor, fields: torch.Tensor, mode: str) -> torch.Tensor:
    height, width = x.shape[-2:]
    corners = _corners(height, width)
    axes = [_normalized_axis(side, corners).to(fields.device, fields.dtype) for side in (height, width)]
    base = torch.stack([axes[1].expand(height, width), axes[0][:, None].expand(height, width)])
    steps = torch.tensor([-2 / (side - corners) for side in (width, height)], dtype=fields.dtype, device=fields.device)
    return _fetch(x, torch.addcmul(base, fields, steps.view(2, 1, 1)), corners, mode)


def _fetch(x: torch.Tensor, grid: torch.Tensor, corners: bool, mode: str = "bilinear") -> torch.Tensor:
    """Sample at normalized positions ``(b, 2, H, W)``; the planes are read as they lie, without interleaving."""
    return F.grid_sample(x, grid.permute(0, 2, 3, 1), mode=mode, padding_mode="border", align_corners=corners)


def _corners(height: int, width: int) -> bool:
    """Which of grid_sample's two ways to number positions: that of powers of two is exact at whole pixels."""
    return bool(height & (height - 1) or width & (width - 1))


def _normalized_axis(side: int, corners: bool) -> torch.Tensor:
    """The pixels' positions as grid_sample numbers them, float64."""
    pixels = torch.arange(side, dtype=torch.float64)
    return 2 * pixels / (side - 1) - 1 if corners else (2 * pixels + 1) / side - 1


def _gaussian(x: torch.Tensor, fields: torch.Tensor) -> torch.Tensor:
    """Two neighboring taps of each axis are one bilinear fetch between them, so four taps cost one."""
    height, width = x.shape[-2:]
    corners = _corners(height, width)
    pairs = 4 if fields.dtype == torch.float64 else 3
    columns = torch.arange(width, dtype=fields.dtype, device=fields.device)
    rows = torch.arange(height, dtype=fields.dtype, device=fields.device)[:, None]
    across = _taps(columns - fields[:, 0], width, pairs)
    down = _taps(rows - fields[:, 1], height, pairs)
    total = torch.zeros_like(x)
    for weight_y, place_y in down:
        for weight_x, place_x in across:
            grid = torch.stack([_normalize(place_x, width, corners), _normalize(place_y, height, corners)], dim=1)
            total = total + (weight_y * weight_x)[:, None] * _fetch(x, grid, corners)
    return total


def _taps(positions: torch.Tensor, side: int, pairs: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Weights and places of the fetches that make one axis of a Gaussian: ``2 * pairs`` pixels around each position."""
    positions = positions.clamp(0, side - 1)
    first = positions.floor()
    taps = []
    for offset in range(1 - pairs, 1 + pairs):
        pixels = first + offset
        inside = (pixels >= 0) & (pixels <= side - 1)
        taps.append((torch.exp((positions - pixels).square() / (-2 * SIGMA**2)) * inside, pixels))
    total = sum(weight for weight, _ in taps)
    fetches = []
    for (left, pixels), (right, _) in zip(taps[::2], taps[1::2], strict=True):
        both = left + right
        place = pixels + right / both.clamp_min(torch.finfo(both.dtype).tiny)
        fetches.append((both / total, place))
    return fetches


def _normalize(places: torch.Tensor, side: int, corners: bool) -> torch.Tensor:
    return places * (2 / (side - 1)) - 1 if corners else (places * 2 + 1) / side - 1


def _smoothing(side: int) -> torch.Tensor:
    pixels = torch.arange(side, dtype=torch.float64)
    weights = torch.exp((pixels[:, None] - pixels).square() / (-2 * SIGMA**2))
    return weights / weights.sum(1, keepdim=True)


INTERPOLATIONS: Mapping[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = MappingProxyType(
    {"bilinear": _bilinear, "gaussian": _gaussian, "nearest": _nearest}
)
