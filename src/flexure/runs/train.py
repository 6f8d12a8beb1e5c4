"""One training: the network before and after, how it learnt, and what it has become, in one folder."""

import copy
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import ConfigDict, Field
from torch import nn

from flexure import distributed, models
from flexure.bench import Mounted, choose_device, weights_hash
from flexure.data import Images, as_images, content_hash
from flexure.errors import ArgumentError, RunError
from flexure.losses import Loss, Penalty
from flexure.probes import check_probes
from flexure.results import Progress, Result, Run
from flexure.runs.environment import environment, now
from flexure.runs.examine import IncompleteRunError, Listener, earlier, examine_into, plan
from flexure.runs.fields import Fields
from flexure.runs.folder import PARTIAL, RunFolder
from flexure.runs.learned import TRAINING, as_result
from flexure.runs.options import check_options
from flexure.runs.request import Say, describe_network, threads
from flexure.runs.spec import Spec
from flexure.runs.trainee import Trainee, prepare_training, to_measure
from flexure.runs.training_spec import TrainingSpec, check_names
from flexure.runs.watching import foretold, monitors_of
from flexure.specimen import Specimen
from flexure.training import Augmentation, Callback, Recipe, SavedState, Schedule, Stop, follow
from flexure.training.callbacks import check_callbacks

__all__ = ["TrainingRecord", "as_measured", "train", "train_spec"]

INITIAL, LAST, BEST = "initial.safetensors", "last.safetensors", "best.safetensors"


class TrainingRecord(Fields):
    """What :func:`train` writes as ``spec.yaml``: enough to know the training again, not to repeat it from a file."""

    model_config = ConfigDict(title="Flexure training from Python")
    subject = "recipe"
    kind = "training from Python"

    net: str = Field(description="Name of the network.")
    data: str = Field(description="Name of the training images.")
    test: str | None = Field(None, description="Name of the test images.")
    recipe: dict[str, Any] = Field(description="How it was trained; objects by their repr, functions by their names.")
    seed: int = Field(0, description="Every random number follows from it.")
    probes: dict[str, dict[str, Any]] = Field(default_factory=dict, description="None.")
    weights_hash: str | None = Field(None, description="Hash of the network's weights at the start.")
    data_hash: str | None = Field(None, description="Hash of the images' identity.")


def train(
    model: nn.Module | Specimen,
    data: Any,
    *,
    epochs: int,
    lr: float,
    test: Any = None,
    batch_size: int = 64,
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
    test_every: int = 1,
    seed: int = 0,
    device: str | torch.device | None = None,
    callbacks: Sequence[Callback] = (),
    out: str | os.PathLike | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Result:
    r"""How did it learn: loss and accuracy after each pass over the training images?

    Each step follows the gradient of the mean loss of a batch,
    :math:`w \leftarrow w - \eta_t\, \nabla \left(\tfrac1b \sum_i \ell(f(x_i), y_i) + \mathrm{penalty}(w)\right)`, with
    momentum or Adam's scaling, on images in an order drawn anew in every epoch. Every random number depends on the
    seed, the image and the epoch alone. **The network is trained in place**, to the weights after the last epoch.

    Args:
        model: The network, or a specimen, whose normalization is then applied; outputs ``(b, classes)``.
        data: Labelled images: what :func:`flexure.load` returns, a ``Dataset``, a ``DataLoader`` or tensors ``(x, y)``.
        epochs: Passes over them, at least 1.
        lr: Step size :math:`\eta` of the first step, > 0.
        test: Labelled images to test on, which are not trained on. The epoch that does best on them is kept as
            ``best.safetensors``: **that is a look at the test set.**
        batch_size: Images per step, at least 1.
        optimizer: ``"sgd"`` or ``"adam"``.
        momentum: Of SGD; Adam's first beta. In [0, 1).
        nesterov: Whether SGD looks ahead.
        weight_decay: Added to the gradient, times the weights; at least 0.
        decay: ``"all"`` parameters decay, or the ``"matrices"`` alone, which spares biases and batch norms.
        schedule: Stepped per step: ``"cosine"`` (down to 0) or ``"constant"``; per epoch: ``"epoch_cosine"``, the
            papers', which rises again after 80 % of the epochs, or ``"epoch_exponential"``; or a
            :class:`~flexure.training.Schedule`.
        loss: ``"cross_entropy"``, ``"hinge"`` or ``"binary_cross_entropy"`` (one output, classes 0 and 1),
            ``"squared"`` (classes 0 and 1 with one output, or one output per class), an object of
            :mod:`flexure.losses`, or a function of outputs and classes that gives a loss per image, or their mean.
        penalty: ``"filters"``, ``"minmax"``, an object of :mod:`flexure.losses`, or a function of the network; added to
            the mean loss.
        augment: ``"crop"``, ``"flip"``, ``"diffeomorphism"``, or anything called as ``(x, index, *, seed, draw)`` (the
            epoch is the draw), or several in order; applied to raw images.
        corruption: Norm of Gaussian noise on normalized training images, fresh in each epoch (E‖noise‖² is its square).
        precision: ``"float32"``, or ``"bfloat16"`` or ``"float16"`` in the forward pass, by autocast; tests are exact.
        stop: Asked after each epoch whether to end, such as :class:`~flexure.training.EarlyStop`.
        test_every: Epochs between two tests.
        seed: Same seed, same training.
        device: ``"auto"``, ``"cpu"``, ``"cuda:1"``, …; None: where the network lies. It is moved there.
        callbacks: Told how it goes; see :class:`~flexure.training.Callback`.
        out: Run folder: weights before, after and at their best, this result, and while it lasts the state to go on
            from. None: nothing is written.
        resume: Go on with the training that lies in ``out``: on the CPU to the same weights, bit for bit.
        progress: Told ``(done, total)`` after each step.

    Returns:
        One row per epoch: ``loss`` (mean over images, while the weights were moving; a penalty is not in it),
        ``accuracy`` in [0, 1], ``lr`` of the last step, ``n``, ``skipped``, and after the epoch ``test_loss``,
        ``test_accuracy``; each estimate with its standard error ``X_se`` over images. ``status`` tells which epochs
        were not tested; why the training ended is in ``notes``. The error over images says nothing about another seed.

    Raises:
        ArgumentError: An option or number is wrong.
        DataError: An image has no label, or one the network has no output for.
        SpecimenError: The loss is not finite, or the network cannot take the images.
        RunError: ``out`` cannot be written or holds another training; what was saved is kept.

    Cost: ``epochs`` forward and backward passes over the data, and as many forward passes over the test images; while
        it lasts, up to a twentieth of the time for saving.

    Exact case: one step on one batch with SGD is :math:`w - \eta\,(\nabla + \mathrm{decay}\, w)`.
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
    if resume and out is None:
        raise ArgumentError("resume=True needs out=, the folder of the training to go on with.")
    check_callbacks(callbacks)
    shown = None if test is None else as_images(test)
    lesson = _Lesson(recipe, Specimen.of(model), as_images(data), shown, tuple(callbacks), device)
    holding: AbstractContextManager[RunFolder[TrainingRecord] | None] = nullcontext()
    if out is not None:
        _alone()
        holding = RunFolder.hold(out, lesson.record(), resume=resume)
    with holding as folder:
        about = lesson.begin(folder, None)
        result = lesson.learn(folder, progress)
        _finish(folder, about)
    return result


def train_spec(
    spec: TrainingSpec,
    *,
    out: str | os.PathLike,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    progress: Listener | None = None,
    say: Say = lambda text: None,
    command: str | None = None,
) -> Run:
    """Train the network that a spec names, and measure what it has become beside what it was.

    Args:
        spec: What is asked for.
        out: Run folder: ``spec.yaml``, ``env.json``, the weights before, after and at their best, ``training.parquet``,
            a table per probe, and what the monitors saw.
        resume: Go on with what lies there, to the identical result; start where nothing does.
        callbacks: Told how it goes, beside the monitors of the spec.
        progress: Called with ``"training"`` and with each probe's name; returns who is told how far that is.
        say: Told in a sentence what is about to be done.
        command: The command that made the run, for the page.

    Returns:
        The run as it lies in the folder: ``training``, and the probes' results.

    Raises:
        ArgumentError: A name or option is wrong; found before anything is read.
        RunError: The folder cannot be written, or holds another run; found before anything is read.
        IncompleteRunError: Some probes failed; the training and the others are in its ``run``.
        FlexureError: As for :func:`train`.
    """
    _alone()
    asked = () if spec.measure == "none" else check_probes(spec.probes)
    probes = spec.asked({name: spec.probes.get(name, {}) for name in asked})
    spec = spec.model_copy(update={"probes": probes})
    check_names(spec)
    RunFolder.check(out, spec, resume=resume)
    with threads(spec.threads):
        trainee = prepare_training(spec)
        initial = copy.deepcopy(trainee.specimen.model)
        lesson = _Lesson(spec.recipe(), trainee.specimen, trainee.images, trainee.test, (), spec.device, trainee.notes)
        _introduce(spec, trainee, say)
        with RunFolder.hold(out, spec.model_copy(update=lesson.identity()), resume=resume) as folder:
            monitors = monitors_of(spec, trainee, folder.path)
            for told in foretold(monitors, spec, trainee):
                say(f"note: {told}")
            lesson.callbacks = (*monitors, *callbacks)
            about = lesson.begin(folder, command)
            result = lesson.learn(folder, progress("training") if progress is not None else None)
            say(_summary(result))
            if asked:
                _measure(folder, spec, trainee, initial, about, progress, say, result)
            _finish(folder, about)
            return folder.run()


@dataclass
class _Lesson:
    """A training with a folder to write to."""

    recipe: Recipe
    specimen: Specimen
    images: Images
    test: Images | None
    callbacks: tuple[Callback, ...]
    device: str | torch.device | None
    notes: tuple[str, ...] = ()

    def identity(self) -> dict[str, str]:
        """Hashes of the weights and the images."""
        parts = [content_hash(images) for images in (self.images, self.test) if images is not None]
        return {"weights_hash": weights_hash(self.specimen.model), "data_hash": "-".join(parts)}

    def record(self) -> TrainingRecord:
        """What is asked for, as far as a file can tell."""
        record = TrainingRecord(
            net=self.specimen.name,
            data=self.images.name,
            test=None if self.test is None else self.test.name,
            recipe=self.recipe.settings(),
            seed=self.recipe.seed,
        )
        return record.model_copy(update=self.identity())

    def begin(self, folder: RunFolder[Any] | None, command: str | None) -> dict[str, Any]:
        """Write down where this is done, and the weights at the start."""
        about = environment(device=str(choose_device(self.device, self.specimen.model)), command=command)
        if folder is not None:
            about |= earlier(folder)
            folder.describe(about)
            if not (folder.path / INITIAL).is_file():
                models.save_weights(self.specimen.model.state_dict(), folder.path / INITIAL)
        return about

    def learn(self, folder: RunFolder[Any] | None, progress: Progress | None) -> Result:
        """Train, or take what lies in the folder finished; the network has its last weights then."""
        saved = None if folder is None else SavedState(folder.path / PARTIAL / f"{TRAINING}.safetensors")
        if folder is not None and (folder.path / f"{TRAINING}.parquet").is_file():
            models.load_weights(self.specimen.model, folder.path / LAST)
            return Result.load(folder.path / f"{TRAINING}.parquet")
        before = weights_hash(self.specimen.model)
        history = follow(
            self.recipe,
            self.specimen,
            self.images,
            test=self.test,
            callbacks=self.callbacks,
            device=self.device,
            saved=saved,
            progress=progress,
        )
        model = self.specimen.model
        hashes = {"initial": before, "last": weights_hash(model)}
        own = next(p for p in model.parameters() if p.is_floating_point())
        mounted = Mounted(model, self.specimen, own.device, own.dtype)
        result = as_result(history, mounted, self.images, self.test, self.recipe, weights=hashes, notes=self.notes)
        if folder is not None:
            models.save_weights(model.state_dict(), folder.path / LAST)
            if history.best is not None:
                models.save_weights(history.best, folder.path / BEST)
            folder.keep(result)
        return result


def as_measured(run: Run) -> tuple[Specimen, Images]:
    """The network of a finished training and the images that were measured, read again from the run's folder.

    Raises:
        ArgumentError: It is no run of a training, or lies in no folder.
        FlexureError: Weights or images are not there any more.
    """
    if run.folder is None or "net" not in run.spec:
        raise ArgumentError(f"run {run.name!r}: no training in a folder, so there is no network to read again.")
    spec = TrainingSpec.of(run.spec)
    trainee = prepare_training(spec)
    models.load_weights(trainee.specimen.model, run.folder / (BEST if spec.measure == "best" else LAST))
    return trainee.specimen, to_measure(spec, trainee)


def _measure(
    folder: RunFolder[TrainingSpec],
    spec: TrainingSpec,
    trainee: Trainee,
    initial: nn.Module,
    about: dict[str, Any],
    progress: Listener | None,
    say: Say,
    result: Result,
) -> None:
    """Ask the probes about the network as it was and as it is."""
    specimen, images = trainee.specimen, to_measure(spec, trainee)
    if spec.measure == "best":
        models.load_weights(specimen.model, folder.path / BEST)
    fields = {"model": spec.net, "data": spec.data, "probes": spec.probes, "seed": spec.seed, "device": spec.device}
    there = folder.finished()
    left = {name: options for name, options in check_options(spec.probes).items() if name not in there}
    for sentence in plan(left, len(images), initial=True):
        say(sentence)
    try:
        examine_into(folder, Spec.of(fields), specimen, images, about=about, initial=initial, progress=progress)
    except IncompleteRunError as wrong:
        run = wrong.run
        found = {TRAINING: result, **run.results}
        raise IncompleteRunError(str(wrong), Run(run.name, run.spec, run.environment, found, run.folder)) from wrong


def _introduce(spec: TrainingSpec, trainee: Trainee, say: Say) -> None:
    say(f"network: {describe_network(trainee.specimen)}")
    say(
        f"training on {len(trainee.images):,} images of {trainee.images.name} for {_epochs(spec.epochs)}, testing on "
        f"{len(trainee.test):,}"
    )
    for note in trainee.notes:
        say(f"note: {note}")


def _summary(result: Result) -> str:
    """How good it has become, in a sentence."""
    last = result.table.iloc[-1]
    there = f"after {_epochs(int(last['epoch']))}"
    if not last["test_n"]:
        return f"{there}: training loss {last['loss']:.4g}"
    best = result.provenance.get("best_epoch")
    known = result.table.set_index("epoch")["test_accuracy"]
    is_better = best is not None and known[best] > last["test_accuracy"]
    better = f" (best: {known[best]:.4f} after {best})" if is_better else ""
    return f"test accuracy {there}: {last['test_accuracy']:.4f} ± {last['test_accuracy_se']:.4f}{better}"


def _epochs(count: int) -> str:
    return f"{count:,} epoch" if count == 1 else f"{count:,} epochs"


def _finish(folder: RunFolder[Any] | None, about: dict[str, Any]) -> None:
    if folder is not None:
        folder.describe({**about, "finished": now()})


def _alone() -> None:
    if distributed.world_size() > 1:
        raise RunError("a training is done by one process; leave torchrun out, or train several networks by a sweep.")
