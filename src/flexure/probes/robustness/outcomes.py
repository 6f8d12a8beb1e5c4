"""What became of each image: who was right where. Parts of a data set add up to the whole."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["LOST", "Outcomes"]

LOST = -1
"""Beside 1 (right) and 0 (wrong): an output was not finite."""


@dataclass(eq=False)
class Outcomes:
    """Everything kept while images are attacked.

    Attributes:
        parts: Arrays by name; the images are the last axis, the same in all. ``index``, ``label``, ``clean`` and
            whatever the attacks add.
        unlabelled: Images without a label.
        outputs: Outputs of the network; 0 before the first pass.
        reason: Why nothing can be measured.
        skipped: Index and reason of each image that could not be used.
    """

    parts: dict[str, np.ndarray] = field(default_factory=dict)
    unlabelled: int = 0
    outputs: int = 0
    reason: str = ""
    skipped: dict[int, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.parts[name]

    def __len__(self) -> int:
        return len(self.parts["index"]) if self.parts else 0

    def add(self, batch: Mapping[str, np.ndarray]) -> None:
        """The outcomes of some more images."""
        self.parts = {name: np.concatenate([*self._of(name), part], -1) for name, part in batch.items()}

    def _of(self, name: str) -> list[np.ndarray]:
        return [self.parts[name]] if name in self.parts else []

    def arrays(self) -> dict[str, np.ndarray]:
        """As arrays, for storage and for sending."""
        words = [self.unlabelled, self.outputs, self.reason, list(self.skipped.items())]
        return {**self.parts, "said": np.frombuffer(json.dumps(words).encode(), dtype=np.uint8)}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "Outcomes":
        """Back from :meth:`arrays`."""
        words: list[Any] = json.loads(arrays["said"].tobytes())
        parts = {name: part for name, part in arrays.items() if name != "said"}
        return cls(parts, *words[:-1], skipped=dict(words[-1]))

    @classmethod
    def merged(cls, several: Sequence["Outcomes"]) -> "Outcomes":
        """Those of all processes together, the images in the order of their indices."""
        whole = cls(
            unlabelled=sum(one.unlabelled for one in several),
            outputs=max(one.outputs for one in several),
            reason=next((one.reason for one in several if one.reason), ""),
            skipped={index: reason for one in several for index, reason in one.skipped.items()},
        )
        for one in several:
            if len(one):
                whole.add(one.parts)
        order = np.argsort(whole["index"], kind="stable") if len(whole) else []
        whole.parts = {name: part[..., order] for name, part in whole.parts.items()}
        return whole
