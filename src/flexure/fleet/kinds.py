"""The kinds of run that a job can be, told apart by the field that names the network."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from flexure.errors import ArgumentError, nearest
from flexure.runs.fields import Fields

__all__ = ["KINDS", "Kind", "kind_of"]


class Kind(Protocol):
    """What a sweep has to know about a kind of run."""

    def fields(self) -> type[Fields]:
        """The class of its fields."""

    def check(self, spec: Any) -> None:
        """Look at every name in a spec before anything is read."""

    def carry_out(self, fields: Mapping[str, Any], folder: Path) -> None:
        """Do the run in a folder, or go on with what lies there."""


class _Measurement:
    """What ``flexure examine`` does."""

    def fields(self) -> type[Fields]:
        from flexure.runs.spec import Spec

        return Spec

    def check(self, spec: Any) -> None:
        from flexure.runs.spec import check_names

        check_names(spec)

    def carry_out(self, fields: Mapping[str, Any], folder: Path) -> None:
        from flexure.runs.examine import examine_spec
        from flexure.runs.options import merge_settings
        from flexure.runs.request import prepare, threads
        from flexure.runs.spec import Spec

        spec = Spec.of({**fields, "probes": merge_settings(fields.get("probes"), {}, ())})
        with threads(spec.threads):
            network, images, initial = prepare(spec)
            again = _command("examine", folder)
            examine_spec(spec, network, images, initial=initial, out=folder, resume=True, command=again)


class _Training:
    """What ``flexure train`` does."""

    def fields(self) -> type[Fields]:
        from flexure.runs.training_spec import TrainingSpec

        return TrainingSpec

    def check(self, spec: Any) -> None:
        from flexure.runs.training_spec import check_names

        check_names(spec)

    def carry_out(self, fields: Mapping[str, Any], folder: Path) -> None:
        from flexure.runs.train import train_spec
        from flexure.runs.training_spec import TrainingSpec

        train_spec(TrainingSpec.of(fields), out=folder, resume=True, command=_command("train", folder))


def _command(name: str, folder: Path) -> str:
    """The command that makes this one run again, elsewhere."""
    from flexure.runs.environment import command_line

    place = os.path.relpath(folder)
    return command_line(
        ["flexure", name, "--config", str(Path(folder if place.startswith("..") else place) / "spec.yaml")]
    )


KINDS: Mapping[str, Kind] = {"model": _Measurement(), "net": _Training()}


def kind_of(fields: Mapping[str, Any]) -> Kind:
    """The kind of run that these fields describe.

    Raises:
        ArgumentError: They name no network, or two.
    """
    named = [name for name in KINDS if name in fields]
    if len(named) == 1:
        return KINDS[named[0]]
    if named:
        raise ArgumentError("both 'model' (a network to measure) and 'net' (a network to train); expected one of them.")
    valid = {name for kind in KINDS.values() for name in kind.fields().model_fields}
    unknown = [f" No field {name!r}. {nearest(name, KINDS)}" for name in fields if name not in valid]
    raise ArgumentError("names no network; expected 'model' (measure it) or 'net' (train it)." + "".join(unknown[:1]))
