"""Measured networks made from a formula: runs with results of sensitivity and accuracy, as probes would write them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from flexure.results import Result, Run

NETS = ["VGG11", "VGG16bn", "ResNet18", "ResNet34", "LeNet", "AlexNet"]


def sensitivity(values: dict[str, float], *, noise: float = 0.02, settings: dict[str, Any] | None = None) -> Result:
    """A table of two layers, the output with these values."""
    columns = {"layer": ["conv1", "output"]}
    for name, value in values.items():
        columns[name] = [1.0, value]
        columns[f"{name}_se"] = [noise, noise * value]
    table = pd.DataFrame(columns).assign(n=500, status="measured")
    about = {"settings": {"displacement": 1.0, **(settings or {})}, "data": {"name": "cifar10", "n": 500, "hash": "ab"}}
    return Result("sensitivity", "How far?", table, provenance=about)


def accuracy(errors: dict[float, float], *, n: int = 10_000) -> Result:
    """A row per corruption level."""
    rows = [
        {"layer": "output", "corruption": level, "error": error, "error_se": np.sqrt(error * (1 - error) / n),
         "loss": 2 * error, "loss_se": 0.01, "n": n, "status": "measured"}
        for level, error in errors.items()
    ]  # fmt: skip
    return Result("accuracy", "How often right?", pd.DataFrame(rows))


def run(
    name: str,
    seed: int,
    values: dict[str, float],
    errors: float | dict[float, float],
    *,
    corruption: float = 0.0,
    noise: float = 0.02,
    **spec: Any,
) -> Run:
    """One measured network."""
    errors = errors if isinstance(errors, dict) else {corruption: errors}
    results = {"sensitivity": sensitivity(values, noise=noise), "accuracy": accuracy(errors)}
    fields = {"net": name, "seed": seed, "corruption": corruption, **spec}
    return Run(f"{name}-{seed}-{corruption:g}", fields, {}, results)


def law(
    count: int, *, exponent: float, scatter: float = 0.0, corruption: float = 0.0, seed: int = 0, spread: float = 1.0
) -> list[Run]:
    """Networks with ``error = 0.1 R^exponent``, up to lognormal scatter; D = R G with lognormal G."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        r, g = np.exp(-2 + spread * rng.normal()), np.exp(-1 + 0.3 * rng.normal())
        error = 0.1 * r**exponent * np.exp(scatter * rng.normal())
        found.append(
            run(NETS[i % len(NETS)], i // len(NETS), {"D": r * g, "G": g, "R": r}, error, corruption=corruption)
        )
    return found


def column(result: Result, name: str, quantity: str = "R") -> Any:
    """A number of the only row of a quantity."""
    table = result.to_frame()
    (value,) = table.loc[table["quantity"] == quantity, name]
    return value


def reordered(runs: Sequence[Run], seed: int) -> list[Run]:
    """The same runs in another order."""
    return [runs[i] for i in np.random.default_rng(seed).permutation(len(runs))]
