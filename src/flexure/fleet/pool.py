"""Workers on this machine: processes that live as long as the sweep, replaced when they are killed."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from flexure.errors import RunError
from flexure.fleet.jobs import ATTEMPTS, Order, Outcome, Setbacks, as_json
from flexure.fleet.worker import GRACE, LOG

__all__ = ["Pool", "cores"]

_PULSE = 0.5  # seconds between two looks at whether the workers live
_TAIL = 2_000  # characters of a log that are quoted
_PROGRAM = "from flexure.fleet.worker import main; main()"


@dataclass(eq=False)
class _Worker:
    """One process, the order it is at, and whether it has ever been ready."""

    process: subprocess.Popen[str]
    heard: "queue.SimpleQueue[tuple[_Worker, str | None]]" = field(repr=False)
    order: Order | None = None
    ready: bool = False

    def listen(self) -> None:
        with self._stream(self.process.stdout) as answers:
            for line in answers:
                self.heard.put((self, line))
        self.heard.put((self, None))

    def give(self, order: Order) -> None:
        self.order = order
        orders = self._stream(self.process.stdin)
        with contextlib.suppress(BrokenPipeError):  # it has died; whoever listens will hear so
            print(as_json(order), file=orders, flush=True)

    def dismiss(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._stream(self.process.stdin).close()

    @staticmethod
    def _stream(stream: IO[str] | None) -> Any:
        return stream


class Pool:
    """Does orders with so many processes; a context, at the end of which none of them is left.

    Each imports torch once. One that dies is replaced and its job begun again, from what it had saved, at most three
    times in all. Where orders are left at the end, because the driver was interrupted, the jobs at work are asked to
    save what they have.
    """

    def __init__(self, workers: int, logs: Path, *, cpus: int | None = None) -> None:
        self._most, self._logs = workers, logs
        self._cpus, self._threads = cpus, cpus or max(1, cores() // workers)
        self._workers: list[_Worker | None] = []
        self._stillborn = 0  # workers in a row that died before they were ready
        self._heard: queue.SimpleQueue[tuple[_Worker, str | None]] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, wrong: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the workers go; those that do not within a while are killed."""
        there = [worker for worker in self._workers if worker is not None]
        for worker in there:
            worker.dismiss()
        try:
            for worker in there:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    worker.process.wait(GRACE + 2)
        finally:  # also where the user has no patience for that
            for worker in there:
                worker.process.kill()
                worker.process.wait()

    def outcomes(self, orders: Iterable[Order]) -> Iterator[Outcome]:
        """Do the orders; each outcome is handed out as it comes.

        Raises:
            RunError: No worker can be started.
        """
        left = deque(orders)
        setbacks = Setbacks()
        self._workers = [None] * min(self._most, len(left))
        while left or self._busy():
            self._hand_out(left)
            worker, line = self._listen()
            if worker is None:
                continue
            if line is None:
                yield from self._bury(worker, setbacks, left)
            elif not worker.ready:
                worker.ready = True
            elif (order := worker.order) is not None:
                worker.order, outcome = None, Outcome(**json.loads(line))
                if outcome.status == "stopped":  # somebody interrupted this worker, and not the sweep
                    yield from self._again(order, "its worker was interrupted", setbacks, left)
                else:
                    yield outcome

    def _busy(self) -> bool:
        return any(worker is not None and worker.order is not None for worker in self._workers)

    def _hand_out(self, left: deque[Order]) -> None:
        for place, worker in enumerate(self._workers):
            if not left:
                return
            if worker is None:
                worker = self._workers[place] = self._start(place)
            if worker.order is None:
                worker.give(left.popleft())

    def _listen(self) -> tuple[_Worker | None, str | None]:
        """The next word of a worker. One may die without a last word, if a process of its own keeps the line open."""
        try:
            worker, line = self._heard.get(timeout=_PULSE)
            return (worker, line) if worker in self._workers else (None, None)
        except queue.Empty:
            dead = [worker for worker in self._workers if worker is not None and worker.process.poll() is not None]
            return (dead[0], None) if dead and self._heard.empty() else (None, None)

    def _bury(self, worker: _Worker, setbacks: Setbacks, left: deque[Order]) -> Iterator[Outcome]:
        worker.dismiss()
        code = worker.process.wait()
        place = self._workers.index(worker)
        self._workers[place] = None
        self._stillborn = 0 if worker.ready else self._stillborn + 1
        if self._stillborn == ATTEMPTS:
            raise RunError(f"no worker can be started: {_reason(code)}. {_tail(self._log(place))}")
        if worker.order is not None and not worker.ready:
            left.appendleft(worker.order)
        elif worker.order is not None:
            yield from self._again(worker.order, f"its worker died of {_reason(code)}", setbacks, left)

    def _again(self, order: Order, what: str, setbacks: Setbacks, left: deque[Order]) -> Iterator[Outcome]:
        """Put a job back that did not come to an end, unless that has happened too often."""
        failure = setbacks.again(order, what, _tail(Path(order.folder) / LOG))
        if failure is None:
            left.appendleft(order)
        else:
            yield failure

    def _start(self, place: int) -> _Worker:
        self._logs.mkdir(parents=True, exist_ok=True)
        with self._log(place).open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self._environment(place),
                start_new_session=True,  # Ctrl-C is the driver's, who then asks the workers to save what they have
            )
        worker = _Worker(process, self._heard)
        threading.Thread(target=worker.listen, daemon=True).start()
        return worker

    def _environment(self, place: int) -> dict[str, str]:
        """Cores are shared out, and so are GPUs: ``device: auto`` takes the one of this number, modulo their number."""
        own = {"LOCAL_RANK": str(place), "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}
        threads = {"OMP_NUM_THREADS": str(self._threads)}
        if self._cpus is not None:  # asked for in the sweep's file; what is exported gives way
            own |= threads
        return {**threads, "OMP_WAIT_POLICY": "PASSIVE", **os.environ, **own}

    def _log(self, place: int) -> Path:
        return self._logs / f"worker-{place}.log"


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _reason(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    more = ": out of memory, perhaps; fewer workers take less" if code == -signal.SIGKILL else ""
    return f"signal {-code} ({signal.Signals(-code).name}{more})"


def _tail(log: Path) -> str:
    """The end of what was printed, for whoever has to find out what happened."""
    text = log.read_text(encoding="utf-8", errors="replace").strip() if log.is_file() else ""
    return f"Its last words ({log}): {text[-_TAIL:]}" if text else "It printed nothing."
