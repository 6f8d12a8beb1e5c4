"""The options of a phase diagram, checked before anything is read, and the points of the plane that they mean."""

import math
import numbers
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from flexure.errors import ArgumentError, nearest
from flexure.formulas import maximum_entropy as law

__all__ = ["Point", "Settings", "points_of"]

_CHOICES = {"interpolation": ("bilinear", "gaussian", "nearest"), "space": ("normalized", "pixel")}


@dataclass(frozen=True)
class Settings:
    """What :func:`flexure.phase_diagram` was asked for; the fields are its arguments of the same names.

    Temperatures and cut-offs stand in rising order, whatever order they were given in.
    """

    temperatures: int | tuple[float, ...]
    cutoffs: tuple[int, ...]
    interpolation: str
    space: str
    same_pairs: bool
    draws: int
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "cutoffs", tuple(sorted(map(_cutoff, _several("cutoffs", self.cutoffs)))))
        if isinstance(self.temperatures, numbers.Integral):
            self._whole("temperatures", 2)
            object.__setattr__(self, "temperatures", int(self.temperatures))
        else:
            given = _several("temperatures", self.temperatures)
            object.__setattr__(self, "temperatures", tuple(sorted(map(_temperature, given))))
        for name, valid in _CHOICES.items():
            if (value := getattr(self, name)) not in valid:
                raise ArgumentError(f"phase_diagram: no {name} {value!r}. {nearest(str(value), valid)}")
        for name in ("draws", "batch_size"):
            self._whole(name, 1)
        if not isinstance(self.seed, numbers.Integral):
            raise ArgumentError(f"phase_diagram: seed must be a whole number; got {self.seed!r}.")

    def _whole(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
            also = ", or the temperatures themselves" if name == "temperatures" else ""
            raise ArgumentError(
                f"phase_diagram: {name} must be a whole number of at least {least}{also}; got {value!r}."
            )

    @property
    def n_temperatures(self) -> int:
        """Temperatures at each cut-off."""
        return self.temperatures if isinstance(self.temperatures, int) else len(self.temperatures)

    @property
    def n_points(self) -> int:
        """Points of the plane."""
        return self.n_temperatures * len(self.cutoffs)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for provenance and for recognizing one's own partial sums; the last three are always so."""
        plain = asdict(self) | {"match": "per_image", "reduction": "mean", "batch_norm": "running"}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}


@dataclass(frozen=True)
class Point:
    """One point of the plane, at one image size.

    Attributes:
        cutoff: Cut-off c.
        temperature: Temperature T.
        displacement: Nominal displacement δ, pixels.
        rms_displacement: The root mean square over pixels and fields, exactly, pixels.
        in_band: Whether T lies in [T1, T2].
    """

    cutoff: int
    temperature: float
    displacement: float
    rms_displacement: float
    in_band: bool


def points_of(settings: Settings, size: tuple[int, int]) -> list[Point]:
    """All points, by rising cut-off, then temperature.

    Raises:
        ArgumentError: The images are too small for a cut-off.
    """
    return [_point(cutoff, t, size) for cutoff in settings.cutoffs for t in _temperatures(settings, cutoff, size)]


def _temperatures(settings: Settings, cutoff: int, size: tuple[int, int]) -> Sequence[float]:
    try:
        law.reach(cutoff, size)
    except ArgumentError as wrong:
        raise ArgumentError(f"phase_diagram: cutoffs={settings.cutoffs} do not all fit the images: {wrong}") from wrong
    if isinstance(settings.temperatures, tuple):
        return settings.temperatures
    return law.temperature_grid(cutoff, size, settings.temperatures)


def _point(cutoff: int, temperature: float, size: tuple[int, int]) -> Point:
    low, high = law.temperature_range(cutoff, size)
    return Point(
        cutoff,
        temperature,
        law.nominal_displacement(temperature, cutoff, size),
        law.rms_displacement(temperature, cutoff, size),
        low <= temperature <= high,
    )


def _several(name: str, values: Any) -> list[Any]:
    found = list(values) if isinstance(values, Sequence) and not isinstance(values, str) else [values]
    if not found or len(set(found)) < len(found):
        raise ArgumentError(f"phase_diagram: {name} must be one or more different values; got {values!r}.")
    return found


def _cutoff(value: Any) -> int:
    try:
        return law.check_cutoff(value)
    except ArgumentError as wrong:
        raise ArgumentError(f"phase_diagram: cutoffs: {wrong}") from wrong


def _temperature(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < float(value) < math.inf:
        raise ArgumentError(f"phase_diagram: temperatures must be finite and above 0; got {value!r}.")
    return float(value)
