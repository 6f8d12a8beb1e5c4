"""Where strips of a matrix are kept until all are there: in memory, or in a folder, which a later run finds again."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from flexure import distributed
from flexure.arrays import Blocks
from flexure.errors import RunError
from flexure.probes.elasticity.kernel import OUTPUTS, OWN, OWN_TO
from flexure.results import write_atomically

__all__ = ["Folder", "Held"]

_ABOUT = "about.json"
_SUMS = (OWN, OWN_TO)  # what comes with the strips of matrices


class Held:
    """Strips in memory.

    Args:
        places: The rows of each strip.
        shapes: Of each matrix.
        symmetric: Whether a strip begins at the column of its first row, and the matrix is mirrored.
        dtype: Of the numbers kept.
    """

    def __init__(
        self, places: Sequence[slice], shapes: Mapping[str, tuple[int, ...]], symmetric: bool, dtype: torch.dtype
    ) -> None:
        self._places, self._symmetric = places, symmetric
        self._matrices = {name: torch.zeros(*shape, dtype=dtype) for name, shape in shapes.items()}
        self._sums: dict[str, torch.Tensor] = {}

    def missing(self) -> list[int]:
        """All of them, at first."""
        return list(range(len(self._places)))

    def put(self, number: int, strip: Mapping[str, torch.Tensor]) -> None:
        """Keep a strip, and where the matrix is symmetric what it says of the rows below."""
        rows = self._places[number]
        left = rows.start if self._symmetric else 0
        for name, matrix in self._matrices.items():
            matrix[rows, left:] = strip[name].to(matrix)
            if self._symmetric:
                below = strip[name][:, rows.stop - left :].to(matrix).transpose(0, 1)
                matrix[rows.stop :, rows] = below.transpose(2, 3) if name == OUTPUTS else below
        for name, part in strip.items():
            if name in _SUMS:
                self._put_sums(name, part.cpu(), rows)

    def _put_sums(self, name: str, part: torch.Tensor, rows: slice) -> None:
        length = self._places[-1].stop if name == OWN else part.shape[1]
        to = self._sums.setdefault(name, torch.zeros(len(part), length, dtype=part.dtype))
        to[:, rows if name == OWN else slice(None)] = part

    def here(self) -> dict[str, np.ndarray]:
        """The matrices, of the strips that this process has put."""
        return {name: matrix.numpy() for name, matrix in self._matrices.items()}

    def collected(self) -> dict[str, np.ndarray]:
        """The matrices and the sums, of all processes."""
        for sums in distributed.gather({name: tuple(value.shape) for name, value in self._sums.items()}):
            for name, shape in sums.items():  # a process may have had no strip
                self._sums.setdefault(name, torch.zeros(*shape, dtype=torch.float64))
        found = self._matrices | {name: self._sums[name] for name in _SUMS if name in self._sums}
        distributed.sum_in_place(list(found.values()))
        return {name: _read_only(value.numpy()) for name, value in found.items()}


class Folder:
    """Strips as files of float32 numbers, each of which appears whole or not at all.

    Args:
        path: The folder, made if need be.
        kind: What the files' names begin with.
        places: The rows of each strip.
        columns: Of each matrix.
        symmetric: Whether a strip begins at the column of its first row.
        identity: Everything that decides the numbers.

    Raises:
        RunError: The folder holds something else, or cannot be written.
    """

    def __init__(
        self,
        path: Path,
        kind: str,
        places: Sequence[slice],
        columns: Mapping[str, int],
        symmetric: bool,
        identity: Mapping[str, Any],
    ) -> None:
        self.path, self._kind, self._places = path, kind, places
        self._columns, self._symmetric = columns, symmetric
        self._belongs = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]
        with distributed.together():
            if distributed.is_main():
                _claim(path, identity)

    def missing(self) -> list[int]:
        """Strips of which there is no file."""
        return [number for number in range(len(self._places)) if not (self.path / self._name(number)).is_file()]

    def put(self, number: int, strip: Mapping[str, torch.Tensor]) -> None:
        """Write a strip."""
        found = {
            name: np.ascontiguousarray((part if name in _SUMS else part.float()).cpu().numpy())
            for name, part in strip.items()
        }
        write_atomically(self.path / self._name(number), save(found, {"belongs": self._belongs}))

    def collected(self) -> dict[str, Any]:
        """The matrices as blocks, and the sums, once all processes have written theirs."""
        distributed.gather(None)
        files = tuple((rows.start, rows.stop, self._name(number)) for number, rows in enumerate(self._places))
        n = self._places[-1].stop
        found: dict[str, Any] = {
            name: Blocks(self.path, name, (n, columns), self._belongs, files, self._symmetric)
            for name, columns in self._columns.items()
        }
        sums = list(self._sums())
        for name in _SUMS:
            if parts := [strip[name] for strip in sums if name in strip]:
                found[name] = np.concatenate(parts, 1)
        return found

    def discard(self) -> None:
        """Delete the strips, which have become something else."""
        distributed.gather(None)
        if distributed.is_main():
            for number in range(len(self._places)):
                (self.path / self._name(number)).unlink(missing_ok=True)

    def _name(self, number: int) -> str:
        rows = self._places[number]
        return f"{self._kind}-{rows.start:08d}-{rows.stop:08d}.safetensors"

    def _sums(self) -> Iterator[dict[str, np.ndarray]]:
        for number in range(len(self._places)):
            path = self.path / self._name(number)
            try:
                with safe_open(path, framework="numpy") as file:
                    if (file.metadata() or {}).get("belongs") != self._belongs:
                        raise RunError(f"{path}: a block of another kernel. Delete it, or choose another folder.")
                    names = set(file.keys())
                    yield {name: file.get_tensor(name) for name in _SUMS if name in names}
            except (OSError, SafetensorError) as wrong:
                raise RunError(f"{path}: cannot be read ({wrong}). Delete it to have it computed again.") from wrong


def _claim(path: Path, identity: Mapping[str, Any]) -> None:
    """Write down what the folder's files are, or refuse a folder whose files are something else."""
    about = path / _ABOUT
    if not about.is_file():
        if path.is_dir() and any(
            not file.name.startswith(".") for file in path.iterdir()
        ):  # what a kill left is hidden
            raise RunError(f"{path}: holds files, but none that says which kernel ({_ABOUT}). Choose an empty folder.")
        write_atomically(about, f"{json.dumps(identity, indent=2, sort_keys=True)}\n".encode())
        return
    try:
        there = json.loads(about.read_text(encoding="utf-8"))
    except (OSError, ValueError) as wrong:
        raise RunError(f"{about}: cannot be read ({wrong}). Choose another folder, or delete this one.") from wrong
    now = json.loads(json.dumps(identity))
    if differing := list(_differences("", there, now)):
        more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise RunError(
            f"{path}: holds blocks of another kernel ({'; '.join(differing[:3])}{more}). Choose another folder, or "
            "delete this one to start over."
        )


def _differences(name: str, there: Any, now: Any) -> Iterator[str]:
    """``name: old there, new asked for``, for whatever is not the same."""
    if isinstance(there, dict) and isinstance(now, dict):
        for key in sorted({*there, *now}):
            yield from _differences(f"{name}.{key}" if name else key, there.get(key), now.get(key))
    elif there != now:
        yield f"{name}: {_short(there)} there, {_short(now)} asked for"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return re.sub(r"\s+", " ", text if len(text) < 60 else f"{text[:57]}…")


def _read_only(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array
