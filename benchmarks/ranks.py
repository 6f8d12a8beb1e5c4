"""How far are four processes from one? ResNet-20 in float64: the largest relative difference in every column.

python benchmarks/ranks.py [--processes N] [--images N]

A standard error over shuffles that nearly agree is a difference of nearly equal numbers: it loses digits by itself.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import torch

from flexure import distributed
from flexure.models.resnet import resnet20
from flexure.probes.accuracy import accuracy
from flexure.probes.phase_diagram import phase_diagram
from flexure.probes.sensitivity import sensitivity
from flexure.results import Result

TARGET = 1e-10
SHUFFLES = {"shuffle": "input", "shuffle_draws": 2, "shuffle_batch_norm": "reestimate"}

Images = tuple[torch.Tensor, torch.Tensor]
Columns = dict[str, list[float]]
TASKS: dict[str, Callable[[torch.nn.Module, Images], Result]] = {
    "sensitivity": lambda model, data: sensitivity(model, data, draws=2, dtype="float64"),
    "with shuffles": lambda model, data: sensitivity(model, data, **SHUFFLES, dtype="float64"),
    "phase diagram": lambda model, data: phase_diagram(model, data, temperatures=3, cutoffs=(3, 5), dtype="float64"),
    "accuracy": lambda model, data: accuracy(model, data, corruption=(0, 10), draws=2, dtype="float64"),
}


def measure(images: int) -> None:
    """Print every task's numbers, with as many processes as there are."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, data = resnet20().eval(), (torch.rand(images, 3, 32, 32), torch.arange(images) % 10)
    with distributed.start():
        for task in TASKS.values():
            numbers = task(model, data).to_frame().select_dtypes(["number", "bool"]).astype(float)
            if distributed.is_main():
                print(json.dumps(numbers.to_dict("list")))


def measured(processes: int, images: int) -> dict[str, Columns]:
    """What so many processes print, by task."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *launch, __file__, "--measure", "--images", str(images)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return dict(zip(TASKS, map(json.loads, found.stdout.splitlines()), strict=True))


def difference(one: list[float], many: list[float]) -> float:
    """The largest relative difference; 0 where both are the same number or both none."""
    a, b = np.array(one), np.array(many)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.abs(b - a) / np.abs(a)
    return float(np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, apart).max())


def main() -> None:
    """Print the table, and the largest difference of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--measure", action="store_true")
    options = parser.parse_args()
    if options.measure:
        measure(options.images)
        return
    one, many = measured(1, options.images), measured(options.processes, options.images)
    apart = {
        task: {name: difference(values, many[task][name]) for name, values in columns.items()}
        for task, columns in one.items()
    }
    print(f"### ResNet-20, {options.images} images of 3×32², float64: {options.processes} processes less one\n")
    print(f"| largest relative difference | {' | '.join(TASKS)} |\n|---|{'---|' * len(TASKS)}")
    for name in dict.fromkeys(name for columns in apart.values() for name in columns):
        cells = (f"{columns[name]:.1e}" if name in columns else "" for columns in apart.values())
        print(f"| {name} | {' | '.join(cells)} |")
    print(f"\nLargest of all: {np.max([max(columns.values()) for columns in apart.values()]):.1e} (target: {TARGET:g})")


if __name__ == "__main__":
    main()
