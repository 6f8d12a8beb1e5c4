"""One layer, read a piece at a time: how far its weights are from their centers, how large they are, how they moved."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

from flexure.formulas.fuzziness import Index
from flexure.formulas.memberships import Ends, center_distance, membership

__all__ = ["FAR", "Placed", "directions", "magnitudes", "placed"]

FAR = 0.8
"""From this distance from the center on a weight counts as near an end."""
_CHUNK = 1 << 16  # numbers worked on at a time: they stay in the processor's cache
_NEAR_ZERO = 0.1

Numbers = dict[str, float]


@dataclass(frozen=True)
class Placed:
    """Where the weights of a layer lie in their intervals.

    Attributes:
        kept: How many of them have an interval that is more than a point.
        distances: ``center_distance``, ``center_distance_raw`` and ``beyond``, each with its ``_se``; where there are
            weights before, the first two also as ``…_before``.
        by_index: For each index ``fuzziness`` with its ``_se``; where there are weights before, ``fuzziness_before``,
            and ``fuzziness_change`` with its ``_se``, weight by weight.
    """

    kept: int
    distances: Numbers = field(default_factory=dict)
    by_index: list[Numbers] = field(default_factory=list)


def placed(
    weight: torch.Tensor,
    ends: Ends,
    indices: Sequence[Index],
    before: tuple[torch.Tensor, Ends] | None = None,
) -> Placed:
    """Read a weight ``(out, in, *kernel)`` between its ends; ``before``, what it was and between which ends then."""
    pairs = [(weight, ends)] if before is None else [(weight, ends), before]
    kept, distances, terms = 0, _Means(3 * len(pairs)), [_Means(len(pairs)) for _ in indices]
    for rows in _pieces(weight):
        mus = [membership(w[rows].double(), _rows(own, rows), clip=False).flatten() for w, own in pairs]
        known = ~torch.stack(mus).isnan().any(0)
        if not known.all():
            mus = [mu[known] for mu in mus]
        kept += len(mus[0])
        raw = [center_distance(mu) for mu in mus]
        clipped = [d.clamp(max=1) for d in raw]
        distances.add([*clipped, *raw, *((d > FAR).double() for d in raw)])
        for mean, index in zip(terms, indices, strict=True):
            mean.add([index.terms(mu) for mu in mus])
    if not kept:
        return Placed(0)
    return Placed(kept, _distances(distances), [_linked(*one) for one in zip(indices, terms, strict=True)])


def magnitudes(weight: torch.Tensor) -> Numbers:
    """Kurtosis, Hoyer's sparsity, difference of norms, share near zero, with standard errors; and the size.

    Hoyer's sparsity and the difference of norms of n weights are those of :mod:`flexure.formulas.sparsity`.
    """
    n, flat = weight.numel(), weight.flatten()
    largest = float(max(-flat.min(), flat.max()))
    scale = largest or 1.0
    plain = _Means(4)
    for piece in flat.split(_CHUNK):
        w = piece.double() / scale
        plain.add([w, w.abs(), w.square(), (w.abs() < _NEAR_ZERO).double()])
    mean, size, square, near = plain.means.tolist()
    found = {"rms": scale * math.sqrt(square), "mean": scale * mean, "near_zero": near if largest else math.nan}
    found["near_zero_se"] = plain.error([0, 0, 0, 1]) if largest else math.nan
    ratio = size / math.sqrt(square) if square else math.nan
    root = math.sqrt(n)
    found["hoyer"] = (root - root * ratio) / (root - 1) if n > 1 else math.nan
    slope = [0, 1 / math.sqrt(square), -ratio / (2 * square), 0] if square else [math.nan] * 4
    found["hoyer_se"] = plain.error(slope) * root / (root - 1) if n > 1 else math.nan
    found["l1_l2"] = scale * (n * size - root * math.sqrt(square))
    found["l1_l2_se"] = scale * plain.error([0, n, -root / (2 * math.sqrt(square)), 0]) if square else math.nan
    return found | _kurtosis(flat, found["mean"], math.sqrt(max(square - mean**2, 0.0)) * scale)


def directions(weight: torch.Tensor, initial: torch.Tensor) -> Numbers:
    r"""How did weights move: grown in magnitude, along their own sign, with their size; which share moved at all?

    ``drift`` is :math:`\sum \mathrm{sign}(w_0) \Delta w / \sum |\Delta w|`, ``correlation`` that of :math:`w_0` and
    :math:`\Delta w`.
    """
    means = _Means(9)
    for rows in _pieces(weight):
        w0 = initial[rows].double().flatten()
        step = weight[rows].double().flatten() - w0
        along = w0.sign() * step
        grown, moved = ((w0 + step).abs() > w0.abs()).double(), (step != 0).double()
        means.add([grown, along, step.abs(), moved, w0, step, w0.square(), step.square(), w0 * step])
    grown, along, size, moved, first, step, first2, step2, product = means.means.tolist()
    drift = along / size if size else math.nan
    variance = (first2 - first**2) * (step2 - step**2)
    correlation = (product - first * step) / math.sqrt(variance) if variance > 0 else math.nan
    return {
        "grown": grown,
        "grown_se": means.error([1, *[0] * 8]),
        "drift": drift,
        "drift_se": means.error([0, 1 / size, -drift / size, *[0] * 6]) if size else math.nan,
        "correlation": correlation,
        "correlation_se": (1 - correlation**2) / math.sqrt(max(means.n - 1, 1)),
        "moved": moved,
    }


class _Means:
    """Means and covariance of several quantities over all weights, added up a piece at a time in float64."""

    def __init__(self, count: int) -> None:
        self.n = 0
        self._total = torch.zeros(count, dtype=torch.float64)
        self._products = torch.zeros(count, count, dtype=torch.float64)

    def add(self, values: Sequence[torch.Tensor]) -> None:
        stacked = torch.stack(list(values)).cpu()
        self.n += stacked.shape[1]
        self._total += stacked.sum(1)
        self._products.addmm_(stacked, stacked.T)

    @property
    def means(self) -> torch.Tensor:
        return self._total / self.n

    def error(self, slope: Sequence[float]) -> float:
        """Standard error of what depends on the means with these slopes, the weights taken as independent."""
        if self.n < 2:
            return math.nan
        at = torch.tensor(slope, dtype=torch.float64)
        covariance = (self._products / self.n - torch.outer(self.means, self.means)) * self.n / (self.n - 1)
        return math.sqrt(max(float(at @ covariance @ at), 0.0) / self.n)


def _distances(means: _Means) -> Numbers:
    names = [
        f"{name}{when}" for name in ("center_distance", "center_distance_raw", "beyond") for when in ("", "_before")
    ]
    names = names if len(means.means) == 6 else names[::2]
    found = {}
    for i, (name, value) in enumerate(zip(names, means.means.tolist(), strict=True)):
        found[name] = value
        if not name.endswith("_before"):
            found[f"{name}_se"] = means.error([float(i == j) for j in range(len(names))])
    return found


def _linked(index: Index, means: _Means) -> Numbers:
    values = index.link(means.means).tolist()
    slopes = index.slope(means.means).tolist()
    if len(values) == 1:
        return {"fuzziness": values[0], "fuzziness_se": means.error(slopes)}
    return {
        "fuzziness": values[0],
        "fuzziness_se": means.error([slopes[0], 0.0]),
        "fuzziness_before": values[1],
        "fuzziness_before_se": means.error([0.0, slopes[1]]),
        "fuzziness_change": values[0] - values[1],
        "fuzziness_change_se": means.error([slopes[0], -slopes[1]]),
    }


def _kurtosis(flat: torch.Tensor, center: float, std: float) -> Numbers:
    """Excess kurtosis with its standard error by the delta method, from moments about the mean."""
    if not std > 0:
        return {"kurtosis": math.nan, "kurtosis_se": math.nan}
    means = _Means(4)
    for piece in flat.split(_CHUNK):
        z = (piece.double() - center) / std
        square = z.square()
        means.add([z, square, square * z, square.square()])
    _, second, third, fourth = means.means.tolist()
    slope = [-4 * third / second**2, -2 * fourth / second**3, 0.0, 1 / second**2]
    return {"kurtosis": fourth / second**2 - 3, "kurtosis_se": means.error(slope)}


def _pieces(weight: torch.Tensor) -> Iterator[slice]:
    """Rows of a weight, so many at a time that they stay in the processor's cache."""
    step = max(_CHUNK // max(weight[0].numel(), 1), 1)
    return (slice(start, start + step) for start in range(0, len(weight), step))


def _rows(ends: Ends, rows: slice) -> Ends:
    low, high = (end.double() if not end.ndim or len(end) == 1 else end[rows].double() for end in (ends.low, ends.high))
    return Ends(low, high, ends.of_magnitude)
