"""Trained weights from a file; nothing in it is ever executed."""

import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from flexure.errors import ArgumentError, SpecimenError
from flexure.results import write_atomically

__all__ = ["check_weights", "load_state", "load_weights", "save_weights"]

_SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt")
_NESTED = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
_COUNTER = "num_batches_tracked"
_SHOWN = 5
_NAMED = re.compile(r"GLOBAL ([\w.]+)")


def check_weights(path: str | os.PathLike) -> Path:
    """The path, if there is a file of a kind that :func:`load_state` reads; the file is not opened.

    Raises:
        ArgumentError: Another kind of file.
        SpecimenError: No such file.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() not in _SUFFIXES:
        raise ArgumentError(f"weights {path}: expected a file ending in {', '.join(_SUFFIXES)}.")
    if not path.is_file():
        raise SpecimenError(f"weights {path}: no such file.")
    return path


def save_weights(state: Mapping[str, torch.Tensor], path: str | os.PathLike) -> None:
    """Write tensors by name as ``.safetensors``, whole or not at all.

    Raises:
        RunError: The file cannot be written.
    """
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    write_atomically(path, save(tensors))


def load_state(path: str | os.PathLike) -> dict[str, torch.Tensor]:
    """The tensors of a weights file by name, on the CPU.

    ``.safetensors``, or ``.pt``, ``.pth`` and ``.ckpt`` through ``torch.load(weights_only=True)`` alone. From a
    checkpoint that holds more, the part under ``state_dict``, ``model_state_dict`` or ``model`` is taken.

    Raises:
        ArgumentError: Another kind of file.
        SpecimenError: The file is missing, damaged, holds no tensors, or would run code when opened.
    """
    path = check_weights(path)
    try:
        content: Mapping[str, Any] = load_file(path) if path.suffix.lower() == ".safetensors" else _unpickled(path)
    except (SafetensorError, OSError, EOFError, RuntimeError, zipfile.BadZipFile) as wrong:
        raise SpecimenError(f"weights {path}: not a readable weights file ({_first_line(wrong)}).") from wrong
    nested: list[Mapping[str, Any]] = [content[key] for key in _NESTED if isinstance(content.get(key), Mapping)]
    found = nested[0] if nested else content
    state = {str(name): value for name, value in found.items() if isinstance(value, torch.Tensor)}
    if not state:
        raise SpecimenError(f"weights {path}: no tensors by name in it; it holds {_listed(map(str, content))}.")
    return state


def load_weights(model: nn.Module, path: str | os.PathLike) -> None:
    """Put the weights of a file into a network, in place; every key must fit.

    The prefixes that wrappers leave (``module.``, ``_orig_mod.``, ``model.``, ``net.``) are taken off where that makes
    more keys fit. Batch norms' counters may be missing.

    Raises:
        ArgumentError: Another kind of file.
        SpecimenError: As for :func:`load_state`; or keys are missing, unexpected or of another shape. The network is
            then not written to, unless its own loading hooks object.
    """
    state = _stripped(load_state(path), set(model.state_dict()))
    expected = model.state_dict()
    missing = [key for key in expected if key not in state and not key.endswith(_COUNTER)]
    unexpected = [key for key in state if key not in expected]
    shapes = [
        f"{key} is {tuple(value.shape)} in the file, {tuple(expected[key].shape)} in the network"
        for key, value in state.items()
        if key in expected and value.shape != expected[key].shape
    ]
    if missing or unexpected or shapes:
        raise SpecimenError(_misfit(path, model, missing, unexpected, shapes))
    try:
        model.load_state_dict(state, strict=False)
    except RuntimeError as wrong:
        raise SpecimenError(f"weights {path}: {type(model).__name__} does not take them: {wrong}") from wrong


def _unpickled(path: Path) -> Mapping[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about what it refuses next
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as wrong:
        raise SpecimenError(_refusal(path, str(wrong))) from wrong
    if not isinstance(content, Mapping):
        raise SpecimenError(f"weights {path}: expected tensors by name; it holds a {type(content).__name__}.")
    return content


def _refusal(path: Path, told: str) -> str:
    named = _NAMED.search(told)
    with path.open("rb") as file:
        is_pickle = named is not None or file.read(1) == b"\x80"
    if not is_pickle:
        return f"weights {path}: not a readable weights file."
    holds = f"holds more than tensors ({named[1]})" if named else "torch.load does not know to be harmless"
    return (
        f"weights {path}: refused. It is a pickle that {holds}, and opening it would run code. If you trust where it "
        "comes from, load it yourself once and keep the tensors alone: "
        'safetensors.torch.save_file(model.state_dict(), "weights.safetensors").'
    )


def _stripped(state: dict[str, torch.Tensor], wanted: set[str]) -> dict[str, torch.Tensor]:
    """Wrappers' prefixes taken off, as often as it makes more keys fit."""
    best = bare = state
    while True:
        prefix = next((prefix for prefix in _PREFIXES if any(key.startswith(prefix) for key in bare)), None)
        if prefix is None:
            break
        bare = {key.removeprefix(prefix): value for key, value in bare.items()}
        best = max(best, bare, key=lambda candidate: len(wanted & set(candidate)))
    inner = {key.replace("_orig_mod.", ""): value for key, value in best.items()}
    return max(best, inner, key=lambda candidate: len(wanted & set(candidate)))


def _misfit(
    path: str | os.PathLike, model: nn.Module, missing: list[str], unexpected: list[str], shapes: list[str]
) -> str:
    told = ((missing, "missing keys"), (unexpected, "unexpected keys"), (shapes, "shapes that differ"))
    parts = [f"{len(entries)} {what}: {_listed(entries)}" for entries, what in told if entries]
    total = sum(not key.endswith(_COUNTER) for key in model.state_dict())
    fits = total - len(missing) - len(shapes)
    hint = "Another number of classes or layers?" if 2 * fits > total else "Is this the right network?"
    return (
        f"weights {path}: they do not fit {type(model).__name__}. {fits} of its {total} keys do; "
        f"{'; '.join(parts)}. {hint}"
    )


def _listed(names: Any) -> str:
    names = list(names)
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")


def _first_line(wrong: Exception) -> str:
    return (str(wrong).splitlines() or [type(wrong).__name__])[0].rstrip(".")
