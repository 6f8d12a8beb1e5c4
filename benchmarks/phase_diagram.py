"""What does a phase diagram cost beyond its forwards? ResNet-20, 500 images of 32², 30 temperatures at 3 cut-offs.

python benchmarks/phase_diagram.py [--rounds N] [--images N] [--temperatures N]
"""

import argparse
import functools

import torch
from timing import ratios, table

from flexure.models.resnet import resnet20
from flexure.probes.phase_diagram import phase_diagram

BATCH, CUTOFFS = 64, (3, 5, 15)


def bare(model: torch.nn.Module, x: torch.Tensor, points: int) -> None:
    """The forwards a phase diagram cannot do without: as many rows, in batches as large, in inference mode."""
    with torch.inference_mode():
        for part in x.split(BATCH // 2):
            model(part)
            pair = torch.cat([part, part])
            for _ in range(points):
                model(pair)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--temperatures", type=int, default=30)
    options = parser.parse_args()
    torch.manual_seed(0)
    model, x = resnet20().eval(), torch.rand(options.images, 3, 32, 32)
    points = options.temperatures * len(CUTOFFS)
    tasks = {
        "bare forwards": functools.partial(bare, model, x, points),
        "phase diagram": lambda: phase_diagram(
            model, x, temperatures=options.temperatures, cutoffs=CUTOFFS, batch_size=BATCH
        ),
    }
    title = (
        f"ResNet-20, {options.images} images of 3×32², {options.temperatures} × {len(CUTOFFS)} points, output only, "
        f"{BATCH} rows per forward, one thread"
    )
    seconds = ratios(tasks, rounds=options.rounds, warmups=0)
    print(table(title, seconds, "bare forwards", {"phase diagram": "≤ 1.1"}))


if __name__ == "__main__":
    main()
