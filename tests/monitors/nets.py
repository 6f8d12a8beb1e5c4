"""What the tests of monitors train: a small network with everything that could be disturbed, on a few images."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from flexure.data import TensorImages
from flexure.results import Result


def images(n: int = 12, seed: int = 0) -> TensorImages:
    generator = torch.Generator().manual_seed(seed)
    return TensorImages(torch.rand(n, 1, 6, 6, generator=generator), np.arange(n) % 3)


def net(seed: int = 1) -> nn.Sequential:
    """Dropout draws from the global generator, batch norm keeps statistics."""
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(64, 3)]
    return nn.Sequential(*layers)


def bits(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def numbers(result: Result) -> pd.DataFrame:
    return result.to_frame()[["step", "layer", "D", "G", "R", "n", "status"]]


def steps_of(result: Result) -> list[int]:
    return list(result.to_frame()["step"].unique())


def plain_loop(model: nn.Module, watch: Callable[..., Any], *, steps: int = 6) -> None:
    """Somebody's own loop: nothing of it knows of Flexure but the calls of ``watch``."""
    data = images()
    torch.manual_seed(3)
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    model.train()
    watch(0, model)
    for step in range(1, steps + 1):
        batch = data.read(torch.randperm(12)[:6].tolist())
        optimizer.zero_grad()
        F.cross_entropy(model(batch.x), batch.y).backward()
        optimizer.step()
        watch(step, model)
