r"""How fuzzy would a layer of independent weights be? What chance gives, for as many weights, of the same size.

Weights are drawn from a law of mean 0 with the layer's own root mean square. Where the interval stands still the
expectation is an integral; where it moves with the weights the ends are drawn, and what lies between them is integrated
or, for few weights, drawn as well.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from scipy import special

from flexure import rng
from flexure.formulas.fuzziness import Index
from flexure.formulas.memberships import Ends, Interval, Quantile, membership

__all__ = ["LAWS", "Expected", "Law", "null_of_fixed_ends", "null_of_moving_ends"]

_DRAWN = 4096  # weights up to which all are drawn, not only the extreme ones
_NUMBERS = 1 << 19  # numbers drawn for one null
_LAYERS = 256  # extremes drawn
_STEP = 1e-3  # of the scale, to see how the expectation depends on it


@dataclass(frozen=True)
class Law:
    """A law of mean 0 and variance 1, symmetric about 0.

    Attributes:
        density: At these numbers.
        upper: The number that is exceeded with a given probability below ½.
        draw: Independent numbers of a shape.
        fourth: The mean fourth power.
        support: Largest magnitude there is.
    """

    density: Callable[[torch.Tensor], torch.Tensor]
    upper: Callable[[np.ndarray], np.ndarray]
    draw: Callable[[tuple[int, ...], torch.Generator], torch.Tensor]
    fourth: float
    support: float = math.inf


def _unit(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=generator)


def _laplace(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    centered = _unit(shape, generator) - 0.5
    return -centered.sign() * torch.log1p(-2 * centered.abs()) / math.sqrt(2)


LAWS: Mapping[str, Law] = MappingProxyType(
    {
        "uniform": Law(
            density=lambda x: torch.full_like(x, 1 / math.sqrt(12)),
            upper=lambda p: math.sqrt(12) * (0.5 - p),
            draw=lambda shape, generator: math.sqrt(12) * (_unit(shape, generator) - 0.5),
            fourth=1.8,
            support=math.sqrt(3),
        ),
        "gaussian": Law(
            density=lambda x: (-x.square() / 2).exp() / math.sqrt(2 * math.pi),
            upper=lambda p: -special.ndtri(p),
            draw=lambda shape, generator: torch.randn(shape, dtype=torch.float64, generator=generator),
            fourth=3.0,
        ),
        "laplace": Law(
            density=lambda x: (-math.sqrt(2) * x.abs()).exp() / math.sqrt(2),
            upper=lambda p: -np.log(2 * p) / math.sqrt(2),
            draw=_laplace,
            fourth=6.0,
        ),
    }
)
"""The laws that layers are compared with."""


@dataclass(frozen=True)
class Expected:
    """What layers of independent weights give.

    Attributes:
        value: Of the index, in expectation.
        std: Spread over such layers; where the interval stands still, over layers of the same root mean square.
    """

    value: float
    std: float


def null_of_fixed_ends(index: Index, law: str, ends: Ends, rms: float, n: int) -> Expected:
    r"""The index of n independent weights whose mean square is known, between ends that do not depend on them.

    With :math:`\phi(s)` the expected term at the mean square s, a layer's mean term less :math:`\phi` of its mean
    square has variance :math:`\mathrm{Var}(h(\mu) - \phi' w^2)/n`.

    Args:
        index: Of fuzziness.
        law: A name in ``LAWS``.
        ends: One interval, or several that hold as many weights each.
        rms: Root mean square of the weights, above 0.
        n: Number of weights.
    """
    low, high = (end.double().reshape(-1) / rms for end in (ends.low, ends.high))
    scaled = Ends(low, high, ends.of_magnitude)
    near, far = (
        _moments(index, LAWS[law], Ends(low / s, high / s, ends.of_magnitude))["term"].mean()
        for s in (1 + _STEP, 1 - _STEP)
    )
    slope = (near - far) / (4 * _STEP)
    found = _moments(index, LAWS[law], scaled)
    own = found["square"] - found["term"].square() - 2 * slope * (found["weighted"] - found["term"])
    spread = (own.mean() + slope.square() * (LAWS[law].fourth - 1)).clamp(min=0).sqrt() / math.sqrt(n)
    return _linked(index, found["term"].mean(), spread)


def null_of_moving_ends(index: Index, law: str, interval: Interval, sets: int, size: int, seed: int = 0) -> Expected:
    """The index of a layer whose independent weights share intervals that move with them; the scale does not matter.

    Args:
        index: Of fuzziness.
        law: A name in ``LAWS``.
        interval: One whose ends move.
        sets: How many intervals the layer has.
        size: How many weights share one.
        seed: Decides what is drawn.
    """
    mean, std = _of_a_set(index, law, interval, size, seed)
    return _linked(index, torch.tensor(mean, dtype=torch.float64), torch.tensor(std / math.sqrt(sets)))


def _linked(index: Index, mean: torch.Tensor, std: torch.Tensor) -> Expected:
    return Expected(float(index.link(mean)), float(index.slope(mean).abs() * std))


@lru_cache(maxsize=4096)
def _of_a_set(index: Index, law: str, interval: Interval, size: int, seed: int) -> tuple[float, float]:
    """Mean and spread of the mean term of one set of weights that share an interval."""
    generator = torch.Generator().manual_seed(rng.key(seed, f"null layers {law} {interval} {size}")[0] % 2**63)
    if size <= _DRAWN or isinstance(interval, Quantile):
        return _drawn(index, LAWS[law], interval, size, generator)
    return _between_extremes(index, LAWS[law], interval, size, generator)


def _drawn(index: Index, law: Law, interval: Any, size: int, generator: torch.Generator) -> tuple[float, float]:
    """All weights of many sets; the spread of larger sets than are drawn is smaller by the root of the ratio."""
    own = min(size, _DRAWN)
    weight = law.draw((max(_NUMBERS // own, 2), own), generator)
    mu = membership(weight, replace(interval, scope="filter").ends(weight))
    means = index.terms(mu).mean(1) if not mu.isnan().any() else torch.full((2,), torch.nan)
    return float(means.mean()), float(means.std()) * math.sqrt(own / size)


def _between_extremes(
    index: Index, law: Law, interval: Interval, size: int, generator: torch.Generator
) -> tuple[float, float]:
    """The extremes of many large sets, and the expectation between them.

    Given the extremes, the other weights are independent, of the law cut off there.
    """
    first, second = (-torch.log(_unit((_LAYERS,), generator)).numpy() for _ in range(2))
    above = -np.expm1(-first / size)  # how much of the law lies beyond the largest of so many
    if str(interval) == "minmax":
        below = -np.expm1(-second / (size - 1)) * (1 - above)
        low, high, at_ends = -law.upper(below), law.upper(above), 2
    else:  # magnitudes have twice as much beyond
        high, at_ends = law.upper(above / 2), 1
        low = -high
    magnitudes = str(interval) == "abs"
    ends = Ends(torch.from_numpy(0 * low if magnitudes else low), torch.from_numpy(high), magnitudes)
    found = _moments(index, law, ends, inside=True)
    means = ((size - at_ends) * found["term"] + at_ends * index.crisp) / size
    within = (found["square"] - found["term"].square()).mean() / size
    return float(means.mean()), float((means.var() + within).sqrt())


def _moments(index: Index, law: Law, ends: Ends, *, inside: bool = False) -> dict[str, torch.Tensor]:
    """Expectations of the term, its square, and the term times the squared weight, one for each interval.

    What lies beyond an end counts as at it; with ``inside`` only what lies between the ends counts.
    """
    low = -ends.high if ends.of_magnitude else ends.low
    x, width = _nodes(law, low, ends.high)
    mass = law.density(x) * width
    h = index.terms(membership(x, Ends(ends.low[:, None], ends.high[:, None], ends.of_magnitude)))
    total = mass.sum(1)
    found = {"term": (mass * h).sum(1), "square": (mass * h.square()).sum(1), "weighted": (mass * h * x * x).sum(1)}
    if inside:
        return {name: value / total for name, value in found.items()}
    crisp, beyond = index.crisp, 1 - total
    outer = 1 - (mass * x * x).sum(1)
    return {
        "term": found["term"] + crisp * beyond,
        "square": found["square"] + crisp**2 * beyond,
        "weighted": found["weighted"] + crisp * outer,
    }


def _nodes(law: Law, low: torch.Tensor, high: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Points and weights ``(intervals, points)`` for integrals from low to high.

    Parts end at the center, where indices have a kink, at 0, where Laplace's law has, and at a few multiples of the
    standard deviation, within which a narrow law lies. Points are dense at the ends of each part, where entropies are
    steep.
    """
    support, center = min(law.support, 40.0), (low + high) / 2
    low, high = low.clamp(-support, support), high.clamp(-support, support)
    cuts = low.new_tensor([-12.0, -4.0, -1.5, 0.0, 1.5, 4.0, 12.0]).expand(len(low), -1)
    cuts = torch.cat([low[:, None], center[:, None], cuts, high[:, None]], 1)
    cuts = cuts.clamp(low[:, None], high[:, None]).sort(1).values
    at, share = (torch.from_numpy(part) for part in _rule())
    part = cuts.diff(dim=1)[:, :, None]
    x = cuts[:, :-1, None] + part * at
    return x.flatten(1), (part * share).flatten(1)


@lru_cache(maxsize=1)
def _rule() -> tuple[np.ndarray, np.ndarray]:
    """Gauss's rule on [0, 1] after the change of variable (1 - cos πt)/2."""
    t, share = np.polynomial.legendre.leggauss(24)
    t, share = (t + 1) / 2, share / 2
    return (1 - np.cos(np.pi * t)) / 2, share * np.pi / 2 * np.sin(np.pi * t)
