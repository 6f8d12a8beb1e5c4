"""Does a similarity fall with distance, and over what distance?"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from flexure.analysis.pairs import correlations, errors_over_points
from flexure.errors import ArgumentError
from flexure.results import MEASURED, Result

__all__ = ["against_distance"]

QUESTION = "Does a step on one image move others the less the farther away they are?"
_NAMES = ("relative", "relative_signed", "cosine")
_ESTIMATES = ("pearson", "spearman", "monotonicity", "half_distance", "decay_length")
_SHOWN = 3_000  # pairs that are kept to be drawn, at most
_LENGTHS = np.geomspace(0.02, 10, 100)  # that are tried, as parts of the largest distance


def against_distance(
    measured: Result,
    distances: np.ndarray,
    *,
    similarity: str | Sequence[str] | None = None,
    diagonal: bool = False,
    bins: int = 10,
) -> Result:
    r"""Does a step on one image move others the less the farther away they are?

    Over all ordered pairs of points, similarity S against distance d: Pearson's correlation, Spearman's (of ranks), and
    from the medians :math:`m_1, \dots, m_B` of S in bins of distance

    .. math::
        \text{monotonicity} = \frac{\sum_b \max(m_b - m_{b+1}, 0)}{\sum_b |m_b - m_{b+1}|},

    the part of all that the medians move that is falling; the *half distance*, at which they have fallen to half of
    what S is at no distance at all; and the *decay length* :math:`\ell` of :math:`c + a\, e^{-d/\ell}`, a > 0,
    fitted to them (least squares, all bins alike).

    Args:
        measured: A result of ``flexure.elasticity``, ``flexure.activation_patterns`` or any other with similarities.
        distances: Between the same points ``(n, n)``: along what they lie on (``images.distances`` of the synthetic
            sets), or any other; pairs that are infinitely far apart do not count.
        similarity: Which of the result's arrays; None: those of relative, signed relative and cosine that it has.
        diagonal: Whether pairs of a point with itself count, as He and Su count them.
        bins: Distances are cut into so many bins with as many pairs each, for the medians.

    Returns:
        One row per similarity: ``pearson``, ``spearman`` in [-1, 1], ``monotonicity`` in [0, 1] (1: the medians never
        rise), ``half_distance`` and ``decay_length`` in the distances' own unit (NaN where the medians never fall so
        far; where nothing decays, or over more than 10 times or less than 1/50 of the largest distance), each with
        ``_se`` over points (jackknife, 20 groups of points at a time), ``n`` points, ``pairs``, ``status``. Arrays
        ``bin_distance (bins,)``, ``bin_median`` and ``bin_median_se (similarities, bins)``; of up to 3,000 pairs,
        evenly chosen from near to far, ``pair_distance (pairs,)`` and ``pair_similarity (similarities, pairs)``.

    Raises:
        ArgumentError: There are not as many distances as similarities, or nothing to compare.

    Cost: some 20 sorts of n² numbers per similarity.

    Exact case: a similarity that is a falling straight line of distance has Pearson's correlation -1 and monotonicity
        1; one that is :math:`e^{-d/\ell}` has the decay length :math:`\ell` and half distance :math:`\ell \log 2`.

    Source: He and Su, *The local elasticity of neural networks* (2020), Figure 1, which takes Pearson's correlation
        with the diagonal, of the unsigned relative similarity. Signed ones of linear networks see distance, too.
    """
    usual = [name for name in _NAMES if name in measured.arrays] or [_NAMES[0]]
    names = [similarity] if isinstance(similarity, str) else usual if similarity is None else list(similarity)
    distances = np.asarray(distances, float)
    _check(measured, names, distances, bins)
    keep = np.isfinite(distances) & (True if diagonal else ~np.eye(len(distances), dtype=bool))
    pairs = [_Pairs(measured[name], distances, keep, bins) for name in names]
    middles = _middles(distances[keep], bins)
    rows = [{"similarity": name, **one.row()} for name, one in zip(names, pairs, strict=True)]
    medians, errors = zip(*(one.medians for one in pairs), strict=True)
    arrays = {"bin_distance": middles, "bin_median": np.stack(medians), "bin_median_se": np.stack(errors)}
    arrays |= _shown(pairs, distances, keep)
    origin = {"settings": {"diagonal": diagonal, "bins": bins}, "specimen": dict(measured.provenance["specimen"])}
    return Result("against_distance", QUESTION, pd.DataFrame(rows), arrays, {"n": "points"}, origin)


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Similarities and distances ``(n, n)`` of the pairs that are kept."""

    similarity: np.ndarray
    distances: np.ndarray
    keep: np.ndarray
    bins: int

    @cached_property
    def estimated(self) -> tuple[np.ndarray, np.ndarray]:
        """The estimates, then the medians of the bins, and their errors."""
        values = self._estimates(self.keep)
        errors = errors_over_points(len(self.keep), lambda stay: self._estimates(self.keep & stay[:, None] & stay))
        return values, np.where(np.isfinite(values), errors, np.nan)

    def row(self) -> dict[str, object]:
        """What the table says, with errors."""
        found: dict[str, object] = {}
        for name, value, error in zip(_ESTIMATES, *self.estimated, strict=False):
            found |= {name: float(value), f"{name}_se": float(error)}
        status = MEASURED if np.isfinite(self.estimated[0][0]) else "similarities or distances are all alike"
        pairs = int((self.keep & np.isfinite(self.similarity)).sum())
        return found | {"n": len(self.keep), "pairs": pairs, "status": status}

    @property
    def medians(self) -> tuple[np.ndarray, np.ndarray]:
        """Median similarity in bins of as many pairs each, from near to far, and its error."""
        values, errors = self.estimated
        return values[len(_ESTIMATES) :], errors[len(_ESTIMATES) :]

    def _estimates(self, keep: np.ndarray) -> np.ndarray:
        fine = keep & np.isfinite(self.similarity)
        values, far = self.similarity[fine], self.distances[fine]
        if len(values) < max(self.bins, 3):
            return np.full(len(_ESTIMATES) + self.bins, np.nan)
        order = np.argsort(far, kind="stable")
        medians = np.array([np.median(part) for part in np.array_split(values[order], self.bins)])
        middles = _middles(far, self.bins)
        near = float(np.median(np.diagonal(self.similarity)[keep.any(1)]))
        lengths = _crossing(middles, medians, near), _decay(middles, medians)
        return np.array([*correlations(values, far), _monotonicity(medians), *lengths, *medians])


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


def _monotonicity(medians: np.ndarray) -> float:
    """The part of what the medians move from bin to bin that is falling; NaN where they do not move."""
    moves = -np.diff(medians)
    total = np.abs(moves).sum()
    return float(np.maximum(moves, 0).sum() / total) if total > 0 else float("nan")


def _decay(middles: np.ndarray, medians: np.ndarray) -> float:
    """The length over which the medians fall by a factor e towards a level of their own, by least squares."""
    if np.ptp(middles) == 0 or np.ptp(medians) == 0:
        return float("nan")
    tried, ends = _LENGTHS * middles[-1], _LENGTHS[[0, -1]] * middles[-1]
    for _ in range(4):  # ever more finely around the best
        best = int(np.argmin(_misfits(tried, middles, medians)[0]))
        length = float(tried[best])
        tried = np.geomspace(tried[max(best - 1, 0)], tried[min(best + 1, len(tried) - 1)], len(tried))
    is_inside = 1.01 * ends[0] < length < 0.99 * ends[1]
    return length if is_inside and _misfits(np.array([length]), middles, medians)[1][0] > 0 else float("nan")


def _misfits(lengths: np.ndarray, middles: np.ndarray, medians: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each length the sum of squares that c + a exp(-d / length) leaves, and a."""
    falling = np.exp(-middles / lengths[:, None])
    falling, values = falling - falling.mean(1, keepdims=True), medians - medians.mean()
    a = falling @ values / (falling**2).sum(1)
    return ((values - a[:, None] * falling) ** 2).sum(1), a


def _shown(pairs: Sequence[_Pairs], distances: np.ndarray, keep: np.ndarray) -> dict[str, np.ndarray]:
    """Some pairs to be drawn, evenly from near to far; the same for every similarity."""
    places = np.flatnonzero(keep)
    order = places[np.argsort(distances.ravel()[places], kind="stable")]
    chosen = (
        order[np.unique(np.linspace(0, len(order) - 1, min(len(order), _SHOWN)).astype(int))] if len(order) else order
    )
    return {
        "pair_distance": distances.ravel()[chosen],
        "pair_similarity": np.stack([one.similarity.ravel()[chosen] for one in pairs]),
    }
