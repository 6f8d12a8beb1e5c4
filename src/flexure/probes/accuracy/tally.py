"""What adds up over images of right answers and losses, and what must be said beside them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from flexure.stats import Moments

__all__ = ["Tally"]

_NOWHERE = np.iinfo(np.int64).max


@dataclass(eq=False)
class Tally:
    """Everything kept while images go through: what adds up, and what must be said.

    Attributes:
        moments: Of (right, loss) per level; both are means over an image's draws.
        left_out: Images per level whose loss was not finite ``(levels,)``.
        first: The lowest index among them.
        unlabelled: Images without a label.
        strays, stray: Images with a label that no output stands for; index and label of the first.
        outputs: Outputs of the network; 0 before the first pass.
        reason: Why nothing can be measured.
        skipped: Index and reason of each image that could not be used.
    """

    moments: Moments
    left_out: np.ndarray
    first: np.ndarray
    unlabelled: int = 0
    strays: int = 0
    stray: list[int] | None = None
    outputs: int = 0
    reason: str = ""
    skipped: dict[int, str] = field(default_factory=dict)

    @classmethod
    def empty(cls, levels: int) -> "Tally":
        """Nothing yet."""
        return cls(Moments.empty(levels, 2), np.zeros(levels, np.int64), np.full(levels, _NOWHERE))

    def add(self, z: torch.Tensor, index: torch.Tensor) -> None:
        """Count a batch: ``z (levels, b, 2)``."""
        keep = z.isfinite().all(2)
        self.moments = self.moments.merge(Moments.of(z, keep))
        bad, numbers = ~keep.numpy(), index.cpu().numpy()
        self.left_out = self.left_out + bad.sum(1)
        self.first = np.minimum(self.first, np.where(bad, numbers, _NOWHERE).min(1))

    def note_strays(self, y: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """Which images of a batch have a label that an output stands for; the others are counted."""
        stray = y >= max(self.outputs, 2)
        found = torch.stack([index[stray], y[stray]], 1).tolist()
        self.strays += len(found)
        self.stray = min([*found, *filter(None, [self.stray])], default=None)
        return ~stray

    def arrays(self) -> dict[str, np.ndarray]:
        """As arrays, for storage and for sending."""
        words = [self.unlabelled, self.strays, self.stray, self.outputs, self.reason, list(self.skipped.items())]
        said = np.frombuffer(json.dumps(words).encode(), dtype=np.uint8)
        names = ("n", "mean", "products")
        sums = {name: part.numpy() for name, part in zip(names, self.moments.arrays(), strict=True)}
        return {**sums, "left_out": self.left_out, "first": self.first, "said": said}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "Tally":
        """Back from :meth:`arrays`."""
        moments = Moments(*(torch.from_numpy(arrays[name].copy()) for name in ("n", "mean", "products")))
        words: list[Any] = json.loads(arrays["said"].tobytes())
        return cls(moments, arrays["left_out"], arrays["first"], *words[:-1], skipped=dict(words[-1]))

    @classmethod
    def merged(cls, parts: Sequence["Tally"]) -> "Tally":
        """Those of all processes together."""
        return cls(
            Moments.merged([part.moments for part in parts]),
            np.sum([part.left_out for part in parts], axis=0),
            np.min([part.first for part in parts], axis=0),
            sum(part.unlabelled for part in parts),
            sum(part.strays for part in parts),
            min((part.stray for part in parts if part.stray is not None), default=None),
            max(part.outputs for part in parts),
            next((part.reason for part in parts if part.reason), ""),
            {index: reason for part in parts for index, reason in part.skipped.items()},
        )
