"""The options of a sensitivity measurement, checked before anything is read."""

import numbers
from dataclasses import dataclass, fields, replace
from typing import Any

from flexure.data import Images, translation_of
from flexure.errors import ArgumentError, nearest
from flexure.perturb.channels import SCOPES
from flexure.perturb.diffeomorphism import Diffeomorphism
from flexure.perturb.disturbance import Disturbance, Transform
from flexure.perturb.noise import NOISES

__all__ = ["OF_IMAGES", "SHUFFLE_DRAWS", "Settings"]

OF_IMAGES = "images"
"""Instead of a transform: the one that goes with the images."""
SHUFFLE_DRAWS = 4
_CHOICES = {
    "interpolation": ("bilinear", "gaussian", "nearest"),
    "noise": tuple(NOISES),
    "match": ("per_image", "batch_mean", "batch_rms", "fixed"),
    "space": ("normalized", "pixel"),
    "reduction": ("mean", "coordinate_median", "norm_median"),
    "channels": ("all", "mean"),
    "batch_norm": ("running", "batch"),
    "fold": ("report", "reject"),
    "shuffle_scope": SCOPES,
    "shuffle_batch_norm": ("keep", "reestimate"),
}
_LEAST = {"draws": 1, "max_draws": 1, "group_size": 2, "batch_size": 1, "memory_limit": 1, "shuffle_draws": 1}
_DEFORMATION = {
    field.name: field.default
    for field in fields(Diffeomorphism)
    if field.name in ("displacement", "temperature", "cutoff", "interpolation", "fold")
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
    transform: Transform | str | None = None
    noise: str = "sphere"
    channels: str = "all"
    shuffle: str | None = None
    shuffle_draws: int = SHUFFLE_DRAWS
    shuffle_scope: str = "shared"
    shuffle_skip_first: bool = False
    shuffle_batch_norm: str = "keep"

    def __post_init__(self) -> None:
        if self.layers is not None and not isinstance(self.layers, str):
            object.__setattr__(self, "layers", tuple(self.layers))
        for name, valid in _CHOICES.items():
            if (value := getattr(self, name)) not in valid:
                raise ArgumentError(f"sensitivity: no {name} {value!r}. {nearest(str(value), valid)}")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if not isinstance(value, numbers.Integral) or value < least:
                raise ArgumentError(f"sensitivity: {name} must be a whole number of at least {least}; got {value!r}.")
        if not isinstance(self.seed, numbers.Integral):
            raise ArgumentError(f"sensitivity: seed must be a whole number; got {self.seed!r}.")
        self._check_transform()
        self._check_noise()
        self._check_precision()
        self._check_shuffle()

    def _check_transform(self) -> None:
        if self.transform is None:
            return
        is_transform = isinstance(self.transform, Transform) and not isinstance(self.transform, type)
        if self.transform != OF_IMAGES and not is_transform:
            raise ArgumentError(
                "sensitivity: transform must be an object with clean(x) and a call (x, index, *, seed, draw), such as "
                f"Diffeomorphism(cutoff=5), or {OF_IMAGES!r}; got {self.transform!r}."
            )
        for name, default in _DEFORMATION.items():
            if (value := getattr(self, name)) != default:
                raise ArgumentError(
                    f"sensitivity: {name} belongs to the deformation that transform= replaces; got {name}={value!r} "
                    "beside a transform. Set it on the transform itself."
                )

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

    def _check_shuffle(self) -> None:
        if self.shuffle not in (None, "input"):
            raise ArgumentError(f"sensitivity: no shuffle {self.shuffle!r}. {nearest(str(self.shuffle), ['input'])}")
        if not isinstance(self.shuffle_skip_first, bool):
            raise ArgumentError(
                f"sensitivity: shuffle_skip_first must be True or False; got {self.shuffle_skip_first!r}."
            )
        if self.shuffle is None:
            for field in fields(self):
                if field.name.startswith("shuffle_") and (value := getattr(self, field.name)) != field.default:
                    raise ArgumentError(f"sensitivity: {field.name}={value!r} goes with shuffle='input'.")
        if self.reestimates and self.batch_norm == "batch":
            raise ArgumentError(
                "sensitivity: shuffle_batch_norm='reestimate' goes with batch_norm='running'; statistics of the batch "
                "are those of the shuffled network already."
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

    @property
    def shuffles(self) -> int:
        """How many shuffled networks are measured beside the network itself."""
        return 0 if self.shuffle is None else self.shuffle_draws

    @property
    def reestimates(self) -> bool:
        """Whether the batch norms of shuffled networks get statistics of their own."""
        return self.shuffle_batch_norm == "reestimate"

    def passes(self, networks: int) -> tuple[int, int]:
        """How often the whole set goes through this network, its shuffles and ``networks`` others: at least, at most.

        Clean and two copies per draw; with a precision in rounds, clean again each; clean once more where batch norms
        are estimated anew.
        """
        one_round = (1 + self.shuffles + networks) * (1 + 2 * self.draws_per_round)
        further = self.shuffles * self.reestimates
        return one_round + further, one_round * self.max_rounds + further

    def for_images(self, images: Images) -> "Settings":
        """The same, with the images' own translation where that is what was asked for.

        Raises:
            ArgumentError: They have none.
        """
        if self.transform != OF_IMAGES:
            return self
        if (translation := translation_of(images)) is None:
            raise ArgumentError(
                f"sensitivity: transform={OF_IMAGES!r}, but {images.name} have no translation of their own; "
                "those of scale detection have one. Leave transform out to deform them smoothly."
            )
        return replace(self, transform=translation)

    def transformation(self) -> Transform:
        """What bends the images: the transform given, or the deformation these settings describe."""
        return self.diffeomorphism() if self.transform is None or isinstance(self.transform, str) else self.transform

    def diffeomorphism(self) -> Diffeomorphism:
        """The deformation these settings describe."""
        return Diffeomorphism(
            displacement=self.displacement,
            temperature=self.temperature,
            cutoff=self.cutoff,
            interpolation=self.interpolation,
            fold=self.fold,
        )

    def disturbance(self) -> Disturbance:
        """What is done to an image."""
        return Disturbance(
            self.transformation(),
            match=self.match,
            sigma=self.sigma,
            space=self.space,
            seed=self.seed,
            noise=self.noise,
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for provenance and for recognizing one's own partial sums; a transform stands as its repr."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        plain["layers"] = list(plain["layers"]) if isinstance(plain["layers"], tuple) else plain["layers"]
        if self.transform is not None:
            plain |= dict.fromkeys(_DEFORMATION) | {"transform": repr(self.transform)}
        return plain
