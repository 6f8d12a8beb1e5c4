"""Run one command: errors become a sentence and an exit code."""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from cyclopts import CycloptsError

from flexure.cli import examine, inspect, study, sweep, train  # noqa: F401 - each hangs its commands on the root
from flexure.cli.root import app
from flexure.cli.show import is_main
from flexure.errors import ArgumentError, FlexureError

__all__ = ["main", "run"]

STOPPED, UNREAD = 130, 141


def main() -> None:
    """Run the command that this program was called with, and exit.

    Threads that wait give way: where others compute too, torch's habit of waiting busily makes small networks ten times
    slower. The variable has to be set before torch is loaded.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # whoever was reading has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = UNREAD
    sys.exit(code)


def run(tokens: Sequence[str]) -> int:
    """Run one command; returns the exit code.

    0: done. 1: it could not be done. 2: something in the command is wrong. 130: it was stopped.
    """
    try:
        with _stopped_politely():
            return app(tokens, exit_on_error=False) or 0
    except CycloptsError:
        return 2  # cyclopts has said why
    except FlexureError as wrong:
        if os.environ.get("FLEXURE_DEBUG"):
            raise
        code = 2 if isinstance(wrong, ArgumentError) else 1
        if code == 1 or is_main():
            print(f"flexure: {wrong}", file=sys.stderr)
        return code
    except KeyboardInterrupt:
        return STOPPED


@contextmanager
def _stopped_politely() -> Iterator[None]:
    """Let a request to terminate, as batch systems send it, save what there is, just as Ctrl-C does."""

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
