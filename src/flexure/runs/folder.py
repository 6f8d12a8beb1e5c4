"""The folder of one run: ``spec.yaml``, ``env.json``, a file per finished probe, and the partial sums of the others."""

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from flexure.errors import RunError
from flexure.results import Result, Run, read, write_atomically
from flexure.runs.fields import HASHES, Fields, read_fields
from flexure.runs.locking import can_be_made, held

__all__ = ["PARTIAL", "PartialSums", "RunFolder", "default_folder", "folder_for", "fresh", "latest"]

S = TypeVar("S", bound=Fields)

PARTIAL = ".partial"
_PAUSE = 5.0  # seconds between two saves of partial sums, at least
_PAUSE_PER_SAVE = 20.0  # the same, as a multiple of the time that a save takes


class PartialSums:
    """Where one process leaves the sums of an unfinished probe; fulfils ``results.Checkpoint``."""

    def __init__(self, path: Path, *, pause: float = _PAUSE) -> None:
        self.path = path
        self._pause = pause
        self._saved_at = time.monotonic()

    def load(self, settings: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
        """The arrays saved last for exactly these settings, or None.

        Raises:
            RunError: The file is damaged.
        """
        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, framework="numpy") as file:
                if (file.metadata() or {}).get("settings") != _digest(settings):
                    return None
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        except (OSError, SafetensorError) as wrong:
            raise RunError(
                f"{self.path}: partial sums cannot be read ({wrong}). Delete the file to start over."
            ) from wrong

    def save(self, settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray], *, force: bool = False) -> None:
        """Write these arrays; passed over if the last time was a moment ago, unless ``force``.

        The pause between two saves grows with the time they take, so that saving costs a twentieth at most.
        """
        began = time.monotonic()
        if not force and began - self._saved_at < self._pause:
            return
        packed = save(
            {name: np.array(value, order="C") for name, value in arrays.items()}, {"settings": _digest(settings)}
        )
        write_atomically(self.path, packed)
        self._saved_at = time.monotonic()
        self._pause = max(self._pause, _PAUSE_PER_SAVE * (self._saved_at - began))


class RunFolder(Generic[S]):
    """A run's folder, held by one writer.

    Attributes:
        path: The folder.
        spec: What was asked for, including what earlier calls asked of the same network and data.
    """

    def __init__(self, path: Path, spec: S, *, rank: int = 0, world_size: int = 1) -> None:
        self.path, self.spec = path, spec
        self._rank, self._world_size = rank, world_size

    @classmethod
    @contextmanager
    def hold(
        cls, path: str | os.PathLike, spec: S, *, resume: bool = False, rank: int = 0, world_size: int = 1
    ) -> Iterator["RunFolder[S]"]:
        """Hold the folder ``path`` for writing, made if need be; released at the end.

        With several processes the first alone locks and writes.

        Raises:
            RunError: It cannot be written, another process writes to it, or it holds a run already: any run without
                ``resume``, one with other settings even with it.
        """
        folder = Path(path)
        if rank > 0:
            yield cls(folder, spec, rank=rank, world_size=world_size)
            return
        with held(folder, busy=_busy):
            folder_of = cls(folder, _reconciled(folder, spec, resume), rank=rank, world_size=world_size)
            write_atomically(folder / "spec.yaml", folder_of.spec.to_yaml().encode())
            yield folder_of

    @staticmethod
    def check(path: str | os.PathLike, spec: S, *, resume: bool = False) -> None:
        """Refuse early what :meth:`hold` would refuse, before weights and data are read.

        Raises:
            RunError: As for :meth:`hold`.
        """
        if can_be_made(path):
            return
        with held(path, busy=_busy):
            _reconciled(Path(path), spec, resume)

    def finished(self) -> dict[str, Result]:
        """Results that lie in the folder, by probe."""
        return {
            name: Result.load(path) for name in self.spec.probes if (path := self.path / f"{name}.parquet").is_file()
        }

    def partial_sums(self, probe: str) -> PartialSums:
        """Where this process keeps the partial sums of a probe."""
        suffix = f".rank{self._rank}of{self._world_size}" if self._world_size > 1 else ""
        return PartialSums(self.path / PARTIAL / f"{probe}{suffix}.safetensors")

    def blocks(self, probe: str) -> Path:
        """Where a probe may keep matrices that memory does not hold, which are part of its result."""
        return self.path / f"{probe}.blocks"

    def keep(self, result: Result) -> None:
        """Write a finished result, then remove its partial sums."""
        if self._rank > 0:
            return
        result.save(self.path)
        for file in (self.path / PARTIAL).glob(f"{result.probe}.*safetensors"):
            file.unlink()
        if (self.path / PARTIAL).is_dir() and not any((self.path / PARTIAL).iterdir()):
            (self.path / PARTIAL).rmdir()

    def describe(self, environment: Mapping[str, Any]) -> None:
        """Write ``env.json``."""
        if self._rank == 0:
            text = json.dumps(dict(environment), indent=2, ensure_ascii=False)
            write_atomically(self.path / "env.json", f"{text}\n".encode())

    def run(self) -> Run:
        """The run as it lies in the folder."""
        return read(self.path)


def default_folder(model: str, data: str) -> Path:
    """Where a run goes that was given no folder.

    >>> default_folder("torchvision:resnet18", "folder:/data/street signs").as_posix()
    'runs/resnet18-street-signs'
    """
    network = Path(model.rpartition(":")[2]).stem
    images = Path(data.partition(":groups=")[0].rpartition(":")[2]).name
    return Path("runs") / (re.sub(r"[^A-Za-z0-9._]+", "-", f"{network}-{images}").strip("-.") or "run")


def fresh(path: str | os.PathLike) -> Path:
    """``path``, or with the first free number behind it: ``runs/demo``, ``runs/demo-2``, …"""
    return next(candidate for candidate in _numbered(Path(path)) if not candidate.exists())


def latest(path: str | os.PathLike) -> Path:
    """The last of those that :func:`fresh` has handed out; ``path`` itself where there is none."""
    found = Path(path)
    for candidate in _numbered(found):
        if not candidate.exists():
            return found
        found = candidate
    return found


def folder_for(out: str | os.PathLike | None, default: Path, *, resume: bool) -> Path:
    """The folder of a run: the one given, else the last of the default's name to go on with, or a fresh one."""
    if out is not None:
        return Path(out)
    return latest(default) if resume else fresh(default)


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    number = 2
    while True:
        yield path.with_name(f"{path.name}-{number}")
        number += 1


def _busy() -> str:
    return "another process is writing to this folder. Wait for it or choose another."


def _reconciled(folder: Path, spec: S, resume: bool) -> S:
    """The spec to write: the stored one with what is new (probes, where the data lie), where the two agree."""
    if not (folder / "spec.yaml").is_file():
        return spec
    kind: type[S] = type(spec)
    stored: S = _stored(folder / "spec.yaml", kind)
    differing = _differences(stored, spec)
    if differing:
        raise RunError(f"{folder}: holds a run with other settings ({'; '.join(differing)}). Choose another folder.")
    if not resume:
        raise RunError(
            f"{folder}: holds this very run already. Go on with it by --resume (resume=True), or choose another folder."
        )
    incidental = {name: getattr(spec, name) for name in kind.incidental & kind.model_fields.keys()}
    return stored.model_copy(update={**incidental, "probes": {**stored.probes, **spec.probes}})


def _stored(path: Path, kind: type[S]) -> S:
    fields, text = read_fields(path)
    if kind.subject not in fields:
        raise RunError(f"{path.parent}: holds another kind of run, no {kind.kind}. Choose another folder.")
    return kind.of(fields, source=str(path), text=text)


def _differences(stored: Fields, spec: Fields) -> Sequence[str]:
    """``field: stored → asked`` for everything that decides the numbers and is not the same."""
    old, new = stored.settings(), spec.settings()
    known = [name for name in new if not (name in HASHES and new[name] is None)]  # not known before they are read
    found = [f"{name}: {old[name]!r} there, {new[name]!r} asked for" for name in known if old[name] != new[name]]
    both = [name for name in spec.probes if name in stored.probes]
    wanted = spec.model_dump(mode="json")["probes"]
    return found + [
        f"options of {name}: {stored.probes[name]} there, {wanted[name]} asked for"
        for name in both
        if stored.probes[name] != wanted[name]
    ]


def _digest(settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(dict(settings), sort_keys=True, default=str).encode()).hexdigest()
