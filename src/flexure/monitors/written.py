"""What monitors leave on disk: one complete result per measured step, and all of them as one table."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flexure.errors import RunError
from flexure.probes import check_probes
from flexure.results import Result

__all__ = [
    "FOLDER", "PREFIX", "file_of", "first_of", "gather", "joined", "origin_of", "place_of", "read_steps", "step_of",
    "training_of",
]  # fmt: skip

FOLDER = "monitors"
PREFIX = "monitor_"
_DIGITS = 9
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]\d+)?")


def gather(folder: str | os.PathLike, probe: str) -> Result:
    """The measured steps of a probe as one result, ``monitor_<probe>``.

    Raises:
        ArgumentError: No such probe.
        RunError: Nothing was measured there, a file cannot be read, or steps were measured with different settings or
            in different trainings.
    """
    check_probes([probe])
    found = read_steps(folder, probe)
    _refuse_mixture(place_of(folder, probe), found)
    if not found:
        raise RunError(
            f"{place_of(folder, probe)}: holds no measurement. Is it the folder that Monitor(out=…) was given?"
        )
    return joined(found)


def place_of(folder: str | os.PathLike, probe: str) -> Path:
    """Where the steps of a probe lie."""
    return Path(folder) / FOLDER / probe


def file_of(step: int) -> str:
    """Name of a step's file, without its ending: in order by name."""
    return f"{step:0{_DIGITS}d}"


def read_steps(folder: str | os.PathLike, probe: str) -> list[Result]:
    """What a probe said at every step, with its arrays: the complete results that lie in the folder, in order.

    Args:
        folder: Folder of the training: the ``out`` of its :class:`Monitor`.
        probe: Name of the probe.

    Raises:
        RunError: A file cannot be read.
    """
    return [Result.load(path) for path in sorted(place_of(folder, probe).glob("*.parquet"))]


def step_of(result: Result) -> int:
    """The step at which a result was measured."""
    return int(result.provenance["monitor"]["step"])


def origin_of(result: Result) -> Mapping[str, Any]:
    """Everything that decides the numbers but the weights."""
    return result.provenance["monitor"]["origin"]


def training_of(result: Result) -> str:
    """Name of the training in which a result was measured: the same for all its steps, also where it was resumed."""
    return str(result.provenance["monitor"]["training"])


def _refuse_mixture(place: Path, found: Sequence[Result]) -> None:
    """Refuse what several trainings have left in one folder."""
    trainings: dict[str, list[int]] = {}
    for one in found:
        trainings.setdefault(training_of(one), []).append(step_of(one))
    if len(trainings) > 1:
        told = "; ".join(map(first_of, trainings.values()))
        raise RunError(
            f"{place}: holds steps of {len(trainings)} trainings ({told}). Remove the files of all but one, and give "
            "each training a folder of its own."
        )


def first_of(steps: Sequence[int]) -> str:
    """The first few steps in words."""
    return ", ".join(map(str, steps[:5])) + ", …" * (len(steps) > 5)


def joined(results: Sequence[Result]) -> Result:
    """Results of several steps as one; arrays stay with the single steps.

    Raises:
        RunError: They were measured with different settings.
    """
    ordered = sorted(results, key=step_of)
    last, steps = ordered[-1], [step_of(result) for result in ordered]
    if different := [step for step, result in zip(steps, ordered, strict=True) if origin_of(result) != origin_of(last)]:
        raise RunError(
            f"{last.probe}: steps {', '.join(map(str, different[:5]))} were measured with other settings or images "
            f"than step {steps[-1]}. Each way of measuring needs a folder of its own."
        )
    table = pd.concat([result.table for result in ordered], ignore_index=True)
    failed = [step for step, result in zip(steps, ordered, strict=True) if result.provenance["monitor"]["failed"]]
    notes = _notes(ordered)
    if failed:
        notes.append(f"{len(failed)} of {len(steps)} measurements failed (at step {', '.join(map(str, failed[:5]))}).")
    return Result(
        PREFIX + last.probe,
        f"{last.question.rstrip('?')}, while it learns?",
        table.assign(epoch=_epochs(table)),
        units={**last.units, "step": "steps of training", "epoch": "passes over the training images"},
        provenance=_together(ordered),
        notes=tuple(notes),
    )


def _notes(ordered: Sequence[Result]) -> list[str]:
    """Every remark once; of those that differ in their numbers alone the last."""
    groups: dict[str, dict[str, None]] = {}
    for note in (note for result in ordered for note in result.notes):
        groups.setdefault(_NUMBER.sub("#", note), {})[note] = None
    last = [list(told)[-1] for told in groups.values()]
    return [
        note if len(told) == 1 else f"{note} (At the last step; the others differ.)"
        for note, told in zip(last, groups.values(), strict=True)
    ]


def _epochs(table: pd.DataFrame) -> np.ndarray:
    """Epochs passed, also between the ends of epochs where it is known how many steps one has."""
    step, epoch = (table[name].to_numpy(float) for name in ("step", "epoch"))
    known = np.isfinite(epoch) & (epoch > 0)
    per_epoch = np.unique(step[known] / epoch[known])
    return np.where(np.isfinite(epoch), epoch, step / per_epoch[0]) if len(per_epoch) == 1 else epoch


def _together(ordered: Sequence[Result]) -> dict[str, Any]:
    """The provenance of the last measurement that worked, with what differs from step to step in lists."""
    worked = [result for result in ordered if not result.provenance["monitor"]["failed"]] or list(ordered)
    parts = [result.provenance["monitor"] for result in ordered]
    about = {name: value for name, value in worked[-1].provenance.items() if name != "monitor"}
    about["monitor"] = {
        "origin": dict(parts[-1]["origin"]),
        "steps": [part["step"] for part in parts],
        "weights_hashes": [part["weights_hash"] for part in parts],
        "seconds": round(sum(part["seconds"] for part in parts), 2),
    }
    return about
