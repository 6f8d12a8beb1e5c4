"""Measured networks as points: test error against D, G and R, one point per network and corruption level."""

import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flexure.errors import ArgumentError, nearest
from flexure.results import MEASURED, Result, Run, read

__all__ = [
    "Network",
    "Point",
    "averaged",
    "check_columns",
    "errors_at",
    "family",
    "networks",
    "points",
    "values_at",
]

Estimate = tuple[float, float]
_LIKE_A_SEED = {"seed", "initial", "weights_hash", "data_hash", "device", "threads", "trust", "download", "root"}


@dataclass(frozen=True)
class Network:
    """One measured network, or several that differ in their seed alone.

    Attributes:
        name: The run's name.
        architecture: The network's name in the run's spec (``"vgg11bn"``).
        family: Its name up to the first digit (``"vgg"``).
        seed: Seed of the run; None for several.
        folder: Where the run lies, or empty.
        weights: Hash of the weights that were measured; empty where it is not known, and for several.
        seeds: How many networks it stands for.
        kind: Everything in the spec but the seed; equal where two networks differ in their seed alone. Two
            checkpoints are two kinds.
    """

    name: str
    architecture: str
    family: str
    seed: int | None
    folder: str
    weights: str = ""
    seeds: int = 1
    kind: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for provenance."""
        names = ("name", "architecture", "family", "seed", "seeds", "folder")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Point:
    """A network at one corruption level.

    Attributes:
        network: Which network.
        corruption: Norm of the noise on its images.
        error: Test error (or loss) and its standard error.
        values: D, G, R, … with their standard errors, by name.
    """

    network: Network
    corruption: float
    error: Estimate
    values: Mapping[str, Estimate]


def networks(runs: Iterable[Run | str | os.PathLike]) -> list[Run]:
    """The runs, those given as folders read.

    Raises:
        ArgumentError: There is none, or a single one was given in place of several.
        RunError: A folder holds no run.
    """
    if isinstance(runs, Run | str | os.PathLike):
        raise ArgumentError(f"compare: expected several runs or folders of runs; got one ({runs!r}). Give a list.")
    found = [run if isinstance(run, Run) else read(run) for run in runs]
    if not found:
        raise ArgumentError("compare: no runs; expected folders, or what `flexure.read` and `flexure.examine` return.")
    return found


def points(
    runs: Sequence[Run], x: Sequence[str], layer: str, error: str, corruption: str | Sequence[float]
) -> tuple[list[Point], list[tuple[str, str]]]:
    """A point per run and level, and the runs that give none: name and reason."""
    found: list[Point] = []
    left_out: list[tuple[str, str]] = []
    for run in runs:
        values = values_at(run, x, layer)
        errors = errors_at(run, error, corruption)
        if reasons := [reason for reason in (values, errors) if isinstance(reason, str)]:
            left_out.append((run.name, reasons[0]))
        elif not isinstance(values, str) and not isinstance(errors, str):
            found += [Point(_network(run), level, estimate, values) for level, estimate in errors]
    return found, left_out


def averaged(found: Sequence[Point]) -> list[Point]:
    """Geometric means over the networks that differ in their seed alone; their errors are over seeds."""
    groups: dict[tuple[str, float], list[Point]] = {}
    for point in found:
        groups.setdefault((point.network.kind, point.corruption), []).append(point)
    return [_mean(group) for group in groups.values()]


def family(architecture: str) -> str:
    """The name of an architecture up to its first digit.

    >>> [family(name) for name in ("vgg11bn", "ResNet18", "timm:resnet50.a1_in1k", "nets/my_net.py:build", "101")]
    ['vgg', 'resnet', 'resnet', 'build', '101']
    """
    name = architecture.rpartition(":")[2] or architecture
    letters = re.match(r"[^\d.]*", Path(name).name)
    return (letters[0].strip("_- ").lower() if letters else "") or name


def _network(run: Run) -> Network:
    architecture = str(run.spec.get("net") or run.spec.get("model") or run.name)
    kept = {name: value for name, value in run.spec.items() if name not in _LIKE_A_SEED}
    about = run.results["sensitivity"].provenance.get("specimen") if "sensitivity" in run.results else None
    weights = str((about or {}).get("weights_hash") or "")
    trained = "net" in run.spec  # its weights follow from its seed; those of other runs were there before
    kind = json.dumps([kept if run.spec else run.name, None if trained else weights], sort_keys=True, default=str)
    folder = "" if run.folder is None else str(run.folder)
    return Network(run.name, architecture, family(architecture), run.spec.get("seed"), folder, weights, kind=kind)


def _mean(group: Sequence[Point]) -> Point:
    first = group[0]
    if len(group) == 1:
        return first
    one = first.network
    several = Network(one.architecture, one.architecture, one.family, None, "", seeds=len(group), kind=one.kind)
    names = list(first.values)
    values = {name: _geometric([point.values[name] for point in group]) for name in names}
    return Point(several, first.corruption, _geometric([point.error for point in group]), values)


def _geometric(estimates: Sequence[Estimate]) -> Estimate:
    """Geometric mean and its standard error over the values."""
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = np.log([value for value, _ in estimates])
    mean = float(np.exp(logs.mean()))
    return mean, mean * float(logs.std(ddof=1)) / math.sqrt(len(logs)) if np.isfinite(logs).all() else math.nan


def values_at(run: Run, x: Sequence[str], layer: str) -> dict[str, Estimate] | str:
    """The quantities at the layer, or why there are none."""
    if "sensitivity" not in run.results:
        return "no result of sensitivity"
    table = run.results["sensitivity"].table
    rows = table[table["layer"] == layer]
    if rows.empty:
        return f"no layer {layer!r}"
    row = rows.iloc[-1]
    if missing := [name for name in x if name not in row]:
        return f"no column {', '.join(missing)} in its sensitivity"
    values = {name: _estimate(row, name) for name in x}
    if not any(math.isfinite(value) for value, _ in values.values()):
        return f"{', '.join(x)} at {layer!r} not measured ({row.get('status', 'no reason given')})"
    return values


def errors_at(run: Run, error: str, corruption: str | Sequence[float]) -> list[tuple[float, Estimate]] | str:
    """Test error at the wanted levels, or why there is none."""
    trained_at = float(run.spec.get("corruption") or 0.0)
    found = list(_accuracies(run.results["accuracy"], error)) if "accuracy" in run.results else []
    clean = [(0.0, estimate) for estimate in _while_training(run, error)]
    if corruption == "trained":
        own = [(level, value) for level, value in found or clean if math.isclose(level, trained_at)]
        own = own or (clean if trained_at == 0 else [])
        return own or _why_not(run, found, f"at corruption {trained_at:g}, at which it was trained")
    if corruption == "all":
        return found or clean or _why_not(run, found, "at any corruption")
    wanted = [float(level) for level in corruption]
    chosen = [(level, value) for level, value in found or clean if any(math.isclose(level, own) for own in wanted)]
    return chosen or _why_not(run, found, "at the corruption asked for")


def _accuracies(result: Result, error: str) -> Iterator[tuple[float, Estimate]]:
    for _, row in result.table.iterrows():
        value, se = _estimate(row, error)
        if math.isfinite(value):
            yield float(row.get("corruption", 0.0)), (value, se)


def _while_training(run: Run, error: str) -> list[Estimate]:
    """Test error of the weights that were measured, as the training found it on clean images; empty for none."""
    table = run.results["training"].table if "training" in run.results else pd.DataFrame()
    if "test_accuracy" not in table or not len(rows := table[table["test_accuracy"].notna()]):
        return []
    best = run.spec.get("measure") == "best"
    row = rows.loc[rows["test_accuracy"].idxmax()] if best else rows.iloc[-1]
    if error == "loss":
        return [_estimate(row, "test_loss")]
    value, se = _estimate(row, "test_accuracy")
    return [(1 - value, se)]


def _why_not(run: Run, found: Sequence[Any], where: str) -> str:
    if "accuracy" not in run.results and "training" not in run.results:
        return "no result of accuracy or training"
    states = run.results["accuracy"].table.get("status", pd.Series(dtype=str)) if "accuracy" in run.results else []
    reasons = sorted({str(state) for state in states} - {MEASURED})
    return f"no test error {where}" + (f" ({'; '.join(reasons)})" if reasons and not found else "")


def _estimate(row: Any, name: str) -> Estimate:
    return float(row.get(name, math.nan)), float(row.get(f"{name}_se", math.nan))


def check_columns(runs: Sequence[Run], x: Sequence[str], layer: str) -> None:
    """Refuse quantities and layers that no run has.

    Raises:
        ArgumentError: A name is in no table; the nearest one is given.
    """
    tables = [run.results["sensitivity"].table for run in runs if "sensitivity" in run.results]
    columns = {str(name) for table in tables for name in table.columns if pd.api.types.is_float_dtype(table[name])}
    for name in x:
        if tables and name not in columns:
            raise ArgumentError(f"compare: no quantity {name!r} in the runs' sensitivity. {nearest(name, columns)}")
    layers = {str(name) for table in tables for name in table["layer"]}
    if tables and layer not in layers:
        raise ArgumentError(f"compare: no layer {layer!r} in any of the runs. {nearest(layer, layers)}")
