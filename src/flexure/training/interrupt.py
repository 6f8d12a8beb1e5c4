"""Requests to stop, held back until a step is whole."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["held_back"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held_back() -> Iterator[list[int]]:
    """Collect Ctrl-C and requests to terminate inside; deliver the first at the end, as if it came only then.

    The list that is handed out holds the signals that came. A second one is delivered at once. Outside the main thread,
    which alone gets signals, nothing is held back; nor is a signal that the program ignores.
    """
    received: list[int] = []
    before: dict[int, Any] = {}

    def note(number: int, frame: Any) -> None:
        received.append(number)
        if len(received) > 1:
            _put_back(before)
            os.kill(os.getpid(), number)

    if threading.current_thread() is threading.main_thread():
        before = {number: found for number in _SIGNALS if (found := signal.getsignal(number)) not in _LEFT_ALONE}
        for number in before:
            signal.signal(number, note)
    try:
        yield received
    finally:
        _put_back(before)
    if received:
        os.kill(os.getpid(), received[0])
        raise KeyboardInterrupt  # where whoever handles the signal lets it pass


_LEFT_ALONE = (signal.SIG_IGN, None)


def _put_back(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
