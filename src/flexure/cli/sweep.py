"""``flexure sweep``: many runs, how far they are, what they found."""

import math
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from flexure.cli.root import app, flag
from flexure.cli.show import estimate, page, stderr, stdout
from flexure.cli.watch import Watch
from flexure.errors import RunError

if TYPE_CHECKING:
    from flexure.fleet import Sweep
    from flexure.results import Progress, Result

__all__ = ["sweep"]

_PAUSE = 1.0  # seconds between two looks at the folder
_ROWS = 12  # of a kind in the live table
_LENGTH = 90  # characters of a reason in a table
_JOB = re.compile(r"\S*/jobs/[0-9a-f]{16}/")
_MEASURED = {"error": "test error", "D": "D", "G": "G", "R": "R"}


@app.command
def sweep(
    spec: Annotated[Path, flag("Sweep file (base, grid, runs), or the folder of a sweep to go on with.")],
    /,
    *,
    out: Annotated[Path | None, flag("Folder of the sweep.", "runs/NAME")] = None,
    workers: Annotated[int, flag("Jobs at a time on this machine.", "2")] = 2,
    ray: Annotated[str | None, flag("Address of a Ray cluster (auto, HOST:PORT), or local.", "none")] = None,
    retry: Annotated[bool, flag("Do those again that have failed.")] = False,
    status: Annotated[bool, flag("Only say how far it is, also while others work on it.")] = False,
) -> int:
    """Train or measure many networks; go on with what is not done; write a folder of runs and one page."""
    from flexure import fleet

    file, folder = _places(spec, out)
    if status:
        _compare(file, folder)
        return _tell(folder)
    try:
        with _watched(folder) as progress:
            done = fleet.sweep(file, out=folder, workers=workers, ray=ray, retry=retry, progress=progress)
    except KeyboardInterrupt:
        _explain_stop(folder)
        raise
    _show(done)
    return 0 if done.counts["done"] == len(done.jobs) else 1


def _places(spec: Path, out: Path | None) -> tuple[Path, Path]:
    """The sweep file, and the folder of the sweep."""
    from flexure.fleet.driver import default_folder
    from flexure.runs.fields import read_fields

    if spec.is_dir():
        if not (spec / "sweep.yaml").is_file():
            raise RunError(f"{spec}: holds no sweep (no sweep.yaml). A sweep folder is what `flexure sweep` writes.")
        return spec / "sweep.yaml", out or spec
    return spec, out or default_folder(str(read_fields(spec)[0].get("name", spec.stem)))


def _compare(file: Path, folder: Path) -> None:
    """Say where a sweep file asks for what the folder does not have."""
    from flexure.fleet import Sweep
    from flexure.fleet.plan import plan

    if file.parent == folder:
        return
    there, asked = {job.hash for job in Sweep.read(folder).jobs}, {job.hash for job in plan(file).jobs}
    if missing := len(asked - there):
        print(
            f"note: {missing:,} of the {len(asked):,} runs in {file} are not in {folder}. Begin them without --status."
        )


def _tell(folder: Path) -> int:
    """How far it is: once, or in a terminal for as long as a driver works on it."""
    from flexure.fleet import Sweep

    now = Sweep.read(folder)
    if stdout().is_terminal and now.driver:
        with Live(_board(now), console=stdout(), auto_refresh=False) as live:
            while now.driver:
                time.sleep(_PAUSE)
                now = now.refreshed()
                live.update(_board(now), refresh=True)
    else:
        stdout().print(_board(now))
    return 1 if now.counts["failed"] else 0


@contextmanager
def _watched(folder: Path) -> Iterator["Progress | None"]:
    """In a terminal, a table that reads the folder every second; else a line now and then."""
    console = stderr()
    if not console.is_terminal or console.is_dumb_terminal:
        yield Watch(console)("sweep")
        return
    with Live(get_renderable=partial(_look, folder, []), console=console, refresh_per_second=1, transient=True):
        yield None


def _look(folder: Path, seen: list["Sweep"]) -> Group | Text:
    """The board of the folder as it is; what was done when it was last ``seen`` is not looked at again."""
    from flexure.fleet import Sweep

    try:
        seen[:] = [seen[0].refreshed() if seen else Sweep.read(folder)]
    except RunError:  # nothing there yet
        return Text("preparing …")
    return _board(seen[0])


def _board(now: "Sweep") -> Group:
    """Counts and time left; who is at work; who failed, and of what."""
    lines: list[Any] = [Text(_headline(now))]
    for status in ("running", "stopped half way", "failed"):
        rows = [(job, state) for job, state in zip(now.jobs, now.states, strict=True) if state.status == status]
        if rows:
            lines.append(_listing(now, status, rows))
    return Group(*lines)


def _headline(now: "Sweep") -> str:
    from flexure.page.numbers import duration

    total, counts = len(now.jobs), now.counts
    told = [f"{counts[status]:,} {status}" for status in ("running", "waiting", "failed") if counts[status]]
    left = now.seconds_left
    pace = [] if left is None or not counts["running"] else [f"about {duration(left)} left"]
    where = [] if now.driver or counts["done"] + counts["failed"] == total else ["nobody works on it"]
    return f"{now.name}: " + ", ".join([f"{counts['done']:,} of {total:,} done", *told, *pace, *where])


def _listing(now: "Sweep", status: str, rows: list[Any]) -> Table:
    from flexure.page.numbers import duration

    table = Table(box=None, pad_edge=False, show_header=False)
    for job, state in rows[:_ROWS]:
        lasted = "" if state.seconds is None else duration(state.seconds)
        table.add_row(Text(f"  {status}"), Text(now.label(job)), Text(lasted), Text(_short(state.error)))
    if len(rows) > _ROWS:
        table.add_row(Text(f"  {status}"), Text(f"… and {len(rows) - _ROWS:,} more"))
    return table


def _show(done: "Sweep") -> None:
    """The table of the runs, what failed, and where everything lies."""
    from flexure.results import Result

    found = Result.load(done.folder / "sweep.parquet")
    stdout().print(_table(found))
    for note in found.notes:
        print(f"note: {note}")
    if failed := done.counts["failed"]:
        print(f"{failed} failed; their tracebacks are in failed.json in their folders. Try again with --retry.")
    print(f"sweep folder: {done.folder}")
    print(f"page: {page([done.folder], done.folder / 'report.html')}")


def _table(found: "Result") -> Table:
    """A row per run: what varies, how it ended, what was measured."""
    from flexure.page.numbers import as_given, duration

    fields = found.provenance["settings"]["fields"]
    measured = [name for name in _MEASURED if name in found.table]
    table = Table(*fields.values(), "status", "time", *(_MEASURED[name] for name in measured), box=None, pad_edge=False)
    for row in found.table.to_dict("records"):
        numbers = [estimate(row, name) if math.isfinite(row[name]) else Text("") for name in measured]
        ended = Text(f"{row['status']}: {_short(row['reason'])}" if row["reason"] else row["status"])
        table.add_row(*(Text(as_given(row[name])) for name in fields), ended, Text(duration(row["seconds"])), *numbers)
    return table


def _short(reason: str) -> str:
    """The beginning of a reason, without the folder of the job it is the reason of."""
    reason = _JOB.sub("", reason)
    return reason if len(reason) <= _LENGTH else f"{reason[:_LENGTH]} …"


def _explain_stop(folder: Path) -> None:
    if (folder / "jobs.json").is_file():
        from flexure.runs.environment import command_line

        again = command_line(["flexure", "sweep", str(folder)])
        print(f"stopped; what is finished is in {folder}. Go on with: {again}", file=sys.stderr)
