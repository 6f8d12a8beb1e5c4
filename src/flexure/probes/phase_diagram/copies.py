"""Deformed and noisy copies of the same images at any temperature and cut-off, from one draw of random numbers."""

from collections.abc import Sequence

import torch

from flexure.bench import Mounted
from flexure.perturb.diffeomorphism import coefficients, critical_temperatures, displacement_fields
from flexure.perturb.interpolation import Grid, gaussian_smooth, pull_back, working_dtype
from flexure.perturb.noise import match_magnitude, sphere
from flexure.probes.phase_diagram.settings import Settings

__all__ = ["Copies", "critical"]


class Copies:
    """Copies of some images, each drawn with the same numbers at every temperature and cut-off.

    The field at temperature T is that at temperature 1 times the root of T, and the noise has one direction for all:
    what a draw costs is paid once. The copies are those that a sensitivity measurement of the same seed makes.

    Args:
        mounted: The network.
        settings: What was asked for.
        x: Raw images ``(m, C, H, W)``.
        index: Their indices.
    """

    def __init__(self, mounted: Mounted, settings: Settings, x: torch.Tensor, index: torch.Tensor) -> None:
        self._mounted, self._settings, self._index = mounted, settings, index
        self._x = x if settings.space == "pixel" else mounted.normalized(x)
        self._clean = gaussian_smooth(self._x) if settings.interpolation == "gaussian" else self._x
        self._size = (int(x.shape[-2]), int(x.shape[-1]))
        self._grid = Grid.of(*self._size, working_dtype(x.dtype), x.device)
        self._directions: tuple[int, torch.Tensor] | None = None
        self._fields: tuple[tuple[int, int], torch.Tensor] | None = None

    def clean(self) -> torch.Tensor:
        """The images as they are, for the network."""
        return self._for_the_network(self._clean)

    def disturbed(self, cutoff: int, temperatures: Sequence[float], draw: int) -> torch.Tensor:
        """Rows ``[deformed per temperature; noisy per temperature]``, for the network."""
        bent = [self._bent(cutoff, temperature, draw) for temperature in temperatures]
        direction = self._direction(draw)
        noisy = [torch.addcmul(self._clean, direction, self._norms(deformed)) for deformed in bent]
        return self._for_the_network(torch.cat([*bent, *noisy]))

    def pictures(self, cutoff: int, temperature: float, draw: int) -> torch.Tensor:
        """The deformed images as raw ones, for looking at."""
        return self._as_raw(self._bent(cutoff, temperature, draw))

    def originals(self) -> torch.Tensor:
        """What those are to be compared with."""
        return self._as_raw(self._clean)

    def fields(self, cutoff: int, temperature: float, draw: int) -> torch.Tensor:
        """Where each pixel looks ``(m, 2, H, W)``, pixels."""
        key = (cutoff, draw)
        if self._fields is None or self._fields[0] != key:
            found = _unit(self._index, self._size, cutoff, self._settings.seed, draw, self._grid.base.dtype)
            self._fields = key, displacement_fields(found, self._size)
        return self._fields[1] * temperature**0.5

    def _bent(self, cutoff: int, temperature: float, draw: int) -> torch.Tensor:
        fields = self.fields(cutoff, temperature, draw)
        return pull_back(self._x, fields, self._settings.interpolation, grid=self._grid)

    def _direction(self, draw: int) -> torch.Tensor:
        if self._directions is None or self._directions[0] != draw:
            self._directions = draw, sphere(self._clean, self._index, seed=self._settings.seed, draw=draw)
        return self._directions[1]

    def _norms(self, deformed: torch.Tensor) -> torch.Tensor:
        return match_magnitude(self._clean, deformed).to(deformed.dtype)[:, None, None, None]

    def _as_raw(self, rows: torch.Tensor) -> torch.Tensor:
        return rows if self._settings.space == "pixel" else self._mounted.raw(rows)

    def _for_the_network(self, rows: torch.Tensor) -> torch.Tensor:
        return self._mounted.normalized(rows) if self._settings.space == "pixel" else rows


def critical(index: torch.Tensor, size: tuple[int, int], cutoff: int, seed: int, draw: int) -> torch.Tensor:
    """The temperature ``(m,)`` at which each image's own field begins to fold, float64."""
    return critical_temperatures(_unit(index, size, cutoff, seed, draw, torch.float64), size)


def _unit(
    index: torch.Tensor, size: tuple[int, int], cutoff: int, seed: int, draw: int, dtype: torch.dtype
) -> torch.Tensor:
    return coefficients(index, size, temperature=1.0, cutoff=cutoff, seed=seed, draw=draw, dtype=dtype)
