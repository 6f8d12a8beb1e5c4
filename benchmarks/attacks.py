"""What does PGD cost that looks at every image on its way? LeNet-5, 200 images of 28², 40 steps, beside a plain loop.

python benchmarks/attacks.py [--rounds N] [--images N]
"""

import argparse

import torch
import torch.nn.functional as F
from timing import ratios, table
from torch import nn

from flexure import Specimen
from flexure.bench import mount
from flexure.perturb.attacks import logits_of, pgd, uniform_in

STEPS, EPS, BOUNDS = 40, 0.1, (0.0, 1.0)


def lenet5() -> nn.Module:
    """The network of the companion paper."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def plain(model: nn.Module, x: torch.Tensor, y: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """The loop as everyone writes it, from a given start, its last image judged."""
    at, low, high = start, (x - EPS).clamp(*BOUNDS), (x + EPS).clamp(*BOUNDS)
    for _ in range(STEPS):
        at = at.detach().requires_grad_()
        with torch.enable_grad():
            loss = F.cross_entropy(model(at), y)
        (gradient,) = torch.autograd.grad(loss, at)
        at = torch.clamp(at.detach() + EPS / 10 * gradient.sign(), low, high)
    with torch.no_grad():
        return model(at).argmax(1) == y


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--images", type=int, default=200)
    options = parser.parse_args()
    torch.manual_seed(0)
    model, x = lenet5().eval(), torch.rand(options.images, 1, 28, 28)
    y, index = torch.arange(options.images) % 10, torch.arange(options.images)
    with mount(Specimen(model, bounds=BOUNDS)) as mounted:
        network, common = logits_of(mounted), {"eps": EPS, "bounds": BOUNDS, "steps": STEPS}
        start = uniform_in(x, index, eps=EPS, bounds=BOUNDS, seed=0)
        found = pgd(network, x, y, index, starts=("random",), **common).last_is_right
        agree = (found == plain(model, x, y, start)).float().mean()
        tasks = {
            "plain loop": lambda: plain(model, x, y, start),
            "one start": lambda: pgd(network, x, y, index, starts=("clean",), **common),
            "one random start": lambda: pgd(network, x, y, index, starts=("random",), **common),
            "on the margin": lambda: pgd(network, x, y, index, starts=("clean",), loss="margin", **common),
            "three starts": lambda: pgd(network, x, y, index, **common),
        }
        seconds = ratios(tasks, rounds=options.rounds)
    title = f"PGD, {STEPS} steps, LeNet-5, {options.images} images of 1×28², one thread"
    print(table(title, seconds, "plain loop", {"one start": "≤ 1.05", "three starts": "≤ 3.15"}))
    print(f"Both loops agree on {agree:.3f} of the images.")


if __name__ == "__main__":
    main()
