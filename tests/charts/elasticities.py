"""Results of elasticity made from formulas: kernels of a few classes, the shape of real ones, in a millisecond."""

from typing import Any

import numpy as np
import pandas as pd
from charts.make import provenance, samples

from flexure.results import Result, Run

QUESTION = "How far does training on one image move the prediction on another?"


def elasticity(
    n: int = 12,
    *,
    classes: int | None = 3,
    layers: int = 3,
    others: int = 0,
    pictures: bool = False,
    name: str = "net",
    **changes: Any,
) -> Result:
    """Images of one class have the cosine 0.75, others -0.25; the classes take turns. ``changes`` replace columns."""
    labels = np.arange(n) % (classes or 1)
    alike = np.where(labels[:, None] == labels, 0.75, -0.25) + 0.25 * np.eye(n)
    size = 1.0 + np.arange(n) / n
    kernel = alike * size[:, None] * size
    alike, kernel = (each[:, np.arange(others) % n] if others else each for each in (alike, kernel))
    signed = kernel / (size**2)[:, None]
    arrays = {"kernel": kernel, "relative": np.abs(signed), "relative_signed": signed, "cosine": alike}
    about = provenance(name)
    about["settings"] = {"step": None, "steps": 1, "loss": "squared", "output": None, "sequential": False}
    about |= {"route": "layerwise", "diagnostics": {}, "points": {"name": "others", "n": others} if others else None}
    told = {"labels": labels if classes else np.full(n, -1), "index": 100 + np.arange(n)}
    told |= _samples(alike, labels, told["index"]) if pictures else {}
    table = _table(n, layers, bool(others)).assign(**changes)
    return Result("elasticity", QUESTION, table, arrays | told, {}, about)


def run(one: Result | None = None, *, name: str = "net") -> Run:
    """One run as ``read`` would give it back."""
    one = elasticity(name=name) if one is None else one
    return Run(name, {"model": name, "data": "cifar10", "seed": 0}, {}, {"elasticity": one})


def _samples(alike: np.ndarray, labels: np.ndarray, index: np.ndarray) -> dict[str, np.ndarray]:
    """The first image of each class, its 2 nearest and its 2 farthest."""
    rows = np.unique(labels, return_index=True)[1]
    orders = [[place for place in np.argsort(-alike[row], kind="stable") if place != row] for row in rows]
    places = np.array([[row, *order[:2], *order[-2:]] for row, order in zip(rows, orders, strict=True)])
    shown = samples(len(index))["sample_image"][places % len(index)]
    return {"sample_image": shown, "sample_place": places, "sample_index": 100 + places}


def _table(n: int, layers: int, has_others: bool) -> pd.DataFrame:
    shares = np.arange(1, layers + 1) / max(sum(range(layers + 1)), 1)
    rows = [(f"fc{i}", "Linear", 100 * i, share, 0.02) for i, share in enumerate(shares, 1)]
    frame = pd.DataFrame(
        [*rows, ("output", "output", 600, 1.0, 0.0)], columns=["layer", "kind", "parameters", "share", "share_se"]
    )
    frame["kernel_self"], frame["kernel_self_se"] = 12.0 * frame["share"], 0.3 * frame["share"]
    pairs = {"relative_mean": 0.42, "cosine_mean": 0.31, "same_class": 0.75, "ratio": 0.64}
    for column, value in pairs.items():
        known = [np.nan] * layers + [np.nan if has_others else value]
        frame[column], frame[f"{column}_se"] = known, [0.01 * one for one in known]
    return frame.assign(n=n, status="measured")
