"""A training that a test kills: run as a program with a folder; says when each step is made, and when all are."""

import sys

import numpy as np
import torch
from torch import nn

from flexure.data import TensorImages
from flexure.results import Result
from flexure.runs.train import train
from flexure.training import saving

STEPS = 90


def images(n: int) -> TensorImages:
    generator = torch.Generator().manual_seed(n)
    return TensorImages(torch.rand(n, 1, 8, 8, generator=generator), np.arange(n) % 3)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(144, 64),
        nn.Dropout(),
        nn.Linear(64, 3),
    )


def run(folder: str | None, progress=None) -> tuple[nn.Module, Result]:
    """The whole training, or what is left of it in the folder."""
    model = network()
    result = train(
        model,
        images(30),
        test=images(20),
        epochs=STEPS // 3,
        lr=0.05,
        batch_size=10,
        weight_decay=1e-3,
        augment=["crop", "flip"],
        corruption=1.0,
        seed=3,
        out=folder,
        resume=folder is not None,
        progress=progress,
    )
    return model, result


if __name__ == "__main__":
    torch.set_num_threads(1)
    saving._PER_SAVE = 0.0  # save after every epoch, and below within it too, however long it takes
    kept = saving.SavedState.__init__
    saving.SavedState.__init__ = lambda self, path: kept(self, path, pause=0.0)
    print("ready", flush=True)
    run(sys.argv[1], lambda done, total: print(done, flush=True))
    print("finished", flush=True)
