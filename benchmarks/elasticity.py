"""What does a matrix of similarities cost? The limit and exact steps against a tight loop, n = 200.

python benchmarks/elasticity.py [--rounds N] [--images N]

The loop: predictions before and the optimizer are made once; for each image the weights are put back, one step of
gradient descent is made, and all points are evaluated in one batch. For ResNet-20 it makes 20 rows, times ten.
"""

import argparse
import itertools
from collections.abc import Callable

import torch
from timing import ratios, table
from torch import nn

from flexure.models.resnet import resnet20
from flexure.probes.elasticity import elasticity

STEP = 1e-4
TARGETS = {
    "784-256-1": ("≤ 1/90 = 0.0111", "≤ 1/12 = 0.083"),
    "784-256-256-1": ("≤ 1/75 = 0.0133", "≤ 1/3 = 0.333"),
    "CNN on 28×28": ("≤ 1/50 = 0.02", "≤ 1"),
    "ResNet-20 on 32×32, one logit": ("≤ 1/20 = 0.05", ""),
}


def mlp(*widths: int) -> nn.Module:
    """A fully connected network of these widths, with ReLU."""
    layers: list[nn.Module] = [nn.Flatten()]
    for ins, outs in itertools.pairwise(widths):
        layers += [nn.Linear(ins, outs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def cnn() -> nn.Module:
    """Two convolutions of 5×5 and two linear layers, as He and Su have them."""
    convolutions = nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2)
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 1))


def loop(model: nn.Module, x: torch.Tensor, y: torch.Tensor, rows: int) -> torch.Tensor:
    """Kernelized similarities of the first rows, by steps and evaluations alone."""
    with torch.no_grad():
        base = model(x)[:, 0]
        state = [p.clone() for p in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), lr=STEP)
    found = []
    for i in range(rows):
        optimizer.zero_grad()
        residual = model(x[i : i + 1])[0, 0] - y[i]
        residual.square().backward()
        optimizer.step()
        with torch.no_grad():
            found.append((model(x)[:, 0] - base) / (-2 * STEP * residual.detach()))
            for p, before in zip(model.parameters(), state, strict=True):
                p.copy_(before)
    return torch.stack(found)


def main() -> None:
    """Print a table for each network, and how far the matrices are from one another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=200)
    options = parser.parse_args()
    n, generator = options.images, torch.Generator().manual_seed(0)
    networks: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
        "784-256-1": (lambda: mlp(784, 256, 1), (1, 28, 28), n),
        "784-256-256-1": (lambda: mlp(784, 256, 256, 1), (1, 28, 28), n),
        "CNN on 28×28": (cnn, (1, 28, 28), n),
        "ResNet-20 on 32×32, one logit": (resnet20, (3, 32, 32), n // 10),
    }
    for name, (make, shape, rows) in networks.items():
        torch.manual_seed(0)
        model, x = make().eval(), torch.rand(n, *shape, generator=generator)
        y = torch.arange(n) % 2
        tasks: dict[str, Callable[[], object]] = {
            "loop": lambda model=model, x=x, y=y, rows=rows: loop(model, x, y, rows),
            "limit": lambda model=model, x=x, y=y: elasticity(model, (x, y), output=0),
        }
        if rows == n:
            tasks["exact"] = lambda model=model, x=x, y=y: elasticity(model, (x, y), step=STEP)
        seconds = ratios(tasks, rounds=options.rounds)
        seconds["loop"] = [value * n / rows for value in seconds["loop"]]
        targets = dict(zip(("limit", "exact"), TARGETS[name], strict=True))
        print(table(f"{name}, {n} images, one thread", seconds, "loop", targets))


if __name__ == "__main__":
    main()
