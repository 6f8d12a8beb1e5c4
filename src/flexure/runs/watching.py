"""The monitors that a training's spec asks for: probes asked while the network learns."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_type_hints

from flexure import data
from flexure.errors import ArgumentError, nearest
from flexure.monitors import Monitor, Trajectories, Watch
from flexure.monitors.moments import moments
from flexure.probes import PROBES
from flexure.runs.options import check_options, converted
from flexure.runs.trainee import Trainee
from flexure.runs.training_spec import TrainingSpec

__all__ = ["check_monitors", "foretold", "monitors_of"]

_LIMIT = 256  # test images, unless a monitor says how many
_EVERY = "epoch"
_OWN = ("every", "limit")
_OTHERS: Mapping[str, Callable[..., Watch]] = MappingProxyType({"trajectories": Trajectories})  # no probe's


def check_monitors(monitors: Mapping[str, Mapping[str, Any]]) -> None:
    """Look at the names and options of monitors.

    Raises:
        ArgumentError: A probe or option is unknown, or a value wrong.
    """
    for name in monitors:
        if name not in PROBES and name not in _OTHERS:
            raise ArgumentError(f"no monitor {name!r}. {nearest(name, [*PROBES, *_OTHERS])}")
    asked = {name: options for name, options in monitors.items() if name in PROBES}
    check_options({probe: _of_probe(options) for probe, options in asked.items()}, beside=_OWN)
    for name, options in monitors.items():
        if name in _OTHERS:
            _OTHERS[name](**_converted(name, options))
    for probe, options in asked.items():
        try:
            moments(options.get("every", _EVERY))
        except ArgumentError as wrong:
            raise ArgumentError(f"monitors.{probe}.{wrong}") from wrong
        limit = options.get("limit", _LIMIT)
        if not isinstance(limit, int) or limit < 1:
            raise ArgumentError(f"monitors.{probe}.limit: expected a number of images, at least 1; got {limit!r}.")


def monitors_of(spec: TrainingSpec, trainee: Trainee, folder: Path) -> list[Watch]:
    """A callback for each monitor of the spec, which looks at test images and writes into the folder."""
    return [
        _OTHERS[name](**_converted(name, options), out=folder, seed=spec.seed)
        if name in _OTHERS
        else _of_probe_named(name, options, spec, trainee, folder)
        for name, options in spec.judged(spec.monitors).items()
    ]


def _of_probe_named(
    probe: str, options: Mapping[str, Any], spec: TrainingSpec, trainee: Trainee, folder: Path
) -> Monitor:
    return Monitor(
        probe,
        data.sample(trainee.test, options.get("limit", _LIMIT), seed=spec.seed),
        every=options.get("every", _EVERY),
        options=check_options({probe: _of_probe(options)})[probe],
        out=folder,
        specimen=trainee.specimen,
        seed=spec.seed,
    )


def _converted(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a monitor that is no probe's, as what its signature declares."""
    hints = get_type_hints(_OTHERS[name].__init__)
    valid = [option for option in hints if option not in ("return", "out", "seed")]
    for option in options:
        if option not in valid:
            raise ArgumentError(f"monitors.{name}: no option {option!r}. {nearest(option, valid)}")
    return {option: converted(f"monitors.{name}.{option}", hints[option], value) for option, value in options.items()}


def foretold(monitors: Sequence[Watch], spec: TrainingSpec, trainee: Trainee) -> list[str]:
    """What should be said of them before the training: whose moments do not come in it."""
    steps = spec.epochs * spec.recipe().batches(len(trainee.images))
    return [told for one in monitors if (told := one.foretell(steps=steps, epochs=spec.epochs))]


def _of_probe(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a monitor that are the probe's own."""
    return {name: value for name, value in options.items() if name not in _OWN}
