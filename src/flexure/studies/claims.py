"""What a paper claims, with the number it is judged by, and the verdict on what was found."""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import numpy as np
from scipy import stats

from flexure.errors import ArgumentError, nearest

__all__ = [
    "DIFFERS",
    "NOT_TRIED",
    "REPRODUCED",
    "UNDECIDED",
    "Claim",
    "Finding",
    "Study",
    "expectation",
    "is_about",
    "verdict",
]

REPRODUCED, DIFFERS, UNDECIDED, NOT_TRIED = "reproduced", "differs", "undecided", "not tried"
_RULES = ("above", "below", "within")
_LEVEL = 0.95


@dataclass(frozen=True)
class Claim:
    """One statement of a paper, made measurable before anything was measured.

    Attributes:
        name: What users type.
        figure: Where the paper makes it.
        says: The statement in a sentence.
        quantity: The number that is measured.
        rule: Where the whole interval of that number has to lie: ``"above"``, ``"below"`` or ``"within"`` ``value``.
        value: A bound, or both.
        networks: Name of the set of networks it is measured on.
        settings: What else the measurement needs.
    """

    name: str
    figure: str
    says: str
    quantity: str
    rule: str
    value: float | tuple[float, float]
    networks: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.rule not in _RULES:
            raise ArgumentError(f"claim {self.name!r}: no rule {self.rule!r}. {nearest(self.rule, _RULES)}")
        if isinstance(self.value, Sequence):
            object.__setattr__(self, "value", tuple(map(float, self.value)))
        if isinstance(self.value, tuple) != (self.rule == "within"):
            raise ArgumentError(f"claim {self.name!r}: rule {self.rule!r} does not go with value {self.value!r}.")

    def uses(self, fields: Mapping[str, Any]) -> bool:
        """Whether it is about the network with these fields, as its settings say (see ``is_about``).

        A claim that one way is ``better`` than another, ``worse`` one is about the networks of both.

        >>> claim = Claim("a", "Fig. 3", "It falls.", "slope", "below", 0.0, "nets", {"nets": ["lenet", "vgg11"]})
        >>> claim.uses({"net": "lenet"}), claim.uses({"net": "alexnet"})
        (True, False)
        """
        sides = [self.settings[name] for name in ("better", "worse") if name in self.settings]
        return any(is_about(side, fields) for side in sides or [self.settings])


def is_about(settings: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
    """Whether settings mean the network with these fields.

    They may name the networks (``nets``) or one (``net``, which then is no linear twin and not trained by binary
    cross-entropy unless they say so), ``linear`` or ``bce``, and the ``kernel`` and ``stride`` of its filters.

    >>> twin = {"net": "fnn", "twin": "linear"}
    >>> is_about({"net": "fnn", "linear": True}, twin), is_about({"net": "fnn"}, twin), is_about({}, twin)
    (True, False, True)
    """
    options, usual = fields.get("net_options") or {}, {"linear": False, "bce": False}
    found = {
        "net": fields.get("net"),
        "linear": fields.get("twin") is not None,
        "bce": "binary_cross_entropy" in fields.get("loss", ""),
        "kernel": options.get("kernel"),
        "stride": options.get("strides"),
    }
    wanted = {**usual, **settings} if "net" in settings else settings
    is_named = "nets" not in settings or found["net"] in settings["nets"]
    return is_named and all(wanted.get(name, value) == value for name, value in found.items())


@dataclass(frozen=True)
class Finding:
    """A measured number with its 95 % interval.

    Attributes:
        value: The estimate.
        se: Its standard error.
        low: Lower end of the interval.
        high: Upper end.
        n: Independent networks behind it.
        words: What else should be known.
    """

    value: float
    se: float
    low: float
    high: float
    n: int
    words: str = ""

    @classmethod
    def mean(cls, values: Sequence[float]) -> "Finding":
        """Mean over independent networks, with Student's interval; fewer than two networks have none.

        Values that are not finite (a network that answers everything alike has no R) are left out, and ``words`` says
        how many.

        >>> found = Finding.mean([1.0, 2.0, 3.0, float("nan")])
        >>> found.value, round(found.se, 3), round(found.low, 3), found.words
        (2.0, 0.577, -0.484, '1 of 4 networks left out: no such number')
        """
        given = np.asarray(values, float)
        x = given[np.isfinite(given)]
        n, value = len(x), float(x.mean()) if len(x) else math.nan
        words = f"{len(given) - n} of {len(given)} networks left out: no such number" if n < len(given) else ""
        if n < 2:
            return cls(value, math.nan, math.nan, math.nan, n, words)
        se = float(x.std(ddof=1) / math.sqrt(n))
        reach = float(stats.t.ppf((1 + _LEVEL) / 2, n - 1)) * se
        return cls(value, se, value - reach, value + reach, n, words)

    @classmethod
    def share(cls, differences: Sequence[float]) -> "Finding":
        """How often a difference is above 0, over independent networks, with the exact binomial interval.

        Ties decide nothing and are left out, as in the sign test; ``words`` says how many there are, and by how much
        the one is ahead in the mean.

        >>> found = Finding.share([0.1, 0.2, 0.3, -0.1, 0.0])
        >>> found.value, round(found.low, 3), round(found.high, 3), found.n
        (0.75, 0.194, 0.994, 4)
        >>> found.words
        'ahead by 0.100 ± 0.071 in the mean of 5; 1 tie left out'
        """
        mean = cls.mean(differences)
        given = np.asarray(differences, float)
        decided = given[np.isfinite(given) & (given != 0)]
        n, wins = len(decided), int((decided > 0).sum())
        ties = int((given == 0).sum())
        words = [f"ahead by {mean.value:.3f} ± {mean.se:.3f} in the mean of {mean.n}"] if mean.n else []
        words += [f"{ties} {'tie' if ties == 1 else 'ties'} left out"] if ties else []
        words += [mean.words] if mean.words else []
        if not n:
            return cls(math.nan, math.nan, math.nan, math.nan, 0, "; ".join(words))
        interval = stats.binomtest(wins, n).proportion_ci(_LEVEL, method="exact")
        share = wins / n
        se = math.sqrt(share * (1 - share) / n)
        return cls(share, se, float(interval.low), float(interval.high), n, "; ".join(words))


@dataclass(frozen=True)
class Study:
    """A paper's claims, and the networks to judge them by.

    Attributes:
        name: Name of the folder.
        about: Title, authors, arXiv number, hours of the full mode.
        networks: Sets of networks: name, then ``quick`` or ``full``, then what a sweep takes; ``start`` names the set
            from whose networks, seed by seed, these go on, ``same`` the set that these are.
        claims: In the paper's order.
    """

    name: str
    about: Mapping[str, Any]
    networks: Mapping[str, Mapping[str, Any]]
    claims: tuple[Claim, ...]

    @classmethod
    def read(cls, name: str) -> "Study":
        """The study's ``claim.toml``."""
        text = files(f"flexure.studies.{name}").joinpath("claim.toml").read_text(encoding="utf-8")
        found = tomllib.loads(text)
        claims = tuple(Claim(**fields) for fields in found["claim"])
        sets = found["networks"]
        networks = {one: {mode: _whole(sets, one, mode) for mode in modes} for one, modes in sets.items()}
        return cls(name, found["study"], networks, claims)

    def judged_in(self, mode: str) -> list[str]:
        """The claims whose networks there are in this mode."""
        return [claim.name for claim in self.claims if mode in self.networks[claim.networks]]


def _whole(sets: Mapping[str, Any], name: str, mode: str) -> dict[str, Any]:
    """A set of networks with what it shares with the one it is ``like``."""
    given = dict(sets[name][mode])
    if "like" not in given:
        return given
    other = _whole(sets, given.pop("like"), mode)
    return {**other, **given, "base": {**other["base"], **given.get("base", {})}}


def expectation(claim: Claim) -> str:
    """The rule in words.

    >>> expectation(Claim("a", "Fig. 1", "It falls.", "slope", "below", 0.0, "nets"))
    'below 0'
    """
    if isinstance(claim.value, tuple):
        return f"within {claim.value[0]:g} and {claim.value[1]:g}"
    return f"{claim.rule} {claim.value:g}"


def verdict(claim: Claim, finding: Finding) -> str:
    """Where does the interval lie: on the claimed side, on the other, or on both?

    ``"reproduced"``: wholly where the claim says. ``"differs"``: wholly elsewhere. ``"undecided"``: partly, or there is
    no interval.
    """
    if not (math.isfinite(finding.low) and math.isfinite(finding.high)):
        return UNDECIDED
    low, high = claim.value if isinstance(claim.value, tuple) else _half_line(claim)
    if low < finding.low and finding.high < high:
        return REPRODUCED
    return DIFFERS if finding.high <= low or finding.low >= high else UNDECIDED


def _half_line(claim: Claim) -> tuple[float, float]:
    bound = float(claim.value)  # type: ignore[arg-type]
    return (bound, math.inf) if claim.rule == "above" else (-math.inf, bound)
