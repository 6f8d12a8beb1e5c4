"""What was asked for on the command line or in a file, checked before anything is read, then carried out."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from flexure import data, distributed, models
from flexure.errors import ArgumentError, RunError
from flexure.results import Run
from flexure.runs import demo
from flexure.runs.examine import Listener, examine_spec, plan
from flexure.runs.fields import HASHES, check_kind, located, read_fields
from flexure.runs.folder import RunFolder, default_folder, folder_for, latest
from flexure.runs.options import merge_settings, parse_settings
from flexure.runs.spec import Spec, check_names
from flexure.specimen import Specimen

__all__ = ["Request", "Say", "describe_network", "prepare", "request", "threads"]

Say = Callable[[str], None]
_Numbers = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class Request:
    """A run that can begin.

    Attributes:
        spec: What to measure.
        out: Run folder.
        resume: Whether to go on with what is in it.
        demo: Whether the network has to be trained first.
    """

    spec: Spec
    out: Path
    resume: bool = False
    demo: bool = False

    def agreed(self) -> "Request":
        """The same on every process: a folder that one of them found free is free no longer once it is used."""
        return distributed.gather(self)[0]

    def carry_out(self, *, progress: Listener | None = None, say: Say = lambda text: None) -> Run:
        """Train if need be, read network and images, measure, write the folder.

        Args:
            progress: As for :func:`flexure.examine`; also called with ``"training"``.
            say: Told in a sentence what is about to be done.

        Raises:
            RunError: The folder cannot be written, or holds another run; found before anything is read.
        """
        if distributed.is_main():
            RunFolder.check(self.out, self.spec, resume=self.resume)
        with threads(self.spec.threads):
            if self.demo:
                told = progress("training") if progress is not None else None
                demo.train(self.out, seed=self.spec.seed, progress=told, say=say)
            return self._measure(progress, say)

    def _measure(self, progress: Listener | None, say: Say) -> Run:
        specimen, images, initial = prepare(self.spec)
        say(f"network: {describe_network(specimen)}")
        say(f"images: {len(images):,} of {images.name}")
        left = {name: options for name, options in self.spec.probes.items() if not self._has(name)}
        for sentence in plan(left, len(images), initial=initial is not None) or ["nothing is left to be measured"]:
            say(sentence)
        return examine_spec(
            self.spec, specimen, images, initial=initial, out=self.out, resume=self.resume, progress=progress
        )

    def _has(self, probe: str) -> bool:
        return self.resume and (self.out / f"{probe}.parquet").is_file()


def request(
    given: Mapping[str, Any],
    *,
    probes: Iterable[str] = (),
    settings: Iterable[str] = (),
    config: str | os.PathLike | None = None,
    out: str | os.PathLike | None = None,
    resume: bool = False,
) -> Request:
    """Put together what flags, a file or a run folder say, and check every name in it.

    Args:
        given: Fields of a :class:`Spec` that were given; they win over the file's.
        probes: Names of the probes to run; none: those of the file, else those that run unasked.
        settings: Options as ``probe.option=value``; they win over the file's.
        config: YAML file with fields of a spec.
        out: Run folder; None: a fresh one under ``runs``, or with ``resume`` the last one of that name.
        resume: Go on with the run in ``out``; its ``spec.yaml`` then supplies what was not given.

    Raises:
        ArgumentError: A name, option or value is wrong; nothing has been read but the file.
    """
    parsed = parse_settings(settings)
    if resume and config is None and "model" not in given:
        config, out = _stored(out)
    fields, text = read_fields(config) if config is not None else ({}, "")
    check_kind(fields, Spec.kind, str(config))
    is_demo = "model" not in given and "model" not in fields
    if is_demo:
        out = folder_for(out, demo.FOLDER, resume=resume)
        fields = {**fields, **demo.fields(out, {**fields, **given})}
    elif not given.keys() <= _INCIDENTAL:
        fields = {name: value for name, value in fields.items() if name not in HASHES}
    of_file = fields
    with located(of_file, str(config), text):
        asked = merge_settings(fields.get("probes"), parsed, probes)
    fields = {**fields, **given, "probes": asked}
    if "data" not in fields:
        raise ArgumentError(f"--data is missing: which images shall {fields['model']} be shown? {_EXAMPLES}")
    spec = Spec.of(fields, source=str(config or ""), text=text)
    with located(of_file, str(config), text):
        check_names(spec, trained=not is_demo)
    folder = folder_for(out, default_folder(spec.model, spec.data), resume=resume)
    return Request(spec, folder, resume, is_demo)


_EXAMPLES = "Such as --data digits, --data cifar10 --root ~/data, or --data folder:PATH."
_INCIDENTAL = {"device", "dtype", "batch_size", "trust", "download"}


def _stored(out: str | os.PathLike | None) -> tuple[Path | None, Path]:
    """The spec in the folder to go on with, and the folder."""
    folder = latest(demo.FOLDER) if out is None else Path(out)
    if (folder / "spec.yaml").is_file():
        return folder / "spec.yaml", folder
    if out is not None:
        raise RunError(f"{folder}: holds no run to go on with (no spec.yaml). Leave --resume out to start one.")
    return None, folder


def prepare(spec: Spec) -> tuple[Specimen, data.Images, nn.Module | None]:
    """The network, the images, and the network before training where one is named.

    Raises:
        FlexureError: A file is missing, or weights or images do not fit; the message says which.
    """
    specimen = _resolved(spec, spec.weights)
    images = data.load(
        spec.data,
        root=spec.root,
        limit=spec.limit if spec.hold_out is None else None,
        seed=spec.seed,
        image_size=spec.image_size or (None if data.is_made(spec.data) else specimen.image_size),
        split=spec.split,
        download=spec.download,
    )
    if spec.hold_out is not None:
        images = data.sample(data.hold_out(images, spec.hold_out, seed=spec.seed)[1], spec.limit, seed=spec.seed)
    specimen = replace(specimen, bounds=data.bounds_of(images) or specimen.bounds)
    initial = _resolved(spec, spec.initial).model if spec.initial is not None else None
    return specimen, images, initial


def _resolved(spec: Spec, weights: str | None) -> Specimen:
    return models.resolve(
        spec.model,
        weights=weights,
        normalize=spec.normalize,
        image_size=spec.image_size,
        num_classes=spec.num_classes,
        trust=spec.trust,
        seed=spec.seed,
    )


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """So many CPU threads inside, as before outside; None changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def describe_network(specimen: Specimen) -> str:
    """Name, size and normalization of a network in a sentence."""
    parameters = sum(p.numel() for p in specimen.model.parameters())
    pixels = "taken as they are"
    if specimen.normalize is not None:
        mean, std = ("/".join(f"{value:.3g}" for value in part) for part in cast(_Numbers, specimen.normalize))
        pixels = f"normalized by mean {mean} and std {std}"
    return f"{specimen.name}, {parameters:,} parameters, pixels {pixels}"
