"""What does a shuffle cost? ResNet-20, 512 images of 32², one draw: measured with one shuffle, against twice without.

python benchmarks/shuffle.py [--rounds N] [--images N]
"""

import argparse
import statistics
from typing import Any

import torch
from timing import ratios, table

from flexure.models.resnet import resnet20
from flexure.probes.sensitivity import sensitivity

BATCH = 64


def main() -> None:
    """Print the table, and what a shuffle adds to a measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--images", type=int, default=512)
    options = parser.parse_args()
    torch.manual_seed(0)
    model, x = resnet20().eval(), torch.rand(options.images, 3, 32, 32)

    def measured(**how: Any) -> None:
        sensitivity(model, x, batch_size=BATCH, **how)

    def twice() -> None:
        measured()
        measured()

    shuffled = {"shuffle": "input", "shuffle_draws": 1}
    tasks = {
        "twice without": twice,
        "without": measured,
        "with one shuffle": lambda: measured(**shuffled),
        "one per output": lambda: measured(**shuffled, shuffle_scope="per_output"),
        "batch norms estimated anew": lambda: measured(**shuffled, shuffle_batch_norm="reestimate"),
    }
    seconds = ratios(tasks, rounds=options.rounds)
    title = f"ResNet-20, {options.images} images of 3×32², one draw, {BATCH} rows per forward, one thread"
    print(table(title, seconds, "twice without", {"with one shuffle": "≤ 1.05"}))
    added = [(a - b) / b for a, b in zip(seconds["with one shuffle"], seconds["without"], strict=True)]
    print(f"One shuffle adds {statistics.median(added):.3f} × what the measurement costs without.")


if __name__ == "__main__":
    main()
