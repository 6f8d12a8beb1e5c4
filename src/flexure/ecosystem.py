"""Optional packages: imported when first needed, and where one is missing, the way to get it."""

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType

from flexure.errors import MissingPackageError

__all__ = ["datasets", "lightning", "ray", "timm", "toolbox", "torchvision"]

_OPERATORS = ("nms", "qnms")
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def torchvision() -> ModuleType:
    """The package torchvision, also where its compiled part does not fit the installed torch.

    A plain import is tried first. If that fails because its operators are unknown (a build for CUDA beside a torch for
    CPU), two of them are declared by name, without code, and it is imported again: models, data sets and transforms
    then work, box operations do not.

    Raises:
        MissingPackageError: It is not installed, or cannot be imported either way.
    """
    with _explained("torchvision", "vision"):
        try:
            return importlib.import_module("torchvision")
        except RuntimeError as wrong:
            if "torchvision::" not in str(wrong):
                raise
            _forget("torchvision")
            _declare_operators()
            return importlib.import_module("torchvision")


def timm() -> ModuleType:
    """The package timm; it needs torchvision, which is imported first, guarded."""
    torchvision()
    with _explained("timm", "vision"):
        return importlib.import_module("timm")


def datasets() -> ModuleType:
    """The package datasets of Hugging Face."""
    with _explained("datasets", "hub"):
        return importlib.import_module("datasets")


def ray() -> ModuleType:
    """The package Ray."""
    with _explained("ray", "ray"):
        return importlib.import_module("ray")


def lightning() -> tuple[ModuleType, ...]:
    """Lightning, by each of its two names that is in use; else by the one there is.

    ``lightning`` and ``pytorch_lightning`` are the same program twice, whose classes know nothing of each other. Both
    import torchvision where they find it, which is therefore imported first, guarded.

    Raises:
        MissingPackageError: Neither is installed, or cannot be imported.
    """
    parts = {"lightning": "lightning.pytorch", "pytorch_lightning": "pytorch_lightning"}
    there = [package for package in parts if importlib.util.find_spec(package) is not None]
    used = [package for package in there if package in sys.modules] or there[:1] or ["lightning"]
    if importlib.util.find_spec("torchvision") is not None:
        with contextlib.suppress(MissingPackageError):  # then they may do without
            torchvision()
    found = []
    for package in used:
        with _explained(package, "lightning"):
            found.append(importlib.import_module(parts[package]))
    return tuple(found)


def toolbox(part: str = "attacks") -> ModuleType:
    """A part of the Adversarial Robustness Toolbox, whose package is called ``art``: ``"attacks.evasion"``."""
    with _explained("art", "attacks", name="the Adversarial Robustness Toolbox"):
        importlib.import_module("art")
        return importlib.import_module(f"art.{part}")


@contextlib.contextmanager
def _explained(package: str, extra: str, *, name: str | None = None) -> Iterator[None]:
    get, name = f'pip install "flexure[{extra}]"', name or package
    try:
        yield
    except ModuleNotFoundError as wrong:
        what = f"{name} is needed" if wrong.name == package else f"{name} needs {wrong.name}"
        raise MissingPackageError(f"{what}, which is not installed: {get}", name=wrong.name) from wrong
    except (ImportError, RuntimeError, OSError, AttributeError) as wrong:
        raise MissingPackageError(
            f"{name} is installed but cannot be imported ({wrong}). It may have been built for another version of "
            f"torch: {get}",
            name=package,
        ) from wrong


def _declare_operators() -> None:
    import torch

    for name in _OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", _SCHEMA)


def _forget(package: str) -> None:
    """Drop what a failed import left behind, so that the next one starts afresh."""
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        del sys.modules[name]
