"""What does watching every op cost? ResNet-20, 512 images of 32², one draw, against bare forwards of the same rows.

python benchmarks/sensitivity.py [--rounds N] [--images N]
"""

import argparse
import functools
import subprocess
import sys
from pathlib import Path

import torch
from timing import ratios, table

from flexure.models.resnet import resnet20
from flexure.probes.sensitivity import sensitivity

BATCH = 64


def bare(model: torch.nn.Module, rows: torch.Tensor) -> None:
    """The forwards a measurement cannot do without: clean, deformed and noisy copies, 64 rows at a time."""
    with torch.no_grad():
        for part in rows.split(BATCH):
            model(part)


def peak(task: str, images: int) -> float:
    """Peak memory of one task in a process of its own, in MB above what imports take."""
    found = subprocess.run(
        [sys.executable, __file__, "--peak", task, "--images", str(images)], capture_output=True, text=True, check=True
    )
    return float(found.stdout)


def measure_peak(task: str, images: int) -> float:
    """Growth of this process's high-water mark while the task runs, in MB; data are made as they are read."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, data = resnet20().eval(), Noise(images)
    run = {
        "bare": lambda: [bare(model, torch.cat([data.batch(i, BATCH)])) for i in range(0, 3 * images, BATCH)],
        "every_op": lambda: sensitivity(model, data, batch_size=BATCH),
        "blocks": lambda: sensitivity(model, data, batch_size=BATCH, layers="blocks"),
    }[task]
    bare(model, data.batch(0, 2))
    sensitivity(torch.nn.Flatten(), torch.rand(4, 3, 8, 8))  # what is imported on first use is nobody's memory
    before = _high_water()
    run()
    return _high_water() - before


def _high_water() -> float:
    with Path("/proc/self/status").open() as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))


class Noise(torch.utils.data.Dataset):
    """Random images that exist only while they are looked at."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> torch.Tensor:
        if i >= self.n:
            raise IndexError(i)
        return torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(i))

    def batch(self, start: int, size: int) -> torch.Tensor:
        """Images ``start`` to ``start + size``, beginning again at the end."""
        return torch.stack([self[i % self.n] for i in range(start, start + size)])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--peak", choices=["bare", "every_op", "blocks"])
    options = parser.parse_args()
    if options.peak:
        print(measure_peak(options.peak, options.images))
        return
    torch.manual_seed(0)
    model, x = resnet20().eval(), torch.rand(options.images, 3, 32, 32)
    tasks = {
        "bare forwards": functools.partial(bare, model, x.repeat(3, 1, 1, 1)),
        "every op": lambda: sensitivity(model, x, batch_size=BATCH),
        "block outputs": lambda: sensitivity(model, x, batch_size=BATCH, layers="blocks"),
    }
    targets = {"every op": "≤ 1.5", "block outputs": "≤ 1.2"}
    title = f"ResNet-20, {options.images} images of 3×32², one draw, {BATCH} rows per forward, one thread"
    print(table(title, ratios(tasks, rounds=options.rounds), "bare forwards", targets))
    print("| peak memory above imports, MB | 512 images | 5,120 images |\n|---|---|---|")
    for task in ("bare", "every_op", "blocks"):
        print(f"| {task.replace('_', ' ')} | {peak(task, 512):.1f} | {peak(task, 5120):.1f} |")


if __name__ == "__main__":
    main()
