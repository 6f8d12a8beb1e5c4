"""A worker process: does orders one after the other, and ends when there is nobody left to give them."""

import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flexure.fleet.jobs import Order, as_json, attempt

__all__ = ["LOG", "main"]

LOG = "log.txt"
GRACE = 10.0  # seconds in which a job that is interrupted has to have saved its partial sums


def main() -> None:
    """Read orders from standard input and write outcomes to standard output, as lines of JSON.

    The end of standard input, which also comes when whoever gives the orders is killed, interrupts the job at work.
    What jobs print goes to ``log.txt`` in their folders.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    orders, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever is printed between two jobs is no answer
    waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(orders, waiting), daemon=True).start()
    with suppress(KeyboardInterrupt, BrokenPipeError):  # between two jobs, or nobody listens: nothing is to be saved
        print(json.dumps({"ready": os.getpid()}), file=answers, flush=True)
        while (line := waiting.get()) is not None:
            order = Order(**json.loads(line))
            with _printing_to(Path(order.folder)):
                outcome = attempt(order)
            print(as_json(outcome), file=answers, flush=True)
    os._exit(0)  # without waiting for threads that a job may have left behind


def _listen(orders: Iterator[str], waiting: "queue.SimpleQueue[str | None]") -> None:
    for line in orders:
        waiting.put(line)
    waiting.put(None)
    os.kill(os.getpid(), signal.SIGINT)
    threading.Event().wait(GRACE)
    os._exit(1)


@contextmanager
def _printing_to(folder: Path) -> Iterator[None]:
    """What is printed meanwhile, by C code too, goes to the job's log; an empty log is not kept."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError:  # the job itself will say what is wrong with its folder
        yield
        return
    before = os.dup(1), os.dup(2)
    for number in (1, 2):
        os.dup2(log, number)
    os.close(log)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, old in zip((1, 2), before, strict=True):
            os.dup2(old, number)
            os.close(old)
        if not (folder / LOG).stat().st_size:
            (folder / LOG).unlink()
