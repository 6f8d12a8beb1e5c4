r"""How undecided are memberships? Indices of fuzziness: 0 where each is 0 or 1, 1 where all are ½.

Every index is :math:`g(\frac{1}{n} \sum_i h(\mu_i))` with a term h for each membership and a link g. That is what is
needed for its standard error, and for its value where memberships follow a law.

Source: the definitions of De Luca & Termini (1972), Kaufmann (1975), Yager (1979), Kosko (1986), Pal & Pal (1989),
Bhandari & Pal (1993) and Pal & Bezdek (1994), all scaled alike. Shen, Chen & Wang, *A Study on the Uncertainty of
Convolutional Layers in Deep Neural Networks* (2020), ask for the fuzziness of weights between the ends of an interval.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch

from flexure.errors import ArgumentError
from flexure.formulas.choices import chosen

__all__ = [
    "INDICES",
    "AlphaQuadratic",
    "DeLucaTermini",
    "Exponential",
    "Index",
    "KaufmannLinear",
    "KaufmannQuadratic",
    "Kosko",
    "OrderAlpha",
    "Quadratic",
    "Sine",
    "Yager",
    "as_index",
]


class Index(ABC):
    r"""An index of fuzziness: :math:`F(\mu) = g(\frac{1}{n} \sum_i h(\mu_i))`, in [0, 1].

    Symmetric in :math:`\mu \to 1 - \mu`; never rises where memberships are moved away from ½.

    Attributes:
        crisp: :math:`h(0) = h(1)`.
    """

    crisp: ClassVar[float] = 0.0

    @property
    def is_concave(self) -> bool:
        """Whether F is concave in all memberships together, so that nothing but corners is a minimum of it."""
        return True

    def __call__(self, mu: torch.Tensor, *, clamp: float = 0.0) -> torch.Tensor:
        r"""The fuzziness, a number, of all memberships ``mu``; what is outside [0, 1] counts as the nearer end.

        Its gradient is 0 at ½ and, so that it stays finite, at and beyond 0 and 1. NaN for no membership at all.

        Args:
            mu: Memberships of any shape, floating point.
            clamp: Memberships nearer than that to an end are moved there, and have no gradient: with 1e-3 the slope of
                De Luca and Termini's index is at most :math:`\ln 999 / (n \ln 2)`.
        """
        return self.link(self.terms(mu, clamp=clamp).mean())

    def terms(self, mu: torch.Tensor, *, clamp: float = 0.0) -> torch.Tensor:
        """Each membership's term h, in the shape of ``mu``; the value at an end, without gradient, at and beyond it."""
        if clamp:
            mu = mu.clamp(clamp, 1 - clamp)
        inside = (mu > torch.finfo(mu.dtype).tiny) & (mu < 1)
        return torch.where(inside, self.term(torch.where(inside, mu, 0.5)), self.crisp)

    @abstractmethod
    def term(self, mu: torch.Tensor) -> torch.Tensor:
        r""":math:`h(\mu)` for memberships in (0, 1)."""

    def link(self, mean: torch.Tensor) -> torch.Tensor:
        """:math:`g` of the mean term: the mean itself, unless an index says otherwise."""
        return mean

    def slope(self, mean: torch.Tensor) -> torch.Tensor:
        """:math:`g'` at the mean term, by which its standard error is multiplied."""
        return torch.ones_like(mean)

    def __str__(self) -> str:
        name = next(name for name, kind in INDICES.items() if kind is type(self))
        options = ", ".join(f"{option}={value:g}" for option, value in vars(self).items())
        return f"{name}({options})" if options else name


@dataclass(frozen=True)
class DeLucaTermini(Index):
    r"""De Luca and Termini's entropy: :math:`-\frac{1}{n \ln 2} \sum_i \mu_i \ln \mu_i + (1-\mu_i) \ln(1-\mu_i)`.

    For :math:`\mu \sim U(0, 1)` it is :math:`\frac{1}{2 \ln 2} = 0.7213`, half a nat.
    """

    def term(self, mu: torch.Tensor) -> torch.Tensor:
        """The entropy of one membership over ln 2."""
        other = 1 - mu
        return -(mu * mu.log() + other * other.log()) / math.log(2)


@dataclass(frozen=True)
class KaufmannLinear(Index):
    r"""Kaufmann's linear index, distance to the nearest crisp set: :math:`\frac{2}{n} \sum_i \min(\mu_i, 1-\mu_i)`."""

    def term(self, mu: torch.Tensor) -> torch.Tensor:
        """Twice the distance to the nearer end."""
        return 2 * torch.minimum(mu, 1 - mu)


@dataclass(frozen=True)
class KaufmannQuadratic(Index):
    r"""Kaufmann's quadratic index: :math:`2 \sqrt{\frac{1}{n} \sum_i \min(\mu_i, 1-\mu_i)^2}`. Not concave."""

    @property
    def is_concave(self) -> bool:
        """No, since between a crisp and an undecided set it lies below the chord."""
        return False

    def term(self, mu: torch.Tensor) -> torch.Tensor:
        """Four times the squared distance to the nearer end."""
        return 4 * torch.minimum(mu, 1 - mu).square()

    def link(self, mean: torch.Tensor) -> torch.Tensor:
        """The square root, with gradient 0 at 0."""
        return _power(mean, 0.5)

    def slope(self, mean: torch.Tensor) -> torch.Tensor:
        """Half of one over the root."""
        return 0.5 / mean.sqrt()


@dataclass(frozen=True)
class Yager(Index):
    r"""Yager's index, the distance of a set to its own complement: :math:`1 - (\frac{1}{n} \sum_i |2\mu_i-1|^p)^{1/p}`.

    Attributes:
        p: The exponent, at least 1; for 1 it is Kaufmann's linear index.
    """

    p: float = 2.0
    crisp: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.p < math.inf:
            raise ArgumentError(f"Yager: p must be at least 1 and finite; got {self.p}.")

    def term(self, mu: torch.Tensor) -> torch.Tensor:
        """The distance from the center to the power p."""
        return (2 * mu - 1).abs() if self.p == 1 else _power((2 * mu - 1).abs(), self.p)

    def link(self, mean: torch.Tensor) -> torch.Tensor:
        """One minus the p-th root, with gradient 0 at 0."""
        return 1 - _power(mean, 1 / self.p)

    def slope(self, mean: torch.Tensor) -> torch.Tensor:
        """The derivative of the root, negative."""
        return -mean.pow(1 / self.p - 1) / self.p


@dataclass(frozen=True)
class Kosko(Index):
    r"""Kosko's index, overlap over underlap: :math:`\sum_i \min(\mu_i, 1-\mu_i) / \sum_i \max(\mu_i, 1-\mu_i)`."""

    @property
    def is_concave(self) -> bool:
        """No, since between a crisp and an undecided set it lies below the chord."""
        return False

    def term(self, mu: torch.Tensor) -> torch.Tensor:
        """The distance to the nearer end."""
        return torch.minimum(mu, 1 - mu)

    def link(self, mean: torch.Tensor) -> torch.Tensor:
        """Over the mean distance to the farther end."""
        return mean / (1 - mean)

    def slope(self, mean: torch.Tensor) -> torch.Tensor:
        """The derivative of the ratio."""
        return (1 - mean).pow(-2)


@dataclass(frozen=True)
class Quadratic(Index):
    r"""The quadratic index, a polynomial: :math:`\frac{4}{n} \sum_i \mu_i (1-\mu_i)`."""

    def term(self, mu: torch.Tensor) -> torch.Tensor:
        """Four times the variance of a coin that falls on one side with probability μ."""
        return 4 * mu * (1 - mu)


@dataclass(frozen=True)
class AlphaQuadratic(Index):
    r"""Pal and Bezdek's multiplicative class: :math:`\frac{4^\alpha}{n} \sum_i (\mu_i (1-\mu_i))^\alpha`.

    Attributes:
        alpha: The exponent, above 0 and at most 1; for 1 it is the quadratic index.
    """

    alpha: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= 1:
            raise ArgumentError(f"AlphaQuadratic: alpha must be above 0 and at most 1; got {self.alpha}.")

    def term(self, mu: torch.Tensor) -> torch.Tensor:
        """The quadratic term to the power alpha."""
        return (4 * mu * (1 - mu)).pow(self.alpha)


@dataclass(frozen=True)
class Exponential(Index):
    r"""Pal and Pal's exponential index, of the additive class.

    .. math:: \frac{1}{n (\sqrt{e}-1)} \sum_i \left[ \mu_i e^{1-\mu_i} + (1-\mu_i) e^{\mu_i} - 1 \right]
    """

    def term(self, mu: torch.Tensor) -> torch.Tensor:
        """The exponential gain of one membership."""
        other = 1 - mu
        return (mu * other.exp() + other * mu.exp() - 1) / (math.sqrt(math.e) - 1)


@dataclass(frozen=True)
class OrderAlpha(Index):
    r"""Bhandari and Pal's entropy of order α, of Rényi's form.

    .. math:: \frac{1}{n (1-\alpha) \ln 2} \sum_i \ln(\mu_i^\alpha + (1-\mu_i)^\alpha)

    Attributes:
        alpha: The order, above 0; at 1 it is De Luca and Termini's index, its limit. Concave up to 2.
    """

    alpha: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.alpha < math.inf:
            raise ArgumentError(f"OrderAlpha: alpha must be above 0 and finite; got {self.alpha}.")

    @property
    def is_concave(self) -> bool:
        """Up to the order 2."""
        return self.alpha <= 2

    def term(self, mu: torch.Tensor) -> torch.Tensor:
        """Rényi's entropy of one membership over ln 2."""
        if self.alpha == 1:
            return DeLucaTermini().term(mu)
        total = mu.pow(self.alpha) + (1 - mu).pow(self.alpha)
        return total.log() / ((1 - self.alpha) * math.log(2))


@dataclass(frozen=True)
class Sine(Index):
    r"""The sine index: :math:`\frac{1}{n} \sum_i \sin \pi \mu_i`."""

    def term(self, mu: torch.Tensor) -> torch.Tensor:
        """The sine of the distance to the nearer end, on which it is the same to the last bit from both."""
        return (math.pi * torch.minimum(mu, 1 - mu)).sin()


INDICES: Mapping[str, Callable[..., Index]] = MappingProxyType(
    {
        "de_luca_termini": DeLucaTermini,
        "kaufmann_linear": KaufmannLinear,
        "kaufmann_quadratic": KaufmannQuadratic,
        "yager": Yager,
        "kosko": Kosko,
        "quadratic": Quadratic,
        "alpha_quadratic": AlphaQuadratic,
        "exponential": Exponential,
        "order_alpha": OrderAlpha,
        "sine": Sine,
    }
)
"""The indices by name."""


def as_index(choice: str | Mapping[str, Mapping[str, Any]] | Index) -> Index:
    """The index of a name, of a name with options beneath it as files write it, or the index itself.

    Raises:
        ArgumentError: There is no such index, or it refuses an option.

    >>> as_index({"yager": {"p": 1}})
    Yager(p=1)
    """
    return chosen("index of fuzziness", choice, INDICES)


def _power(base: torch.Tensor, exponent: float) -> torch.Tensor:
    """A power of numbers that are at least 0, with gradient 0 at 0 where that of the formula is not finite."""
    positive = base > 0
    return torch.where(positive, torch.where(positive, base, 1.0).pow(exponent), 0.0)
