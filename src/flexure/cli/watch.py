"""How far the work is, told while it goes on."""

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from flexure.cli.show import is_main

if TYPE_CHECKING:
    from flexure.results import Progress

__all__ = ["Watch"]

QUIET, PAUSE = 2.0, 10.0  # seconds before the first word about progress, and between two lines of it


class Watch:
    """Tells how far each probe is: a bar in a terminal, else a line now and then; nothing about what is quick."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bars: Bars | None = None
        self._tasks: dict[str, Any] = {}
        self._spoke = 0.0

    def __call__(self, name: str) -> "Progress":
        """Who is told about the work of this name."""
        return partial(self._tell, name, time.monotonic(), {})

    def close(self) -> None:
        """Take the bars away."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def _tell(self, name: str, began: float, steps: dict[int, float], done: int, total: int) -> None:
        now = time.monotonic()
        if done <= max(steps, default=0):  # the next network: from the beginning again
            steps.clear()
        steps[done] = now
        if now - began < QUIET or not is_main():
            return
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            self._draw(name, done, total)
        elif len(steps) > 1 and done < total and now - self._spoke >= PAUSE:
            self._spoke = now
            first = min(steps)  # what came before is not the pace of the rest
            left = (now - steps[first]) / (done - first) * (total - done)
            self.console.print(f"{name}: {done:,} of {total:,} ({done / total:.0%}), about {left:,.0f} s left")

    def _draw(self, name: str, done: int, total: int) -> None:
        if self._bars is None:
            columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
            self._bars = Bars(*columns, console=self.console, transient=True)
            self._bars.start()
            self._tasks = {}
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name)
        self._bars.update(self._tasks[name], completed=done, total=total)
