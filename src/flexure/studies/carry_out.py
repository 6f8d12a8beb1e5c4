"""Redo a paper's figures: train and measure its networks, judge each claim, keep every verdict."""

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from flexure.errors import ArgumentError, FlexureError, RunError, nearest
from flexure.results import MEASURED, Result, Run, read, write_atomically
from flexure.runs.environment import command_line, environment
from flexure.runs.locking import held
from flexure.studies.claims import NOT_TRIED, Claim, Finding, Study, expectation, verdict
from flexure.studies.lab import Lab

__all__ = ["STUDIES", "study"]

STUDIES = ("he_su_2020", "petrini_2021", "shen_2020", "tomasini_2022")
QUESTION = "Which of the paper's claims hold for the networks trained here?"
_EMPTY = Finding(math.nan, math.nan, math.nan, math.nan, 0)
_UNITS = {"n": "networks", "seconds": "s of wall time"}


def study(
    name: str,
    *,
    full: bool = False,
    claims: Sequence[str] = (),
    root: str | os.PathLike = "~/data",
    weights: Mapping[str, str] | None = None,
    out: str | os.PathLike | None = None,
    workers: int = 2,
    say: Callable[[str], None] = lambda text: None,
) -> Result:
    """Which of a paper's claims hold for the networks trained here?

    Every claim has a number in the study's ``claim.toml``, fixed before anything was measured. Networks are trained
    and measured by :func:`flexure.sweep`; what lies in ``out`` already is not done again, so a study can be stopped
    and called again.

    Args:
        name: ``"he_su_2020"``, ``"petrini_2021"``, ``"shen_2020"`` or ``"tomasini_2022"``.
        full: The paper's sizes (many hours on a GPU) instead of small networks on parts of the data.
        claims: Names of the claims to judge; none: all that are judged in this mode.
        root: Where data sets lie, as for :func:`flexure.load`; a folder ``cifar10`` of class folders in ``train`` and
            ``test`` is read where there is one.
        weights: Files of networks that others trained, by the name the study gives them (``resnet20``).
        out: Folder of the study; None: ``studies/NAME-quick`` or ``studies/NAME-full``.
        workers: Networks trained at a time, each in a process of its own.
        say: Told in a sentence what is about to be done.

    Returns:
        One row per claim: ``claim``, ``figure``, ``says``, ``quantity``, ``expected``, ``value``, ``value_se``, ``low``
        and ``high`` (95 % interval over networks), ``n`` networks, ``verdict`` (``"reproduced"``: the whole interval is
        where the claim says; ``"differs"``: it is wholly elsewhere; ``"undecided"``; ``"not tried"``), ``status``,
        ``seconds``. Also written to ``out``, claim by claim.

    Raises:
        ArgumentError: No such study, claim or ready-trained network.
        RunError: ``out`` cannot be written, holds something else, or another process works on it.

    Cost: quick, some ten minutes to an hour on two cores; full, what its ``claim.toml`` says.
    Source: the papers; each study's README says how it differs.
    """
    read = Study.read(_known(name, STUDIES, "study"))
    known = [claim.name for claim in read.claims]
    mode = "full" if full else "quick"
    here = read.judged_in(mode)
    chosen = [_judged_here(_known(claim, known, "claim"), here, mode) for claim in claims] or here
    if workers < 1:
        raise ArgumentError(f"study: workers must be at least 1; got {workers}.")
    folder = Path(out) if out is not None else Path("studies") / f"{name}-{mode}"
    lab = Lab(read, mode, folder, Path(root).expanduser(), dict(weights or {}), workers, say)
    judges = import_module(f"flexure.studies.{name}.study").JUDGES
    with held(folder, busy=lambda: "another process works on this study. Wait for it, or choose another folder."):
        rows = _earlier(folder, lab)
        _describe(folder, lab, [claim for claim in known if claim in {*chosen, *rows}])
        for claim in [claim for claim in read.claims if claim.name in chosen]:
            row = rows[claim.name] = _judged(claim, lab, judges[claim.name])
            say(f"{claim.name}: {row['verdict']} ({claim.quantity}: {_words(row)}; expected {expectation(claim)})")
            table = pd.DataFrame([rows[name] for name in known if name in rows])
            result = Result("study", QUESTION, table, units=_UNITS, provenance=_origin(read, mode))
            result.save(folder)
    return result


def _earlier(folder: Path, lab: Lab) -> dict[str, dict[str, Any]]:
    """The verdicts that lie in the folder, by claim; those asked for are judged anew."""
    _refuse_others(folder, lab)
    path = folder / "study.parquet"
    rows: list[dict[Any, Any]] = Result.load(path).to_frame().to_dict("records") if path.is_file() else []
    return {str(row["claim"]): dict(row) for row in rows}


def _refuse_others(folder: Path, lab: Lab) -> None:
    """Do not write over another run, nor mix the verdicts of two studies or modes."""
    wanted = f"{lab.study.name}, {lab.mode} mode"
    if (folder / "jobs.json").is_file():
        raise RunError(f"{folder}: holds a sweep, not {wanted}. Choose another folder.")
    if not (folder / "spec.yaml").is_file():
        return
    there = read(folder).spec
    found = f"{there['study']}, {there.get('mode')} mode" if "study" in there else "a single run"
    if found != wanted:
        raise RunError(f"{folder}: holds {found}, not {wanted}. Choose another folder.")


def _known(name: str, valid: Sequence[str], kind: str) -> str:
    if name not in valid:
        raise ArgumentError(f"no {kind} {name!r}. {nearest(name, valid)}")
    return name


def _judged_here(claim: str, here: Sequence[str], mode: str) -> str:
    if claim not in here:
        other = "quick" if mode == "full" else "full"
        raise ArgumentError(f"claim {claim!r} is judged in the {other} mode alone. Here: {', '.join(here)}.")
    return claim


def _judged(claim: Claim, lab: Lab, judge: Callable[[Sequence[Run], Mapping[str, Any]], Finding]) -> dict[str, Any]:
    began = time.perf_counter()
    lab.say(f"{claim.name} ({claim.figure}): {claim.says}")
    try:
        found = judge(lab.networks(claim.networks, claim.uses), claim.settings)
        ended, status = verdict(claim, found), found.words or MEASURED
    except ArgumentError:
        raise
    except FlexureError as wrong:
        found, ended, status = _EMPTY, NOT_TRIED, str(wrong)
    return {
        "claim": claim.name,
        "figure": claim.figure,
        "says": claim.says,
        "quantity": claim.quantity,
        "expected": expectation(claim),
        "value": found.value,
        "value_se": found.se,
        "low": found.low,
        "high": found.high,
        "n": found.n,
        "verdict": ended,
        "status": status,
        "seconds": round(time.perf_counter() - began, 1),
    }


def _words(row: Mapping[str, Any]) -> str:
    if row["verdict"] == NOT_TRIED:
        return row["status"]
    return f"{row['value']:.3g}, 95 % interval {row['low']:.3g} to {row['high']:.3g}, {row['n']} networks"


def _describe(folder: Path, lab: Lab, claims: Sequence[str]) -> None:
    """The files that make the study's folder a run: what was asked for, and where it ran."""
    asked = {"study": lab.study.name, "mode": lab.mode, "claims": list(claims), "probes": {"study": {}}}
    write_atomically(folder / "spec.yaml", yaml.safe_dump(asked, sort_keys=False).encode())
    given = [part for name, file in lab.weights.items() for part in ("--weights", f"{name}={file}")]
    full = ["--full"] if lab.mode == "full" else []
    chosen = ["--claim", *claims] if len(claims) < len(lab.study.claims) else []
    places = ["--root", str(lab.root), *given, "--out", str(folder)]
    about = environment(command=command_line(["flexure", "study", lab.study.name, *full, *chosen, *places]))
    write_atomically(folder / "env.json", json.dumps(about, indent=2).encode())


def _origin(read: Study, mode: str) -> dict[str, Any]:
    return {"specimen": {"name": read.name}, "settings": {"study": read.name, "mode": mode}, "paper": dict(read.about)}
