"""One network, every question that applies: run the probes, and keep each answer the moment it is there."""

import inspect
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from flexure import distributed
from flexure.analysis.follow import following
from flexure.bench import choose_device, weights_hash
from flexure.data import Images, as_images, content_hash
from flexure.errors import ArgumentError, FlexureError, RunError
from flexure.probes import PROBES, check_probes, defaults
from flexure.results import Progress, Result, Run
from flexure.runs.environment import environment, now
from flexure.runs.folder import RunFolder
from flexure.runs.options import Options, check_options
from flexure.runs.spec import Spec
from flexure.specimen import Specimen

__all__ = ["IncompleteRunError", "Listener", "earlier", "examine", "examine_into", "examine_spec", "plan"]

Listener = Callable[[str], Progress]


class IncompleteRunError(RunError):
    """Not all could be measured or written; ``run`` holds what was measured, its folder as much as could be written."""

    def __init__(self, message: str, run: Run) -> None:
        super().__init__(message)
        self.run = run


def examine(
    specimen: Specimen | nn.Module,
    data: Any,
    *,
    probes: Sequence[str] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    seed: int = 0,
    batch_size: int = 64,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype = "float32",
    out: str | os.PathLike | None = None,
    resume: bool = False,
    progress: Listener | None = None,
) -> Run:
    """What do all probes say about this network?

    Every probe that applies is asked in turn. Each result is written to ``out`` the moment it is finished; partial
    sums of the one at work are written every few seconds. A probe that fails does not keep the others from running.

    Args:
        specimen: The network; never written to.
        data: Images: what :func:`flexure.load` returns, a ``Dataset``, a ``DataLoader`` or tensors.
        probes: Names of the probes; None: those that run unasked.
        options: Options by probe, as the probe's own function takes them.
        seed: Every random number follows from it.
        batch_size: Rows of one forward pass, at most.
        device: ``"auto"``, ``"cpu"``, ``"cuda:1"``, …; None: where the network lies.
        dtype: Numbers of the network while it is measured.
        out: Run folder to write; None: nothing is written.
        resume: Go on with the run that lies in ``out``, to the identical result.
        progress: Called with a probe's name; returns who is told how far that probe is.

    Returns:
        The run, with one result per probe, and what follows from it: of elasticity the map of classes and the
        similarity against the distance of the images (``class_sensitivity``, ``against_distance``).

    Raises:
        ArgumentError: An unknown probe or option, found before anything is measured.
        RunError: ``out`` cannot be written, or holds another run.
        IncompleteRunError: Some probes failed, or the disk is full; what was measured is in its ``run``.

    Cost: the sum over the probes; :func:`flexure.runs.examine.plan` counts their passes beforehand.
    """
    mounted = Specimen.of(specimen)
    images = as_images(data)
    chosen = {name: dict((options or {}).get(name, {})) for name in check_probes(probes or ())}
    if unused := sorted(set(options or {}) - set(chosen)):
        raise ArgumentError(f"options given for {', '.join(unused)}, which will not run ({', '.join(chosen)} will).")
    spec = Spec.of(
        {
            "model": mounted.name,
            "data": images.name,
            "probes": _plain(chosen),
            "seed": seed,
            "batch_size": batch_size,
            "device": str(choose_device(device, mounted.model)),
            "dtype": str(dtype).removeprefix("torch."),
        },
        source="examine",
    )
    return _Examination(spec, mounted, images, check_options(chosen), progress).carry_out(out, resume=resume)


def examine_spec(
    spec: Spec,
    specimen: Specimen,
    images: Images,
    *,
    initial: nn.Module | None = None,
    out: str | os.PathLike | None = None,
    resume: bool = False,
    progress: Listener | None = None,
    command: str | None = None,
) -> Run:
    """The same for a spec, with the network and the images that it names already at hand.

    Args:
        spec: What is asked for; its ``probes`` are run, or where there are none those that run unasked.
        specimen: The network.
        images: The images.
        initial: The network before training; probes that compare with initialized networks get it.
        out: Run folder to write.
        resume: Go on with the run in it.
        progress: As for :func:`examine`.
        command: The command that made the run, for the page.
    """
    return _examination(spec, specimen, images, initial, progress, command).carry_out(out, resume=resume)


def examine_into(
    folder: RunFolder,
    spec: Spec,
    specimen: Specimen,
    images: Images,
    *,
    about: dict[str, Any],
    initial: nn.Module | None = None,
    progress: Listener | None = None,
) -> Run:
    """The same in a folder that is held already, whatever kind of run it holds.

    Args:
        folder: The folder; results that lie in it are not asked for again.
        spec: What is asked for.
        specimen: The network.
        images: The images.
        about: What ``env.json`` says.
        initial: The network before training.
        progress: As for :func:`examine`.
    """
    return _examination(spec, specimen, images, initial, progress, None).measure(folder, about)


def _examination(
    spec: Spec,
    specimen: Specimen,
    images: Images,
    initial: nn.Module | None,
    progress: Listener | None,
    command: str | None,
) -> "_Examination":
    chosen = {name: spec.probes.get(name, {}) for name in spec.probes or check_probes(())}
    options = check_options(chosen)
    if initial is not None:
        options = {name: _compared(name, own, initial) for name, own in options.items()}
    spec = spec.model_copy(update={"probes": _plain(chosen)})
    return _Examination(spec, specimen, images, options, progress, command)


def plan(options: Mapping[str, Mapping[str, Any]], images: int, *, initial: bool = False) -> list[str]:
    """How often the images will go through a network, a sentence per probe.

    Args:
        options: The probes to run, with their options.
        images: Number of images.
        initial: Whether a network before training is measured beside it.
    """
    sentences = []
    for name, own in options.items():
        extra = {"initialized": 1} if initial and "initialized" not in own else {}
        sentences.append(f"{name}: {_passes(*PROBES[name].cost({**own, **extra}, images), images)}")
    return sentences


def _passes(least: int, most: int, images: int) -> str:
    if most == 0:
        return "reads the weights, no passes over the images"
    passes = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    return f"{passes} {'pass' if most == 1 else 'passes'} over {images:,} {'image' if images == 1 else 'images'}"


@dataclass
class _Examination:
    """One run under way."""

    spec: Spec
    specimen: Specimen
    images: Images
    options: Options
    progress: Listener | None = None
    command: str | None = None

    def carry_out(self, out: str | os.PathLike | None, *, resume: bool) -> Run:
        if resume and out is None:
            raise ArgumentError("resume=True needs out=, the folder of the run to go on with.")
        about = environment(
            device=str(choose_device(self.spec.device, self.specimen.model)),
            world_size=distributed.world_size(),
            command=self.command,
        )
        with self._folder(out, resume) as folder:
            about |= earlier(folder) if folder else {}
            return self.measure(folder, about)

    def measure(self, folder: RunFolder | None, about: dict[str, Any]) -> Run:
        """Ask what is left to be asked, with the folder at hand."""
        results, errors = self._ask_all(folder, about)
        run = self._run(folder, results, about)
        if errors:
            raise _summary(errors, run)
        return run

    def _folder(self, out: str | os.PathLike | None, resume: bool) -> AbstractContextManager[RunFolder | None]:
        if out is None:
            return nullcontext()
        found = {"weights_hash": weights_hash(self.specimen.model), "data_hash": content_hash(self.images)}
        for name, value in found.items():
            if getattr(self.spec, name) not in (None, value):
                what = {"weights_hash": "the network's weights", "data_hash": "the images"}[name]
                raise RunError(
                    f"{what} have changed since the spec was written: {name} was {getattr(self.spec, name)}, is "
                    f"{value}. Restore them, or take the line {name} out of a spec of your own."
                )
        self.spec = self.spec.model_copy(update=found)
        rank, world_size = distributed.rank(), distributed.world_size()
        return RunFolder.hold(out, self.spec, resume=resume, rank=rank, world_size=world_size)

    def _ask_all(
        self, folder: RunFolder | None, about: dict[str, Any]
    ) -> tuple[dict[str, Result], dict[str, FlexureError]]:
        results = folder.finished() if folder else {}
        errors: dict[str, FlexureError] = {}
        _describe(folder, about)
        for name in list(results):
            _follow(results, name, folder)
        for name in [name for name in self.options if name not in results]:
            try:
                with distributed.together():
                    results[name] = self._ask(name, folder)
                if folder is not None:
                    folder.keep(results[name])
                _follow(results, name, folder)
            except RunError as wrong:  # the folder fails, so whatever comes next could not be kept either
                raise IncompleteRunError(str(wrong), self._run(folder, results, about)) from wrong
            except FlexureError as wrong:
                errors[name] = wrong
                about["errors"] = {name: f"{type(wrong).__name__}: {wrong}" for name, wrong in errors.items()}
                _describe(folder, about)
        about["finished"] = now()
        _describe(folder, about)
        return results, errors

    def _ask(self, name: str, folder: RunFolder | None) -> Result:
        probe = PROBES[name].load()
        common = {
            "seed": self.spec.seed,
            "batch_size": self.spec.batch_size,
            "device": self.spec.device,
            "dtype": self.spec.dtype,
            "progress": self.progress(name) if self.progress else None,
            "checkpoint": folder.partial_sums(name) if folder else None,
            "folder": folder.blocks(name) if folder else None,
        }
        takes = inspect.signature(probe).parameters
        known = {option: value for option, value in common.items() if option in takes}
        return probe(self.specimen, self.images, **self.options[name], **known)

    def _run(self, folder: RunFolder | None, results: dict[str, Result], about: dict[str, Any]) -> Run:
        spec = folder.spec if folder else self.spec
        name = folder.path.resolve().name if folder else self.specimen.name
        plain = spec.model_dump(mode="json", exclude_none=True)
        return Run(name, plain, about, results, folder.path if folder else None)


def _follow(results: dict[str, Result], name: str, folder: RunFolder | None) -> None:
    """Add what follows from a result, and keep it beside it."""
    for more in following(results[name]):
        results[more.probe] = more
        if folder is not None:
            folder.keep(more)


def _describe(folder: RunFolder | None, about: Mapping[str, Any]) -> None:
    if folder is not None:
        folder.describe(about)


def earlier(folder: RunFolder) -> dict[str, Any]:
    """What the folder says about the parts of the run before this one; the first command stays the run's command."""
    path = folder.path / "env.json"
    if not path.is_file():
        return {}
    before = json.loads(path.read_text(encoding="utf-8"))
    return {"command": before["command"], "earlier": [*before.pop("earlier", []), before]}


def _summary(errors: Mapping[str, FlexureError], run: Run) -> FlexureError:
    """The error itself where it is the only thing to tell, else one that says what failed and what is there."""
    if len(errors) == 1 and not run.results:
        return next(iter(errors.values()))
    told = " ".join(f"{name}: {str(wrong).rstrip('.')}." for name, wrong in errors.items())
    there = f" What was measured ({', '.join(run.results)}) is kept." if run.results else ""
    return IncompleteRunError(f"{len(errors)} of {len(errors) + len(run.results)} probes failed. {told}{there}", run)


def _compared(name: str, options: Mapping[str, Any], initial: nn.Module) -> dict[str, Any]:
    known = defaults(PROBES[name].load())
    for option, value in (("initialized", [initial]), ("before", initial)):
        if option in options:
            raise ArgumentError(f"{name}.{option} and the weights before training (initial) exclude each other.")
        if option in known:
            return {**options, option: value}
    return dict(options)


def _plain(value: Any) -> Any:
    """The same as JSON values; a network is named by its class and weights."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, nn.Module):
        return f"{type(value).__name__} {weights_hash(value)}"
    return str(value)
