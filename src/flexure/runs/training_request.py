"""A training as it was asked for on the command line or in a file, checked before anything is read."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flexure.errors import ArgumentError, RunError, nearest
from flexure.results import Run
from flexure.runs.examine import Listener
from flexure.runs.fields import HASHES, check_kind, located, read_fields
from flexure.runs.folder import default_folder, folder_for
from flexure.runs.options import merge_settings, parse_settings, value_of
from flexure.runs.request import Say
from flexure.runs.train import train_spec
from flexure.runs.training_spec import TrainingSpec, check_names

__all__ = ["TrainingRequest", "training_request"]


@dataclass(frozen=True)
class TrainingRequest:
    """A training that can begin.

    Attributes:
        spec: What to train and measure.
        out: Run folder.
        resume: Whether to go on with what is in it.
    """

    spec: TrainingSpec
    out: Path
    resume: bool = False

    def carry_out(self, *, progress: Listener | None = None, say: Say = lambda text: None) -> Run:
        """Train and measure; arguments as for :func:`flexure.runs.train.train_spec`."""
        return train_spec(self.spec, out=self.out, resume=self.resume, progress=progress, say=say)


def training_request(
    given: Mapping[str, Any],
    *,
    probes: Iterable[str] = (),
    settings: Iterable[str] = (),
    config: str | os.PathLike | None = None,
    out: str | os.PathLike | None = None,
    resume: bool = False,
) -> TrainingRequest:
    """A training from what was given, a file, and what was left open.

    Args:
        given: Values by field name; they win over the file's.
        probes: Names of the probes to ask at the end; none: those of the file, else those that run unasked.
        settings: ``field=value``, ``field.part=value`` or ``probe.option=value``; they win over all others.
        config: YAML file with fields of a training.
        out: Run folder; None: a fresh one under ``runs``, or with ``resume`` the last one of that name.
        resume: Go on with the training in ``out``; its ``spec.yaml`` then supplies what was not given.

    Raises:
        ArgumentError: A name, option or value is wrong; nothing has been read but the file.
        RunError: There is nothing to go on with.
    """
    if resume and config is None and "net" not in given:
        config = _stored(out)
    fields, text = read_fields(config) if config is not None else ({}, "")
    check_kind(fields, TrainingSpec.kind, str(config))
    of_fields, of_probes = _divided(settings)
    merged = {**fields, **given}
    for path, value in of_fields.items():
        merged = _with(merged, path.split("."), value)
    if merged != fields:
        merged = {name: value for name, value in merged.items() if name not in HASHES}
    with located(fields, str(config), text):
        merged["probes"] = merge_settings(merged.get("probes"), of_probes, probes)
    for name, wanted in (
        ("net", "which network? Such as small_cnn or LeNet."),
        ("data", "which images? Such as digits."),
    ):
        if name not in merged:
            raise ArgumentError(f"{name.upper()} is missing: {wanted}")
    spec = TrainingSpec.of(merged, source=str(config or ""), text=text)
    with located(fields, str(config), text):
        check_names(spec)
    named = default_folder(spec.net, spec.data)
    folder = folder_for(out, named.with_name(f"{named.name}-trained"), resume=resume)
    return TrainingRequest(spec, folder, resume)


def _stored(out: str | os.PathLike | None) -> Path:
    if out is None:
        raise ArgumentError("--resume: which training? Give its folder (--out), or NET and DATA once more.")
    path = Path(out) / "spec.yaml"
    if not path.is_file():
        raise RunError(f"{out}: holds no training to go on with (no spec.yaml). Leave --resume out to start one.")
    return path


def _divided(settings: Iterable[str]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Settings of the training's own fields by dotted name, and options by probe."""
    own: dict[str, Any] = {}
    others = []
    for setting in settings:
        path, equals, value = setting.partition("=")
        if equals and path.partition(".")[0] in TrainingSpec.model_fields:
            if path in own:
                raise ArgumentError(f"--set {setting}: {path} is set twice.")
            own[path] = value_of(value)
        elif equals and "." not in path:
            raise ArgumentError(f"--set {setting}: no field {path!r}. {nearest(path, TrainingSpec.model_fields)}")
        else:
            others.append(setting)
    return own, parse_settings(others)


def _with(fields: Mapping[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    """The fields with a value put in, however deep; a name on the way becomes one with options."""
    head, *rest = path
    if not rest:
        return {**fields, head: value}
    inner = fields.get(head) or {}
    inner = {inner: {}} if isinstance(inner, str) else inner
    if not isinstance(inner, Mapping):
        raise ArgumentError(f"--set {'.'.join(path)}: {head} has no parts.")
    return {**fields, head: _with(inner, rest, value)}
