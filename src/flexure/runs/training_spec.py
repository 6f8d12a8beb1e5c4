"""What was asked for: a training's settings, and what is measured on the way and at the end."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, Self

from pydantic import (
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from flexure.losses import LOSSES, PENALTIES
from flexure.models.twin import TWINS
from flexure.runs.choices import Choice, chosen, made
from flexure.runs.fields import Fields
from flexure.runs.spec import Number
from flexure.training import AUGMENTATIONS, SCHEDULES, EarlyStop, Recipe

__all__ = ["TrainingSpec", "check_names"]

_TABLES: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "schedule": SCHEDULES,
    "loss": LOSSES,
    "penalty": PENALTIES,
    "augment": AUGMENTATIONS,
    "twin": TWINS,
}
_MEASURE_LIMIT = 500  # images, as many as the papers measure


class TrainingSpec(Fields):
    """Everything that decides what a training leads to, and what is measured then; extra fields are refused.

    >>> TrainingSpec(net="lenet5", data="mnist", schedule={"epoch_cosine": {"share": 0.8}}).recipe().schedule
    EpochCosine(share=0.8)
    """

    model_config = ConfigDict(title="Flexure training")
    subject = "net"
    kind = "training"
    incidental = Fields.incidental | {"root"}  # where the data lie; which they are is in data_hash

    net: str = Field(description="The network: a name of ours, timm:NAME, torchvision:NAME or FILE.py:FACTORY.")
    width: PositiveFloat | None = Field(None, description="Factor on the channels of each layer of our own networks.")
    net_options: dict[str, Any] = Field(default_factory=dict, description="Further options of our own networks.")
    twin: Choice | None = Field(
        None, description="linear: train the network without its activation functions; keep: modules that stay."
    )
    weights: str | None = Field(None, description="Weights file to start from; by default fresh weights.")
    num_classes: PositiveInt | None = Field(None, description="Number of outputs; by default what the labels need.")
    channels: PositiveInt | None = Field(None, description="Channels of the images; by default what they have.")
    normalize: str | tuple[Number, Number] | None = Field(
        None, description="Name of a normalization, or mean and standard deviation; by default what the network brings."
    )
    image_size: PositiveInt | tuple[PositiveInt, PositiveInt] | None = Field(
        None, description="Images are brought to this size; by default to what the network is made for."
    )
    data: str = Field(
        description="DATA: digits, mnist, cifar10, folder:PATH, hub:NAME, …; mnist:groups=3+9/5+8 has two labels."
    )
    root: str | None = Field(None, description="Folder in which data sets lie.")
    download: bool = Field(False, description="Fetch the data set if it is not under root.")
    trust: bool = Field(False, description="Run an exported program (.pt2), which may execute code.")
    limit: PositiveInt | None = Field(None, description="Train on a seeded, class-balanced sample of this size.")
    test_limit: PositiveInt | None = Field(None, description="The same for the test images.")
    hold_out: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Test on this share of the training images, which are then not trained on; by default the data's "
        "own test images, or a fifth where it has none.",
    )
    epochs: PositiveInt = Field(20, description="Passes over the training images.")
    lr: PositiveFloat = Field(0.05, description="Step size of the first step.", allow_inf_nan=False)
    batch_size: PositiveInt = Field(64, description="Images per step.")
    optimizer: str = Field("sgd", description="sgd or adam.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Of SGD; Adam's first beta.")
    nesterov: bool = Field(False, description="Whether SGD looks ahead.")
    weight_decay: NonNegativeFloat = Field(0.0, description="Added to the gradient, times the weights.")
    decay: str = Field("all", description="What decays: all, or matrices (no biases, no batch norm).")
    schedule: Choice = Field(
        "cosine", description="Per step: cosine, constant; per epoch: epoch_cosine (the papers'), epoch_exponential."
    )
    loss: Choice = Field(
        "cross_entropy",
        description="cross_entropy, cost_sensitive, squared, or for one output hinge or binary_cross_entropy.",
    )
    penalty: Choice | None = Field(
        None,
        description="minmax: weights to the ends of their intervals, few large ones or small ones; filters: that of "
        "the simple networks; or nothing.",
    )
    corruption: NonNegativeFloat = Field(0.0, description="Norm of noise on training images, fresh in every epoch.")
    augment: list[Choice] = Field(default_factory=list, description="crop, flip, diffeomorphism: of training images.")
    precision: str = Field("float32", description="float32, or bfloat16 or float16 in the forward pass (autocast).")
    stop: dict[str, Any] | None = Field(
        None, description="When to end early: train_loss, test_error and patience_factor together, or patience alone."
    )
    test_every: PositiveInt = Field(1, description="Epochs between two tests.")
    seed: NonNegativeInt = Field(0, description="Every random number follows from it.")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, …")
    threads: PositiveInt | None = Field(None, description="CPU threads of a process; by default what torch chooses.")
    monitors: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Probes asked while it learns: every, limit, and the probe's own options."
    )
    measure: Literal["last", "best", "none"] = Field(
        "last", description="Weights that are measured at the end: last, best (on the test images), or none at all."
    )
    measure_on: Literal["test", "train"] = Field("test", description="Images that are measured: of the test, or seen.")
    measure_label: NonNegativeInt | None = Field(
        None, description="Only images of this label are measured; if it is a group of classes, under these."
    )
    measure_limit: PositiveInt = Field(_MEASURE_LIMIT, description="Images that are measured, at most.")
    probes: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Options of the probes asked at the end; by default those that run unasked."
    )
    weights_hash: str | None = Field(None, description="Written by a run: hash of the network's weights at the start.")
    data_hash: str | None = Field(None, description="Written by a run: hash of the images' identity.")

    @field_validator("augment", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        """One augmentation need not stand in a list."""
        return [value] if isinstance(value, str | dict) else value

    @field_validator("schedule", "loss", "penalty", "twin")
    @classmethod
    def _known(cls, value: Choice | None, about: Any) -> Choice | None:
        if value is not None:
            chosen(about.field_name, value, _TABLES[about.field_name])
        return value

    @field_validator("augment")
    @classmethod
    def _all_known(cls, value: list[Choice]) -> list[Choice]:
        for one in value:
            chosen("augment", one, AUGMENTATIONS)
        return value

    @field_validator("stop")
    @classmethod
    def _stops(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is not None:
            made("stop", EarlyStop, value)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self.recipe()
        return self

    def judged(self, probes: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Options by probe, with the training's loss for accuracy where the loss says what outputs stand for."""
        found = dict(probes)
        if "accuracy" in found and hasattr(self.recipe().loss, "answers"):
            found["accuracy"] = {"loss": self.loss, **found["accuracy"]}
        return found

    def asked(self, probes: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """The same for the end; accuracy is asked on clean images and, where it learnt on corrupted ones, on such."""
        found = self.judged(probes)
        if "accuracy" in found and self.corruption:
            found["accuracy"] = {"corruption": [0.0, self.corruption], **found["accuracy"]}
        return found

    def recipe(self) -> Recipe:
        """How to train."""
        return Recipe(
            epochs=self.epochs,
            lr=self.lr,
            batch_size=self.batch_size,
            seed=self.seed,
            optimizer=self.optimizer,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            decay=self.decay,
            augment=tuple(chosen("augment", one, AUGMENTATIONS) for one in self.augment),
            corruption=self.corruption or None,
            precision=self.precision,
            stop=None if self.stop is None else made("stop", EarlyStop, self.stop),
            test_every=self.test_every,
            schedule=self._object("schedule"),
            loss=self._object("loss"),
            penalty=self._object("penalty"),
        )

    def _object(self, name: str) -> Any:
        value = getattr(self, name)
        return None if value is None else chosen(name, value, _TABLES[name])


def check_names(spec: TrainingSpec) -> None:
    """Look at every name and option before weights or data are read.

    Raises:
        ArgumentError: A network, data set, device, probe, monitor or option is unknown; the nearest name is given.
        FlexureError: A file or folder that is named does not exist, or a package is missing.
    """
    from flexure.bench import choose_device
    from flexure.data import check_name
    from flexure.models import as_normalization, check_model_name
    from flexure.runs.options import check_options
    from flexure.runs.trainee import check_net_options
    from flexure.runs.watching import check_monitors

    check_model_name(spec.net, weights=spec.weights, trust=spec.trust)
    check_net_options(spec)
    check_name(spec.data, split="train")
    if spec.normalize is not None:
        as_normalization(spec.normalize)
    choose_device(spec.device)
    check_options(spec.probes)
    check_monitors(spec.monitors)
