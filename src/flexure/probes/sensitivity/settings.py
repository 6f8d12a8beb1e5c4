"""The options of a sensitivity measurement, checked before anything is read."""

import numbers
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from flexure.errors import ArgumentError, nearest
from flexure.perturb.diffeomorphism import Diffeomorphism

__all__ = ["Settings"]

_CHOICES = {
    "interpolation": ("bilinear", "gaussian", "nearest"),
    "match": ("per_image", "batch_mean", "batch_rms", "fixed"),
    "space": ("normalized", "pixel"),
    "reduction": ("mean", "coordinate_median", "norm_median"),
    "batch_norm": ("running", "batch"),
    "fold": ("report", "reject"),
}


@dataclass(frozen=True)
class Settings:
    """What :func:`flexure.sensitivity` was asked for; the fields are its arguments of the same names."""

    displacement: float | None
    temperature: float | None
    cutoff: int
    interpolation: str
    fold: str
    match: str
    sigma: float | None
    space: str
    reduction: str
    same_pairs: bool
    draws: int
    precision: float | None
    max_draws: int
    layers: str | tuple[str, ...] | None
    batch_norm: str
    group_size: int
    batch_size: int
    memory_limit: int
    seed: int

    def __post_init__(self) -> None:
        if self.layers is not None and not isinstance(self.layers, str):
            object.__setattr__(self, "layers", tuple(self.layers))
        for name, valid in _CHOICES.items():
            if (value := getattr(self, name)) not in valid:
                raise ArgumentError(f"sensitivity: no {name} {value!r}. {nearest(str(value), valid)}")
        for name, least in (("draws", 1), ("max_draws", 1), ("group_size", 2), ("batch_size", 1), ("memory_limit", 1)):
            value = getattr(self, name)
            if not isinstance(value, numbers.Integral) or value < least:
                raise ArgumentError(f"sensitivity: {name} must be a whole number of at least {least}; got {value!r}.")
        if not isinstance(self.seed, numbers.Integral):
            raise ArgumentError(f"sensitivity: seed must be a whole number; got {self.seed!r}.")
        self._check_noise()
        self._check_precision()

    def _check_noise(self) -> None:
        if (self.match == "fixed") != (self.sigma is not None):
            raise ArgumentError(
                f"sensitivity: match='fixed' and sigma go together; got match={self.match!r}, sigma={self.sigma!r}."
            )
        if self.sigma is not None and not self.sigma > 0:
            raise ArgumentError(f"sensitivity: sigma, the norm of the noise, must be > 0; got {self.sigma!r}.")

    def _check_precision(self) -> None:
        if self.precision is None:
            return
        if not 0 < self.precision < 1:
            raise ArgumentError(
                f"sensitivity: precision, the relative standard error of R, must lie in (0, 1); got {self.precision!r}."
            )
        if self.reduction != "mean":
            raise ArgumentError(f"sensitivity: precision goes with reduction='mean'; got {self.reduction!r}.")
        if self.max_draws < self.draws_per_round:
            raise ArgumentError(
                f"sensitivity: max_draws must be at least {self.draws_per_round}, the draws of one round; "
                f"got {self.max_draws}."
            )

    @property
    def draws_per_round(self) -> int:
        """Draws per image in one round: two at least where precision is asked for, to see the draws' own spread."""
        return self.draws if self.precision is None else max(2, self.draws)

    @property
    def max_rounds(self) -> int:
        """Rounds that may be made."""
        return 1 if self.precision is None else max(1, self.max_draws // self.draws_per_round)

    @property
    def has_groups(self) -> bool:
        """Whether a batch is part of the definition."""
        return self.batch_norm == "batch" or self.match in ("batch_mean", "batch_rms")

    def diffeomorphism(self) -> Diffeomorphism:
        """The deformation these settings describe."""
        return Diffeomorphism(
            displacement=self.displacement,
            temperature=self.temperature,
            cutoff=self.cutoff,
            interpolation=self.interpolation,
            fold=self.fold,
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for provenance and for recognizing one's own partial sums."""
        plain = asdict(self)
        layers: str | Sequence[str] | None = plain["layers"]
        plain["layers"] = list(layers) if isinstance(layers, tuple) else layers
        return plain
