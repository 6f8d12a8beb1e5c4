"""One job of a sweep: what it does, and the files that say how it ended, each of which appears whole or not at all."""

import contextlib
import json
import os
import socket
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from flexure.errors import ArgumentError, FlexureError, RunError
from flexure.fleet.kinds import kind_of
from flexure.results import write_atomically
from flexure.runs.locking import held

__all__ = [
    "ATTEMPTS", "DONE", "FAILED", "STARTED",
    "Order", "Outcome", "Setbacks",
    "as_json", "attempt", "carry_out", "fail", "is_done", "named", "read_record", "sentence",
]  # fmt: skip

ATTEMPTS = 3  # times a job is begun that does not come to an end
DONE, FAILED, STARTED = "done.json", "failed.json", "started.json"
_LOCK = ".job.lock"
_PATIENCE = 60.0  # seconds until whoever else holds a job's folder has to have let go of it

Work = Callable[[dict[str, Any], Path], Any]


@dataclass(frozen=True)
class Order:
    """A job as it is handed to whoever does it, as plain values.

    Attributes:
        hash: The job's.
        fields: What is asked for.
        folder: Where it belongs.
        work: ``module:function`` that does it; None: a training or a measurement.
        driver: Who hands it out.
    """

    hash: str
    fields: dict[str, Any]
    folder: str
    work: str | None
    driver: str


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended.

    Attributes:
        hash: The job's.
        status: ``done``, ``failed`` or ``stopped`` (by request, half way).
        error: What went wrong, in a sentence.
    """

    hash: str
    status: str
    error: str = ""


def carry_out(fields: Mapping[str, Any], folder: str | os.PathLike) -> None:
    """Train or measure what these fields say in ``folder``; go on with what lies there half done.

    Raises:
        FlexureError: It could not be done; the message says why.
    """
    kind_of(fields).carry_out(fields, Path(folder))


def attempt(order: Order) -> Outcome:
    """Do a job unless it is done already, and write down how it ended.

    Whatever a job raises is written down and handed back, never raised: the other jobs go on. An interrupt is neither
    success nor failure and leaves the job to be gone on with.
    """
    folder = Path(order.folder)
    try:
        with _held(folder):
            return _attempt(order, folder)
    except KeyboardInterrupt:
        return Outcome(order.hash, "stopped")
    except FlexureError as wrong:
        return Outcome(order.hash, "failed", sentence(wrong))


def _attempt(order: Order, folder: Path) -> Outcome:
    if is_done(folder, order.hash):
        return Outcome(order.hash, "done")
    began = time.time()
    try:
        _record(folder / STARTED, order, pid=os.getpid(), host=socket.gethostname(), began=began)
        _work(order.work)(order.fields, folder)
        _record(folder / DONE, order, seconds=time.time() - began, finished=time.time())
    except (Exception, SystemExit) as wrong:
        return _failed(order, folder, sentence(wrong), traceback.format_exc(), began)
    with contextlib.suppress(OSError):  # it stands beside done.json, which wins
        (folder / FAILED).unlink(missing_ok=True)
    return Outcome(order.hash, "done")


def fail(order: Order, error: str, details: str = "") -> Outcome:
    """Write down a failure that the job itself could not, because its process died; unless it had just finished."""
    folder = Path(order.folder)
    try:
        with _held(folder):
            if is_done(folder, order.hash):
                return Outcome(order.hash, "done")
            began = read_record(folder / STARTED).get("began", time.time())
            return _failed(order, folder, error, details or error, float(began))
    except FlexureError:
        return Outcome(order.hash, "failed", error)


class Setbacks:
    """How often each job was begun without coming to an end."""

    def __init__(self) -> None:
        self._times: Counter[str] = Counter()

    def again(self, order: Order, what: str, details: str = "") -> Outcome | None:
        """None: begin it once more. Else this has happened too often, and is written down as the job's failure."""
        self._times[order.hash] += 1
        if self._times[order.hash] < ATTEMPTS:
            return None
        return fail(order, f"{what}, as before: {ATTEMPTS} times in all", details)


def _failed(order: Order, folder: Path, error: str, details: str, began: float) -> Outcome:
    lasted = {"seconds": time.time() - began, "finished": time.time()}
    try:
        _record(folder / FAILED, order, error=error, traceback=_readable(details), **lasted)
    except RunError as wrong:  # a full disk, most likely; the job is then simply tried again next time
        error = f"{error} (This could not be written down: {wrong})"
    return Outcome(order.hash, "failed", error)


def is_done(folder: Path, hash: str) -> bool:
    """Whether the job of this hash has been finished in this folder."""
    return read_record(folder / DONE).get("hash") == hash


def _record(path: Path, order: Order, **facts: Any) -> None:
    """Write a small file about a job, whole or not at all."""
    about = {"format": 1, "hash": order.hash, "driver": order.driver, **facts}
    write_atomically(path, (json.dumps(about, indent=2, ensure_ascii=False) + "\n").encode())


def read_record(path: Path) -> dict[str, Any]:
    """What such a file says; empty where there is none.

    Raises:
        RunError: It is there but cannot be read.
    """
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(about, dict):
            raise ValueError("it holds no names with values")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as wrong:
        raise RunError(f"{path}: cannot be read ({wrong}). Delete the file to have the job done again.") from wrong
    return about


def named(work: Work | str) -> str:
    """The name under which another process can import this function: ``module:function``.

    Raises:
        ArgumentError: There is no such function, or it cannot be imported by name.
    """
    if isinstance(work, str):
        _work(work)
        return work
    name = f"{getattr(work, '__module__', None)}:{getattr(work, '__qualname__', work)}"
    if name.startswith("__main__:"):
        raise ArgumentError(
            f"work={name}: other processes cannot import what is in the main program; move it to a module."
        )
    try:
        found = _work(name)
    except ArgumentError:
        found = None
    if found is not work:
        raise ArgumentError(f"work={name}: other processes cannot import this; expected a function of a module.")
    return name


def _work(name: str | None) -> Work:
    if name is None:
        return carry_out
    module, colon, function = name.partition(":")
    try:
        found = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as wrong:
        raise ArgumentError(f"work={name!r}: cannot be imported ({wrong}); expected module:function.") from wrong
    if not (colon and callable(found)):
        raise ArgumentError(f"work={name!r}: not a function; expected module:function.")
    return found


def _held(folder: Path) -> AbstractContextManager[None]:
    """Hold a job's folder. Whoever holds it else is the last breath of a driver that was killed."""
    busy = "another process is still at this job. Wait for it, or end it."
    return held(folder, busy=lambda: busy, name=_LOCK, patience=_PATIENCE, deep=True)


def sentence(wrong: BaseException) -> str:
    """The error in one line; ours need no class in front of them."""
    text = _readable(" ".join(str(wrong).split()))
    return text if isinstance(wrong, FlexureError) and text else f"{type(wrong).__name__}: {text}"


def _readable(text: str) -> str:
    """The text with a code for what no file can hold: bytes in a file's name that are no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def as_json(value: Order | Outcome) -> str:
    """One line that says it all."""
    return json.dumps(asdict(value))
