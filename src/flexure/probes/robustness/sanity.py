"""Were the attacks worth their name? Checks that go with every robustness result, and what they mean."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from flexure.probes.robustness.attacked import FAR
from flexure.probes.robustness.outcomes import LOST, Outcomes
from flexure.probes.robustness.settings import Settings
from flexure.probes.robustness.table import rows_of
from flexure.stats import Pairs, Proportions, around_median

__all__ = ["Check", "checks_of", "warnings_of"]

_LEAST = 0.01
"""Differences below are not spoken of, however many images stand behind them."""
_SURE = 0.05
"""Nor are those that a coin would make as often as this, or shares up to this one."""
_MASKING = ("plain-pgd", "far", "zero-gradients", "noise", "margin")


@dataclass(frozen=True)
class Check:
    """One line of the panel.

    Attributes:
        check: What was checked: ``zero-eps``, ``chance``, ``plain-pgd``, ``far``, ``zero-gradients``,
            ``gradient-size``, ``noise``, ``margin``, ``convergence`` or ``flips``.
        eps: At which budget; None where there is none.
        value: What was found.
        low, high: A 95 % interval; None where there is none.
        n: Images.
        fine: Whether that is as it should be; None for what is only told.
        says: The finding in a sentence.
    """

    check: str
    eps: float | None
    value: float
    low: float | None
    high: float | None
    n: int
    fine: bool | None
    says: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def checks_of(found: Outcomes, settings: Settings, bounds: tuple[float, float]) -> list[Check]:
    """The panel; empty where nothing was attacked or some outputs were not finite."""
    right = rows_of(found, settings)
    if not right or any((part == LOST).any() for part in right.values()):
        return []
    budgets = [(place, eps) for place, eps in enumerate(settings.eps) if eps > 0]
    whole = [_still(found), _chance(found), _far(right["far"][0], FAR * (bounds[1] - bounds[0])), *_gradients(found)]
    return [*whole, *(check for place, eps in budgets for check in _at(found, settings, right, place, eps))]


def warnings_of(checks: list[Check]) -> list[str]:
    """What must be said beside the numbers: gradient masking by its name, and climbs that were not at their end."""
    idle = [check.says for check in checks if check.check == "chance" and check.fine is False]
    masking = [name for name in _MASKING if name != "far" or not idle]  # what never answers otherwise cannot be fooled
    masked = [check.says for check in checks if check.check in masking and check.fine is False]
    slow = [check.says for check in checks if check.check == "convergence" and check.fine is False]
    unsteady = [check.says for check in checks if check.check == "zero-eps" and check.fine is False]
    notes = unsteady + [f"{says} What such a network withstands says nothing." for says in idle]
    if masked:
        has_margin = any(check.check == "margin" for check in checks)
        advice = "attacks that use no gradient" if has_margin else "the attack 'pgd-margin', or some without gradients"
        notes.append(
            f"Warning: signs of gradient masking. {' '.join(masked)} Where a loss has no useful gradient, attacks fail "
            f"and robust accuracies are too high: rely on 'worst' alone, and try {advice}."
        )
    if slow:
        notes.append(f"Not converged. {' '.join(slow)} More steps would leave less; try steps= of twice as many.")
    return notes


def _still(found: Outcomes) -> Check:
    same = found["still"] == 1
    low, high = _wilson(same)
    says = f"At eps = 0, {int(same.sum())} of {len(same)} answers are those on the images as they are."
    return Check("zero-eps", 0.0, float(same.mean()), low, high, len(same), bool(same.all()), says)


def _chance(found: Outcomes) -> Check:
    """Whether the network is right more often than one that always gives the same answer."""
    counts = np.unique(found["label"], return_counts=True)[1]
    right, n = float((found["clean"] == 1).mean()), len(found)
    most = float(counts.max() / n)
    low, high = _wilson(found["clean"] == 1)
    says = f"{right:.3f} of the images are right as they are, {most:.3f} would be if the answer were always the same."
    return Check("chance", 0.0, right, low, high, n, right > most, says)


def _far(right: np.ndarray, eps: float) -> Check:
    low, high = _wilson(right == 1)
    value = float(right.mean())
    says = f"At eps = {eps:g}, where every image can be made the same gray one, PGD leaves {value:.3f} right."
    return Check("far", eps, value, low, high, len(right), value <= _SURE, says)


def _gradients(found: Outcomes) -> Iterator[Check]:
    none, n = found["zeros"] == 1, len(found["zeros"])
    low, high = _wilson(none)
    says = f"The gradient is exactly zero in every pixel of {int(none.sum())} of {n} images."
    yield Check("zero-gradients", None, float(none.mean()), low, high, n, bool(none.mean() <= _SURE), says)
    size = float(np.median(found["size"]))
    says = f"Mean size of the loss's gradient in a pixel: {size:.2g} in the median image."
    low, high = (None if math.isnan(end) else end for end in around_median(found["size"]))
    yield Check("gradient-size", None, size, low, high, n, None, says)


def _at(found: Outcomes, settings: Settings, right: dict[str, np.ndarray], place: int, eps: float) -> Iterator[Check]:
    """The checks at one budget."""
    shares = {name: float(part[place].mean()) for name, part in right.items() if len(part) == len(settings.eps)}
    plain, one, noise, best = (f"{shares[name]:.3f}" for name in ("pgd.last", "fgsm", "sign-noise", "pgd"))
    at = f"At eps = {eps:g}"

    def compared(check: str, first: str, second: str, says: str) -> Check:
        """Fine unless the first attack, which should do no less harm than the second, does less."""
        pairs = Pairs.of(right[first][place], right[second][place])
        is_worse = pairs.difference > _LEAST and pairs.p_value < _SURE
        return Check(check, eps, pairs.difference, *pairs.interval(), pairs.n, not is_worse, f"{at} {says}")

    yield compared("plain-pgd", "pgd.last", "fgsm", f"plain PGD leaves {plain} right, a single step (FGSM) {one}.")
    yield compared("noise", "fgsm", "sign-noise", f"FGSM leaves {one} right, random signs of the same size {noise}.")
    if "pgd-margin" in settings.attacks:
        margin = f"{shares['pgd-margin']:.3f}"
        says = f"PGD on the cross-entropy leaves {best} right, on the margin {margin}."
        yield compared("margin", "pgd", "pgd-margin", says)
    for name in settings.climbs:
        yield _convergence(found[f"{name}.first"][place], found["clean"] == 1, settings.steps, name, eps)
    flips = (found["clean"] == 0) & (found["fgsm"][place] == 1)
    says = f"{at} {int(flips.sum())} images that were wrong at first are right under FGSM; they do not count as robust."
    yield Check("flips", eps, float(flips.mean()), *_wilson(flips), len(flips), None, says)


def _convergence(first: np.ndarray, clean: np.ndarray, steps: int, name: str, eps: float) -> Check:
    """How much robust accuracy still fell in the last quarter of the steps."""
    late = clean & (first > steps - max(1, steps // 4))
    value = float(late.mean())
    says = f"At eps = {eps:g} {name} still took {value:.3f} in the last quarter of its {steps} steps."
    return Check("convergence", eps, value, *_wilson(late), len(late), value <= _LEAST, says)


def _wilson(hits: np.ndarray) -> tuple[float, float]:
    low, high = Proportions.of(torch.from_numpy(hits[None].copy())).wilson()
    return float(low[0]), float(high[0])
