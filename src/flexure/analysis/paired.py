"""Is one network more robust than another? Image by image where there are two, seed by seed where there are series."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from flexure.errors import ArgumentError, nearest
from flexure.results import MEASURED, Result
from flexure.stats import Pairs

__all__ = ["paired"]

QUESTION = "How much more often is the second network right than the first, under the same attacks on the same images?"
_KEYS = ("attack", "norm", "eps")
_LEVEL = 0.95


def paired(
    first: Result | Sequence[Result], second: Result | Sequence[Result], *, quantity: str = "robust_accuracy"
) -> Result:
    r"""Is the second network more robust than the first?

    Two results are compared image by image: :math:`b` images withstand with the first network alone, :math:`c` with the
    second alone, of n. The difference is :math:`(c - b)/n`, and McNemar's exact test asks how likely so uneven a split
    of :math:`b + c` images is by tossing a coin.

    Two series of results, of networks that were trained in two ways from the same seeds, are compared seed by seed:
    the mean of the differences :math:`d_k` with the t-interval
    :math:`\bar d \pm t_{K-1}\, s_d/\sqrt K`, which contains the training, and how many seeds got better.

    Args:
        first: A result of ``flexure.robustness``, or a series of them.
        second: Another on the same images, or a series as long, in the same order of seeds.
        quantity: The column that is compared seed by seed (``"success"``, ``"median_norm"``, …).

    Returns:
        A row for every attack and eps that all results have: ``first`` and ``second``, their ``difference`` with
        ``difference_se`` and a 95 % interval ``low`` to ``high``, ``status``. Of two results also ``only_first``,
        ``only_second``, ``p_value`` and ``n`` images; of series ``better`` and ``worse``, and ``n`` seeds, with the
        differences as the array ``differences (rows, seeds)``.

    Raises:
        ArgumentError: Results of another probe, on other images, without a common row, or series of two lengths.

    Cost: none to speak of.
    Exact case: a network beside itself differs by 0, with p = 1.
    Source: McNemar, Note on the Sampling Error of the Difference Between Correlated Proportions (1947).
    """
    one, two = ([part] if isinstance(part, Result) else list(part) for part in (first, second))
    for result in (*one, *two):
        if result.probe != "robustness":
            raise ArgumentError(f"paired: compares results of robustness; got one of {result.probe}.")
    if isinstance(first, Result) != isinstance(second, Result) or len(one) != len(two) or not one:
        raise ArgumentError(f"paired: one result beside one, or series of one length; got {len(one)} and {len(two)}.")
    cells = _common([*one, *two])
    by_image = isinstance(first, Result) and quantity == "robust_accuracy"
    if by_image:
        rows, arrays = _by_image(one[0], two[0], cells), {}
    elif isinstance(first, Result):
        raise ArgumentError(f"paired: {quantity} is compared seed by seed only; give two series of results.")
    else:
        rows, arrays = _by_seed(one, two, cells, quantity)
    origin = {
        "settings": {"quantity": quantity, "by": "image" if by_image else "seed"},
        "networks": [[dict(result.provenance.get("specimen") or {}) for result in part] for part in (one, two)],
        "seed": [result.provenance.get("seed") for result in one] if not by_image else one[0].provenance.get("seed"),
        "data": dict(one[0].provenance.get("data") or {}),
    }
    units = {"n": "images" if by_image else "seeds", "p_value": "probability"}
    units |= dict.fromkeys(("first", "second", "difference", "difference_se", "low", "high"), _unit(one[0], quantity))
    return Result("paired", QUESTION, pd.DataFrame(rows), arrays=arrays, units=units, provenance=origin)


def _unit(result: Result, quantity: str) -> str:
    return str(result.units.get(quantity, ""))


def _common(results: Sequence[Result]) -> list[tuple[Any, ...]]:
    """The rows that all results have, in the order of the first."""
    keys = [list(map(_key, result.table[list(_KEYS)].to_dict("records"))) for result in results]
    shared = [key for key in keys[0] if all(key in others for others in keys[1:])]
    if len(shared) < 2:  # that of the images as they are has everyone
        told = "; ".join(str(sorted({f"{key[0]} at eps {key[2]}" for key in part})) for part in keys[:2])
        raise ArgumentError(f"paired: no attack and eps that all results have: {told}.")
    return shared


def _key(row: Mapping[Any, Any]) -> tuple[Any, ...]:
    return row["attack"], row["norm"], None if math.isnan(row["eps"]) else row["eps"]


def _at(result: Result, key: tuple[Any, ...]) -> int:
    return next(i for i, row in enumerate(result.table[list(_KEYS)].to_dict("records")) if _key(row) == key)


def _about(key: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(_KEYS, (key[0], key[1], math.nan if key[2] is None else key[2]), strict=True))


def _by_image(one: Result, two: Result, cells: Sequence[tuple[Any, ...]]) -> list[dict[str, Any]]:
    for result in (one, two):
        if "image_right" not in result.arrays:
            raise ArgumentError(f"paired: a result holds no outcome of any image ({result['status'][0]}).")
    index, mine, others = np.intersect1d(one["image_index"], two["image_index"], return_indices=True)
    if not len(index) or not np.array_equal(one["image_label"][mine], two["image_label"][others]):
        raise ArgumentError(
            f"paired: the results are on other images ({len(index)} indices in common, with other labels or none). "
            "Attack both networks on the same data."
        )
    rows = []
    for key in cells:
        parts = one["image_right"][_at(one, key)][mine], two["image_right"][_at(two, key)][others]
        finite = (parts[0] >= 0) & (parts[1] >= 0)
        rows.append(_about(key) | _pair(parts[0][finite] == 1, parts[1][finite] == 1))
    return rows


def _pair(one: np.ndarray, two: np.ndarray) -> dict[str, Any]:
    pairs = Pairs.of(two, one)
    low, high = pairs.interval(_LEVEL)
    return {
        "first": float(one.mean()) if len(one) else math.nan,
        "second": float(two.mean()) if len(two) else math.nan,
        "difference": pairs.difference,
        "difference_se": pairs.se,
        "low": low,
        "high": high,
        "only_first": pairs.only_second,
        "only_second": pairs.only_first,
        "p_value": pairs.p_value,
        "n": pairs.n,
        "status": MEASURED if pairs.n else "no image with finite outputs of both",
    }


def _by_seed(
    one: Sequence[Result], two: Sequence[Result], cells: Sequence[tuple[Any, ...]], quantity: str
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    numeric = [str(name) for name in one[0].table.select_dtypes("number") if name not in _KEYS]
    if quantity not in numeric:
        raise ArgumentError(f"paired: no quantity {quantity!r}. {nearest(quantity, numeric)}")
    values = np.array([[[part[quantity][_at(part, key)] for part in side] for side in (one, two)] for key in cells])
    gaps = values[:, 1] - values[:, 0]
    rows = [_about(key) | _series(*sides) for key, sides in zip(cells, values, strict=True)]
    return rows, {"differences": gaps}


def _series(one: np.ndarray, two: np.ndarray) -> dict[str, Any]:
    known = np.isfinite(one) & np.isfinite(two)
    gaps, n = (two - one)[known], int(known.sum())
    mean = float(gaps.mean()) if n else math.nan
    error = float(gaps.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan
    half = float(student.ppf((1 + _LEVEL) / 2, n - 1)) * error if n > 1 else math.nan
    return {
        "first": float(one[known].mean()) if n else math.nan,
        "second": float(two[known].mean()) if n else math.nan,
        "difference": mean,
        "difference_se": error,
        "low": mean - half,
        "high": mean + half,
        "better": int((gaps > 0).sum()),
        "worse": int((gaps < 0).sum()),
        "n": n,
        "status": MEASURED if n else "measured in no seed",
    }
