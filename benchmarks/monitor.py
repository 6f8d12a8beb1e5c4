"""What does a monitor cost? LeNet-5 on MNIST, 10 epochs, with a sensitivity monitor once per epoch and without.

python benchmarks/monitor.py [--root ~/data] [--rounds N] [--epochs N] [--images N]

The monitor measures 256 test images, one draw, at the start and after every epoch, and writes each measurement.
Training alone and training with it take turns.
"""

import argparse
import functools
import tempfile
from pathlib import Path

from timing import ratios, table

import flexure
from flexure.data import Images, sample
from flexure.errors import DataError
from flexure.models.small import LeNet5
from flexure.training import fit

MONITORED = 256


def train(train_on: Images, watch: Images | None, options: dict, epochs: int) -> None:
    """One training from fresh weights; with ``watch``, monitored on these images."""
    with tempfile.TemporaryDirectory() as folder:
        own = [flexure.Monitor("sensitivity", watch, every="epoch", options=options, out=folder)] if watch else []
        fit(LeNet5(), train_on, epochs=epochs, lr=0.05, batch_size=64, callbacks=own)


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
    tasks = {
        "training alone": functools.partial(train, learn, None, {}, options.epochs),
        "monitor of every op": functools.partial(train, learn, watch, {}, options.epochs),
        "monitor of the block outputs": functools.partial(train, learn, watch, {"layers": "blocks"}, options.epochs),
    }
    title = (
        f"LeNet-5, MNIST, {len(learn):,} images, {options.epochs} epochs, sensitivity of {MONITORED} images "
        "once per epoch, one thread"
    )
    targets = dict.fromkeys(list(tasks)[1:], "≤ 1.05")
    train(sample(learn, 640, seed=0), watch, {}, 1)  # what is imported on first use is nobody's time
    print(table(title, ratios(tasks, rounds=options.rounds, warmups=0), "training alone", targets))


if __name__ == "__main__":
    main()
