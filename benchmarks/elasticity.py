"""What does a matrix of similarities cost? The limit and exact steps against a tight loop, n = 200 and n = 1,000.

python benchmarks/elasticity.py [--rounds N] [--images N] [--many N]

The loop: predictions before and the optimizer are made once; for each image the weights are put back, one step of
gradient descent is made, and all points are evaluated in one batch. Where that takes long it makes 20 rows, and its
time is scaled to all of them. Beside every probe its computation alone is shown: what is left without mounting, hashes,
checks of the rules, table, neighbors and, for exact steps, the look at rounding and kinks.
"""

import argparse
import itertools
from collections.abc import Callable

import torch
from timing import ratios, table
from torch import nn

from flexure import Specimen
from flexure.bench import Mounted
from flexure.losses import as_loss
from flexure.models.resnet import resnet20
from flexure.probes.elasticity import elasticity
from flexure.probes.elasticity.exact import Moves, by_loop, by_rank_one
from flexure.probes.elasticity.rank_one import LinearNetwork
from flexure.probes.elasticity.steps import Step
from flexure.probes.elasticity.tangent import Tangent, kernels

STEP = 1e-4
ROWS = 20  # of the loop, where all would take minutes
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


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "784-256-1": (lambda: mlp(784, 256, 1), (1, 28, 28)),
    "784-256-256-1": (lambda: mlp(784, 256, 256, 1), (1, 28, 28)),
    "CNN on 28×28": (cnn, (1, 28, 28)),
    "ResNet-20 on 32×32, one logit": (resnet20, (3, 32, 32)),
}


def limit_alone(model: nn.Module, x: torch.Tensor) -> Callable[[], object]:
    """The tangent kernel of the first output, the rules being known: a pass, and products of what it found."""
    mounted = Mounted(model, Specimen.of(model), x.device, x.dtype)
    with torch.no_grad():
        tangent = Tangent.of(mounted, x)

    @torch.no_grad()
    def task() -> torch.Tensor:
        (gradients,) = tangent.gradients(x, [0])
        return torch.stack(list(kernels(gradients, gradients).values())).sum(0)

    return task


def exact_alone(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
    """Steps on all images and what they move, the network being known."""
    mounted = Mounted(model, Specimen.of(model), x.device, x.dtype)
    network, step = LinearNetwork.of(model), Step(as_loss("squared"), STEP)
    with torch.no_grad():
        tangent = Tangent.of(mounted, x)

    @torch.no_grad()
    def task() -> Moves:
        if network is not None:
            return by_rank_one(network, tangent, x, y, None, 0, step, progress=None)
        return by_loop(mounted, tangent.parameters, x, y, None, 0, step, batch_size=256, progress=None)

    return task


def compare(name: str, n: int, rounds: int, *, is_many: bool) -> None:
    """Print a table for a network and so many images."""
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    model, x = make().eval(), torch.rand(n, *shape, generator=torch.Generator().manual_seed(0))
    y, is_linear = torch.arange(n) % 2, LinearNetwork.of(model) is not None
    rows = ROWS if is_many or name.startswith("ResNet") else n
    tasks: dict[str, Callable[[], object]] = {
        "loop": lambda: loop(model, x, y, rows),
        "limit": lambda: elasticity(model, (x, y), output=0),
        "limit, computation alone": limit_alone(model, x),
    }
    if is_linear or rows == n:
        tasks |= {
            "exact": lambda: elasticity(model, (x, y), step=STEP),
            "exact, computation alone": exact_alone(model, x, y),
        }
    seconds = ratios(tasks, rounds=rounds)
    seconds["loop"] = [value * n / rows for value in seconds["loop"]]
    targets = {} if is_many else dict(zip(("limit", "exact"), TARGETS[name], strict=True))
    print(table(f"{name}, {n} images, one thread", seconds, "loop", targets))


def main() -> None:
    """Print two tables for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--many", type=int, default=1000)
    options = parser.parse_args()
    for name in NETWORKS:
        compare(name, options.images, options.rounds, is_many=False)
        compare(name, options.many, min(options.rounds, 3), is_many=True)


if __name__ == "__main__":
    main()
