"""Monitors inside a Trainer of Lightning."""

import math
import warnings
from functools import cache
from typing import Any

from torch import nn

from flexure import ecosystem
from flexure.errors import ArgumentError, nearest
from flexure.monitors.watch import Watch

__all__ = ["LightningCallback"]


class LightningCallback:
    """Any monitors inside a Trainer of Lightning, which trains bit for bit as without them.

    ::

        watch = flexure.monitors.LightningCallback(
            flexure.Monitor("sensitivity", images, every="epoch", out="runs/mine"),
            flexure.monitors.Filters(every=100, out="runs/mine"),
        )
        lightning.Trainer(max_epochs=20, callbacks=[watch]).fit(module, loader)

    Steps are Lightning's ``global_step``: those of the optimizer, so that batches whose gradients are only gathered
    (``accumulate_grad_batches``) are none. Epochs are passes over the training data. The start and the end are
    measured, also of a ``fit`` that goes on from a checkpoint, whose steps continue those of the folder. Validation
    in between, checkpoints and early stops need nothing of their own. Under a distributed strategy every process
    measures its share of the images, and the first one writes.

    It is a callback of ``lightning`` and of ``pytorch_lightning``, whichever is in use when it is made.

    Args:
        *monitors: What :mod:`flexure.monitors` has, at least one.
        network: Name of the part of the module that is measured, such as ``"net"``; None: the whole, by its
            ``forward``.

    Raises:
        ArgumentError: There is none, or one is no monitor. At the start of the training: the module has no such part.
        MissingPackageError: Lightning is not installed: ``pip install "flexure[lightning]"``.
    """

    def __new__(cls, *monitors: Watch, network: str | None = None) -> "LightningCallback":
        """An instance of this class that is also a callback of Lightning."""
        return object.__new__(_made(cls, tuple(module.Callback for module in ecosystem.lightning())))

    def __init__(self, *monitors: Watch, network: str | None = None) -> None:
        super().__init__()
        if not monitors:
            raise ArgumentError("LightningCallback: expected at least one monitor, such as flexure.monitors.Filters().")
        for place, one in enumerate(monitors):
            if not isinstance(one, Watch):
                name = one.__name__ if isinstance(one, type) else type(one).__name__
                advice = f"Give {name}(…)." if isinstance(one, type) else "They stand in flexure.monitors."
                raise ArgumentError(f"LightningCallback: monitor {place} is no monitor but {name}. {advice}")
        self.monitors, self.network, self._told = monitors, network, 0

    def on_train_start(self, trainer: Any, pl_module: nn.Module) -> None:
        """Measure the start, or go on behind the steps of the checkpoint."""
        model, self._told = self._part(pl_module), trainer.global_step
        epochs = trainer.max_epochs if (trainer.max_epochs or -1) > 0 else None
        steps = trainer.estimated_stepping_batches
        for one in self.monitors:
            if told := one.foretell(steps=None if math.isinf(steps) or steps < 0 else int(steps), epochs=epochs):
                warnings.warn(told, stacklevel=2)
            if self._told == 0:
                one.begin(model)
            else:
                one.resume(model, self._told)

    def on_train_batch_end(
        self, trainer: Any, pl_module: nn.Module, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Measure if it is time to; a batch without a step of the optimizer is passed over."""
        step = trainer.global_step
        if step > self._told:
            self._told = step
            for one in self.monitors:
                one.on_step_end(step, self._part(pl_module))

    def on_train_epoch_end(self, trainer: Any, pl_module: nn.Module) -> None:
        """Measure if it is time to."""
        for one in self.monitors:
            one.end_epoch(trainer.current_epoch + 1, self._part(pl_module))

    def on_train_end(self, trainer: Any, pl_module: nn.Module) -> None:
        """Measure the end, and write all steps of each monitor as one result."""
        for one in self.monitors:
            one.end(self._part(pl_module))

    def _part(self, pl_module: nn.Module) -> nn.Module:
        """The network inside Lightning's module."""
        if self.network is None:
            return pl_module
        try:
            return pl_module.get_submodule(self.network)
        except AttributeError:
            valid = [name for name, _ in pl_module.named_children()]
            raise ArgumentError(
                f"LightningCallback: {type(pl_module).__name__} has no part {self.network!r}. "
                f"{nearest(self.network, valid)}"
            ) from None


@cache
def _made(own: type, parents: tuple[type, ...]) -> type:
    """The class with Lightning's callbacks behind it, which bring the hooks that are left alone."""
    return type(own.__name__, (own, *parents), {"__doc__": own.__doc__, "__module__": own.__module__})
