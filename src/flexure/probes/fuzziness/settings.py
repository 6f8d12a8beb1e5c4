"""What is asked of the weights: between which ends, by which index, beside how many shuffles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from flexure.errors import ArgumentError
from flexure.formulas.fuzziness import Index, as_index
from flexure.formulas.memberships import Interval, Trajectory, as_interval

__all__ = ["LEAST_SHUFFLES", "Settings"]

LEAST_SHUFFLES = 20


@dataclass(frozen=True)
class Settings:
    """Everything that decides the numbers, besides the weights.

    Attributes:
        intervals: Between which ends.
        indices: By which index.
        layers: Patterns of the layers that are read; None: all convolutions.
        shuffle_draws: How often changes are shuffled over the weights of a layer; 0: not at all.
        seed: Decides what is drawn.
    """

    intervals: tuple[Interval, ...]
    indices: tuple[Index, ...]
    layers: str | tuple[str, ...] | None = None
    shuffle_draws: int = 0
    seed: int = 0

    @classmethod
    def of(cls, interval: Any, index: Any, layers: Any = None, shuffle_draws: int = 0, seed: int = 0) -> "Settings":
        """Settings from what a user gives: one choice or several, each a name, a name with options, or the thing.

        Raises:
            ArgumentError: A name or value is wrong; the interval of a trajectory, which one set of weights has not.
        """
        if not isinstance(shuffle_draws, Integral) or (shuffle_draws and shuffle_draws < LEAST_SHUFFLES):
            raise ArgumentError(
                f"fuzziness: shuffle_draws must be 0 (none), or at least {LEAST_SHUFFLES} for a spread; got "
                f"{shuffle_draws!r}."
            )
        intervals = tuple(as_interval(choice) for choice in _several("interval", interval))
        if any(isinstance(one, Trajectory) for one in intervals):
            raise ArgumentError(
                "fuzziness: the interval 'trajectory' is of weights on their way: ask a monitor, flexure.monitors."
            )
        indices = tuple(as_index(choice) for choice in _several("index", index))
        patterns = layers if layers is None or isinstance(layers, str) else tuple(layers)
        return cls(tuple(dict.fromkeys(intervals)), tuple(dict.fromkeys(indices)), patterns, int(shuffle_draws), seed)

    def plain(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "interval": [f"{one}, per {one.scope}" for one in self.intervals],
            "index": [str(one) for one in self.indices],
            "layers": list(self.layers) if isinstance(self.layers, tuple) else self.layers,
            "shuffle_draws": self.shuffle_draws,
            "seed": self.seed,
        }


def _several(what: str, choice: Any) -> Sequence[Any]:
    several = [choice] if isinstance(choice, str | Mapping) or not isinstance(choice, Sequence) else list(choice)
    if not several:
        raise ArgumentError(f"fuzziness: no {what}; expected one or several.")
    return several
