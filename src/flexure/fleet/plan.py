"""What a sweep file asks for: every job it stands for, checked by name before any of them starts."""

import hashlib
import itertools
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt

from flexure.errors import ArgumentError, FlexureError, RunError
from flexure.fleet.kinds import kind_of
from flexure.runs.fields import Fields, check_kind, read_fields

__all__ = ["FORMAT", "Job", "Plan", "SweepFile", "label", "plan", "shortened"]

FORMAT = 1
_DIGITS = 16  # of a job's hash


class SweepFile(Fields):
    """Many runs in one file: ``base`` holds what they share, ``grid`` and ``runs`` what they differ in."""

    model_config = ConfigDict(title="Flexure sweep")
    subject = "base"
    kind = "sweep"

    format: int = Field(FORMAT, description="Version of this form.")
    name: str = Field(description="What the sweep is called; also its folder under runs/.", pattern=r"^\w[\w.+-]*$")
    base: dict[str, Any] = Field(default_factory=dict, description="Fields that all jobs share.")
    grid: dict[str, list[Any]] = Field(
        default_factory=dict, description="Values by field; every combination is a job. A dot leads into a mapping."
    )
    runs: list[dict[str, Any]] = Field(default_factory=list, description="Further jobs: what they change in the base.")
    cpus: PositiveInt | None = Field(None, description="Cores of one job; by default cores by workers, one with Ray.")
    gpus: PositiveFloat | None = Field(None, description="With Ray, GPUs of one job; a fraction shares one.")
    work: str | None = Field(None, description="Written by flexure.sweep(work=…): the function that does a job.")


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes:
        hash: Sixteen hex digits that follow from everything that decides what it finds; also the name of its folder.
        fields: What it was asked for, as plain values; those that stand at their default are left out.
        varied: Its value of every field that the sweep varies.
    """

    hash: str
    fields: Mapping[str, Any]
    varied: Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """A sweep that can begin.

    Attributes:
        file: What the file says.
        jobs: Its jobs in order, each once.
    """

    file: SweepFile
    jobs: tuple[Job, ...]


@dataclass(frozen=True)
class _Draft:
    """A job as the file has it: where it stands, what it varies."""

    place: tuple[Any, ...]
    varied: Mapping[str, Any]


def plan(spec: Mapping[str, Any] | str | os.PathLike, *, work: str | None = None) -> Plan:
    """All jobs of a sweep file.

    They are the base with every combination of the grid (its last field runs fastest), then the base with each of the
    further runs. Without a grid, the further runs are all; without either, the base is the only job. Two that ask for
    the same are one job; where the data lie (``root``) is not what is asked for.

    Args:
        spec: A YAML file, or the same as a mapping.
        work: ``module:function`` that does a job, in place of a training or a measurement; fields are then not checked.

    Raises:
        ArgumentError: A field is missing, unknown or of the wrong kind, a name does not exist; with the line and the
            nearest name. Nothing has been started.
        RunError: The file is from a newer version.
    """
    fields, text, source = _source(spec)
    file = _checked_file(fields, text, source, work)
    names = list(dict.fromkeys([*file.grid, *(name for run in file.runs for name in run)]))
    seen: dict[str, Job] = {}
    for draft in _drafts(file):
        job = _job(file, draft, names, text, source)
        _check_root(source, seen.setdefault(job.hash, job), job)
    return Plan(file, tuple(seen.values()))


def label(varied: Mapping[str, Any]) -> str:
    """A job's name for people.

    >>> label({"net": "VGG11", "seed": 3, "probes.sensitivity.draws": 4})
    'net=VGG11 seed=3 draws=4'
    """
    names = shortened(varied)
    return " ".join(f"{names[name]}={_text(value)}" for name, value in varied.items())


def shortened(names: Iterable[str]) -> dict[str, str]:
    """Names without what stands before their last dots, as far as they can still be told apart.

    >>> shortened(["net", "probes.sensitivity.draws", "probes.filters.draws"])
    {'net': 'net', 'probes.sensitivity.draws': 'sensitivity.draws', 'probes.filters.draws': 'filters.draws'}
    """
    ends = {name: _ends(name) for name in names}
    times = Counter(end for own in ends.values() for end in own)
    return {name: next((end for end in own if times[end] == 1), name) for name, own in ends.items()}


def _ends(name: str) -> list[str]:
    """The name from each of its dots on, the shortest first."""
    parts = name.split(".")
    return [".".join(parts[-count:]) for count in range(1, len(parts) + 1)]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _source(spec: Mapping[str, Any] | str | os.PathLike) -> tuple[dict[str, Any], str, str]:
    if isinstance(spec, Mapping):
        return {"name": "sweep", **spec}, "", "sweep"
    fields, text = read_fields(spec)
    check_kind(fields, SweepFile.kind, str(spec))
    return {"name": Path(spec).stem, **fields}, text, str(spec)


def _checked_file(fields: dict[str, Any], text: str, source: str, work: str | None) -> SweepFile:
    found = fields.get("format", FORMAT)
    if isinstance(found, int) and found > FORMAT:
        raise RunError(f"{source}: format {found}, this version reads up to {FORMAT}. Update Flexure.")
    if work is None and fields.get("work") is not None:
        raise ArgumentError(
            f"{source}: its jobs are done by the Python function {fields['work']!r}, which a file cannot call: "
            "use flexure.sweep(…, work=…)."
        )
    file = SweepFile.of({**fields, "work": work}, source=source, text=text)
    for name, values in file.grid.items():
        if not values:
            raise ArgumentError(f"{source}: {_at(text, ('grid', name))}grid.{name}: no values; expected at least one.")
    return file


def _drafts(file: SweepFile) -> Iterator[_Draft]:
    if file.grid or not file.runs:
        for values in itertools.product(*file.grid.values()):
            yield _Draft(("grid",), dict(zip(file.grid, values, strict=True)))
    for number, run in enumerate(file.runs):
        yield _Draft(("runs", number), run)


def _check_root(source: str, known: Job, job: Job) -> None:
    """Refuse two jobs that are one: one of them would not be done."""
    if known.fields.get("root") != job.fields.get("root"):
        raise ArgumentError(
            f"{source}: job {label(job.varied)} differs from job {label(known.varied)} in 'root' alone, which says "
            "where data lie, not which they are. Compare data by their names: data: folder:PATH."
        )


def _job(file: SweepFile, draft: _Draft, names: Sequence[str], text: str, source: str) -> Job:
    try:
        fields = whole = decisive = _merged(file.base, draft.varied)
        if file.work is None:
            spec = _checked(fields, draft, text)
            fields, whole = (spec.model_dump(mode="json", exclude_defaults=brief) for brief in (True, False))
            decisive = {name: value for name, value in fields.items() if name not in spec.incidental}
        return Job(_hash(file.work, decisive), fields, {name: _value(whole, name) for name in names})
    except FlexureError as wrong:
        which = f"job {label(draft.varied)}" if draft.varied else "base"
        raise type(wrong)(f"{source}, {which}: {wrong}") from None


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The base with these changes; ``probes.sensitivity.draws`` changes one option and leaves the others."""
    found = dict(base)
    for name, value in changes.items():
        *parents, last = name.split(".")
        place = found
        for parent in parents:
            below = place.get(parent) or {}
            if not isinstance(below, Mapping):
                raise ArgumentError(f"{name}: {parent!r} is {below!r} in the base; expected names with values.")
            place[parent] = dict(below)
            place = place[parent]
        place[last] = value
    return found


def _value(fields: Mapping[str, Any], name: str) -> Any:
    """The value of a field, or of what a dot leads to; None where there is none."""
    value: Any = fields
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _checked(fields: dict[str, Any], draft: _Draft, text: str) -> Fields:
    """The fields as a spec of their kind."""
    kind = kind_of(fields)
    spec = kind.fields().of(fields, line_of=lambda path: _line(text, draft.place, path))
    try:
        kind.check(spec)
    except FlexureError as wrong:
        path = next((path for path, word in _words(fields) if repr(word) in str(wrong)), ())
        line = _line(text, draft.place, path) if path else None
        raise type(wrong)(f"line {line}: {wrong}" if line else str(wrong)) from None
    return spec


def _words(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Every text among the fields, keys included, with its path."""
    for key, part in value.items() if isinstance(value, Mapping) else ():
        yield from _words(part, (*path, key))
        yield (*path, key), str(key)
    if isinstance(value, str):
        yield path, value


def _hash(work: str | None, fields: Mapping[str, Any]) -> str:
    """It names the job's folder, so it must not change when a later version adds fields: defaults are not in it."""
    try:
        plain = json.dumps({"work": work, "fields": fields}, sort_keys=True)
    except (TypeError, ValueError) as wrong:
        raise ArgumentError(f"fields have to be plain values, as in a YAML file ({wrong}).") from None
    return hashlib.sha256(plain.encode()).hexdigest()[:_DIGITS]


def _at(text: str, path: Sequence[Any]) -> str:
    line = _line(text, (), path)
    return f"line {line}: " if line else ""


def _line(text: str, place: tuple[Any, ...], path: Sequence[Any]) -> int | None:
    """Line of the job's field at ``path``: where the job stands if it is named there, else in the base."""
    if not text:
        return None
    for section in (place, ("base",)):
        node = _node(_tree(text), section)
        if node is not None and (found := _deepest(node, path)):
            return found
    return None


@cache
def _tree(text: str) -> yaml.Node | None:
    return yaml.compose(text, Loader=yaml.SafeLoader)


def _node(node: yaml.Node | None, path: Sequence[Any]) -> yaml.Node | None:
    for part in path:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
        else:
            node = next((value for key, value in _pairs(node) if key.value == str(part)), None)
    return node


def _deepest(node: yaml.Node, path: Sequence[Any]) -> int | None:
    """Line of the value at ``path``, as far down as it can be followed; a key may lead several steps, by dots."""
    line, left = None, list(map(str, path))
    while left:
        steps = [(key, value, key.value.split(".")) for key, value in _pairs(node)]
        found = next((step for step in steps if left[: len(step[2])] == step[2]), None)
        if found is None:
            break
        line, node, left = found[0].start_mark.line + 1, found[1], left[len(found[2]) :]
    return line


def _pairs(node: yaml.Node | None) -> list[tuple[Any, Any]]:
    return node.value if isinstance(node, yaml.MappingNode) else []
