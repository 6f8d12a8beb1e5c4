"""Does a similarity fall with distance, and over what distance?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from flexure.errors import ArgumentError
from flexure.results import MEASURED, Result

__all__ = ["against_distance"]

QUESTION = "Does a step on one image move others the less the farther away they are?"
_NAMES = ("relative", "relative_signed", "cosine")
_GROUPS = 20  # of points that are left out together for the errors
_ESTIMATES = ("pearson", "spearman", "half_distance")


def against_distance(
    measured: Result,
    distances: np.ndarray,
    *,
    similarity: str | Sequence[str] = _NAMES,
    diagonal: bool = False,
    bins: int = 10,
) -> Result:
    r"""Does a step on one image move others the less the farther away they are?

    Over all ordered pairs of points, similarity against distance: Pearson's correlation, Spearman's (of ranks), and the
    distance at which the median similarity has fallen to half of what it is at no distance at all.

    Args:
        measured: A result of ``flexure.elasticity``.
        distances: Between the same points ``(n, n)``: along what they lie on (``images.distances`` of the synthetic
            sets), or any other; pairs that are infinitely far apart do not count.
        similarity: Which of the result's arrays.
        diagonal: Whether pairs of a point with itself count, as He and Su count them.
        bins: Distances are cut into so many bins with as many pairs each, for the medians.

    Returns:
        One row per similarity: ``pearson``, ``spearman`` in [-1, 1], ``half_distance`` in the distances' own unit (NaN
        where the medians never fall so far), each with ``_se`` over points (jackknife, 20 groups of points at a time),
        ``n`` points, ``pairs``, ``status``. Arrays ``bin_distance (bins,)`` and ``bin_median (similarities, bins)``.

    Raises:
        ArgumentError: There are not as many distances as similarities, or nothing to compare.

    Cost: some 20 sorts of n² numbers per similarity.

    Exact case: a similarity that is a falling straight line of distance has Pearson's correlation -1.

    Source: He and Su, *The local elasticity of neural networks* (2020), Figure 1, which takes Pearson's correlation
        with the diagonal, of the unsigned relative similarity. Signed ones of linear networks see distance, too.
    """
    names = [similarity] if isinstance(similarity, str) else list(similarity)
    distances = np.asarray(distances, float)
    _check(measured, names, distances, bins)
    keep = np.isfinite(distances) & (True if diagonal else ~np.eye(len(distances), dtype=bool))
    pairs = [_Pairs(measured[name], distances, keep) for name in names]
    middles = _middles(distances[keep], bins)
    rows = [{"similarity": name, **one.row(bins)} for name, one in zip(names, pairs, strict=True)]
    arrays = {"bin_distance": middles, "bin_median": np.stack([one.medians(bins) for one in pairs])}
    origin = {"settings": {"diagonal": diagonal, "bins": bins}, "specimen": dict(measured.provenance["specimen"])}
    return Result("against_distance", QUESTION, pd.DataFrame(rows), arrays, {"n": "points"}, origin)


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Similarities and distances ``(n, n)`` of the pairs that are kept."""

    similarity: np.ndarray
    distances: np.ndarray
    keep: np.ndarray

    def row(self, bins: int) -> dict[str, object]:
        """What the table says, with errors."""
        whole = self._estimates(bins)
        n = len(self.keep)
        groups = np.arange(n) % min(n, _GROUPS)
        without = np.array([self._less(groups == group)._estimates(bins) for group in range(min(n, _GROUPS))])
        errors = [
            _jackknife(column) if np.isfinite(value) else np.nan for column, value in zip(without.T, whole, strict=True)
        ]
        found: dict[str, object] = {}
        for name, value, error in zip(_ESTIMATES, whole, errors, strict=True):
            found |= {name: float(value), f"{name}_se": float(error)}
        status = MEASURED if np.isfinite(whole[0]) else "similarities or distances are all alike"
        return found | {"n": n, "pairs": int(self._fine.sum()), "status": status}

    def medians(self, bins: int) -> np.ndarray:
        """Median similarity in bins of as many pairs each, from near to far."""
        order = np.argsort(self.distances[self._fine], kind="stable")
        return np.array([np.median(part) for part in np.array_split(self.similarity[self._fine][order], bins)])

    @property
    def _fine(self) -> np.ndarray:
        return self.keep & np.isfinite(self.similarity)

    def _less(self, out: np.ndarray) -> "_Pairs":
        stay = np.ix_(~out, ~out)
        return _Pairs(self.similarity[stay], self.distances[stay], self.keep[stay])

    def _estimates(self, bins: int) -> np.ndarray:
        values, far = self.similarity[self._fine], self.distances[self._fine]
        if len(values) < max(bins, 3):
            return np.full(3, np.nan)
        near = float(np.median(np.diagonal(self.similarity)))
        half = _crossing(_middles(far, bins), self.medians(bins), near)
        return np.array([_correlation(values, far), _correlation(rankdata(values), rankdata(far)), half])


def _check(measured: Result, names: Sequence[str], distances: np.ndarray, bins: int) -> None:
    if bins < 2:
        raise ArgumentError(f"against_distance: bins must be at least 2; got {bins}.")
    for name in names:
        shape = measured[name].shape
        if shape != distances.shape or len(shape) != 2 or shape[0] != shape[1]:
            raise ArgumentError(
                f"against_distance: {name!r} is of shape {shape}, the distances of {distances.shape}; expected two "
                "square arrays of the same points in the same order."
            )


def _jackknife(values: np.ndarray) -> float:
    """Standard error from what an estimate is with each group left out."""
    values = values[np.isfinite(values)]
    n = len(values)
    return float(np.sqrt((n - 1) / n * ((values - values.mean()) ** 2).sum())) if n > 1 else float("nan")


def _correlation(one: np.ndarray, two: np.ndarray) -> float:
    with np.errstate(invalid="ignore", divide="ignore"):
        one, two = one - one.mean(), two - two.mean()
        return float((one * two).sum() / np.sqrt((one**2).sum() * (two**2).sum()))


def _middles(far: np.ndarray, bins: int) -> np.ndarray:
    """Median distance of each bin."""
    return np.array([np.median(part) for part in np.array_split(np.sort(far), bins)])


def _crossing(middles: np.ndarray, medians: np.ndarray, near: float) -> float:
    """Where the line through the medians, which begins at distance 0, first falls to half."""
    x, y = np.array([0.0, *middles]), np.array([near, *medians])
    below = np.flatnonzero(y <= near / 2)
    if not len(below) or not near > 0:
        return float("nan")
    at = below[0]
    return float(x[at - 1] + (x[at] - x[at - 1]) * (y[at - 1] - near / 2) / (y[at - 1] - y[at]))
