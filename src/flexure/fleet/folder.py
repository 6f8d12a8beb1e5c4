"""A sweep's folder: which jobs belong to it, how far each is, who works on it. Reading it disturbs nobody."""

import contextlib
import json
import math
import os
import socket
import time
import uuid
from collections import Counter
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import filelock
import pandas as pd

from flexure.errors import RunError
from flexure.fleet.jobs import DONE, FAILED, STARTED, read_record
from flexure.fleet.plan import FORMAT, Job, Plan, label
from flexure.results import Run, read, write_atomically
from flexure.runs.locking import held

__all__ = ["RUNNING", "STOPPED", "WAITING", "State", "Sweep", "apart", "hold", "read_sweep"]

SPEC, JOBS, DRIVER, LOCK = "sweep.yaml", "jobs.json", "driver.json", ".lock"
WAITING, RUNNING, STOPPED = "waiting", "running", "stopped half way"
_PROBE = 1.0  # seconds for which a driver waits for the lock, which whoever looks holds for a moment


@dataclass(frozen=True)
class State:
    """How far one job is.

    Attributes:
        status: ``waiting``, ``running``, ``stopped half way``, ``done`` or ``failed``.
        seconds: How long it took, or has been running; None where it has not begun.
        error: What went wrong, in a sentence.
        finished: When it ended, in seconds since 1970.
        driver: Who had it done.
    """

    status: str
    seconds: float | None = None
    error: str = ""
    finished: float | None = None
    driver: str = ""


@dataclass(frozen=True, repr=False)
class Sweep:
    """What lies in a sweep's folder.

    Attributes:
        folder: The folder.
        name: What the sweep is called.
        jobs: Its jobs in the order of the file.
        states: How far each of them is.
        driver: Who works on it now, as ``driver.json`` says; empty where nobody does.
    """

    folder: Path
    name: str
    jobs: tuple[Job, ...]
    states: tuple[State, ...]
    driver: Mapping[str, Any]

    @classmethod
    def read(cls, folder: str | os.PathLike) -> "Sweep":
        """The sweep in this folder, whether or not somebody works on it.

        Raises:
            RunError: It holds no sweep, one of a newer version, or a file that cannot be read.
        """
        folder = Path(folder)
        about = _about(folder)
        jobs = tuple(Job(**job) for job in about["jobs"])
        return cls(folder, about["name"], jobs, (State(WAITING),) * len(jobs), {}).refreshed()

    def refreshed(self) -> "Sweep":
        """The same, as it is now; only what was not done is looked at again."""
        driver = read_record(self.folder / DRIVER) if _is_held(self.folder) else {}
        known = zip(self.jobs, self.states, strict=True)
        states = [old if old.status == "done" else _state(self.path(job), job, driver) for job, old in known]
        return replace(self, states=tuple(states), driver=driver)

    def told(self, errors: Mapping[str, str]) -> "Sweep":
        """The same, with reasons, by hash, of failures that could not be written down in a job's folder."""
        states = [
            State("failed", error=error) if state.status != "done" and error not in ("", state.error) else state
            for state, error in zip(self.states, (errors.get(job.hash, "") for job in self.jobs), strict=True)
        ]
        return replace(self, states=tuple(states))

    def __fspath__(self) -> str:
        """A sweep may stand wherever its folder may: ``flexure.report(sweep)``."""
        return str(self.folder)

    def path(self, job: Job) -> Path:
        """The folder of a job."""
        return self.folder / "jobs" / job.hash

    def label(self, job: Job) -> str:
        """What a job is called: by what the sweep varies, else as the sweep."""
        return label(job.varied) or self.name

    @property
    def counts(self) -> Mapping[str, int]:
        """Number of jobs by status."""
        return Counter(state.status for state in self.states)

    @property
    def seconds_left(self) -> float | None:
        """How long the rest will take at the pace of whoever works on it; None where that cannot be known."""
        own = self.driver.get("driver")
        ended = sum(state.driver == own and state.status in ("done", "failed") for state in self.states)
        left = self.counts[WAITING] + self.counts[RUNNING] + self.counts[STOPPED]
        return (time.time() - self.driver["began"]) / ended * left if own and ended else None

    def to_frame(self) -> pd.DataFrame:
        """One row per job: what the sweep varies, status, seconds, what went wrong, hash."""
        names = list(dict.fromkeys(name for job in self.jobs for name in job.varied))
        found = {name: [getattr(state, name) for state in self.states] for name in ("status", "seconds", "error")}
        found["hash"] = [job.hash for job in self.jobs]
        fields = {apart(name, found): [job.varied.get(name) for job in self.jobs] for name in names}
        return pd.DataFrame({**fields, **found})

    def runs(self) -> list[Run]:
        """The runs that are done, in order, each named after what the sweep varies.

        Raises:
            RunError: A run's folder cannot be read.
        """
        found = (self.run(job, state) for job, state in zip(self.jobs, self.states, strict=True))
        return [run for run in found if run is not None]

    def run(self, job: Job, state: State) -> Run | None:
        """The run of a job; None where it is not done, or has left no run.

        Raises:
            RunError: It cannot be read.
        """
        if state.status != "done" or not (self.path(job) / "spec.yaml").is_file():
            return None
        return replace(read(self.path(job)), name=self.label(job))

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {status}" for status, count in self.counts.items())
        return f"sweep {self.name!r} in {self.folder}: {counts}\n{self.to_frame().to_string(index=False, max_rows=30)}"


def apart(name: str, taken: Container[str]) -> str:
    """The name of a field, made different from the columns that every table of a sweep has."""
    return f"{name} (field)" if name in taken else name


def read_sweep(folder: str | os.PathLike) -> list[Run]:
    """The finished runs of a sweep, in order, each named after what the sweep varies: ``net=VGG11 seed=3``.

    Raises:
        RunError: The folder holds no sweep, or a file in it cannot be read.
    """
    return Sweep.read(folder).runs()


@contextlib.contextmanager
def hold(folder: Path, plan: Plan, *, workers: int, where: str) -> Iterator[str]:
    """Hold a sweep's folder as its only driver; gives the name under which the driver signs.

    Raises:
        RunError: Another driver holds it, it holds another sweep or one of a newer version, or cannot be written.
    """
    with held(folder, busy=lambda: _who(folder), name=LOCK, patience=_PROBE):
        _check_same(folder, plan)
        driver = uuid.uuid4().hex
        about = {"driver": driver, "pid": os.getpid(), "host": socket.gethostname(), "began": time.time()}
        write_atomically(folder / SPEC, plan.file.to_yaml().encode())
        write_atomically(folder / JOBS, _jobs(plan))
        write_atomically(folder / DRIVER, json.dumps({**about, "workers": workers, "where": where}).encode())
        try:
            yield driver
        finally:
            (folder / DRIVER).unlink(missing_ok=True)


def _who(folder: Path) -> str:
    about = read_record(folder / DRIVER)
    found = f"It is process {about['pid']} on {about['host']}. " if about else ""
    return f"another driver works on this sweep. {found}See how far it is with: flexure sweep {folder} --status"


def _is_held(folder: Path) -> bool:
    """Whether a driver is alive: it holds the lock for as long as it lives, however it ends."""
    if not (folder / DRIVER).is_file():
        return False
    lock = filelock.FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return True
    except OSError:  # somebody else's folder, to be read and not to be written: believe what it says
        return True
    lock.release()
    return False


def _check_same(folder: Path, plan: Plan) -> None:
    if not (folder / JOBS).is_file():
        if (folder / "spec.yaml").is_file():
            raise RunError(f"{folder}: holds a single run, not a sweep. Choose another folder.")
        return
    about = _about(folder)
    for what, here, asked in (("name", about["name"], plan.file.name), ("work", about["work"], plan.file.work)):
        if here != asked:
            raise RunError(
                f"{folder}: holds another sweep ({what}: {here!r} there, {asked!r} asked for). Choose another folder."
            )


def _jobs(plan: Plan) -> bytes:
    jobs = [{"hash": job.hash, "fields": job.fields, "varied": job.varied} for job in plan.jobs]
    about = {"format": FORMAT, "name": plan.file.name, "work": plan.file.work, "jobs": jobs}
    return json.dumps(about, indent=1, ensure_ascii=False, default=str).encode()


def _about(folder: Path) -> dict[str, Any]:
    path = folder / JOBS
    if not path.is_file():
        missing = "holds no sweep (no jobs.json)" if folder.is_dir() else "no such folder"
        raise RunError(f"{folder}: {missing}. A sweep folder is what `flexure sweep` writes.")
    about = read_record(path)
    if about.get("format", FORMAT) > FORMAT:
        raise RunError(f"{path}: format {about['format']}, this version reads up to {FORMAT}. Update Flexure.")
    if not {"name", "work", "jobs"} <= about.keys():
        raise RunError(f"{path}: damaged; expected 'name', 'work' and 'jobs', found {', '.join(about) or 'nothing'}.")
    return about


def _state(folder: Path, job: Job, driver: Mapping[str, Any]) -> State:
    """What the job's records say; one that cannot be read is a failure of this job alone."""
    try:
        return _recorded(folder, job, driver)
    except RunError as wrong:
        return State("failed", error=str(wrong))


def _recorded(folder: Path, job: Job, driver: Mapping[str, Any]) -> State:
    done = read_record(folder / DONE)
    if done.get("hash") == job.hash:
        return _ended("done", done)
    failed, started = (read_record(folder / name) for name in (FAILED, STARTED))
    own = driver.get("driver")
    if own and started.get("driver") == own != failed.get("driver"):
        return State(RUNNING, time.time() - started["began"])
    again = started.get("began", 0.0) > failed.get("finished", math.inf)  # and did not come to an end
    if failed.get("hash") == job.hash and not again:
        return _ended("failed", failed)
    return State(STOPPED if started else WAITING)


def _ended(status: str, about: Mapping[str, Any]) -> State:
    return State(status, about.get("seconds"), about.get("error", ""), about.get("finished"), about.get("driver", ""))
