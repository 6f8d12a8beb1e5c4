"""The monitors that a training's spec asks for: probes asked while the network learns."""

from pathlib import Path

from flexure import data
from flexure.runs.trainee import Trainee
from flexure.runs.training_spec import TrainingSpec, own_options
from flexure.training import Callback

__all__ = ["monitors_of"]

_LIMIT = 256  # test images, unless a monitor says how many


def monitors_of(spec: TrainingSpec, trainee: Trainee, folder: Path) -> list[Callback]:
    """A callback for each monitor of the spec, which looks at test images and writes into the folder."""
    if not spec.monitors:
        return []
    from flexure.monitors import Monitor

    found = []
    for probe, options in spec.monitors.items():
        images = data.sample(trainee.test, options.get("limit", _LIMIT), seed=spec.seed)
        every = {"every": options["every"]} if "every" in options else {}
        found.append(Monitor(probe, images, out=folder, seed=spec.seed, **every, **own_options(options)))
    return found
