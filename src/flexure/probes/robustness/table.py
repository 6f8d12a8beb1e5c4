"""From the outcomes of all images to the rows of the table."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from flexure.perturb.attacks_library import MINIMUM
from flexure.probes.robustness.outcomes import LOST, Outcomes
from flexure.probes.robustness.settings import Settings
from flexure.recorder import OUTPUT
from flexure.results import MEASURED
from flexure.stats import Proportions, around_median

__all__ = ["CLEAN", "WORST", "cells_of", "rows_of", "table_of"]

CLEAN, WORST = "clean", "worst"
_SHARES = (
    "robust_accuracy", "robust_accuracy_se", "low", "high", "success", "success_se", "clean_accuracy",
    "clean_accuracy_se",
)  # fmt: skip
_NORMS = ("median_norm", "median_norm_low", "median_norm_high")


def table_of(found: Outcomes, settings: Settings) -> pd.DataFrame:
    """A row for the images as they are, one per attack and eps, one per eps for the worst of these attacks, and one
    for each attack that looks for the nearest image.
    """
    cells, right = cells_of(settings), rows_of(found, settings)
    if not right:
        status = found.reason or "no labels"
        return pd.DataFrame([_row(name, eps, {}, 0, status) for name, eps in cells])
    flat = [row for name in dict.fromkeys(name for name, _ in cells) for row in right[name]]
    rows = zip(cells, flat, strict=True)
    return pd.DataFrame([_measured(found, name, eps, row, right[CLEAN][0]) for (name, eps), row in rows])


def cells_of(settings: Settings) -> list[tuple[str, float]]:
    """Attack and eps of every row; NaN where an attack has no budget."""
    budget = [(name, eps) for name in (*settings.budget, WORST) for eps in settings.eps]
    return [(CLEAN, 0.0), *budget, *((name, math.nan) for name in settings.minimum)]


def rows_of(found: Outcomes, settings: Settings) -> dict[str, np.ndarray]:
    """Per attack ``(eps, images)``: 1 where the network was right on the image as it was and under the attack.

    ``clean (1, images)`` is for the images as they are, ``worst`` for all attacks together within this eps, and
    ``far (1, images)`` for PGD at a very large eps; -1 stands for outputs that were not finite. Empty where nothing was
    attacked.
    """
    if not len(found):
        return {}
    clean = found[CLEAN][None]
    plain = {name: found[name] for name in settings.attacks} | {"far": found["far"][None]}
    plain |= {f"{name}.last": found[f"{name}.last"] for name in settings.climbs}
    rows = {name: _both(clean, part) for name, part in plain.items()}
    worst = rows[settings.budget[0]]
    for name in settings.budget[1:]:
        worst = _both(worst, rows[name])
    for place in range(1, len(worst)):  # a smaller change is within this eps too
        worst[place] = _both(worst[place - 1], worst[place])
    return {CLEAN: clean, **rows, WORST: worst}


def _both(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Right where both are; not finite where either is not."""
    return np.where((one == LOST) | (two == LOST), LOST, np.minimum(one, two)).astype(np.int8)


def _measured(found: Outcomes, name: str, eps: float, row: np.ndarray, clean: np.ndarray) -> dict[str, Any]:
    bad = found["index"][row == LOST]
    if len(bad):
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        return _row(name, eps, {}, int((row != LOST).sum()), f"non-finite at image {bad[0]}{more}")
    numbers = _shares(row, clean)
    if name in MINIMUM:
        numbers |= _norms(found[f"{name}.distance"][0])
    return _row(name, eps, numbers, len(row), MEASURED)


def _row(name: str, eps: float, numbers: Mapping[str, float], n: int, status: str) -> dict[str, Any]:
    values = {key: numbers.get(key, math.nan) for key in (*_SHARES, *_NORMS)}
    norm = MINIMUM[name].norm if name in MINIMUM else "linf"
    return {"layer": OUTPUT, "attack": name, "eps": eps, "norm": norm, **values, "n": n, "status": status}


def _shares(row: np.ndarray, clean: np.ndarray) -> dict[str, float]:
    parts = (row, clean, 1 - row[clean == 1])
    robust, at_first, fooled = (Proportions.of(torch.from_numpy(part[None])) for part in parts)
    low, high = robust.wilson()
    values = (robust.value, robust.se, low, high, fooled.value, fooled.se, at_first.value, at_first.se)
    return {name: float(value[0]) for name, value in zip(_SHARES, values, strict=True)}


def _norms(distances: np.ndarray) -> dict[str, float]:
    """The median over the images that were right at first and were fooled, and an interval for it."""
    known = distances[np.isfinite(distances)]
    if not len(known):
        return {}
    return dict(zip(_NORMS, (float(np.median(known)), *around_median(known)), strict=True))
