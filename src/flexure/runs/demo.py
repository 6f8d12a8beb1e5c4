"""What ``flexure examine`` does without arguments: train a small network on real digits, then have it measured."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flexure import data, distributed, models, training
from flexure.errors import ArgumentError
from flexure.probes import check_probes
from flexure.results import Progress

__all__ = ["FOLDER", "fields", "train"]

FOLDER = Path("runs") / "demo"
NET, DATA, HOLD_OUT = "small_cnn", "digits", 0.3
EPOCHS, LEARNING_RATE, DRAWS = 12, 0.05, 4
THREADS = 1  # tensors this small are no faster on two, and many times slower where the second is busy
_OF_A_MODEL = frozenset(
    "weights initial normalize num_classes data root split image_size trust download hold_out".split()  # noqa: SIM905
)


def fields(folder: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a spec that measures the demonstration in ``folder``.

    Raises:
        ArgumentError: Something was given that goes with a MODEL alone.
    """
    if wrong := sorted(_OF_A_MODEL & set(given)):
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in wrong)
        raise ArgumentError(
            f"{flags} without a MODEL: say which network to measure, such as `flexure examine resnet20 {flags} …`. "
            f"Without a MODEL, {NET} is trained on {DATA}."
        )
    stated = {
        "model": NET,
        "data": DATA,
        "hold_out": HOLD_OUT,
        "threads": THREADS,
        "probes": {name: {} for name in check_probes(())} | {"sensitivity": {"draws": DRAWS}},
    }
    weights = {"weights": str(folder / "trained.safetensors"), "initial": str(folder / "initial.safetensors")}
    return {**stated, **weights}


def train(folder: Path, *, seed: int, progress: Progress | None, say: Callable[[str], None]) -> None:
    """Train the network on the digits that are not held out; leave its weights before and after in ``folder``.

    Every number follows from ``seed``. With several processes the first trains and the others wait.
    """
    if distributed.is_main():
        specimen = models.resolve(NET, seed=seed)
        kept, held_out = data.hold_out(data.load(DATA), HOLD_OUT, seed=seed)
        say(f"training {NET} on {len(kept):,} {DATA} for {EPOCHS} epochs; {len(held_out):,} are held out")
        models.save_weights(specimen.model.state_dict(), folder / "initial.safetensors")
        before = training.accuracy(specimen, held_out)
        training.fit(specimen, kept, epochs=EPOCHS, lr=LEARNING_RATE, seed=seed, progress=progress)
        after = training.accuracy(specimen, held_out)
        models.save_weights(specimen.model.state_dict(), folder / "trained.safetensors")
        say(f"accuracy on these: {before.value:.3f} ± {before.se:.3f} before, {after.value:.3f} ± {after.se:.3f} after")
    distributed.gather(None)
