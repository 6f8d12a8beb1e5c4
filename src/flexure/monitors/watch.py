"""What all monitors share: when to look, how far the training is, and whether it is the one of the looks before."""

import math
import uuid
import warnings
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from torch import nn

from flexure import distributed, rng
from flexure.errors import ArgumentError, RunError
from flexure.monitors.moments import Every, moments
from flexure.monitors.written import first_of
from flexure.training import Callback, EpochRecord, History

__all__ = ["Look", "Watch"]


class Look(NamedTuple):
    """A look that was taken: in which training, and at which weights."""

    training: str
    weights_hash: str


class Watch(Callback):
    """Looks at a network at chosen moments of its training, which never notices: what all monitors share.

    A callback of our own loop; one of Lightning's by :class:`~flexure.monitors.LightningCallback`; in anyone's loop
    it is called. Subclasses say what a look is.

    Args:
        name: What it is called in messages.
        every: A number of steps; ``"epoch"``, ``"2 epochs"``; ``"log"`` for steps 1, 2, 4, 8, …; or the steps
            themselves.
    """

    def __init__(self, name: str, every: Every) -> None:
        self.name, self.moments = name, moments(every)
        self._step, self._last = 0, math.inf
        self._training: str | None = None
        self._since: int | None = None
        self._ended = (0, 0)
        self._is_foretold = False

    @abstractmethod
    def _look(self, step: int, model: nn.Module, epoch: int | None) -> None:
        """Look at the network; the global generators are put back afterwards."""

    @abstractmethod
    def _looks(self) -> Mapping[int, Look]:
        """The looks that were taken, here or by those before, by step."""

    @abstractmethod
    def _hash(self, model: nn.Module) -> str:
        """A hash of the weights that are looked at."""

    @abstractmethod
    def _place(self) -> str | None:
        """The folder in words; None where nothing is written."""

    @abstractmethod
    def _finish(self) -> None:
        """Write what is written at the end."""

    def __call__(self, step: int, model: nn.Module, *, epoch: int | None = None) -> None:
        """Measure if it is time to.

        Args:
            step: Training steps made so far; 0 before the first, which is measured always.
            model: The network, or what wraps it (``DistributedDataParallel``, a compiled module).
            epoch: At the end of an epoch, its number (1 is the first).

        Raises:
            ArgumentError: ``every`` counts epochs, but ``epoch`` is missing.
            RunError: What was measured before is another training's.
        """
        self._tell(step)
        if step > 0 and epoch is None and self.moments.in_epochs:
            raise ArgumentError(
                f"{self.name}: every= counts epochs, so call monitor(step, model, epoch=…) at the end of each; or give "
                "a number of steps, every=100."
            )
        if step == 0 or self.moments.at_step(step) or (epoch is not None and self.moments.at_epoch(epoch)):
            self.measure(step, model, epoch=epoch)

    def measure(self, step: int, model: nn.Module, *, epoch: int | None = None) -> None:
        """Measure now, whether it is time to or not; a step that has been measured is not measured again."""
        self._tell(step)
        self._last, epoch = step, 0 if step == 0 else epoch
        with rng.undisturbed():
            if self._training is None:
                self._training = self._identity(step, model)
            self._look(step, model, epoch)

    def foretell(self, *, steps: int | None, epochs: int | None) -> str:
        """What should be said before a training of so many steps and epochs: that no moment falls into it, or nothing.

        It is not said again at the start.
        """
        self._is_foretold = True
        if self.moments.fall_within(steps=steps, epochs=epochs):
            return ""
        made = "" if steps is None else f"{steps:,} steps"
        whole = "" if epochs is None else f"{epochs:,} epoch" + "s" * (epochs != 1)
        return (
            f"{self.name}: every={self.moments.named} names no moment of a training of "
            f"{' and '.join(filter(None, (made, whole)))}; only its start and its end will be measured."
        )

    def on_start(self, model: nn.Module, epochs: int) -> None:
        """Measure before the first step."""
        if not self._is_foretold and (told := self.foretell(steps=None, epochs=epochs)):
            warnings.warn(told, stacklevel=2)
        self.begin(model)

    def on_resume(self, model: nn.Module, epochs: int, step: int) -> None:
        """Go on behind step ``step``."""
        self.resume(model, step)

    def on_step_end(self, step: int, model: nn.Module) -> None:
        """Measure if it is time to."""
        self._step = step
        if self.moments.at_step(step):
            self.measure(step, model)

    def on_epoch_end(self, epoch: int, model: nn.Module, record: EpochRecord) -> None:
        """Measure if it is time to; a step that was just measured learns its epoch."""
        self.end_epoch(epoch, model)

    def on_end(self, model: nn.Module, history: History) -> None:
        """Measure the end, and write all steps as one result."""
        self.end(model)

    def begin(self, model: nn.Module) -> None:
        """What :meth:`on_start` does, for loops that tell other things than ours."""
        self._since = None
        self.measure(0, model)

    def resume(self, model: nn.Module, step: int) -> None:
        """What :meth:`on_resume` does, for other loops."""
        self._step, self._since = step, step + 1
        self._training = self._identity(step, model)
        if self.moments.at_step(step):
            self.measure(step, model)

    def end_epoch(self, epoch: int, model: nn.Module) -> None:
        """What :meth:`on_epoch_end` does, for other loops."""
        self._ended = (self._step, epoch)
        if self.moments.at_epoch(epoch) or self._last == self._step:
            self.measure(self._step, model, epoch=epoch)

    def end(self, model: nn.Module) -> None:
        """What :meth:`on_end` does, for other loops."""
        step, epoch = self._ended
        self.measure(self._step, model, epoch=epoch if step == self._step else None)
        self._finish()

    def _unnamed(self, places: Iterable[tuple[int, float]]) -> str:
        """A sentence where no moment that was asked for has come; ``places`` are step and epoch of all looks."""
        if not self._step or any(step and self._names(step, epoch) for step, epoch in places):
            return ""
        return (
            f"every={self.moments.named} has named none of the {self._step:,} steps so far: the start and the end are "
            "measured without it, and nothing between."
        )

    def _names(self, step: int, epoch: float) -> bool:
        """Whether this step, or the end of this epoch, is one of the moments that were asked for."""
        return self.moments.at_step(int(step)) or (float(epoch).is_integer() and self.moments.at_epoch(int(epoch)))

    def _tell(self, step: int) -> None:
        """Know how far the training is, and where it began; steps that go back are those of another."""
        if self._since is None or step < self._step:
            self._since, self._training = step, None
        self._step = step

    def _identity(self, step: int, model: nn.Module) -> str:
        """Which training this is: that of the steps before those that are told, or else a new one.

        Raises:
            RunError: What was measured before is of another.
        """
        known, since = self._looks(), self._since or 0
        earlier = [one.training for at, one in sorted(known.items()) if at < since and since > 1]
        alike = step in known and known[step].weights_hash == self._hash(model)
        is_other = not alike and (step in known if step < since else bool(known) and not earlier)
        name = earlier[-1] if earlier else uuid.uuid4().hex[:12]
        is_other, name = distributed.gather((is_other, name))[0]
        if is_other:
            where, advice = f"{self.name}: has", "Make a Monitor for each training."
            if (place := self._place()) is not None:
                where, advice = f"{place}: holds", "Choose another folder, or move this one away."
            raise RunError(
                f"{where} measurements of another training, at steps {first_of(sorted(known))}: none at step {step} "
                f"with the weights that this training has there. {advice}"
            )
        return name
