"""Where paths of weights have ended in their own intervals, beside where random walks end."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from flexure.formulas.fuzziness import Index, as_index
from flexure.formulas.memberships import Ends, center_distance, membership
from flexure.formulas.random_walk import end_places
from flexure.monitors.paths import LayerPath, Paths
from flexure.results import MEASURED, Result

__all__ = ["NEAR", "ended"]

NEAR = 0.1
"""Which part of its interval a weight may be from an end of it to be near that end."""
QUESTION = "Do weights end near an end of their own path, more than random walks would, while it learns?"
_NUMBERS = ("near_end", "center_distance", "fuzziness")
_UNITS = {
    "near_end": "share of the weights that moved",
    "center_distance": "0: center of the own path, 1: an end",
    "fuzziness": "0: ends, 1: centers",
    "moved": "share of the weights",
    "n": "weights",
    "path": "weight",
}


def ended(paths: Paths, last: float) -> Result:
    """The result of paths up to step ``last``."""
    count = sum(step <= last for step in paths.steps)
    index = as_index(paths.reading["index"])
    rows = [_row(layer, count, index) for layer in paths.layers]
    if count > 1:
        for row, mu in zip(rows, _walks(paths, count - 1), strict=True):
            row |= {f"{name}_null{end}": value for (name, end), value in _numbers(mu, index).items()}
    columns = [f"{name}{end}" for name in _NUMBERS for end in ("", "_se", "_null", "_null_se")]
    table = pd.DataFrame(rows, columns=["layer", "kind", "channels", *columns, "moved", "points", "n", "status"])
    table = table.astype(dict.fromkeys([*columns, "moved"], float) | {"points": "int64", "n": "int64"})
    origin, arrays = _provenance(paths, count), _arrays(paths, count)
    return Result("monitor_trajectories", QUESTION, table, arrays, _UNITS, origin, _notes(paths))


def _walks(paths: Paths, steps: int) -> torch.Tensor:
    """Where random walks of each layer's steps end; layers that were not seen to the end have none."""
    moves = [[math.nan] * steps if layer.remark else layer.moves[:steps] for layer in paths.layers]
    scales = torch.tensor(moves, dtype=torch.float64).reshape(-1, steps)
    return end_places(scales, walks=int(paths.reading["walks"]), seed=int(paths.reading["seed"]))


def _row(layer: LayerPath, count: int, index: Index) -> dict[str, Any]:
    finite = layer.low.isfinite() & layer.high.isfinite()
    moved = finite & (layer.high > layer.low)
    wrong, n = int((~finite).sum()), finite.numel()
    row: dict[str, Any] = {"layer": layer.name, "kind": layer.kind, "channels": layer.channels, "points": count, "n": n}
    if reason := _reason(layer, count, moved, finite):
        return row | {"status": reason}
    ends = Ends(layer.low[moved].double(), layer.high[moved].double())
    mu = membership(layer.last[moved].double(), ends)
    row |= {f"{name}{end}": value for (name, end), value in _numbers(mu, index).items()}
    status = f"{wrong:,} of {n:,} weights are not finite and left out" if wrong else MEASURED
    return row | {"moved": float(moved.double().mean()), "status": status}


def _reason(layer: LayerPath, count: int, moved: torch.Tensor, finite: torch.Tensor) -> str:
    """Why a layer has no numbers; empty where it has."""
    if layer.remark:
        return layer.remark
    if count < 2:
        return "looked at once: a point is no path"
    if not finite.any():
        return "no weight is finite"
    return "" if moved.any() else "no weight has moved"


def _numbers(mu: torch.Tensor, index: Index) -> dict[tuple[str, str], float]:
    """Share near an end, mean distance from the center and fuzziness, with errors over weights or walks."""
    near = ((mu <= NEAR) | (mu >= 1 - NEAR)).double()
    terms = index.terms(mu)
    slope = float(index.slope(terms.mean()).abs())
    found = {"near_end": near, "center_distance": center_distance(mu), "fuzziness": terms}
    means = {(name, ""): float(values.mean()) for name, values in found.items()} | {("fuzziness", ""): float(index(mu))}
    errors = {(name, "_se"): _error(values) for name, values in found.items()}
    return means | errors | {("fuzziness", "_se"): slope * errors["fuzziness", "_se"]}


def _error(values: torch.Tensor) -> float:
    return float(values.std() / math.sqrt(len(values))) if len(values) > 1 else math.nan


def _arrays(paths: Paths, count: int) -> dict[str, np.ndarray]:
    """The sampled paths, a row each, and where they belong."""
    own = [(number, layer) for number, layer in enumerate(paths.layers) if len(layer.values) >= count]
    points = paths.points[:count]
    if not own:
        return {}
    return {
        "path": np.concatenate([layer.values[:count].T.double().numpy() for _, layer in own]),
        "path_layer": np.concatenate([np.full(len(layer.chosen), number) for number, layer in own]),
        "path_weight": np.concatenate([layer.chosen.numpy() for _, layer in own]),
        "step": np.array([point.step for point in points]),
        "epoch": np.array([math.nan if point.epoch is None else point.epoch for point in points], float),
    }


def _provenance(paths: Paths, count: int) -> dict[str, Any]:
    points = paths.points[:count]
    monitor: Mapping[str, Any] = {
        "origin": dict(paths.origin),
        "training": paths.training,
        "steps": [point.step for point in points],
        "weights_hashes": [point.weights_hash for point in points],
    }
    return {
        "specimen": {"name": paths.name},
        "data": {"name": "the weights alone", "n": 0, "hash": None, "classes": None},
        "settings": {**paths.origin, **{key: value for key, value in paths.reading.items() if key != "seed"}},
        "seed": paths.reading["seed"],
        "monitor": monitor,
    }


def _notes(paths: Paths) -> tuple[str, ...]:
    found = []
    if not paths.layers:
        found.append(f"{paths.name}: no weight to follow: it has no convolution. Name others: layers='*'.")
    if paths.retold:
        found.append(
            f"{paths.retold} moments were told again with other weights after the training had gone back: the ends of "
            "the intervals hold both ways."
        )
    return tuple(found)
