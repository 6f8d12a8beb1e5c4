"""The state of a training in one file, written whole or not at all; nothing in it is ever executed."""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as pack

from flexure.errors import RunError
from flexure.results import write_atomically

__all__ = ["SavedState"]

_FORMAT = 1
_PER_SAVE = 20.0  # the pause between two saves, as a multiple of the time that a save takes, at least


class SavedState:
    """Where a training leaves its state.

    Args:
        path: The file.
        pause: Seconds between two saves within an epoch, at least. Epochs end with a save whenever one is no more than
            a twentieth of the time since the last.
    """

    def __init__(self, path: str | os.PathLike, *, pause: float = 30.0) -> None:
        self.path = Path(path)
        self._pause, self._cost = pause, 0.0
        self._saved_at = time.monotonic()

    def is_due(self, *, at_epoch_end: bool = False) -> bool:
        """Whether the last save was long enough ago."""
        pause = max(0.0 if at_epoch_end else self._pause, _PER_SAVE * self._cost)
        return time.monotonic() - self._saved_at >= pause

    def load(self, settings: Mapping[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        """Tensors and facts as they were saved last, or None where there is no file.

        Raises:
            RunError: The file is damaged, from a newer version, or of a training with other settings.
        """
        for leftover in self.path.parent.glob(f".{self.path.name}.*.tmp"):  # of a save that was killed
            leftover.unlink(missing_ok=True)
        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                about = json.loads((file.metadata() or {})["flexure"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        except (OSError, SafetensorError, KeyError, ValueError) as wrong:
            raise RunError(
                f"{self.path}: the state of the training cannot be read ({wrong}). Delete the file to start over."
            ) from wrong
        if about["format"] > _FORMAT:
            raise RunError(
                f"{self.path}: format {about['format']}, this version reads up to {_FORMAT}. Update Flexure."
            )
        if about["settings"] != digest(settings):
            raise RunError(f"{self.path}: the state of a training with other settings. Delete the file to start over.")
        return tensors, about["facts"]

    def save(self, settings: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
        """Write tensors, and facts that are JSON values.

        Raises:
            RunError: The file cannot be written; the one before is as it was.
        """
        began = time.monotonic()
        about = {"format": _FORMAT, "settings": digest(settings), "facts": dict(facts)}
        own = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        write_atomically(self.path, pack(own, {"flexure": json.dumps(about)}))
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - began

    def remove(self) -> None:
        """Remove the file, and its folder where nothing else is in it."""
        self.path.unlink(missing_ok=True)
        if self.path.parent.is_dir() and not any(self.path.parent.iterdir()):
            self.path.parent.rmdir()


def digest(settings: Mapping[str, Any]) -> str:
    """A short name for these settings."""
    return hashlib.sha256(json.dumps(dict(settings), sort_keys=True, default=str).encode()).hexdigest()
