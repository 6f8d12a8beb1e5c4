"""The table of fuzziness: which columns there are, in which unit."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from flexure.formulas.null_layers import LAWS

__all__ = ["UNITS", "table"]

_FACTS = ("layer", "kind", "interval", "scope", "index")
_VALUES = (
    "low", "high", "fuzziness", "fuzziness_se", "center_distance", "center_distance_se", "center_distance_raw",
    "center_distance_raw_se", "beyond", "beyond_se", "kept",
)  # fmt: skip
_NULLS = tuple(
    f"{name}_{law}{end}" for name in ("fuzziness", "center_distance") for law in LAWS for end in ("", "_low", "_high")
)
_BEFORE = (
    "fuzziness_before", "fuzziness_before_se", "fuzziness_change", "fuzziness_change_se", "center_distance_before",
    "center_distance_raw_before", "beyond_before", "grown", "grown_se", "drift", "drift_se", "correlation",
    "correlation_se", "moved",
)  # fmt: skip
_SHUFFLED = (
    "fuzziness_shuffled", "fuzziness_shuffled_se", "fuzziness_shuffled_low", "fuzziness_shuffled_high", "excess",
    "excess_se", "p_value", "grown_shuffled", "n_shuffled",
)  # fmt: skip
_MAGNITUDES = (
    "kurtosis", "kurtosis_se", "hoyer", "hoyer_se", "l1_l2", "l1_l2_se", "near_zero", "near_zero_se", "rms",
)  # fmt: skip
_WORDS = {"layer", "kind", "interval", "scope", "index", "status"}
_SHARE = "share of the weights"

UNITS: dict[str, str] = {
    **dict.fromkeys(("low", "high", "rms"), "weight"),
    **dict.fromkeys(
        ("fuzziness", "fuzziness_before", "fuzziness_shuffled", *(f"fuzziness_{law}" for law in LAWS)),
        "1: all undecided, 0: all at an end",
    ),
    **dict.fromkeys(("fuzziness_change", "excess"), "difference of fuzziness"),
    **dict.fromkeys(
        (f"center_distance{end}" for end in ("", "_raw", "_before", "_raw_before", *(f"_{law}" for law in LAWS))),
        "1: at an end, 0: at the center",
    ),
    **dict.fromkeys(("beyond", "beyond_before", "kept", "grown", "grown_shuffled", "moved", "near_zero"), _SHARE),
    "drift": "1: all along their own sign",
    "correlation": "correlation of weight and step",
    "p_value": "probability of at most this by shuffles",
    "kurtosis": "excess over a Gaussian law's",
    "hoyer": "1: a single weight, 0: all as large",
    "l1_l2": "weight",
    "n": "weights",
    "n_shuffled": "weights",
    "step": "of the series",
}


def table(rows: Sequence[Mapping[str, Any]], *, has_before: bool, has_shuffles: bool, has_steps: bool) -> pd.DataFrame:
    """The rows as a frame, with all columns that were asked for, also where there are no rows."""
    columns = [
        *(("step",) if has_steps else ()),
        *_FACTS,
        *_VALUES,
        *_NULLS,
        *(_BEFORE if has_before else ()),
        *(_SHUFFLED if has_shuffles else ()),
        *_MAGNITUDES,
        "n",
        "status",
    ]
    frame = pd.DataFrame(list(rows), columns=columns)
    whole = {"n": "int64"} | ({"step": "int64"} if has_steps else {})
    numbers = [name for name in columns if name not in _WORDS and name not in whole]
    return frame.astype(dict.fromkeys(numbers, float) | whole | dict.fromkeys(_WORDS & set(columns), object))
