"""The options of the robustness probe, checked before anything is read, and the work that they mean."""

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from flexure.errors import ArgumentError, nearest
from flexure.perturb.attacks import STARTS, relative_step
from flexure.perturb.attacks_library import AUTOATTACK_PASSES, MINIMUM

__all__ = ["ALWAYS", "BUDGET", "CLIMBS", "Settings"]

CLIMBS = {"pgd": "cross-entropy", "pgd-margin": "margin"}
"""Attacks that climb step by step, and the loss that they climb."""
ALWAYS = ("sign-noise", "fgsm", "pgd")
"""What is measured whatever was asked for: one number without the others says nothing."""
BUDGET = (*ALWAYS, "pgd-margin", "autoattack")
"""Attacks that search for any failure within eps, in the order in which they are carried out and shown."""
_ATTACKS = (*BUDGET, *MINIMUM)


@dataclass(frozen=True)
class Settings:
    """What :func:`flexure.robustness` was asked for; the fields are its arguments of the same names.

    ``attacks`` stands in one order, whatever order was given, with those that are always measured among them.
    """

    eps: tuple[float, ...]
    attacks: tuple[str, ...]
    steps: int
    step: float | None
    starts: tuple[str, ...]
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "eps", _budgets(self.eps))
        object.__setattr__(self, "attacks", _attacks(self.attacks))
        object.__setattr__(self, "starts", _starts(self.starts))
        for name in ("steps", "batch_size"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
                raise ArgumentError(f"robustness: {name} must be a whole number of at least 1; got {value!r}.")
        if self.step is not None and not 0 < self.step < math.inf:
            raise ArgumentError(
                f"robustness: step must be above 0, a share of eps such as 0.1, or None; got {self.step!r}."
            )
        if not isinstance(self.seed, numbers.Integral):
            raise ArgumentError(f"robustness: seed must be a whole number; got {self.seed!r}.")

    @property
    def climbs(self) -> tuple[str, ...]:
        """Those of the attacks that climb step by step."""
        return tuple(name for name in self.attacks if name in CLIMBS)

    @property
    def budget(self) -> tuple[str, ...]:
        """Those that look for any failure within eps."""
        return tuple(name for name in self.attacks if name in BUDGET)

    @property
    def minimum(self) -> tuple[str, ...]:
        """Those that look for the nearest failure."""
        return tuple(name for name in self.attacks if name in MINIMUM)

    @property
    def needs_library(self) -> bool:
        """Whether one of them is the Adversarial Robustness Toolbox's."""
        return "autoattack" in self.attacks or bool(self.minimum)

    @property
    def jobs(self) -> list[tuple[str, int]]:
        """What is done to a batch, in order: an attack and the place of its eps; at the end PGD at a very large eps."""
        budget = [(name, place) for name in self.budget for place in range(len(self.eps))]
        return [*budget, *((name, 0) for name in self.minimum), ("far", 0)]

    @property
    def passes(self) -> tuple[int, int]:
        """How often the images go through the network: gradients, judged attacks, the panel's own; at least, at most.

        Attacks of the library end when there is nothing left to do.
        """
        climb = len(self.starts) * (self.steps + 1) + self.starts.count("fgsm")
        own = sum(climb if name in CLIMBS else 1 for name in self.budget)
        least = 2 + own * len(self.eps) + self.steps + 1 + len(self.minimum)
        more = AUTOATTACK_PASSES * len(self.eps) if "autoattack" in self.attacks else 0
        return least, least + more + sum(MINIMUM[name].passes for name in self.minimum)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for provenance and for recognizing one's own partial sums."""
        plain: Mapping[str, Any] = asdict(self) | {"norm": "linf", "step": relative_step(self.steps, self.step)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}


def _budgets(eps: Any) -> tuple[float, ...]:
    given: list[Any] = [eps] if isinstance(eps, str | numbers.Real) or not hasattr(eps, "__iter__") else list(eps)
    if not given:
        raise ArgumentError("robustness: eps names no budget; give at least one, such as 0.03.")
    for place, value in enumerate(given):
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= float(value) < math.inf:
            raise ArgumentError(
                f"robustness: every eps must be finite, 0 or more; got {value!r} at position {place} of {tuple(given)}."
            )
        if place and float(value) <= given[place - 1]:
            raise ArgumentError(
                f"robustness: eps must rise, each once; got {value!r} after {given[place - 1]!r} in {tuple(given)}. "
                "Try sorted(set(eps))."
            )
    return tuple(map(float, given))


def _attacks(names: str | Sequence[str]) -> tuple[str, ...]:
    given = [names] if isinstance(names, str) else list(names)
    for name in given:
        if name not in _ATTACKS:
            raise ArgumentError(f"robustness: no attack {name!r}. {nearest(str(name), _ATTACKS)}")
    return tuple(name for name in _ATTACKS if name in given or name in ALWAYS)


def _starts(names: str | Sequence[str]) -> tuple[str, ...]:
    given = [names] if isinstance(names, str) else list(names)
    if not given:
        raise ArgumentError(f"robustness: starts names no start of PGD. {nearest('', STARTS)}")
    for name in given:
        if name not in STARTS:
            raise ArgumentError(f"robustness: no start {name!r}. {nearest(str(name), STARTS)}")
        if name != "random" and given.count(name) > 1:
            raise ArgumentError(f"robustness: only the start 'random' can be repeated; got {tuple(given)}.")
    return tuple(given)
