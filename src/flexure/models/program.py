"""A user's own network, from ``file.py:factory`` or ``package.module:factory``. Runs the user's code."""

import contextlib
import dataclasses
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from flexure.errors import ArgumentError, SpecimenError, nearest
from flexure.specimen import Specimen

__all__ = ["check_program", "find_factory", "program_specimen"]


def check_program(reference: str) -> None:
    """Are both parts there, and is the file? Runs nothing.

    Raises:
        ArgumentError: Not ``WHERE:FACTORY``.
        SpecimenError: There is no such file.
    """
    where, _, name = reference.rpartition(":")
    if not where or not name.isidentifier():
        raise ArgumentError(f"model {reference!r}: expected file.py:factory or package.module:factory.")
    if _is_file(where) and not Path(where).expanduser().is_file():
        raise SpecimenError(f"model {reference!r}: no file {where}.")


def find_factory(reference: str) -> Any:
    """What ``reference`` names: imports the module, once per process.

    Raises:
        SpecimenError: Importing it failed.
        ArgumentError: It has no such name.
    """
    check_program(reference)
    where, _, name = reference.rpartition(":")
    with _importable(where):
        try:
            module = _from_file(Path(where)) if _is_file(where) else importlib.import_module(where)
        except Exception as wrong:
            raise SpecimenError(f"model {reference!r}: importing {where} failed: {_told(wrong)}.") from wrong
    if not hasattr(module, name):
        own = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ArgumentError(f"model {reference!r}: {where} has no {name!r}. {nearest(name, own)}")
    return getattr(module, name)


def program_specimen(reference: str) -> Specimen:
    """The network (or specimen) that the factory builds, with the factory kept for fresh weights.

    Raises:
        SpecimenError: Importing or calling failed, or something else than a module or a specimen came back.
    """
    factory, where = find_factory(reference), reference.rpartition(":")[0]
    label = Path(where).name + reference[len(where) :] if _is_file(where) else reference
    if isinstance(factory, nn.Module):
        return Specimen(factory, name=label)
    if not callable(factory):
        raise SpecimenError(f"model {reference!r}: expected a function or class; it is a {type(factory).__name__}.")
    specimen = _built(factory, reference, label)
    if specimen.factory is not None:
        return specimen
    return dataclasses.replace(specimen, factory=lambda: _built(factory, reference, label).model)


def _built(factory: Callable[[], Any], reference: str, label: str) -> Specimen:
    with _importable(reference.rpartition(":")[0]):
        try:
            built = factory()
        except Exception as wrong:
            raise SpecimenError(f"model {reference!r}: calling it without arguments failed: {_told(wrong)}.") from wrong
    if isinstance(built, nn.Module):
        return Specimen(built, name=label)
    if isinstance(built, Specimen):
        return built
    found = type(built).__name__
    raise SpecimenError(f"model {reference!r}: expected a torch.nn.Module or a flexure.Specimen from it; got {found}.")


def _is_file(where: str) -> bool:
    return where.endswith(".py")


def _from_file(path: Path) -> ModuleType:
    path = path.expanduser().resolve()
    name = f"flexure_user_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextlib.contextmanager
def _importable(where: str) -> Iterator[None]:
    """The file's own folder (the working directory for a module) is searched for imports meanwhile, as python does."""
    folder = str(Path(where).expanduser().resolve().parent) if _is_file(where) else str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the user's code may have taken it out itself
            sys.path.remove(folder)


def _told(wrong: Exception) -> str:
    """The exception, and the line of the user's code it comes from."""
    frame, last = wrong.__traceback__, None
    while frame is not None:
        last, frame = frame, frame.tb_next
    line = f" ({Path(last.tb_frame.f_code.co_filename).name}, line {last.tb_lineno})" if last else ""
    return f"{type(wrong).__name__}: {wrong}{line}"
