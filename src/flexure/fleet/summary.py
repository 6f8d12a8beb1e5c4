"""What a sweep found, as results: a table of its runs, and where there are enough of them, their comparison."""

import json
import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

import flexure
from flexure.analysis.points import errors_at, values_at
from flexure.errors import RunError
from flexure.fleet.folder import State, Sweep, apart
from flexure.fleet.plan import Job, shortened
from flexure.results import Result, Run

__all__ = ["QUESTION", "summarize", "summary"]

QUESTION = "What has become of each run of this sweep?"
_UNREADABLE = "cannot be read"
_FEWEST = 3  # networks of a comparison
_MEASURED = ("error", "D", "G", "R")
_OWN = [
    *("label", "status", "seconds", "reason", "folder", "n"),
    *(f"{name}{end}" for name in _MEASURED for end in ("", "_se")),
]


def summarize(found: Sweep) -> list[Result]:
    """Write ``sweep.parquet`` and, from three measured networks on, ``compare.parquet`` into the sweep's folder.

    Raises:
        RunError: The folder cannot be written.
    """
    read = _read(found)
    results = [_summary(found, read)]
    results[0].save(found.folder)
    runs = [run for run in read if isinstance(run, Run)]
    if sum(_point(run) for run in runs) >= _FEWEST:
        from flexure.analysis.compare import compare  # with SciPy, which workers need not wait for

        results.append(compare(runs))
        results[1].save(found.folder)
    else:
        for stale in found.folder.glob("compare.*"):
            stale.unlink()
    return results


def summary(found: Sweep) -> Result:
    """What has become of each run of this sweep?

    Returns:
        One row per job: the fields that vary, its name as ``label``, ``status`` (also ``cannot be read``), ``seconds``,
        ``reason`` of a failure, ``folder`` below the sweep's; of those that are done, test ``error`` in [0, 1] and
        D, G, R at the output as far as they were measured, each with ``_se``, and ``n`` images; else NaN.
    """
    return _summary(found, _read(found))


def _read(found: Sweep) -> list[Run | RunError | None]:
    """The run of each job, or why it cannot be read; None where there is none."""
    return [_run(found, job, state) for job, state in zip(found.jobs, found.states, strict=True)]


def _run(found: Sweep, job: Job, state: State) -> Run | RunError | None:
    try:
        return found.run(job, state)
    except RunError as wrong:
        return wrong


def _summary(found: Sweep, read: Sequence[Run | RunError | None]) -> Result:
    names = shortened(name for job in found.jobs for name in job.varied)
    rows = [_row(found, *one) for one in zip(found.jobs, found.states, read, strict=True)]
    table = pd.DataFrame(rows, columns=_OWN)
    own = {apart(name, _OWN): _column([job.varied.get(name) for job in found.jobs]) for name in names}
    measured = [name for name in _MEASURED if table[name].notna().any()]
    kept = [name for name in _OWN if name.removesuffix("_se") not in _MEASURED or name.removesuffix("_se") in measured]
    fields = {apart(name, _OWN): apart(short, _OWN) for name, short in names.items()}
    return Result(
        "sweep",
        QUESTION,
        pd.concat([pd.DataFrame(own, index=table.index), table[kept]], axis=1),
        units={"seconds": "seconds", "error": "share of wrong answers", "D": "ratio", "G": "ratio", "R": "ratio"},
        provenance={
            "settings": {"name": found.name, "fields": fields},
            "versions": {"flexure": flexure.__version__},
        },
        notes=tuple(_notes(found, sum(isinstance(run, RunError) for run in read))),
    )


def _row(found: Sweep, job: Job, state: State, run: Run | RunError | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "label": found.label(job),
        "status": state.status,
        "seconds": math.nan if state.seconds is None else state.seconds,
        "reason": state.error,
        "folder": found.path(job).relative_to(found.folder).as_posix(),
        "n": 0,
    }
    if isinstance(run, RunError):
        return row | {"status": _UNREADABLE, "reason": " ".join(str(run).split())}
    return row if run is None else row | _estimates(run) | {"n": _images(run)}


def _estimates(run: Run) -> dict[str, float]:
    """Test error and D, G, R at the output, as far as the run has them."""
    values = values_at(run, ("D", "G", "R"), "output")
    errors = errors_at(run, "error", "trained")
    known = dict(values) if not isinstance(values, str) else {}
    if not isinstance(errors, str):
        known["error"] = errors[0][1]
    pairs = [
        (f"{name}{end}", part) for name, both in known.items() for end, part in zip(("", "_se"), both, strict=True)
    ]
    return dict(pairs)


def _images(run: Run) -> int:
    counts = [run.results[name].table["n"].max() for name in ("sensitivity", "accuracy") if name in run.results]
    return int(max(counts, default=0))


def _point(run: Run) -> bool:
    """Whether the comparison can take this run."""
    found = _estimates(run)
    return {"error", "R"} <= found.keys() and all(map(math.isfinite, (found["error"], found["R"])))


def _column(values: Sequence[Any]) -> list[Any]:
    """Values that one column of a file can hold: numbers, or names; lists and mixtures are written out."""
    numbers = [value for value in values if value is not None]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in numbers):
        return list(values)
    return [None if value is None else value if isinstance(value, str) else json.dumps(value) for value in values]


def _notes(found: Sweep, unreadable: int) -> list[str]:
    left, total = len(found.jobs) - found.counts["done"], len(found.jobs)
    notes = [f"Of {total} jobs {left} {'is' if left == 1 else 'are'} not done; the table says why."] if left else []
    notes += [f"Of {total} runs {unreadable} cannot be read; the table says why."] if unreadable else []
    known = {job.hash for job in found.jobs}
    others = [path for path in (found.folder / "jobs").glob("*") if path.name not in known]
    if others:
        notes.append(
            f"{len(others)} further runs in jobs/ belong to earlier versions of the sweep file; they are kept."
        )
    return notes
