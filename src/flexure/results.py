"""What was found: one frozen record per question, with the way to disk and back. Imports no torch."""

import contextlib
import hashlib
import html
import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from safetensors import SafetensorError
from safetensors.numpy import load as unpack
from safetensors.numpy import save as pack

from flexure.arrays import Arrays, Blocks, Derived, derived_of, plain
from flexure.errors import ArgumentError, RunError, nearest

__all__ = ["MEASURED", "Checkpoint", "Progress", "Result", "Run", "read", "write_atomically"]

MEASURED = "measured"
_FORMAT = 2
_OLDER = 1  # of results without blocks and derived arrays, which older versions read, too
_KEY = b"flexure"
_FIRST = "training"  # what a network is precedes what it answers


class Progress(Protocol):
    """Told by a probe how far it is; the library itself never prints."""

    def __call__(self, done: int, total: int) -> None:
        """``done`` of ``total`` steps (forward passes, usually) are finished."""


class Checkpoint(Protocol):
    """Where a probe leaves its partial sums, so that a run that was stopped can go on."""

    def load(self, settings: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
        """The arrays saved last for exactly these settings, or None."""

    def save(self, settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray], *, force: bool = False) -> None:
        """Keep these arrays; calls in quick succession may be skipped unless ``force``."""


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """One answered question: a tidy table, the arrays too large for one, and where it all came from.

    Attributes:
        probe: Name of the probe, also its file name on disk.
        question: The question in one sentence.
        table: One row per measured thing, a standard error ``X_se`` beside every estimate ``X``, ``n`` and ``status``.
            ``to_frame()`` hands out a copy.
        arrays: Dense arrays by name (similarity matrices, sample images), read with ``result[name]``. Copied, unless
            they are read-only already. Some may lie on disk in :class:`~flexure.arrays.Blocks`.
        units: Unit of each column or array, in words (``"ratio"``, ``"pixels"``); columns that are missing have none.
        provenance: Settings, seed, versions, device, hashes: everything that a repetition needs. Plain JSON values.
        notes: What the measurement adapted, left out or wants to be known, a sentence each.
        derived: Arrays that are made of others whenever they are read, and stored as how; ``arrays`` has them, too.
    """

    probe: str
    question: str
    table: pd.DataFrame
    arrays: Mapping[str, Any] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    derived: Mapping[str, Derived] = field(default_factory=dict)

    def __post_init__(self) -> None:
        held = Arrays({name: _frozen(array) for name, array in self.kept.items()}, self.derived)
        object.__setattr__(self, "arrays", held)
        object.__setattr__(self, "derived", held.derived)
        for name in ("units", "provenance"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        object.__setattr__(self, "table", self.table.reset_index(drop=True))
        object.__setattr__(self, "notes", tuple(self.notes))
        if clash := sorted(set(self.arrays) & set(self.table.columns)):
            raise ArgumentError(f"{self.probe}: {clash} name both a column and an array; names must be unique.")

    def to_frame(self) -> pd.DataFrame:
        """The table as a pandas frame of its own; changing it does not change the result."""
        return self.table.copy()

    def __getitem__(self, name: str) -> np.ndarray:
        """A column or an array by name, as NumPy; read-only."""
        if name in self.arrays:
            return self.arrays[name]
        if name not in self.table.columns:
            valid = [*self.table.columns, *self.arrays]
            raise ArgumentError(f"result of {self.probe}: no column or array {name!r}. {nearest(name, valid)}")
        return _frozen(np.array(self.table[name]))

    def rows(self, name: str, start: int, stop: int) -> np.ndarray:
        """Some rows of an array, with no more than these in memory, also where it lies on disk or is derived."""
        return self._arrays.rows(name, start, stop)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of an array, which is not read for it."""
        return self._arrays.shape(name)

    def has_number(self, name: str) -> bool:
        """Whether there is such an array and not all of it is infinite or NaN."""
        return self._arrays.has_number(name)

    @property
    def kept(self) -> Mapping[str, np.ndarray | Blocks]:
        """Arrays that are held or lie on disk, without those that are derived from them."""
        return self._arrays.kept

    @property
    def _arrays(self) -> Arrays:
        return self.arrays if isinstance(self.arrays, Arrays) else Arrays(self.arrays)

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        body = self.table.to_string(index=False, max_rows=20, float_format=lambda x: f"{x:.4g}")
        extra = "".join(f"\n{name}: array {self.shape(name)}" for name in self.arrays)
        return f"{self.question}\n{body}{extra}" + "".join(f"\nnote: {note}" for note in self.notes)

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        return f"<p><b>{html.escape(self.question)}</b></p>{self.table.to_html(index=False, escape=True)}{notes}"

    def save(self, folder: str | os.PathLike, *, name: str | None = None) -> Path:
        """Write ``<probe>.parquet`` (and ``<probe>.safetensors`` for arrays) into ``folder``; returns the table's path.

        With ``name`` the files are called that instead: several results of one probe may lie in a folder.

        Both files appear whole or not at all, and know each other: where a power cut parted them, reading says so. The
        table's file carries question, units, provenance and notes as JSON in its schema metadata, so pandas and DuckDB
        read it as it is. Blocks of rows lie in ``<probe>.blocks``; they are copied there if they lie elsewhere.

        Raises:
            ArgumentError: The name is no file's name, or an array's type is one that no file holds.
            RunError: The folder cannot be written or the disk is full; what was there is as it was.
        """
        name = self.probe if name is None else name
        if not name or Path(name).name != name:
            raise ArgumentError(f"a result's probe names its file and must be a plain name; got {name!r}.")
        folder = Path(folder)
        blocks = {key: one for key, one in self.kept.items() if isinstance(one, Blocks)}
        held = {key: one for key, one in self.kept.items() if not isinstance(one, Blocks)}
        about: dict[str, Any] = {
            "format": _FORMAT if blocks or self.derived else _OLDER,
            "probe": self.probe,
            "question": self.question,
            "units": dict(self.units),
            "provenance": dict(self.provenance),
            "notes": list(self.notes),
            "arrays": None,
        } | ({"file": name} if name != self.probe else {})
        if self.derived:
            about["derived"] = {key: plain(how) for key, how in self.derived.items()}
        if blocks:
            about["blocks"] = {key: _copied(one, folder / f"{name}.blocks") for key, one in blocks.items()}
        files = {}
        if held:
            packed = self._packed(held)
            about["arrays"] = {"names": list(held), "hash": _hash(packed)}
            files[folder / f"{name}.safetensors"] = packed
        frame = pa.Table.from_pandas(self.table, preserve_index=False)
        frame = frame.replace_schema_metadata({**(frame.schema.metadata or {}), _KEY: json.dumps(about).encode()})
        sink = pa.BufferOutputStream()
        pq.write_table(frame, sink)
        _write_together({**files, folder / f"{name}.parquet": sink.getvalue().to_pybytes()})
        return folder / f"{name}.parquet"

    def _packed(self, arrays: Mapping[str, np.ndarray]) -> bytes:
        try:
            return pack({name: np.array(value, order="C") for name, value in arrays.items()})
        except SafetensorError as wrong:
            raise ArgumentError(f"result of {self.probe}: its arrays cannot be written ({wrong}).") from wrong

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Result":
        """Read a result back from its ``.parquet`` file; nothing in it is ever executed.

        Raises:
            RunError: The file is missing, unreadable, not one of ours, or from a newer format; or its arrays are.
        """
        path = Path(path)
        try:
            with pq.ParquetFile(path) as file:
                frame = file.read()
            about = json.loads((frame.schema.metadata or {})[_KEY])
        except FileNotFoundError:
            raise RunError(f"{path}: no such file.") from None
        except KeyError:
            raise RunError(f"{path}: a Parquet file, but not written by Flexure (no 'flexure' metadata).") from None
        except (OSError, ValueError, pa.ArrowException) as wrong:
            raise RunError(f"{path}: not a readable Parquet file ({wrong}).") from wrong
        try:
            if about["format"] > _FORMAT:
                raise RunError(f"{path}: format {about['format']}, this version reads up to {_FORMAT}. Update Flexure.")
            del about["format"]
            file = about.pop("file", about["probe"])
            arrays: dict[str, Any] = dict(_load_arrays(path.with_name(f"{file}.safetensors"), about.pop("arrays")))
            arrays |= {
                name: Blocks.of(path.with_name(f"{file}.blocks"), one) for name, one in about.pop("blocks", {}).items()
            }
            derived = {name: derived_of(how, arrays) for name, how in about.pop("derived", {}).items()}
            return cls(table=frame.to_pandas(), arrays=arrays, derived=derived, **about)
        except (KeyError, TypeError, ValueError, AttributeError) as wrong:
            raise RunError(f"{path}: its 'flexure' metadata are damaged ({wrong!r}).") from wrong


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """Everything one ``examine`` found out about one network: the results, what was asked for, and where.

    Attributes:
        name: What the page calls it: the folder's name, else the specimen's.
        spec: What was asked for (``spec.yaml``): model, data, probes with their options, seed.
        environment: Where it ran (``env.json``): versions, device, host facts, the command.
        results: The finished results by probe name, in the order they were measured.
        folder: Where it lies on disk, or None.
    """

    name: str
    spec: Mapping[str, Any]
    environment: Mapping[str, Any]
    results: Mapping[str, Result]
    folder: Path | None = None

    def __post_init__(self) -> None:
        for name in ("spec", "environment", "results"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def __getitem__(self, probe: str) -> Result:
        """The result of one probe."""
        if probe not in self.results:
            raise ArgumentError(f"run {self.name!r}: no result of {probe!r}. {nearest(probe, self.results)}")
        return self.results[probe]

    def __repr__(self) -> str:
        rows = "".join(f"\n  {name}: {len(result)} rows" for name, result in self.results.items())
        return (
            f"run {self.name!r}" + (f" in {self.folder}" if self.folder else "") + (rows or "\n  nothing finished yet")
        )


def read(folder: str | os.PathLike) -> Run:
    """Give a run back from its folder; unfinished runs come back with what they have finished.

    Raises:
        RunError: There is no such folder, it holds no run, or a file in it cannot be read.
    """
    folder = Path(folder)
    if not (folder / "spec.yaml").is_file():
        missing = "holds no run (no spec.yaml)" if folder.is_dir() else "no such folder"
        raise RunError(f"{folder}: {missing}. A run folder is what `flexure examine --out` writes.")
    try:
        spec = yaml.safe_load((folder / "spec.yaml").read_text(encoding="utf-8"))
        path = folder / "env.json"
        environment = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if not isinstance(spec, dict) or not isinstance(environment, dict):
            raise ValueError("it holds no names with values")
    except (OSError, ValueError, yaml.YAMLError) as wrong:
        raise RunError(f"{folder}: spec.yaml or env.json cannot be read ({wrong}).") from wrong
    asked = list(spec.get("probes") or {})
    found = {path.stem: Result.load(path) for path in sorted(folder.glob("*.parquet"))}
    places = {_FIRST: -1} | {name: place for place, name in enumerate(asked)}
    order = sorted(found, key=lambda name: (places.get(name, len(asked)), name))
    return Run(folder.resolve().name, spec, environment, {name: found[name] for name in order}, folder)


def write_atomically(path: str | os.PathLike, data: bytes) -> Path:
    """Write ``data`` under a temporary name beside ``path``, flush it to disk, rename.

    Raises:
        RunError: The folder cannot be written or the disk is full; ``path`` is as it was before.
    """
    _write_together({Path(path): data})
    return Path(path)


def _write_together(files: Mapping[Path, bytes]) -> None:
    """Write all files under temporary names, flush them to disk, and only then rename them."""
    temporary = {path: path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp") for path in files}
    path = next(iter(files))
    try:
        for path, data in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary[path].open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for path, written in temporary.items():
            written.replace(path)
    except OSError as wrong:
        reason = wrong.strerror or wrong
        raise RunError(f"{path}: cannot be written ({reason}). Free some space or choose another folder.") from wrong
    finally:
        for written in temporary.values():
            with contextlib.suppress(OSError):  # a disk that refused the file may also refuse to remove it
                written.unlink(missing_ok=True)


def _frozen(array: Any) -> Any:
    if isinstance(array, Blocks):
        return array
    array = np.asarray(array)
    if array.flags.writeable:
        array = array.copy()
        array.setflags(write=False)
    return array


def _copied(blocks: Blocks, folder: Path) -> dict[str, Any]:
    """What is written down of blocks, which lie in this folder now."""
    if blocks.folder.resolve() != folder.resolve():
        for _, _, name in blocks.files:
            try:
                data = (blocks.folder / name).read_bytes()
            except OSError as wrong:
                raise RunError(f"{blocks.folder / name}: a block cannot be read ({wrong}). Measure again.") from wrong
            write_atomically(folder / name, data)
    return blocks.as_dict()


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _load_arrays(path: Path, expected: Mapping[str, Any] | None) -> dict[str, np.ndarray]:
    if expected is None:
        return {}
    try:
        data = path.read_bytes()
        if _hash(data) != expected["hash"]:
            raise RunError(f"{path}: not the arrays that belong to the table beside it. Measure again.")
        arrays = unpack(data)
        return {name: arrays[name] for name in expected["names"]}
    except (OSError, SafetensorError) as wrong:
        raise RunError(f"{path}: the arrays of the table beside it cannot be read ({wrong}).") from wrong
