"""What decides the numbers of the accuracy probe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flexure.errors import ArgumentError
from flexure.losses import Loss, as_loss
from flexure.perturb.corruption import GaussianCorruption

__all__ = ["AccuracySettings"]


@dataclass(frozen=True)
class AccuracySettings:
    """What decides the numbers.

    Attributes:
        corruption: Norms of the noise.
        draws: Noises per image and level.
        batch_size: Images of one forward pass, at most.
        seed: Decides the noises.
        loss: What is averaged, and which class outputs stand for; None: cross-entropy, or hinge for one output.
    """

    corruption: tuple[float, ...]
    draws: int
    batch_size: int
    seed: int
    loss: Loss | None = None

    @classmethod
    def of(
        cls,
        corruption: float | Sequence[float],
        *,
        draws: int,
        batch_size: int = 64,
        seed: int = 0,
        loss: str | Mapping[str, Mapping[str, Any]] | Loss | None = None,
    ) -> "AccuracySettings":
        """The settings, checked.

        Raises:
            ArgumentError: A level is negative, not finite or given twice, there is none, a count is below 1, or there
                is no such loss.
        """
        levels = [corruption] if isinstance(corruption, int | float) else list(corruption)
        if not levels:
            raise ArgumentError("accuracy: corruption names no level; give at least one, such as 0.")
        found = tuple(float(GaussianCorruption(level).level) for level in levels)
        if len(set(found)) < len(found):
            raise ArgumentError(f"accuracy: every level of corruption once; got {found}.")
        for name, count in (("draws", draws), ("batch_size", batch_size)):
            if not isinstance(count, int) or count < 1:
                raise ArgumentError(f"accuracy: {name} must be a whole number of at least 1; got {count!r}.")
        return cls(found, draws, batch_size, seed, None if loss is None else as_loss(loss))

    def plain(self) -> dict[str, Any]:
        """As JSON values: the loss by its repr, or its name."""
        loss = None if self.loss is None else getattr(self.loss, "__qualname__", None) or repr(self.loss)
        return {**vars(self), "loss": loss}

    @property
    def passes(self) -> int:
        """How often the images go through the network."""
        return sum(self.draws if level else 1 for level in self.corruption)
