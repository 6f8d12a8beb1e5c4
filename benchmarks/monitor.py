"""What does a monitor cost? LeNet-5 on MNIST, 10 epochs, with a monitor once per epoch and without.

python benchmarks/monitor.py [--root ~/data] [--rounds N] [--epochs N] [--images N]

Sensitivity is measured on 256 test images, one draw; fuzziness and the paths of weights need no images. All are asked
at the start and after every epoch, and write each measurement. Training alone and training with them take turns.
"""

import argparse
import functools
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from timing import ratios, table

import flexure
from flexure.data import Images, sample
from flexure.errors import DataError
from flexure.models.small import LeNet5
from flexure.monitors import Fuzziness, Sensitivity, Trajectories, Watch
from flexure.training import fit

MONITORED = 256


Monitors = Callable[[Path], Sequence[Watch]]
"""From the folder to write to to the monitors of a training."""


def train(train_on: Images, monitors: Monitors, epochs: int) -> None:
    """One training from fresh weights with these monitors."""
    with tempfile.TemporaryDirectory() as folder:
        fit(LeNet5(), train_on, epochs=epochs, lr=0.05, batch_size=64, callbacks=list(monitors(Path(folder))))


def images(root: str, split: str) -> Images:
    """MNIST's images of one part, in memory."""
    return flexure.load("mnist", root=root, split=split)


def main() -> None:
    """Print the table, or say what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", default="~/data")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--images", type=int, default=60_000)
    options = parser.parse_args()
    root = str(Path(options.root).expanduser())
    try:
        learn = sample(images(root, "train"), options.images, seed=0)
        watch = sample(images(root, "test"), MONITORED, seed=0)
    except DataError as missing:
        print(f"Skipped: {missing} Give the folder with MNIST by --root.")
        return
    kinds: dict[str, Monitors] = {
        "training alone": lambda out: [],
        "sensitivity of every op": lambda out: [Sensitivity(watch, out=out)],
        "sensitivity of the block outputs": lambda out: [Sensitivity(watch, out=out, layers="blocks")],
        "fuzziness of the convolutions": lambda out: [Fuzziness(out=out)],
        "fuzziness of every weight": lambda out: [Fuzziness(out=out, layers="*")],
        "paths of the convolutions' weights": lambda out: [Trajectories(out=out)],
        "paths of every weight": lambda out: [Trajectories(out=out, layers="*")],
    }
    tasks = {name: functools.partial(train, learn, kind, options.epochs) for name, kind in kinds.items()}
    title = f"LeNet-5, MNIST, {len(learn):,} images, {options.epochs} epochs, monitors once per epoch, one thread"
    targets = dict.fromkeys(list(tasks)[1:], "≤ 1.05")
    for kind in kinds.values():
        train(sample(learn, 640, seed=0), kind, 1)  # what is imported on first use is nobody's time
    print(table(title, ratios(tasks, rounds=options.rounds, warmups=0), "training alone", targets))


if __name__ == "__main__":
    main()
