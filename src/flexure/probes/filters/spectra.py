"""The power of a layer's filters on the modes of their grid, with standard errors over the filters."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from flexure.formulas.grid_laplacian import Modes, modes, null_interval, null_p_value, pooling_index, powers
from flexure.results import MEASURED
from flexure.stats import Moments
from flexure.weights import LayerWeight

__all__ = ["ESTIMATES", "Spectrum", "average", "sides", "spectrum"]

ESTIMATES = ("pooling_index", "frequency", "squared_norm")
_CHUNK = 1 << 16  # numbers worked on at a time: they stay in the processor's cache


@dataclass(frozen=True, eq=False)
class Spectrum:
    """What one layer's filters are made of.

    Attributes:
        n: Number of filters.
        status: ``"measured"``, or what could not be.
        groups: Arrays over the groups of modes that share an eigenvalue, ascending; empty where nothing was measured.
            ``eigenvalue``; ``degeneracy``, the modes in each; ``power``, the squared projections summed over them, mean
            over filters, with its standard error ``power_se`` and standard deviation ``power_std`` over filters;
            ``share``, the power over that of all groups, with ``share_se`` by the delta method.
        numbers: Each of ``ESTIMATES`` with its ``_se``, and what independent weights would give:
            ``pooling_index_null_low``, ``pooling_index_null_high``, ``p_value``.
    """

    n: int
    status: str
    groups: Mapping[str, np.ndarray] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)


def sides(kernel: Sequence[int]) -> str:
    """A kernel in words: ``"3×3"``."""
    return "×".join(map(str, kernel))


def spectrum(one: LayerWeight) -> Spectrum:
    """The spectrum of one convolution; its status says what is missing."""
    if one.weight is None:
        return Spectrum(0, one.status)
    n = one.weight.shape[0] * one.weight.shape[1]
    if not n or not one.weight.is_floating_point():
        return Spectrum(n, "weights are not floating point" if n else "no filters")
    grid = modes(one.kernel)
    moments = _moments(one.weight.reshape(n, grid.count), grid)
    if not (torch.isfinite(moments.mean).all() and torch.isfinite(moments.products).all()):
        return Spectrum(n, "non-finite weights")
    return _estimated(moments, grid)


def _moments(filters: torch.Tensor, grid: Modes) -> Moments:
    """Moments over filters of their power on each group, in float64, a piece of the filters at a time.

    Products are taken about the mean of the first piece, so that nothing cancels.
    """
    if filters.device.type == "mps":  # which has no float64
        filters = filters.cpu()
    step = max(_CHUNK // grid.count, 1)
    pivot = powers(filters[:step].double(), grid).mean(0)
    total, products = torch.zeros_like(pivot), pivot.new_zeros(len(pivot), len(pivot))
    for piece in filters.split(step):
        power = powers(piece.double(), grid).sub_(pivot)
        total += power.sum(0)
        products.addmm_(power.T, power)
    n = len(filters)
    products = products - total[:, None] * total / n
    return Moments(torch.tensor([float(n)], dtype=torch.float64), (pivot + total / n).cpu()[None], products.cpu()[None])


def _estimated(moments: Moments, grid: Modes) -> Spectrum:
    n, mean = int(moments.n.item()), moments.mean[0]
    covariance = moments.covariance[0]
    share = mean / mean.sum()
    slope = (torch.eye(len(mean), dtype=torch.float64) - share[:, None]) / mean.sum()
    spread = slope @ covariance @ slope.T / n
    variance = covariance.diagonal().clamp(min=0)
    groups = {
        "eigenvalue": grid.eigenvalue,
        "degeneracy": grid.degeneracy,
        "power": mean,
        "power_se": (variance / n).sqrt(),
        "power_std": variance.sqrt(),
        "share": share,
        "share_se": _root(spread.diagonal()),
    }
    norm = {"squared_norm": float(mean.sum()), "squared_norm_se": float(_root(covariance.sum() / n))}
    numbers = _numbers(n, grid, share, spread) | norm
    status = _status(n, grid, float(mean.sum()))
    return Spectrum(n, status, {name: value.numpy() for name, value in groups.items()}, numbers)


def _status(n: int, grid: Modes, total: float) -> str:
    if total == 0:
        return "all filters are zero"
    if grid.count == 1:
        return f"{sides(grid.shape)}: one mode only"
    return MEASURED if n > 1 else "measured on one filter: no standard error"


def _numbers(n: int, grid: Modes, share: torch.Tensor, spread: torch.Tensor) -> dict[str, float]:
    """Index and mean frequency of these shares with covariance ``spread``, and where chance would put the index."""
    m = grid.count
    index = pooling_index(float(share[0]), m)
    scaled = grid.eigenvalue / (grid.eigenvalue @ grid.degeneracy.double() / m)
    is_known = not math.isnan(index)
    low, high = null_interval(n, m) if is_known else (math.nan, math.nan)
    return {
        "pooling_index": index,
        "pooling_index_se": float(_root(spread[0, 0])) * m / (m - 1) if is_known else math.nan,
        "pooling_index_null_low": low,
        "pooling_index_null_high": high,
        "p_value": null_p_value(index, n, m) if is_known else math.nan,
        "frequency": float(scaled @ share),
        "frequency_se": float(_root(scaled @ spread @ scaled)),
    }


def _root(variance: torch.Tensor) -> torch.Tensor:
    """Square root of what is no less than 0 but for rounding; NaN stays NaN."""
    return variance.clamp(min=0).sqrt()


def average(spectra: Sequence[Spectrum]) -> Spectrum:
    """The mean over several networks, its errors over networks; of a single one, that one, its errors over filters."""
    first = next((one for one in spectra if not one.groups), spectra[0])
    if len(spectra) == 1 or not first.groups:
        return first
    groups = dict(first.groups) | {"power_std": np.mean([one.groups["power_std"] for one in spectra], 0)}
    numbers: dict[str, float] = {}
    for name in ("power", "share"):
        groups[name], groups[f"{name}_se"] = _mean([one.groups[name] for one in spectra])
    for name in ESTIMATES:
        value, error = _mean([one.numbers[name] for one in spectra])
        numbers |= {name: float(value), f"{name}_se": float(error)}
    status = next((one.status for one in spectra if one.status != MEASURED), MEASURED)
    return Spectrum(first.n, status, groups, numbers)


def _mean(values: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """The mean over the first axis and its standard error."""
    array = np.asarray(values)
    return array.mean(0), array.std(0, ddof=1) / math.sqrt(len(array))
