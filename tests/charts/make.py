"""Results and runs as a probe would write them, made from a formula: the shape of real ones, in a millisecond."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.ndimage import map_coordinates, zoom
from sklearn.datasets import load_digits

from flexure.results import Result, Run

QUESTION = "How far does each layer move when the input is deformed smoothly, against noise of the same size?"
SMALL = [("conv1", "Conv2d"), ("relu", "relu"), ("pool", "MaxPool2d"), ("fc", "Linear"), ("output", "output")]


def resnet(blocks: Iterable[int], *, bottleneck: bool) -> list[tuple[str, str]]:
    """Names and kinds of every op of a residual network; ``resnet([3, 4, 6, 3], bottleneck=True)`` is ResNet-50."""
    rows = [("conv1", "Conv2d"), ("bn1", "BatchNorm2d"), ("relu", "relu")]
    rows += [("maxpool", "MaxPool2d")] if bottleneck else []
    for stage, count in enumerate(blocks, 1):
        for block in range(count):
            rows += _block(f"layer{stage}.{block}", 3 if bottleneck else 2, bottleneck and block == 0)
    return [*rows, ("avgpool", "AdaptiveAvgPool2d"), ("flatten", "flatten"), ("fc", "Linear"), ("output", "output")]


def _block(name: str, convolutions: int, downsample: bool) -> list[tuple[str, str]]:
    rows = []
    for i in range(1, convolutions + 1):
        rows += [(f"{name}.conv{i}", "Conv2d"), (f"{name}.bn{i}", "BatchNorm2d")]
        if i < convolutions:
            rows.append((f"{name}.relu" + (f"_{i - 1}" if i > 1 else ""), "relu"))
    if downsample:
        rows += [(f"{name}.downsample.0", "Conv2d"), (f"{name}.downsample.1", "BatchNorm2d")]
    return [*rows, (f"{name}.add", "add"), (f"{name}.relu_{convolutions - 1}", "relu")]


RESNET20 = resnet([3, 3, 3], bottleneck=False)
RESNET50 = resnet([3, 4, 6, 3], bottleneck=True)


def table(
    rows: list[tuple[str, str]] = SMALL,
    *,
    end: float = 0.07,
    init: bool = True,
    shuffled: bool = False,
    n: int = 500,
    seed: int = 0,
) -> pd.DataFrame:
    """A table in which R falls smoothly from 1 to ``end``, with the wiggle of the kinds and honest-looking errors."""
    rng = np.random.default_rng(seed)
    depth = np.linspace(0, 1, len(rows))
    wiggle = np.array([{"BatchNorm2d": 0.1, "Conv2d": 0.12, "add": -0.1}.get(kind, -0.05) for _, kind in rows])
    frame = pd.DataFrame(rows, columns=["layer", "kind"])
    compared = {"": end} | ({"_init": 0.65} if init else {}) | ({"_shuffled": 0.3} if shuffled else {})
    for suffix, last in compared.items():
        noise = rng.normal(0, 0.04, len(rows)) + wiggle
        ratio = np.exp(np.log(last) * depth**1.4 + noise * (depth < 1))
        growth = 0.043 * np.exp((2.1 if suffix else 1.4) * depth)
        frame[f"D{suffix}"] = growth * ratio
        frame[f"G{suffix}"] = growth
        frame[f"R{suffix}"] = frame[f"D{suffix}"] / frame[f"G{suffix}"]
        for name in "DGR":
            spread = 0.6 if name == "R" else 1.0
            frame[f"{name}{suffix}_se"] = frame[f"{name}{suffix}"] * spread * (1 + depth) / np.sqrt(n)
    size = np.clip(32 >> (3 * depth).astype(int), 4, 32)
    frame["shape"] = [f"{16 * 32 // s}×{s}×{s}" for s in size[:-1]] + ["10"]
    frame["features"] = [int(16 * 32 * s) for s in size[:-1]] + [10]
    return frame.assign(n=n, draws=2, **{f"status{suffix}": "measured" for suffix in compared})


def unmeasured(frame: pd.DataFrame, reasons: Mapping[int, str]) -> pd.DataFrame:
    """The table with these rows unmeasured, for these reasons."""
    frame = frame.copy()
    numbers = [name for name in frame.columns if name[:1] in "DGR"]
    for row, reason in reasons.items():
        frame.loc[row, numbers] = np.nan
        frame.loc[row, ["n", "draws"]] = 0
        frame.loc[row, [name for name in frame.columns if name.startswith("status")]] = reason
    return frame


def samples(count: int = 4, *, size: int = 28, seed: int = 0, displacement: float = 1.0) -> dict[str, np.ndarray]:
    """Real digits, deformed by a few sine modes (cut-off 3) and with noise of the same norm."""
    rng = np.random.default_rng(seed)
    images = load_digits().images[:count] / 16
    image = np.stack([np.clip(zoom(x, size / 8, order=1), 0, 1) for x in images])[:, None].astype(np.float32)
    u = np.linspace(0, 1, size)
    waves = [(i, j) for i in (1, 2, 3) for j in (1, 2, 3) if i * i + j * j < 12.25]
    shapes = np.stack([np.outer(np.sin(j * np.pi * u), np.sin(i * np.pi * u)) / np.hypot(i, j) for i, j in waves])
    field = np.einsum("kcm,mhw->kchw", rng.normal(size=(count, 2, len(waves))), shapes)
    field *= displacement / np.sqrt((field**2).sum(1).mean())
    rows, columns = np.mgrid[:size, :size]
    pairs = zip(image, field, strict=True)
    moved = [map_coordinates(x[0], [rows - f[1], columns - f[0]], order=1, mode="nearest") for x, f in pairs]
    deformed = np.stack(moved)[:, None].astype(np.float32)
    noise = rng.normal(size=image.shape)
    norm = np.sqrt(((deformed - image) ** 2).sum((1, 2, 3)) / (noise**2).sum((1, 2, 3)))
    return {
        "sample_image": image,
        "sample_deformed": deformed,
        "sample_noisy": (image + norm[:, None, None, None] * noise).astype(np.float32),
        "sample_field": field.astype(np.float32),
        "sample_index": np.arange(count) * 17,
    }


def provenance(name: str = "resnet20") -> dict[str, Any]:
    """What a probe writes down about a measurement, every key filled."""
    return {
        "settings": {
            "displacement": 1.0, "temperature": 0.001132, "cutoff": 3, "interpolation": "bilinear",
            "match": "per_image", "space": "normalized", "reduction": "mean", "pairs": "all", "draws": 2,
            "batch_norm": "running",
        },
        "seed": 0,
        "specimen": {
            "name": name, "normalize": [[0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.201]], "bounds": [0.0, 1.0],
            "weights_hash": "sha256:5f0c1d9be2",
        },
        "data": {"name": "cifar10", "n": 500, "hash": "sha256:77ab01", "classes": ["airplane", "car", "bird"]},
        "versions": {"flexure": "0.1.0", "torch": "2.13.0", "python": "3.11.2"},
        "device": "cpu", "dtype": "float32", "passes": 96,
        "command": f"flexure examine {name} --data cifar10 --limit 500 --seed 0",
        "started": "2025-11-21T01:50:00+00:00", "seconds": 41.7,
    }  # fmt: skip


def result(frame: pd.DataFrame | None = None, *, name: str = "resnet20", notes: Iterable[str] = (), **about) -> Result:
    """One sensitivity result; ``about`` replaces ``arrays`` or ``provenance``."""
    about = {"arrays": samples(), "provenance": provenance(name), **about}
    return Result("sensitivity", QUESTION, table() if frame is None else frame, notes=tuple(notes), **about)


def run(one: Result | None = None, *, name: str = "resnet20") -> Run:
    """One run as ``read`` would give it back."""
    one = result(name=name) if one is None else one
    spec = {"model": name, "data": "cifar10", "seed": 0, "probes": {one.probe: {"draws": 2}}}
    environment = {key: one.provenance[key] for key in ("versions", "device", "command") if key in one.provenance}
    return Run(name, spec, environment, {one.probe: one})
