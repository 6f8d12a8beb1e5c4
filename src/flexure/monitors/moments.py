"""When to measure: every so many steps or epochs, at given steps, or ever more rarely."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from numbers import Integral

from flexure.errors import ArgumentError

__all__ = ["Every", "Moments", "moments"]

Every = int | str | Iterable[int]


@dataclass(frozen=True)
class Moments:
    """The moments of a training at which to measure; the start and the end always are.

    Attributes:
        at_step: Whether step ``step`` (1 is the first) is one.
        at_epoch: Whether the end of epoch ``epoch`` (1 is the first) is one.
        in_epochs: Whether epochs decide.
        named: What was asked for, as it is written.
    """

    at_step: Callable[[int], bool]
    at_epoch: Callable[[int], bool]
    in_epochs: bool = False
    named: str = ""

    def fall_within(self, *, steps: int | None, epochs: int | None) -> bool:
        """Whether one of them comes in a training of so many steps and epochs; None: as many as may be.

        >>> moments("5 epochs").fall_within(steps=60, epochs=3), moments(50).fall_within(steps=60, epochs=3)
        (False, True)
        """
        bound, falls = (epochs, self.at_epoch) if self.in_epochs else (steps, self.at_step)
        return bound is None or any(map(falls, range(1, bound + 1)))


def moments(every: Every) -> Moments:
    """The moments that ``every`` names.

    Args:
        every: A number of steps; ``"epoch"``, ``"2 epochs"``, ``"100 steps"``; ``"log"`` for steps 1, 2, 4, 8, …;
            or the steps themselves.

    >>> [step for step in range(1, 10) if moments("log").at_step(step)]
    [1, 2, 4, 8]
    >>> moments("2 epochs").at_epoch(4), moments([3, 5]).at_step(4)
    (True, False)

    Raises:
        ArgumentError: It names none.
    """
    if isinstance(every, str):
        return replace(_in_words(every), named=repr(every))
    if isinstance(every, Integral) and not isinstance(every, bool):
        return replace(_steps(int(every), every), named=str(every))
    if isinstance(every, bool) or not isinstance(every, Iterable):
        raise _refusal(every)
    chosen = list(every)
    if not chosen or any(not isinstance(step, Integral) or isinstance(step, bool) or step < 0 for step in chosen):
        raise _refusal(every if isinstance(every, list | tuple | set | frozenset | range) else chosen)
    wanted = frozenset(map(int, chosen))
    few = ", ".join(map(str, chosen[:5])) + ", …" * (len(chosen) > 5)
    return Moments(lambda step: step in wanted, _never, named=f"[{few}]")


def _in_words(every: str) -> Moments:
    if every == "log":
        return Moments(lambda step: step > 0 and step & (step - 1) == 0, _never)
    found = re.fullmatch(r"(?:every )?(?:(\d+) )?(step|epoch)s?", every.strip())
    if not found:
        raise _refusal(every)
    count = int(found[1] or 1)
    if found[2] == "step":
        return _steps(count, every)
    if count < 1:
        raise _refusal(every)
    return Moments(_never, lambda epoch: epoch % count == 0, in_epochs=True)


def _steps(count: int, every: object) -> Moments:
    if count < 1:
        raise _refusal(every)
    return Moments(lambda step: step % count == 0, _never)


def _never(number: int) -> bool:
    return False


def _refusal(every: object) -> ArgumentError:
    return ArgumentError(
        f"every: expected a number of steps of at least 1, 'epoch', '2 epochs', 'log', or steps such as [0, 10, 100]; "
        f"got {every!r}."
    )
