"""From sums to a table with a reason in every row, and further columns for what it is compared with."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from flexure.probes.sensitivity.ledger import VALUES
from flexure.probes.sensitivity.settings import Settings
from flexure.results import MEASURED
from flexure.stats import Sensitivities
from flexure.survey import Op

__all__ = ["compared", "refused", "table", "unmeasured"]


def table(ops: Sequence[Op], reduction: Any, found: Sensitivities, settings: Settings, rounds: int) -> pd.DataFrame:
    """One row per op: what was found, or why nothing was."""
    counts = reduction.counts()
    places = {op.name: place for place, op in enumerate(reduction.ops)}
    draws = settings.draws_per_round * rounds
    rows = []
    for op in ops:
        row = _empty(op, reduction.reasons.get(op.name, op.status), draws)
        if (place := places.get(op.name)) is not None:
            n, left_out, first = (int(column[place]) for column in counts)
            values = {name: float(getattr(found, name)[place]) for name in VALUES} if not left_out else {}
            row |= {"n": n // rounds, **values}
            row["status"] = _bad(-(-left_out // rounds), first) or _ended(row, found.R_floor[place], settings)
        rows.append(row)
    return pd.DataFrame(rows)


def unmeasured(ops: Sequence[Op], reason: str) -> pd.DataFrame:
    """The same where nothing was measured, for one reason."""
    return pd.DataFrame([_empty(op, reason, 0) for op in ops])


def compared(table: pd.DataFrame, others: Sequence[pd.DataFrame], suffix: str, missing: str) -> pd.DataFrame:
    """The table with ``X_suffix`` and ``X_suffix_se``: geometric means over other networks, matched by layer.

    Errors are over the networks; where there is one, its own, over images.

    Args:
        table: Of the network itself.
        others: Of the others.
        suffix: What their columns are called.
        missing: Status of a layer that one of them does not have.
    """
    aligned = [other.set_index("layer").reindex(table["layer"]) for other in others]
    columns: dict[str, Any] = {}
    for name in ("D", "G", "R"):
        values = np.array([other[name].to_numpy(float) for other in aligned])
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.exp(np.log(values).mean(0))
            if len(values) > 1:
                apart = np.log(values / values[0])  # exactly 0 where all are the same
                errors = mean * apart.std(0, ddof=1) / np.sqrt(len(values))
            else:
                errors = aligned[0][f"{name}_se"].to_numpy(float)
        columns |= {f"{name}_{suffix}": mean, f"{name}_{suffix}_se": errors}
    states = np.array([other["status"].fillna(missing).to_numpy() for other in aligned])
    columns[f"status_{suffix}"] = [next((s for s in column if s != MEASURED), MEASURED) for column in states.T]
    return table.join(pd.DataFrame(columns, index=table.index))


def refused(table: pd.DataFrame, suffix: str, reason: str) -> pd.DataFrame:
    """The table with the same columns, empty, for one reason."""
    empty = dict.fromkeys((f"{name[:1]}_{suffix}{name[1:]}" for name in VALUES), np.nan)
    return table.join(pd.DataFrame({**empty, f"status_{suffix}": reason}, index=table.index))


def _empty(op: Op, status: str, draws: int) -> dict[str, Any]:
    row: dict[str, Any] = {"layer": op.name, "kind": op.kind} | dict.fromkeys(VALUES, float("nan"))
    row |= {"n": 0, "status": status, "draws": draws}
    return row | {"shape": "×".join(map(str, op.shape)), "features": op.features}


def _bad(left_out: int, first: int) -> str:
    """What is said of an op that emitted NaN or infinity."""
    more = f" and {left_out - 1} more" if left_out > 1 else ""
    return f"non-finite at image {first}{more}" if left_out else ""


def _ended(row: Mapping[str, Any], floor: float, settings: Settings) -> str:
    """How the measurement of an op with finite emissions ended."""
    if np.isnan(row["D"]):
        return "constant output"
    if row["G"] == 0:
        return "no response to noise"
    relative = row["R_se"] / row["R"] if row["R"] > 0 else 0.0
    if settings.precision is None or relative <= settings.precision:
        return MEASURED
    if floor / row["R"] > settings.precision:
        return f"precision not reachable with {row['n']} images (floor {floor / row['R']:.1%})".replace("%", " %")
    return f"precision not reached after {row['draws']} draws ({relative:.1%})".replace("%", " %")
