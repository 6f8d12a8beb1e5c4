"""One plain training loop, the same every time it is run with the same seed."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from flexure import rng
from flexure.bench import Mounted, choose_device, mount
from flexure.data import as_images
from flexure.data.stream import Batch, Images
from flexure.errors import ArgumentError, DataError, SpecimenError, nearest
from flexure.results import Progress
from flexure.specimen import Specimen
from flexure.training.callbacks import Callback, EpochRecord, History

__all__ = ["OPTIMIZERS", "SCHEDULES", "Accuracy", "accuracy", "fit"]


def _sgd(parameters: Any, lr: float, momentum: float, weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr, momentum, weight_decay=weight_decay)


def _adam(parameters: Any, lr: float, momentum: float, weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr, betas=(momentum, 0.999), weight_decay=weight_decay)


OPTIMIZERS: Mapping[str, Callable[..., torch.optim.Optimizer]] = MappingProxyType({"sgd": _sgd, "adam": _adam})

SCHEDULES: Mapping[str, Callable[[float], float]] = MappingProxyType(
    {"cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)), "constant": lambda done: 1.0}
)
"""Factor on the step size when a share ``done``, in [0, 1), of all steps has been made."""


@dataclass(frozen=True)
class Accuracy:
    r"""A share of right answers.

    Attributes:
        value: Right answers per image, in [0, 1].
        se: Standard error for ``n`` independent images, :math:`\sqrt{p (1 - p) / n}`.
        n: Images that were read.
        skipped: Images that could not be read.
    """

    value: float
    se: float
    n: int
    skipped: int = 0


def fit(
    model: nn.Module | Specimen,
    data: Any,
    *,
    epochs: int,
    lr: float,
    batch_size: int = 64,
    seed: int = 0,
    optimizer: str = "sgd",
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    schedule: str = "cosine",
    callbacks: Sequence[Callback] = (),
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> History:
    """Train a classifier in place, by cross-entropy on shuffled batches.

    The order of images in an epoch depends on ``(seed, epoch, image index)`` alone, and the global generators (dropout)
    are seeded for each epoch and put back; on the CPU the same call gives the same weights, whatever the callbacks do.
    An image left over alone at the end of an epoch joins the batch before, since batch norm needs two.

    Args:
        model: The network, or a specimen, whose normalization is then applied. **Its weights are changed**; the mode
            of each module is put back.
        data: Labelled images, anything :func:`flexure.data.as_images` takes.
        epochs: Passes over the data, at least 1.
        lr: Step size of the first step, > 0.
        batch_size: Images per step, at least 1.
        seed: Same seed, same training.
        optimizer: ``"sgd"`` or ``"adam"``.
        momentum: Of SGD; Adam's first beta. In [0, 1).
        weight_decay: Added to the gradient, times the weights; at least 0.
        schedule: ``"cosine"`` (from ``lr`` down to 0, step by step) or ``"constant"``.
        callbacks: Told how it goes.
        device: Where to train; the network is moved there. None: where it is.
        progress: Told ``(done, total)`` after each step.

    Returns:
        Loss and accuracy of each epoch.

    Raises:
        ArgumentError: An option or number is wrong.
        DataError: An image has no label, or one the network has no output for.
        SpecimenError: The loss is not finite, or the network cannot take the images.

    Cost: ``epochs`` forward and backward passes over the data, which are read anew each time.
    """
    _check(epochs, lr, batch_size, momentum, weight_decay)
    for name, table, kind in ((optimizer, OPTIMIZERS, "optimizer"), (schedule, SCHEDULES, "schedule")):
        if name not in table:
            raise ArgumentError(f"fit: no {kind} {name!r}. {nearest(name, table)}")
    images, specimen = as_images(data), Specimen.of(model)
    modes = {module: module.training for module in specimen.model.modules()}
    learner = _Learner.of(specimen, device)
    steps = OPTIMIZERS[optimizer](learner.mounted.model.parameters(), lr, momentum, weight_decay)
    plan = _Plan(epochs, lr, batch_size, seed, SCHEDULES[schedule], progress)
    try:
        return _run(learner, steps, images, plan, callbacks)
    finally:
        for module, training in modes.items():
            module.training = training


def accuracy(
    model: nn.Module | Specimen, data: Any, *, batch_size: int = 256, device: str | torch.device | None = None
) -> Accuracy:
    """How many images does a classifier get right? The network leaves as it came.

    Args:
        model: The network, or a specimen, whose normalization is then applied.
        data: Labelled images, anything :func:`flexure.data.as_images` takes.
        batch_size: Images per forward pass.
        device: Where to measure; None: where the network is.

    Raises:
        DataError: An image has no label, or no image can be read.
        SpecimenError: The network cannot take the images.

    Cost: one pass over the data.
    """
    images = as_images(data)
    right = count = skipped = 0
    with mount(Specimen.of(model), device=device) as mounted:
        for positions in torch.arange(len(images)).split(batch_size):
            batch = _labelled(images, positions.tolist())
            skipped += len(batch.skipped)
            count += len(batch.y)
            if len(batch.y):
                right += int((_logits(mounted, batch).argmax(1).cpu() == batch.y).sum())
    if not count:
        raise DataError(f"{images.name}: none of its {len(images)} images can be read.")
    share = right / count
    return Accuracy(share, math.sqrt(share * (1 - share) / count), count, skipped)


@dataclass(frozen=True)
class _Plan:
    epochs: int
    lr: float
    batch_size: int
    seed: int
    factor: Callable[[float], float]
    progress: Progress | None

    def batches(self, images: Images, epoch: int) -> Sequence[torch.Tensor]:
        """Positions of each batch of one epoch."""
        index = torch.as_tensor(images.indices)
        lots = rng.integers(1, seed=self.seed, purpose="training order", index=index, draw=epoch)[:, 0]
        parts = list(lots.argsort(stable=True).split(self.batch_size))
        if len(parts) > 1 and len(parts[-1]) == 1:
            parts[-2:] = [torch.cat(parts[-2:])]
        return parts

    def seed_of(self, epoch: int) -> int:
        """Seed of the global generators during one epoch."""
        return rng.key(self.seed, f"training epoch {epoch}")[0]


@dataclass(frozen=True, eq=False)
class _Learner:
    """A network in training, with the way from raw images to logits."""

    mounted: Mounted

    @classmethod
    def of(cls, specimen: Specimen, device: str | torch.device | None) -> "_Learner":
        model = specimen.model.to(choose_device(device, specimen.model))
        own = next((p for p in model.parameters() if p.requires_grad and p.is_floating_point()), None)
        if own is None:
            raise SpecimenError(f"{specimen.name}: it has no parameters that can be trained.")
        return cls(Mounted(model, specimen, own.device, own.dtype))

    def step(self, batch: Batch, steps: torch.optim.Optimizer) -> tuple[float, int]:
        """One step on one batch: its mean loss and number of right answers, both before the step."""
        logits = _logits(self.mounted, batch)
        y = batch.y.to(logits.device)
        loss = F.cross_entropy(logits, y)
        steps.zero_grad(set_to_none=True)
        loss.backward()
        steps.step()
        return loss.item(), int((logits.argmax(1) == y).sum())


def _run(
    learner: _Learner, steps: torch.optim.Optimizer, images: Images, plan: _Plan, callbacks: Sequence[Callback]
) -> History:
    model, history = learner.mounted.model, History()
    model.eval()
    for callback in callbacks:
        callback.on_start(model, plan.epochs)
    for epoch in range(1, plan.epochs + 1):
        model.train()
        with rng.seeded(plan.seed_of(epoch)):
            record = _epoch(learner, steps, images, plan, epoch)
        history = History((*history.records, record))
        model.eval()
        for callback in callbacks:
            callback.on_epoch_end(epoch, model, record)
    for callback in callbacks:
        callback.on_end(model, history)
    return history


def _epoch(learner: _Learner, steps: torch.optim.Optimizer, images: Images, plan: _Plan, epoch: int) -> EpochRecord:
    batches = plan.batches(images, epoch)
    total, lost, right, count, skipped, lr = plan.epochs * len(batches), 0.0, 0, 0, 0, plan.lr
    for number, positions in enumerate(batches):
        done = (epoch - 1) * len(batches) + number
        lr = plan.lr * plan.factor(done / total)
        for group in steps.param_groups:
            group["lr"] = lr
        batch = _labelled(images, positions.tolist())
        skipped += len(batch.skipped)
        if len(batch.y):
            loss, hits = learner.step(batch, steps)
            if not math.isfinite(loss):
                raise SpecimenError(
                    f"{learner.mounted.specimen.name}: the loss is {loss} at epoch {epoch}, step {number + 1} "
                    f"(lr {lr:.3g}). A smaller lr may help."
                )
            lost, right, count = lost + loss * len(batch.y), right + hits, count + len(batch.y)
        if plan.progress:
            plan.progress(done + 1, total)
    if not count:
        raise DataError(f"{images.name}: none of its {len(images)} images can be read.")
    return EpochRecord(epoch, lost / count, right / count, lr, count, skipped)


def _labelled(images: Images, positions: Sequence[int]) -> Batch:
    batch = images.read(positions)
    if (batch.y < 0).any():
        first = int(batch.index[batch.y < 0][0])
        raise DataError(f"{images.name}: image {first} has no label; a class index is needed for each.")
    return batch


def _logits(mounted: Mounted, batch: Batch) -> torch.Tensor:
    x = batch.x.to(device=mounted.device, dtype=mounted.dtype)
    logits = mounted.forward(mounted.normalized(x))
    name = mounted.specimen.name
    if logits.ndim != 2:
        raise SpecimenError(f"{name}: expected logits (batch, classes); got shape {tuple(logits.shape)}.")
    if int(batch.y.max()) >= logits.shape[1]:
        raise DataError(f"{name} has {logits.shape[1]} outputs, but there is an image of class {int(batch.y.max())}.")
    return logits


def _check(epochs: int, lr: float, batch_size: int, momentum: float, weight_decay: float) -> None:
    for name, value, good, wanted in _rules(epochs, lr, batch_size, momentum, weight_decay):
        if not good:
            raise ArgumentError(f"fit: {name} must be {wanted}; got {value}.")


def _rules(
    epochs: int, lr: float, batch_size: int, momentum: float, weight_decay: float
) -> Iterator[tuple[str, float, bool, str]]:
    yield "epochs", epochs, epochs >= 1, "at least 1"
    yield "lr", lr, 0 < lr < math.inf, "> 0 and finite"
    yield "batch_size", batch_size, batch_size >= 1, "at least 1"
    yield "momentum", momentum, 0 <= momentum < 1, "in [0, 1)"
    yield "weight_decay", weight_decay, 0 <= weight_decay < math.inf, "at least 0 and finite"
