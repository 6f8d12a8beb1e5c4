"""What elasticity is asked for, checked before anything is computed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from flexure.errors import ArgumentError, nearest
from flexure.losses import Loss, as_loss

__all__ = ["ROUTES", "Settings"]

ROUTES = ("auto", "rank_one", "loop")
_OF_ALL = ("trace", "all")


@dataclass(frozen=True)
class Settings:
    """Options of elasticity, as given.

    Raises:
        ArgumentError: A value is out of range, or two exclude each other.
    """

    step: float | None = None
    steps: int = 1
    loss: str | Mapping[str, Mapping[str, Any]] | Loss = "squared"
    optimizer: torch.optim.Optimizer | None = None
    sequential: bool = False
    output: int | str | None = None
    route: str = "auto"
    per_layer: bool = False
    sketch: int | None = None
    memory_limit: float = 2e9
    batch_size: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            value = getattr(self, name)
            if not _is_whole(value) or value < 1:
                raise ArgumentError(f"elasticity: {name} must be a whole number of at least 1; got {value!r}.")
        if isinstance(self.step, bool) or not isinstance(self.step, int | float | None):
            raise ArgumentError(f"elasticity: step must be a number or None; got {self.step!r}.")
        if self.step is not None and not 0 < self.step < float("inf"):
            raise ArgumentError(
                f"elasticity: step must be a learning rate above 0, or None for the limit; got {self.step}."
            )
        if not isinstance(self.memory_limit, int | float) or not 1e6 <= self.memory_limit < float("inf"):
            raise ArgumentError(f"elasticity: memory_limit is in bytes and at least 1e6; got {self.memory_limit!r}.")
        if self.route not in ROUTES:
            raise ArgumentError(f"elasticity: no route {self.route!r}. {nearest(self.route, ROUTES)}")
        if not callable(as_loss(self.loss)):
            raise ArgumentError(
                f"elasticity: loss must be the name of a loss, or a function of outputs and labels; got {self.loss!r}."
            )
        self._check_optimizer()
        if self.output not in (None, *_OF_ALL) and not _is_whole(self.output):
            raise ArgumentError(
                f"elasticity: output must be the number of an output, or 'trace', or 'all'; got {self.output!r}."
            )
        if self.sketch is not None and (not _is_whole(self.sketch) or self.sketch < 2):
            raise ArgumentError(
                f"elasticity: sketch must be a whole number of at least 2, or None; got {self.sketch!r}."
            )
        self._check_limit()
        self._check_route()

    def _check_limit(self) -> None:
        """In the limit nothing is stepped."""
        given = {"steps": self.steps != 1, "optimizer": self.optimizer is not None, "sequential": self.sequential}
        given["route"] = self.route != "auto"
        if self.is_limit and any(given.values()):
            named = ", ".join(f"{name}=" for name, is_given in given.items() if is_given)
            raise ArgumentError(f"elasticity: {named} go with steps of finite size; give step=, such as step=1e-3.")
        if not self.is_limit and self.output in _OF_ALL:
            raise ArgumentError(
                f"elasticity: output={self.output!r} is for the limit (step=None); name one output, output=3."
            )
        if not self.is_limit and self.per_layer:
            raise ArgumentError("elasticity: per_layer= is for the limit (step=None): a finite step moves all layers.")
        if not self.is_limit and self.sketch is not None:
            raise ArgumentError("elasticity: sketch= is for the limit (step=None): a finite step has no gradients.")
        if self.sketch is not None and (self.per_layer or self.output == "all"):
            what = "per_layer=" if self.per_layer else "output='all'"
            raise ArgumentError(f"elasticity: sketch= adds up layers and outputs as it goes, so {what} excludes it.")

    def _check_optimizer(self) -> None:
        """An optimizer takes its step from gradients."""
        if self.optimizer is None:
            return
        if not isinstance(self.optimizer, torch.optim.Optimizer):
            raise ArgumentError(
                "elasticity: optimizer must be an optimizer of this network, such as "
                f"torch.optim.Adam(network.parameters()), or None; got {self.optimizer!r}."
            )
        if isinstance(self.optimizer, torch.optim.LBFGS):
            raise ArgumentError(
                "elasticity: LBFGS evaluates the loss again within a step; expected an optimizer whose step follows "
                "from gradients, such as torch.optim.SGD or Adam."
            )

    def _check_route(self) -> None:
        """The rank-one route takes a single plain step from the network as it is."""
        if self.route == "rank_one" and (self.steps > 1 or self.sequential or self.optimizer is not None):
            raise ArgumentError("elasticity: route='rank_one' is for one plain step from the network's own weights.")

    @property
    def is_limit(self) -> bool:
        """Whether the limit of small steps is meant."""
        return self.step is None

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return plain | {
            "loss": self.loss if isinstance(self.loss, str | Mapping) else repr(self.loss),
            "optimizer": None if self.optimizer is None else type(self.optimizer).__name__,
        }


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
