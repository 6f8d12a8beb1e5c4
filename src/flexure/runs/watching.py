"""The monitors that a training's spec asks for: probes asked while the network learns."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flexure import data
from flexure.errors import ArgumentError
from flexure.monitors import Monitor
from flexure.monitors.moments import moments
from flexure.runs.options import check_options
from flexure.runs.trainee import Trainee
from flexure.runs.training_spec import TrainingSpec

__all__ = ["check_monitors", "foretold", "monitors_of"]

_LIMIT = 256  # test images, unless a monitor says how many
_EVERY = "epoch"
_OWN = ("every", "limit")


def check_monitors(monitors: Mapping[str, Mapping[str, Any]]) -> None:
    """Look at the names and options of monitors.

    Raises:
        ArgumentError: A probe or option is unknown, or a value wrong.
    """
    check_options({probe: _of_probe(options) for probe, options in monitors.items()}, beside=_OWN)
    for probe, options in monitors.items():
        try:
            moments(options.get("every", _EVERY))
        except ArgumentError as wrong:
            raise ArgumentError(f"monitors.{probe}.{wrong}") from wrong
        limit = options.get("limit", _LIMIT)
        if not isinstance(limit, int) or limit < 1:
            raise ArgumentError(f"monitors.{probe}.limit: expected a number of images, at least 1; got {limit!r}.")


def monitors_of(spec: TrainingSpec, trainee: Trainee, folder: Path) -> list[Monitor]:
    """A callback for each monitor of the spec, which looks at test images and writes into the folder."""
    return [
        Monitor(
            probe,
            data.sample(trainee.test, options.get("limit", _LIMIT), seed=spec.seed),
            every=options.get("every", _EVERY),
            options=check_options({probe: _of_probe(options)})[probe],
            out=folder,
            specimen=trainee.specimen,
            seed=spec.seed,
        )
        for probe, options in spec.judged(spec.monitors).items()
    ]


def foretold(monitors: Sequence[Monitor], spec: TrainingSpec, trainee: Trainee) -> list[str]:
    """What should be said of them before the training: whose moments do not come in it."""
    steps = spec.epochs * spec.recipe().batches(len(trainee.images))
    return [told for one in monitors if (told := one.foretell(steps=steps, epochs=spec.epochs))]


def _of_probe(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a monitor that are the probe's own."""
    return {name: value for name, value in options.items() if name not in _OWN}
