"""Everything that decides a training but the network and the images."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from types import MappingProxyType
from typing import Any

import torch

from flexure.errors import ArgumentError, nearest
from flexure.losses import LOSSES, PENALTIES
from flexure.training.augmentation import AUGMENTATIONS
from flexure.training.schedules import SCHEDULES
from flexure.training.stopping import Stop

__all__ = ["DECAYS", "OPTIMIZERS", "PRECISIONS", "Recipe"]


def _sgd(groups: Any, recipe: "Recipe") -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, recipe.lr, recipe.momentum, nesterov=recipe.nesterov)


def _adam(groups: Any, recipe: "Recipe") -> torch.optim.Optimizer:
    return torch.optim.Adam(groups, recipe.lr, betas=(recipe.momentum, 0.999))


OPTIMIZERS: Mapping[str, Callable[..., torch.optim.Optimizer]] = MappingProxyType({"sgd": _sgd, "adam": _adam})

DECAYS: Mapping[str, Callable[[torch.Tensor], bool]] = MappingProxyType(
    {"all": lambda parameter: True, "matrices": lambda parameter: parameter.ndim != 1}
)
"""Which parameters decay: all, or those that are no vectors, which spares biases and batch norms."""

PRECISIONS: Mapping[str, torch.dtype | None] = MappingProxyType(
    {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
)
"""Numbers of the forward pass; None: those of the network, without automatic casts."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train. A name stands for an object of its table, with its defaults; any object of the kind will do.

    Attributes:
        epochs: Passes over the data, at least 1.
        lr: Step size of the first step, > 0.
        batch_size: Images per step, at least 1.
        seed: Same seed, same training.
        optimizer: A name in ``OPTIMIZERS``.
        momentum: Of SGD; Adam's first beta. In [0, 1).
        nesterov: Whether SGD looks ahead; needs a momentum.
        weight_decay: Added to the gradient, times the weights; at least 0.
        decay: A name in ``DECAYS``: what decays.
        schedule: Factor on the step size.
        loss: From outputs and labels to a loss per image, or their mean.
        penalty: From the network to a number added to the mean loss; or None.
        augment: One or several changes of raw training images, in order; drawn anew in each epoch.
        corruption: Called like an augmentation, on normalized training images; or None.
        precision: A name in ``PRECISIONS``.
        stop: Asked after each epoch whether to end; or None.
        test_every: Test after every so many epochs, and after the last; at least 1.
    """

    epochs: int
    lr: float
    batch_size: int = 64
    seed: int = 0
    optimizer: str = "sgd"
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    decay: str = "all"
    schedule: Any = "cosine"
    loss: Any = "cross_entropy"
    penalty: Any = None
    augment: Any = ()
    corruption: Any = None
    precision: str = "float32"
    stop: Stop | None = None
    test_every: int = 1

    def __post_init__(self) -> None:
        for rules in (self._kinds(), self._rules()):
            for name, good, wanted in rules:
                if not good:
                    raise ArgumentError(f"training: {name} must be {wanted}; got {getattr(self, name)!r}.")
        for name, table in (("optimizer", OPTIMIZERS), ("decay", DECAYS), ("precision", PRECISIONS)):
            _known(name, getattr(self, name), table)
        several = [self.augment] if isinstance(self.augment, str) or callable(self.augment) else self.augment
        made = {
            "schedule": _made("schedule", self.schedule, SCHEDULES),
            "loss": _made("loss", self.loss, LOSSES),
            "penalty": None if self.penalty is None else _made("penalty", self.penalty, PENALTIES),
            "augment": tuple(_made("augment", one, AUGMENTATIONS) for one in several or ()),
            "corruption": _corruption(self.corruption),
        }
        for name, value in made.items():
            object.__setattr__(self, name, value)

    def batches(self, images: int) -> int:
        """Steps of one epoch on so many images; one left over alone joins the batch before.

        >>> Recipe(epochs=1, lr=0.1, batch_size=4).batches(9), Recipe(epochs=1, lr=0.1, batch_size=4).batches(10)
        (2, 3)
        """
        count = -(-images // self.batch_size)
        return count - (count > 1 and images - (count - 1) * self.batch_size == 1)

    def settings(self) -> dict[str, Any]:
        """Every field as a plain JSON value; objects by their ``repr``, functions by their names."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}

    def _kinds(self) -> Iterator[tuple[str, bool, str]]:
        for name in ("epochs", "batch_size", "seed", "test_every"):
            yield name, isinstance(getattr(self, name), Integral), "a whole number"
        for name in ("lr", "momentum", "weight_decay"):
            yield name, isinstance(getattr(self, name), Real), "a number"
        level = self.corruption
        yield "corruption", level is None or isinstance(level, Real) or callable(level), "a norm, or a change of images"
        yield "stop", self.stop is None or callable(self.stop), "a rule such as EarlyStop(patience=3)"

    def _rules(self) -> Iterator[tuple[str, bool, str]]:
        yield "epochs", self.epochs >= 1, "at least 1"
        yield "lr", 0 < self.lr < math.inf, "> 0 and finite"
        yield "batch_size", self.batch_size >= 1, "at least 1"
        yield "momentum", 0 <= self.momentum < 1, "in [0, 1)"
        yield "nesterov", not self.nesterov or (self.momentum > 0 and self.optimizer == "sgd"), "of SGD with a momentum"
        yield "weight_decay", 0 <= self.weight_decay < math.inf, "at least 0 and finite"
        yield "test_every", self.test_every >= 1, "at least 1"


def _known(kind: str, name: Any, table: Mapping[str, Any]) -> None:
    if name not in table:
        raise ArgumentError(f"training: no {kind} {name!r}. {nearest(name, table)}")


def _made(kind: str, value: Any, table: Mapping[str, Callable[..., Any]]) -> Any:
    """An object of the table for a name; what can be called is taken as it is."""
    if callable(value):
        return value
    _known(kind, value, table)
    return table[value]()


def _corruption(value: Any) -> Any:
    if value is None or callable(value):
        return value
    from flexure.perturb.corruption import GaussianCorruption

    return GaussianCorruption(float(value))


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return getattr(value, "__qualname__", None) or repr(value)
