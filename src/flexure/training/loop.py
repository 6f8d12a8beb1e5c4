"""One plain training loop, the same every time it is run with the same seed."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from flexure import rng
from flexure.bench import mount
from flexure.data import as_images
from flexure.data.stream import Batch, Images
from flexure.errors import DataError, SpecimenError
from flexure.losses import Loss, Penalty, answers
from flexure.results import Progress
from flexure.specimen import Specimen
from flexure.stats import standard_error
from flexure.training.augmentation import Augmentation
from flexure.training.callbacks import Callback, History, check_callbacks, listens_to_steps
from flexure.training.interrupt import held_back
from flexure.training.journey import Journey
from flexure.training.learner import Learner, labelled, outputs_of, reseed
from flexure.training.recipe import Recipe
from flexure.training.saving import SavedState
from flexure.training.schedules import Schedule
from flexure.training.stopping import Stop
from flexure.training.tally import Tally

__all__ = ["Accuracy", "accuracy", "fit", "follow"]


@dataclass(frozen=True)
class Accuracy:
    r"""A share of right answers.

    Attributes:
        value: Right answers per image, in [0, 1].
        se: Standard error for ``n`` independent images, :math:`\sqrt{p (1 - p) / (n - 1)}`; NaN for one.
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
    nesterov: bool = False,
    weight_decay: float = 0.0,
    decay: str = "all",
    schedule: str | Schedule = "cosine",
    loss: str | Loss = "cross_entropy",
    penalty: str | Penalty | None = None,
    augment: str | Augmentation | Sequence[str | Augmentation] = (),
    corruption: float | Augmentation | None = None,
    precision: str = "float32",
    stop: Stop | None = None,
    test: Any = None,
    test_every: int = 1,
    callbacks: Sequence[Callback] = (),
    device: str | torch.device | None = None,
    saved: SavedState | None = None,
    progress: Progress | None = None,
) -> History:
    """Train a classifier in place, on shuffled batches.

    The order of images in an epoch depends on ``(seed, epoch, image index)`` alone, what is done to an image on
    ``(seed, image index, epoch)``, and the global generators (dropout) are seeded for each step and put back; on the
    CPU the same call gives the same weights, whatever the callbacks do. An image left over alone at the end of an epoch
    joins the batch before, since batch norm needs two.

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
        nesterov: Whether SGD looks ahead.
        weight_decay: Added to the gradient, times the weights; at least 0.
        decay: ``"all"`` parameters decay, or the ``"matrices"`` alone: those that are no vectors, which spares biases
            and batch norms.
        schedule: Stepped per step: ``"cosine"`` (from ``lr`` down to 0) or ``"constant"``; per epoch:
            ``"epoch_cosine"`` (the papers', which rises again after 80 % of the epochs) or ``"epoch_exponential"``; or
            a :class:`~flexure.training.Schedule`.
        loss: ``"cross_entropy"``, ``"hinge"`` or ``"binary_cross_entropy"`` (one output, classes 0 and 1),
            ``"squared"``, or any function of outputs ``(b, q)`` and classes ``(b,)`` that gives a loss per image, or
            their mean. One with a method ``answers`` says which class outputs stand for (:mod:`flexure.losses`).
        penalty: ``"filters"``, ``"minmax"``, an object of :mod:`flexure.losses`, or a function of the network; added to
            the mean loss.
        augment: ``"crop"``, ``"flip"``, ``"diffeomorphism"``, or anything called as ``(x, index, *, seed, draw)``, or
            several in order: what is done to raw training images, with the epoch as ``draw``.
        corruption: Norm of Gaussian noise on normalized training images, drawn anew in each epoch; or anything called
            like an augmentation.
        precision: ``"float32"`` (numbers as they are), or ``"bfloat16"`` or ``"float16"`` in the forward pass, by
            autocast; the loss of float16 is scaled, so that small gradients do not vanish. Tests are not cast.
        stop: Asked after each epoch whether to end (:class:`~flexure.training.EarlyStop`).
        test: Labelled images to test on after every ``test_every`` epochs; the weights of the epoch that does best on
            them are kept in ``History.best``. **That is a look at the test set.**
        test_every: Epochs between two tests.
        callbacks: Told how it goes; see :class:`~flexure.training.Callback`.
        device: Where to train; the network is moved there. None: where it is.
        saved: Where the state is saved, and taken from if there is one: the training then goes on, on the CPU to the
            same weights bit for bit. Ctrl-C and a request to terminate wait for the end of the step, and the state is
            saved first.
        progress: Told ``(done, total)`` after each step.

    Returns:
        Loss and accuracy of each epoch, why it ended, and the best weights.

    Raises:
        ArgumentError: An option or number is wrong, or a callback lacks a method that it needs.
        DataError: An image has no label, or one the network has no output for.
        SpecimenError: The loss is not finite, or the network cannot take the images.
        RunError: The saved state cannot be read or written, or belongs to another training.

    Cost: ``epochs`` forward and backward passes over the data, which are read anew each time, and as many forward
        passes over the test images.
    """
    recipe = Recipe(
        epochs=epochs,
        lr=lr,
        batch_size=batch_size,
        seed=seed,
        optimizer=optimizer,
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
        decay=decay,
        schedule=schedule,
        loss=loss,
        penalty=penalty,
        augment=augment,
        corruption=corruption,
        precision=precision,
        stop=stop,
        test_every=test_every,
    )
    return follow(recipe, model, data, test=test, callbacks=callbacks, device=device, saved=saved, progress=progress)


def follow(
    recipe: Recipe,
    model: nn.Module | Specimen,
    data: Any,
    *,
    test: Any = None,
    callbacks: Sequence[Callback] = (),
    device: str | torch.device | None = None,
    saved: SavedState | None = None,
    progress: Progress | None = None,
) -> History:
    """What :func:`fit` does, with all that decides a training in one object."""
    check_callbacks(callbacks)
    images, specimen = as_images(data), Specimen.of(model)
    shown = None if test is None else as_images(test)
    modes = {module: module.training for module in specimen.model.modules()}
    learner = Learner(specimen, recipe, device)
    try:
        with rng.undisturbed():
            return _Training(learner, images, shown, callbacks, saved, progress).carry_out()
    finally:
        for module, training in modes.items():
            module.training = training


def accuracy(
    model: nn.Module | Specimen,
    data: Any,
    *,
    loss: Loss | None = None,
    batch_size: int = 256,
    device: str | torch.device | None = None,
) -> Accuracy:
    """How many images does a classifier get right? The network leaves as it came.

    Args:
        model: The network, or a specimen, whose normalization is then applied.
        data: Labelled images, anything :func:`flexure.data.as_images` takes.
        loss: What it learnt by, where a single output is not judged by its sign (:class:`~flexure.losses.Squared`).
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
            batch = labelled(images, positions.tolist())
            skipped += len(batch.skipped)
            count += len(batch.y)
            if len(batch.y):
                x = batch.x.to(device=mounted.device, dtype=mounted.dtype)
                outputs = outputs_of(mounted, mounted.normalized(x), batch)
                right += int((answers(outputs, loss).cpu() == batch.y).sum())
    if not count:
        raise DataError(f"{images.name}: none of its {len(images)} images can be read.")
    share = right / count
    return Accuracy(share, float(standard_error(count * share * (1 - share), count)), count, skipped)


class _Training:
    """One training under way."""

    def __init__(
        self,
        learner: Learner,
        images: Images,
        test: Images | None,
        callbacks: Sequence[Callback],
        saved: SavedState | None,
        progress: Progress | None,
    ) -> None:
        self.learner, self.images, self.test = learner, images, test
        self.recipe, self.model = learner.recipe, learner.mounted.model
        self.callbacks, self.saved, self.progress = callbacks, saved, progress
        self.of_steps = [callback for callback in callbacks if listens_to_steps(callback)]
        self.settings = {**self.recipe.settings(), "images": len(images), "data": images.name}
        self.steps = self.recipe.batches(len(images))
        self.at = Journey()

    def carry_out(self) -> History:
        self._begin()
        holding: AbstractContextManager[list[int]] = nullcontext([]) if self.saved is None else held_back()
        with holding as signals:
            while not signals and not self._ended():
                self._epoch(signals)
        history = self.at.history(self._ended() or "")
        self._tell(self.callbacks, lambda callback: callback.on_end(self.model, history))
        return history

    def _begin(self) -> None:
        found = None if self.saved is None else self.saved.load(self.settings)
        if found is None:
            self._tell(self.callbacks, lambda callback: callback.on_start(self.model, self.recipe.epochs))
            return
        tensors, facts = found
        self.learner.load(tensors)
        self.learner.scaler.load_state_dict(facts["scaler"])
        self.at = Journey.read(tensors, facts)
        self._tell(
            self.callbacks,
            lambda callback: getattr(callback, "on_resume", _nothing)(self.model, self.recipe.epochs, self.at.step),
        )

    def _ended(self) -> str | None:
        """Why there is no further epoch; None within one, and where there is."""
        if not self.at.is_between_epochs:
            return None
        if self.recipe.stop is not None and (reason := self.recipe.stop(self.at.records)):
            return reason
        return f"all {self.recipe.epochs} epochs were made" if self.at.epoch > self.recipe.epochs else None

    def _epoch(self, signals: list[int]) -> None:
        batches = self._batches(self.at.epoch)
        self.model.train()
        while self.at.batch < len(batches) and not signals:
            self._step(batches[self.at.batch])
            self._keep(signals, at_epoch_end=False)
        if not signals:
            self._finish_epoch()
            self._keep(signals, at_epoch_end=True)

    def _step(self, positions: torch.Tensor) -> None:
        at, recipe = self.at, self.recipe
        at.lr = recipe.lr * recipe.schedule(at.step / (recipe.epochs * self.steps), at.epoch - 1, recipe.epochs)
        self.learner.set_lr(at.lr)
        batch = labelled(self.images, positions.tolist())
        at.tally.skipped += len(batch.skipped)
        if len(batch.y):
            self._learn(batch)
        at.batch += 1
        at.step += 1
        self._tell(self.of_steps, lambda callback: callback.on_step_end(at.step, self.model))
        if self.progress:
            self.progress(at.step, recipe.epochs * self.steps)

    def _learn(self, batch: Batch) -> None:
        reseed(self.recipe.seed, self.at.step)
        found = self.learner.step(batch, self.at.epoch)
        if not math.isfinite(found.loss):
            raise SpecimenError(
                f"{self.learner.mounted.specimen.name}: the loss is {found.loss} at epoch {self.at.epoch}, "
                f"step {self.at.batch + 1} (lr {self.at.lr:.3g}). A smaller lr may help."
            )
        self.at.tally.add(found)

    def _finish_epoch(self) -> None:
        if not self.at.tally.n:
            raise DataError(f"{self.images.name}: none of its {len(self.images)} images can be read.")
        self.model.eval()
        record = self.at.finish(self._tested())
        if self.at.is_best(record):
            self.at.best = {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}
        self._tell(self.callbacks, lambda callback: callback.on_epoch_end(record.epoch, self.model, record))

    def _tested(self) -> Tally | None:
        epoch = self.at.epoch
        due = epoch % self.recipe.test_every == 0 or epoch == self.recipe.epochs
        return self.learner.test(self.test) if self.test is not None and due else None

    def _tell(self, callbacks: Sequence[Callback], what: Callable[[Callback], None]) -> None:
        """Tell callbacks something, with the network in evaluation mode; they may have changed it."""
        if callbacks:
            training = self.model.training
            for callback in callbacks:
                self.model.eval()
                what(callback)
            self.model.train(training)

    def _keep(self, signals: list[int], *, at_epoch_end: bool) -> None:
        if self.saved is not None and (signals or self._ended() or self.saved.is_due(at_epoch_end=at_epoch_end)):
            tensors = {**self.learner.state(), **self.at.tensors()}
            facts = {**self.at.facts(), "scaler": self.learner.scaler.state_dict()}
            self.saved.save(self.settings, tensors, facts)

    def _batches(self, epoch: int) -> Sequence[torch.Tensor]:
        """Positions of each batch of one epoch."""
        index = torch.as_tensor(self.images.indices)
        lots = rng.integers(1, seed=self.recipe.seed, purpose="training order", index=index, draw=epoch)[:, 0]
        parts = list(lots.argsort(stable=True).split(self.recipe.batch_size))
        if len(parts) > 1 and len(parts[-1]) == 1:
            parts[-2:] = [torch.cat(parts[-2:])]
        return parts


def _nothing(*_: Any) -> None:
    """What a callback without ``on_resume`` does."""
