"""Options of the probes: ``probe.option=value``, checked against each probe's own signature."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_type_hints

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from flexure.errors import ArgumentError, nearest
from flexure.probes import PROBES, check_probes
from flexure.runs.fields import expectations

__all__ = ["check_options", "converted", "merge_settings", "parse_settings", "value_of"]

Options = dict[str, dict[str, Any]]
COMMON = {"batch_size": "--batch-size", "device": "--device", "dtype": "--dtype", "seed": "--seed"}
PRIVATE = {"progress", "checkpoint", "folder"}
PYTHON_ONLY = {  # the words that may stand for an object
    "transform": ("images",),
    "points": (),
    "optimizer": (),
    "checkpoints": (),
}


def parse_settings(settings: Iterable[str]) -> Options:
    """Values by probe and option from ``probe.option=value``; values are read as YAML, else as they are.

    >>> parse_settings(["sensitivity.draws=4", "sensitivity.layers=[conv*, fc]"])
    {'sensitivity': {'draws': 4, 'layers': ['conv*', 'fc']}}

    Raises:
        ArgumentError: A setting is not of that form, or given twice.
    """
    found: Options = {}
    for setting in settings:
        target, equals, value = setting.partition("=")
        probe, dot, option = target.partition(".")
        if not (equals and dot and probe and option):
            raise ArgumentError(f"--set {setting}: expected probe.option=value, such as sensitivity.draws=4.")
        if option in found.setdefault(probe, {}):
            raise ArgumentError(f"--set {setting}: {probe}.{option} is set twice.")
        found[probe][option] = value_of(value)
    return found


def merge_settings(fields: Any, settings: Options, names: Iterable[str]) -> Any:
    """The probes of a spec: those named, else those of the file, else those that run unasked, with all their options.

    Args:
        fields: ``probes`` as the file has them; returned as they are where they are no mapping, to be refused there.
        settings: Options that win over the file's.
        names: Probes that were named.

    Raises:
        ArgumentError: A probe does not exist, or a setting is for one that will not run.
    """
    check_probes(settings)
    names = tuple(names)
    if not isinstance(fields or {}, Mapping):
        return fields
    found = dict(fields or {})
    chosen = check_probes(names or found)
    for probe in settings:
        if probe not in chosen:
            raise ArgumentError(
                f"--set {probe}.…: {probe} will not run; name it too: --probe {' '.join([*chosen, probe])}"
            )
    return {probe: _with(found.get(probe), settings.get(probe, {})) for probe in chosen}


def check_options(options: Mapping[str, Mapping[str, Any]], *, beside: Iterable[str] = ()) -> Options:
    """The same options, each converted to what the probe's signature declares.

    Args:
        options: Values by probe and option.
        beside: Names that may stand among them where they come from, and are meant as likely by a wrong one.

    Raises:
        ArgumentError: A probe or option does not exist, is set elsewhere, or has a value of the wrong kind.
    """
    for probe in options:
        check_probes([probe])
    return {probe: _check(probe, PROBES[probe].load(), given, beside) for probe, given in options.items()}


def option_names(function: Callable[..., Any]) -> list[str]:
    """Names of the options that belong to this probe alone."""
    parameters = inspect.signature(function).parameters.values()
    own = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    return [name for name in own if name not in PRIVATE and name not in COMMON]


def _with(fields: Any, settings: Mapping[str, Any]) -> Any:
    return {**(fields or {}), **settings} if isinstance(fields or {}, Mapping) else fields


def _check(probe: str, function: Callable[..., Any], given: Mapping[str, Any], beside: Iterable[str]) -> dict[str, Any]:
    valid, hints = option_names(function), get_type_hints(function)
    for option in given:
        if option in COMMON:
            raise ArgumentError(f"{probe}.{option}: the same for all probes; use {COMMON[option]} ({option}=).")
        if option not in valid:
            raise ArgumentError(f"{probe}: no option {option!r}. {nearest(option, [*beside, *valid])}")
        plain = isinstance(given[option], bool | int | float | str | list | Mapping)
        if option in PYTHON_ONLY and plain and given[option] not in PYTHON_ONLY[option]:
            raise ArgumentError(
                f"{probe}.{option}: takes an object, which no command line and no file can hold; got "
                f"{given[option]!r}. In Python: flexure.{probe}(…, {option}=…)."
            )
    found = {option: converted(f"{probe}.{option}", hints.get(option, Any), value) for option, value in given.items()}
    PROBES[probe].refuse(found)
    return found


def converted(where: str, hint: Any, value: Any) -> Any:
    """The value as what a type hint declares.

    Raises:
        ArgumentError: It cannot be made that; ``where`` names it.
    """
    adapter = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    readings = [value, str(value)] if isinstance(value, int | float) else [value]
    problems = []
    for reading in readings:
        try:
            return adapter.validate_python(reading)
        except ValidationError as wrong:
            problems += wrong.errors()
    raise ArgumentError(f"{where}: expected {expectations(problems)}; got {value!r}.")


def value_of(text: str) -> Any:
    """What a text on the command line means: YAML, or where it is none, itself."""
    if text.lower() == "none":
        return None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:  # a glob such as *.conv1 is no YAML, and means itself
        return text
