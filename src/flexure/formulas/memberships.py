r"""Between which ends does a weight lie, and where between them? Intervals, memberships, distances from the center.

With ends a and b the membership of a weight is :math:`\mu = (w-a)/(b-a)`, its distance from the center
:math:`|2\mu-1|`. A convolution is then affine in a convolution with memberships for a kernel,

.. math:: X * W = a\,(X * \mathbf{1}) + (b-a)\,(X * \mu).

Which interval is meant decides the sign of what is found: a layer with few large weights is fuzzy between its smallest
and its largest weight and crisp between 0 and its largest magnitude. So each function here is told.

Source: Shen, Chen & Wang, *A Study on the Uncertainty of Convolutional Layers in Deep Neural Networks* (2020), says
"intervals" in its abstract; which ones is our reading, hence all of these.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch

from flexure.errors import ArgumentError, SpecimenError, nearest
from flexure.formulas.choices import chosen

__all__ = [
    "INTERVALS",
    "SCOPES",
    "Abs",
    "Ends",
    "Fixed",
    "Init",
    "InitMinmax",
    "Interval",
    "Minmax",
    "Quantile",
    "Reference",
    "Symmetric",
    "Trajectory",
    "as_interval",
    "center_distance",
    "membership",
]

SCOPES: Mapping[str, int] = MappingProxyType({"layer": 0, "filter": 1, "kernel": 2})
"""What shares one interval, and how many leading axes of a weight ``(out, in, *kernel)`` tell such sets apart."""


@dataclass(frozen=True, eq=False)
class Ends:
    """The ends of one interval per layer, filter, kernel or weight; they have no gradient.

    Attributes:
        low: Lower ends, of a shape that broadcasts against the weight.
        high: Upper ends, likewise.
        of_magnitude: Whether it is the magnitude of a weight that lies between them.
    """

    low: torch.Tensor
    high: torch.Tensor
    of_magnitude: bool = False

    @property
    def is_wide(self) -> torch.Tensor:
        """Where the interval is more than a point, in the shape of the ends."""
        return self.high > self.low


@dataclass(frozen=True, eq=False)
class Reference:
    """What some intervals need to know besides the weight: each takes its own, and says what is missing.

    Attributes:
        fan_in: How many inputs each output sums, as PyTorch's initializers count them.
        initial: The weight before training, of the same shape.
        lowest: The smallest value that each weight has had, of the same shape.
        highest: The largest.
    """

    fan_in: int | None = None
    initial: torch.Tensor | None = None
    lowest: torch.Tensor | None = None
    highest: torch.Tensor | None = None


NOTHING = Reference()


class Interval(ABC):
    """A rule for the ends of the interval that weights lie in.

    Attributes:
        moves: Whether the ends depend on the weights as they are, so that one outlier moves all memberships.
    """

    moves: ClassVar[bool] = False

    @property
    def scope(self) -> str:
        """A layer, a filter, a kernel or a weight, whichever has an interval of its own; or ``"given"``."""
        return "layer"

    @abstractmethod
    def ends(self, weight: torch.Tensor, reference: Reference = NOTHING) -> Ends:
        """The ends for a weight ``(out, in, *kernel)``; ``(out, in)`` for fully connected layers.

        Raises:
            SpecimenError: The reference lacks what this interval needs.
        """

    def __str__(self) -> str:
        """The name, with what tells it from others of its kind: ``"quantile(q=0.05)"``; the scope stands elsewhere."""
        name = next(name for name, kind in INTERVALS.items() if kind is type(self))
        own = [f"{option}={value:g}" for option, value in vars(self).items() if option != "scope"]
        return f"{name}({', '.join(own)})" if own else name


@dataclass(frozen=True)
class Fixed(Interval):
    """From -r to r, whatever the weights are.

    Attributes:
        r: Half of the width, above 0.
    """

    r: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.r < math.inf:
            raise ArgumentError(f"Fixed: r must be above 0 and finite; got {self.r}.")

    @property
    def scope(self) -> str:
        """Everything has the same."""
        return "given"

    def ends(self, weight: torch.Tensor, reference: Reference = NOTHING) -> Ends:
        """The same for every weight."""
        return _around_zero(weight.new_tensor(self.r))


@dataclass(frozen=True)
class Init(Interval):
    r"""From :math:`-1/\sqrt{\text{fan-in}}` to :math:`1/\sqrt{\text{fan-in}}`, between which PyTorch draws by default.

    Known before training, so values before and after can be compared: a layer at its default initialization has
    memberships that are uniform in [0, 1].
    """

    def ends(self, weight: torch.Tensor, reference: Reference = NOTHING) -> Ends:
        """The same for every weight of a layer."""
        if not reference.fan_in:
            raise SpecimenError(
                "not drawn by PyTorch's default initializer, so its initial interval is not known: give the weights "
                "before training (before=) and take the interval 'init_minmax'"
            )
        return _around_zero(weight.new_tensor(reference.fan_in**-0.5))


@dataclass(frozen=True)
class _Scoped(Interval):
    scope: str = "layer"

    def __post_init__(self) -> None:
        if self.scope not in SCOPES:
            raise ArgumentError(f"{type(self).__name__}: no scope {self.scope!r}. {nearest(str(self.scope), SCOPES)}")


@dataclass(frozen=True)
class InitMinmax(_Scoped):
    """From the smallest to the largest weight before training.

    Attributes:
        scope: What shares an interval: ``"layer"``, ``"filter"`` or ``"kernel"``.
    """

    def ends(self, weight: torch.Tensor, reference: Reference = NOTHING) -> Ends:
        """Those of the initial weight of the same shape."""
        initial = _same_shape(reference.initial, weight, "the weights before training: give them as before=")
        return _extremes(initial, self.scope)


@dataclass(frozen=True)
class Minmax(_Scoped):
    """From the smallest to the largest weight as they are: an outlier widens it and moves all others to the center.

    Attributes:
        scope: What shares an interval: ``"layer"``, ``"filter"`` or ``"kernel"``.
    """

    moves: ClassVar[bool] = True

    def ends(self, weight: torch.Tensor, reference: Reference = NOTHING) -> Ends:
        """The extremes of the weight itself."""
        return _extremes(weight, self.scope)


@dataclass(frozen=True)
class Symmetric(_Scoped):
    """From minus the largest magnitude to plus it: the center stays at 0.

    Attributes:
        scope: What shares an interval: ``"layer"``, ``"filter"`` or ``"kernel"``.
    """

    moves: ClassVar[bool] = True

    def ends(self, weight: torch.Tensor, reference: Reference = NOTHING) -> Ends:
        """The largest magnitude on either side."""
        return _around_zero(_extremes(weight.abs(), self.scope).high)


@dataclass(frozen=True)
class Quantile(_Scoped):
    """From the q-quantile to the (1 - q)-quantile of the weights: as ``minmax``, but outliers do not matter.

    Attributes:
        q: Which share of the weights lies below, in [0, 0.5).
        scope: What shares an interval: ``"layer"``, ``"filter"`` or ``"kernel"``.
    """

    q: float = 0.05
    moves: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.q < 0.5:
            raise ArgumentError(f"Quantile: q must be at least 0 and below 0.5; got {self.q}.")

    def ends(self, weight: torch.Tensor, reference: Reference = NOTHING) -> Ends:
        """Quantiles between neighbors in order, as NumPy interpolates them."""
        ordered, axes = _grouped(weight, self.scope).sort(-1).values, SCOPES[self.scope]
        place = self.q * (ordered.shape[-1] - 1)
        low, high = (_between(ordered, at) for at in (place, ordered.shape[-1] - 1 - place))
        return Ends(_spread(low, weight, axes), _spread(high, weight, axes))


@dataclass(frozen=True)
class Abs(_Scoped):
    """Magnitudes from 0 to the largest: crisp where few weights are large and all others nearly 0.

    Attributes:
        scope: What shares an interval: ``"layer"``, ``"filter"`` or ``"kernel"``.
    """

    moves: ClassVar[bool] = True

    def ends(self, weight: torch.Tensor, reference: Reference = NOTHING) -> Ends:
        """From 0 to the largest magnitude."""
        high = _extremes(weight.abs(), self.scope).high
        return Ends(torch.zeros_like(high), high, of_magnitude=True)


@dataclass(frozen=True)
class Trajectory(Interval):
    """From the smallest to the largest value that each weight itself has had: dropped are those that never moved."""

    @property
    def scope(self) -> str:
        """Each weight has its own."""
        return "weight"

    def ends(self, weight: torch.Tensor, reference: Reference = NOTHING) -> Ends:
        """One interval per weight."""
        path = "the course of each weight: ask a monitor, flexure.monitors"
        low = _same_shape(reference.lowest, weight, path)
        return Ends(low.detach(), _same_shape(reference.highest, weight, path).detach())


INTERVALS: Mapping[str, Callable[..., Interval]] = MappingProxyType(
    {
        "fixed": Fixed,
        "init": Init,
        "init_minmax": InitMinmax,
        "minmax": Minmax,
        "symmetric": Symmetric,
        "quantile": Quantile,
        "abs": Abs,
        "trajectory": Trajectory,
    }
)
"""The intervals by name."""


def as_interval(choice: str | Mapping[str, Mapping[str, Any]] | Interval) -> Interval:
    """The interval of a name, of a name with options beneath it as files write it, or the interval itself.

    Raises:
        ArgumentError: There is no such interval, or it refuses an option.

    >>> as_interval({"minmax": {"scope": "filter"}})
    Minmax(scope='filter')
    """
    return chosen("interval", choice, INTERVALS)


def membership(weight: torch.Tensor, ends: Ends, *, clip: bool = True) -> torch.Tensor:
    r"""Where does each weight lie between its ends? :math:`\mu = (w - a)/(b - a)`, of magnitudes where ends are.

    Args:
        weight: Of any shape.
        ends: That broadcast against it.
        clip: Whether weights beyond an end count as at it; without, μ leaves [0, 1].

    Returns:
        Of the weight's shape. NaN where the interval is a point: there is no place in it.

    >>> membership(torch.tensor([-0.1, 0.0, 0.3]), Fixed(r=0.2).ends(torch.zeros(1)))
    tensor([0.2500, 0.5000, 1.0000])
    """
    value = weight.abs() if ends.of_magnitude else weight
    width = torch.where(ends.is_wide, ends.high - ends.low, 1.0)
    mu = torch.where(ends.is_wide, (value - ends.low) / width, torch.nan)  # a gradient passes by what is dropped
    return mu.clamp(0, 1) if clip else mu


def center_distance(mu: torch.Tensor) -> torch.Tensor:
    r"""How far from the center of its interval is each weight? :math:`|2\mu-1|`: 0 there, 1 at an end, more beyond."""
    return (2 * mu - 1).abs()


def _around_zero(r: torch.Tensor) -> Ends:
    return Ends(-r, r)


def _grouped(weight: torch.Tensor, scope: str) -> torch.Tensor:
    """The weight without gradient, all that shares an interval in the last axis."""
    return weight.detach().flatten(SCOPES[scope]) if weight.ndim > SCOPES[scope] else weight.detach()[..., None]


def _spread(ends: torch.Tensor, weight: torch.Tensor, axes: int) -> torch.Tensor:
    """Ends of the leading axes in a shape that broadcasts against the weight."""
    return ends.reshape(ends.shape + (1,) * (weight.ndim - axes))


def _extremes(weight: torch.Tensor, scope: str) -> Ends:
    low, high = _grouped(weight, scope).aminmax(dim=-1)
    return Ends(_spread(low, weight, SCOPES[scope]), _spread(high, weight, SCOPES[scope]))


def _between(ordered: torch.Tensor, place: float) -> torch.Tensor:
    below = math.floor(place)
    above = min(below + 1, ordered.shape[-1] - 1)
    return torch.lerp(ordered[..., below], ordered[..., above], place - below)


def _same_shape(found: torch.Tensor | None, weight: torch.Tensor, wanted: str) -> torch.Tensor:
    if found is None:
        raise SpecimenError(f"this interval needs {wanted}")
    if found.shape != weight.shape:
        raise SpecimenError(f"its weight has shape {tuple(weight.shape)} and had {tuple(found.shape)} before")
    return found
