"""Arrays by name: in memory, on disk as blocks of rows, or derived from others when they are read. Imports no torch."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from flexure.errors import RunError

__all__ = ["Arrays", "Blocks", "Derived", "Quotient", "Spread", "derived_of", "plain"]

_NUMBERS = 2**22  # of a derived array that are computed at a time


@dataclass(frozen=True)
class Blocks:
    """A float32 matrix that lies on disk as blocks of rows, a safetensors file for each.

    Attributes:
        folder: Where the files are.
        tensor: Its name in the files.
        shape: Rows and columns.
        belongs: What every file must say it belongs to: another kernel's files are never read.
        files: First row, row behind the last and file name of each block, in order.
        symmetric: Whether a block begins at the column of its first row, and what lies left of it is read from the
            blocks above.
    """

    folder: Path
    tensor: str
    shape: tuple[int, int]
    belongs: str
    files: tuple[tuple[int, int, str], ...]
    symmetric: bool

    @classmethod
    def of(cls, folder: Path, fields: Mapping[str, Any]) -> "Blocks":
        """Blocks in this folder from what :meth:`as_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: It says something else, or names files that lie elsewhere.
        """
        files = tuple((int(first), int(last), str(name)) for first, last, name in fields["files"])
        if any(Path(name).name != name for _, _, name in files):
            raise ValueError(f"blocks elsewhere than in {folder.name}")
        shape = (int(fields["shape"][0]), int(fields["shape"][1]))
        return cls(folder, str(fields["tensor"]), shape, str(fields["belongs"]), files, bool(fields["symmetric"]))

    def as_dict(self) -> dict[str, Any]:
        """As JSON values, without the folder."""
        found = {name: getattr(self, name) for name in ("tensor", "belongs", "symmetric")}
        return found | {"shape": list(self.shape), "files": [list(file) for file in self.files]}

    def rows(self, start: int, stop: int) -> np.ndarray:
        """These rows ``(stop - start, columns)``, float32.

        Raises:
            RunError: A file is missing, cannot be read, or belongs to something else.
        """
        found = np.empty((stop - start, self.shape[1]), dtype=np.float32)
        for first, last, name in self.files:
            low, high = max(start, first), min(stop, last)
            left = first if self.symmetric else 0
            if low < high:
                found[low - start : high - start, left:] = self._part(
                    name, slice(low - first, high - first), slice(None)
                )
            if self.symmetric and last < stop:
                below = max(start, last)
                columns = slice(below - first, stop - first)
                found[below - start :, first:last] = self._part(name, slice(None), columns).T
        return found

    def diagonal(self) -> np.ndarray:
        """Numbers whose row and column are one ``(rows,)``."""
        found = []
        for first, last, name in self.files:
            left = first if self.symmetric else 0
            found.append(np.diagonal(self._part(name, slice(None), slice(first - left, last - left))))
        return np.concatenate(found)

    def _part(self, name: str, rows: slice, columns: slice) -> np.ndarray:
        path = self.folder / name
        try:
            with safe_open(path, framework="numpy") as file:
                if (file.metadata() or {}).get("belongs") != self.belongs:
                    raise RunError(f"{path}: a block of another matrix than the table beside it speaks of.")
                return file.get_slice(self.tensor)[rows, columns]
        except (OSError, SafetensorError) as wrong:
            raise RunError(f"{path}: a block of {self.tensor!r} cannot be read ({wrong}). Measure again.") from wrong


@dataclass(frozen=True)
class Quotient:
    r"""A matrix divided by numbers of its rows and of its columns: :math:`A_{ij} / (r_i c_j)`; NaN where one is 0.

    Attributes:
        of: The matrix.
        rows, columns: Numbers of its rows and columns; None: 1.
        root: Whether it is divided by their square roots, which those below 0 do not have.
        absolute: Whether the sign is dropped.
    """

    of: str
    rows: str | None = None
    columns: str | None = None
    root: bool = False
    absolute: bool = False

    def values(self, part: np.ndarray, rows: np.ndarray | None, columns: np.ndarray | None) -> np.ndarray:
        """What some of the matrix's rows become."""
        with np.errstate(invalid="ignore"):  # infinite by infinite
            if rows is not None:
                part = part / self._scale(rows)[:, None]
            if columns is not None:
                part = part / self._scale(columns)
        return np.abs(part) if self.absolute else part

    def _scale(self, values: np.ndarray) -> np.ndarray:
        fine = values > 0 if self.root else values != 0
        values = np.where(fine, values, np.nan)
        return np.sqrt(values) if self.root else values


@dataclass(frozen=True)
class Spread:
    r"""Standard errors of a matrix: :math:`\sqrt{(A_{ij}^2 + \sum_r u_{ir} v_{jr}) / k}`.

    Attributes:
        of: The matrix.
        rows, columns: Numbers of its rows ``(n, r)`` and columns ``(m, r)``.
        size: k.
    """

    of: str
    rows: str
    columns: str
    size: int

    def values(self, part: np.ndarray, rows: np.ndarray | None, columns: np.ndarray | None) -> np.ndarray:
        """What some of the matrix's rows become."""
        if rows is None or columns is None:
            raise ValueError("a spread needs numbers of rows and columns")
        found = rows @ columns.T
        found += np.square(part, dtype=np.float64)
        found /= self.size
        return np.sqrt(found, out=found)


Derived = Quotient | Spread
_KINDS: Mapping[str, type[Quotient | Spread]] = {"quotient": Quotient, "spread": Spread}


@dataclass(frozen=True, eq=False, repr=False)
class Arrays(Mapping[str, np.ndarray]):
    """Arrays by name, whatever has to be done to read one.

    Attributes:
        kept: Those in memory or on disk.
        derived: How the others are made of them, anew whenever they are read.
    """

    kept: Mapping[str, np.ndarray | Blocks]
    derived: Mapping[str, Derived] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kept", MappingProxyType(dict(self.kept)))
        derived = {name: how for name, how in self.derived.items() if name not in self.kept}
        object.__setattr__(self, "derived", MappingProxyType(derived))

    def __iter__(self) -> Iterator[str]:
        yield from self.kept
        yield from self.derived

    def __len__(self) -> int:
        return len(self.kept) + len(self.derived)

    def __contains__(self, name: object) -> bool:
        return name in self.kept or name in self.derived

    def __getitem__(self, name: str) -> np.ndarray:
        found = self.kept.get(name)
        if isinstance(found, np.ndarray):
            return found
        return _read_only(self._whole(self.derived[name]) if found is None else found.rows(0, found.shape[0]))

    def shape(self, name: str) -> tuple[int, ...]:
        """Of an array, which is not read for it."""
        return self.kept[name if name in self.kept else self.derived[name].of].shape

    def rows(self, name: str, start: int, stop: int) -> np.ndarray:
        """Some rows of an array, and no more than these in memory."""
        if name in self.derived:
            how = self.derived[name]
            return self._values(how, self.rows(how.of, start, stop), slice(start, stop))
        kept = self.kept[name]
        return kept[start:stop] if isinstance(kept, np.ndarray) else kept.rows(start, min(stop, kept.shape[0]))

    def chunks(self, name: str) -> Iterator[tuple[int, np.ndarray]]:
        """All rows of an array, some at a time, with the number of the first."""
        shape = self.shape(name)
        step = max(1, _NUMBERS // max(int(np.prod(shape[1:])), 1))
        for start in range(0, shape[0], step):
            yield start, self.rows(name, start, min(start + step, shape[0]))

    def has_number(self, name: str) -> bool:
        """Whether there is such an array and not all of it is infinite or NaN."""
        return name in self and any(np.isfinite(part).any() for _, part in self.chunks(name))

    def _whole(self, how: Derived) -> np.ndarray:
        base = self[how.of]
        found = np.empty_like(base)
        step = max(1, _NUMBERS // max(base.shape[1], 1))
        for start in range(0, len(base), step):
            some = slice(start, start + step)
            found[some] = self._values(how, base[some], some)
        return found

    def _values(self, how: Derived, part: np.ndarray, some: slice) -> np.ndarray:
        rows = None if how.rows is None else self[how.rows][some]
        columns = None if how.columns is None else self[how.columns]
        return how.values(part, rows, columns).astype(part.dtype, copy=False)


def plain(how: Derived) -> dict[str, Any]:
    """How an array is derived, as JSON values."""
    kind = next(name for name, kind in _KINDS.items() if isinstance(how, kind))
    return {"kind": kind, **asdict(how)}


def derived_of(fields: Mapping[str, Any], arrays: Mapping[str, Any]) -> Derived:
    """The same back from JSON values.

    Raises:
        KeyError, TypeError: They say something else, or speak of arrays that are not among these.
    """
    found = _KINDS[fields["kind"]](**{name: value for name, value in fields.items() if name != "kind"})
    if missing := {name for name in (found.of, found.rows, found.columns) if name is not None} - set(arrays):
        raise KeyError(f"derived from {sorted(missing)}, which is not there")
    return found


def _read_only(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array
