"""Diffeomorphisms of square images as the papers define them: slow, obvious, loop by loop, one image at a time."""

import math

import torch


def modes(cutoff: int) -> list[tuple[int, int]]:
    """Kept half-waves (along a row, along a column)."""
    grid = range(1, cutoff + 1)
    return [(i, j) for i in grid for j in grid if math.sqrt(i**2 + j**2) < cutoff + 0.5]


def field(coefficients: torch.Tensor, n: int) -> torch.Tensor:
    """One component ``(n, n)``, indexed [y, x], of coefficients ``(c, c)`` indexed [i along x, j along y]."""
    u = torch.linspace(0, 1, n, dtype=coefficients.dtype)
    s = torch.stack([torch.sin(math.pi * i * u) for i in range(1, len(coefficients) + 1)], dim=1)
    return torch.einsum("ij,xi,yj->yx", coefficients, s, s)


def displacement(amplitudes: torch.Tensor, x: float, y: float, height: int, width: int) -> list[float]:
    """Both components, pixels, at one point of an image, of amplitudes ``(2, max j, max i)``, wave by wave."""
    total = [0.0, 0.0]
    for component, table in enumerate(amplitudes.tolist()):
        for j, row in enumerate(table, start=1):
            for i, amplitude in enumerate(row, start=1):
                wave = math.sin(i * math.pi * x / (width - 1)) * math.sin(j * math.pi * y / (height - 1))
                total[component] += amplitude * wave
    return total


def bilinear(image: torch.Tensor, fields: torch.Tensor) -> torch.Tensor:
    """An image ``(C, H, W)`` pulled back along fields ``(2, H, W)``, by four gathers."""
    x, y = _positions(image, fields)
    left, top = x.floor().long(), y.floor().long()
    right, bottom = x.ceil().long(), y.ceil().long()
    a, b = x - left, y - top
    upper = (1 - a) * image[:, top, left] + a * image[:, top, right]
    lower = (1 - a) * image[:, bottom, left] + a * image[:, bottom, right]
    return (1 - b) * upper + b * lower


def nearest(image: torch.Tensor, fields: torch.Tensor) -> torch.Tensor:
    """An image ``(C, H, W)`` pulled back along fields ``(2, H, W)`` to the nearest pixel."""
    x, y = _positions(image, fields)
    return image[:, y.round().long(), x.round().long()]


def gaussian(
    image: torch.Tensor, fields: torch.Tensor, reach: int | None = None, sigma: float = 0.4715
) -> torch.Tensor:
    """An image pulled back with normalized Gaussian weights over all pixels, or those within ``reach`` per axis."""
    x, y = _positions(image, fields)
    height, width = image.shape[-2:]
    total, norm = torch.zeros_like(image), torch.zeros(height, width, dtype=image.dtype)
    for row in range(height):
        for column in range(width):
            weight = torch.exp(-((x - column) ** 2 + (y - row) ** 2) / (2 * sigma**2))
            if reach is not None:
                weight = weight * ((x.round() - column).abs() <= reach) * ((y.round() - row).abs() <= reach)
            total += weight * image[:, row, column, None, None]
            norm += weight
    return total / norm


def _positions(image: torch.Tensor, fields: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    height, width = image.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (x - fields[0]).clamp(0, width - 1), (y - fields[1]).clamp(0, height - 1)
