"""The rows of one layer: its weights between every interval's ends, by every index."""

from dataclasses import dataclass
from typing import Any

import torch

from flexure.errors import SpecimenError
from flexure.formulas.memberships import Ends, Interval, Reference
from flexure.probes.fuzziness.nulls import null_columns
from flexure.probes.fuzziness.settings import Settings
from flexure.probes.fuzziness.shuffles import shuffled
from flexure.probes.fuzziness.sums import Placed, directions, magnitudes, placed
from flexure.results import MEASURED
from flexure.weights import LayerWeight

__all__ = ["Reading", "rows"]

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Reading:
    """A layer as it is to be read.

    Attributes:
        layer: Where it stands in the network.
        weight: Its weight ``(out, in, *kernel)``; None where ``problem`` says why there is none.
        before: The same before the training, or None.
        fan_in: Of PyTorch's default initializer, where the layer was drawn by it.
        problem: Why nothing can be read, or empty.
    """

    layer: LayerWeight
    weight: torch.Tensor | None
    before: torch.Tensor | None = None
    fan_in: int | None = None
    problem: str = ""


def rows(one: Reading, settings: Settings) -> list[Row]:
    """One row per interval and index."""
    n = 0 if one.weight is None else one.weight.numel()
    head: Row = {"layer": one.layer.name, "kind": one.layer.kind, "n": n}
    if one.weight is None or (problem := one.problem or _problem(one.weight) or _problem(one.before, "before: ")):
        return [
            head | _names(interval, index) | {"status": one.problem if one.weight is None else problem}
            for interval in settings.intervals
            for index in settings.indices
        ]
    head |= magnitudes(one.weight)
    if one.before is not None:
        head |= directions(one.weight, one.before)
    return [row for interval in settings.intervals for row in _between(one, one.weight, interval, settings, head)]


def _between(one: Reading, weight: torch.Tensor, interval: Interval, settings: Settings, head: Row) -> list[Row]:
    """One row per index for one interval."""
    names = [head | _names(interval, index) for index in settings.indices]
    reference = Reference(fan_in=one.fan_in, initial=one.before)
    try:
        ends = interval.ends(weight, reference)
    except SpecimenError as wrong:
        return [row | {"status": str(wrong)} for row in names]
    earlier = None if one.before is None else (one.before, interval.ends(one.before, reference))
    found = placed(weight, ends, settings.indices, earlier)
    for row, index, own in zip(names, settings.indices, found.by_index or [{}] * len(names), strict=True):
        row |= _ends(ends) | own | found.distances | {"kept": found.kept / weight.numel()} | {"status": _status(found)}
        if found.kept:
            row |= null_columns(weight, interval, ends, index, head["rms"], found.kept, settings.seed)
    if settings.shuffle_draws and one.before is not None and found.kept:
        purpose = settings.seed, f"{one.layer.name} {interval} {interval.scope}"
        moved = shuffled(weight, reference, interval, settings.indices, settings.shuffle_draws, purpose)
        names = [row | own for row, own in zip(names, moved, strict=True)]
    return names


def _names(interval: Interval, index: Any) -> Row:
    return {"interval": str(interval), "scope": interval.scope, "index": str(index)}


def _ends(ends: Ends) -> Row:
    """The ends; where there are several intervals, the mean of each end."""
    return {"low": float(ends.low.double().mean()), "high": float(ends.high.double().mean())}


def _status(found: Placed) -> str:
    return MEASURED if found.kept else "every interval is a point: nothing lies in it"


def _problem(weight: torch.Tensor | None, when: str = "") -> str:
    if weight is None:
        return ""
    if not weight.numel():
        return f"{when}no weights"
    if not weight.is_floating_point():
        return f"{when}weights are not floating point"
    bad = int((~torch.isfinite(weight)).sum())
    return f"{when}non-finite weights: {bad:,} of {weight.numel():,}" if bad else ""
