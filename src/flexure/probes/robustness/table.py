"""From the outcomes of all images to the rows of the table."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch

from flexure.probes.robustness.outcomes import LOST, Outcomes
from flexure.probes.robustness.settings import Settings
from flexure.recorder import OUTPUT
from flexure.results import MEASURED
from flexure.stats import Proportions

__all__ = ["CLEAN", "WORST", "rows_of", "table_of"]

CLEAN, WORST = "clean", "worst"


def table_of(found: Outcomes, settings: Settings) -> pd.DataFrame:
    """A row for the images as they are, then one per attack and eps, then the worst of all attacks per eps."""
    right = rows_of(found, settings)
    cells = [(CLEAN, 0.0), *((name, eps) for name in (*settings.attacks, WORST) for eps in settings.eps)]
    if not right:
        status = found.reason or "no labels"
        return pd.DataFrame([_row(name, eps, None, None, status) for name, eps in cells])
    clean = right[CLEAN][0]
    rows = {CLEAN: right[CLEAN]} | {name: right[name] for name in (*settings.attacks, WORST)}
    flat = [row for several in rows.values() for row in several]
    return pd.DataFrame(
        [_row(name, eps, row, clean, _status(found, row)) for (name, eps), row in zip(cells, flat, strict=True)]
    )


def rows_of(found: Outcomes, settings: Settings) -> dict[str, np.ndarray]:
    """Per attack ``(eps, images)``: 1 where the network was right on the image as it was and under the attack.

    ``clean (1, images)`` is for the images as they are, ``worst`` for all attacks together, and ``far (1, images)`` for
    PGD at a very large eps; -1 stands for outputs that were not finite. Empty where nothing was attacked.
    """
    if not len(found):
        return {}
    clean = found[CLEAN][None]
    plain = {name: found[name] for name in settings.attacks} | {"far": found["far"][None]}
    plain |= {f"{name}.last": found[f"{name}.last"] for name in settings.climbs}
    rows = {name: _both(clean, part) for name, part in plain.items()}
    worst = rows[settings.attacks[0]]
    for name in settings.attacks[1:]:
        worst = _both(worst, rows[name])
    return {CLEAN: clean, **rows, WORST: worst}


def _both(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Right where both are; not finite where either is not."""
    return np.where((one == LOST) | (two == LOST), LOST, np.minimum(one, two)).astype(np.int8)


def _status(found: Outcomes, row: np.ndarray) -> str:
    bad = found["index"][row == LOST]
    if not len(bad):
        return MEASURED
    return f"non-finite at image {bad[0]}" + (f" and {len(bad) - 1} more" if len(bad) > 1 else "")


def _row(name: str, eps: float, row: np.ndarray | None, clean: np.ndarray | None, status: str) -> dict[str, Any]:
    kept = [] if row is None else row[row != LOST]
    about = {"layer": OUTPUT, "attack": name, "eps": eps}
    if row is None or clean is None or status != MEASURED:
        return about | dict.fromkeys(_NUMBERS, math.nan) | {"n": len(kept), "status": status}
    return about | dict(_numbers(row, clean)) | {"n": len(kept), "status": status}


_NUMBERS = (
    "robust_accuracy", "robust_accuracy_se", "low", "high", "success", "success_se", "clean_accuracy",
    "clean_accuracy_se",
)  # fmt: skip


def _numbers(row: np.ndarray, clean: np.ndarray) -> Iterator[tuple[str, float]]:
    robust, at_first, fooled = (
        Proportions.of(torch.from_numpy(part[None])) for part in (row, clean, 1 - row[clean == 1])
    )
    low, high = robust.wilson()
    values = (robust.value, robust.se, low, high, fooled.value, fooled.se, at_first.value, at_first.se)
    return ((name, float(value[0])) for name, value in zip(_NUMBERS, values, strict=True))
