"""A folder with one writer at a time."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from flexure.errors import RunError

__all__ = ["can_be_made", "held"]


@contextmanager
def held(
    folder: str | os.PathLike,
    *,
    busy: Callable[[], str],
    name: str = ".lock",
    patience: float = 0.0,
    deep: bool = False,
) -> Iterator[None]:
    """Hold a folder, made if need be, as its only writer; what others left half-written is removed first.

    Args:
        folder: The folder.
        busy: What to say where another process holds it.
        name: File of the lock.
        patience: Seconds to wait for it.
        deep: Whether half-written files are looked for in the folders within, too.

    Raises:
        RunError: Another process holds it, or it cannot be written.
    """
    path = Path(folder)
    lock = filelock.FileLock(path / name)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=patience)
    except filelock.Timeout:
        raise RunError(f"{path}: {busy()}") from None
    except OSError as wrong:
        raise _unwritable(path, wrong) from wrong
    try:
        for leftover in path.rglob(".*.tmp") if deep else path.glob(".*.tmp"):
            with suppress(OSError):  # it does no harm where it is
                leftover.unlink()
        yield
    finally:
        lock.release()


def can_be_made(folder: str | os.PathLike) -> bool:
    """Whether there is no such folder, but could be; it is not left behind.

    Raises:
        RunError: It can neither be made nor is it there.
    """
    path = Path(folder)
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        return False
    except OSError as wrong:
        raise _unwritable(path, wrong) from wrong
    with suppress(OSError):  # somebody else has begun to use it
        path.rmdir()
    return True


def _unwritable(path: Path, wrong: OSError) -> RunError:
    return RunError(f"{path}: cannot be written ({wrong.strerror or wrong}). Choose another folder.")
