"""What is kept of a phase diagram while images go through: sums per point, and the part of them at work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from flexure import distributed
from flexure.stats import Moments, Sensitivities, sensitivities, squared_norms

__all__ = ["Sums", "Totals"]


@dataclass(frozen=True, eq=False)
class Sums:
    """Everything that one process knows so far. Frozen: an interruption finds the sums before a step or after it.

    Attributes:
        moments: Per point, of an image's squared changes by deformation and by noise, and its squared distance to a
            fixed point.
        drift: Sum of the differences of clean outputs from the fixed point ``(features,)``, float64.
        folded: Fields that fold, per point.
        fields: Fields that were judged, per point.
        left_out: Images with outputs that are not finite, per point.
        first_left_out: The smallest index of them, -1 where there is none.
        rows: Rows that went through the network.
        shrunk: The batch size that memory forced, or 0.
        skipped: Index and reason of each image that could not be used.
        chunk: Parts of the data that are done.
        passes: Passes of the next part that are done.
        changes: What those found ``(points, draws, 2, images)``; empty where there are none.
    """

    moments: Moments
    drift: torch.Tensor
    folded: torch.Tensor
    fields: int
    left_out: torch.Tensor
    first_left_out: torch.Tensor
    rows: int = 0
    shrunk: int = 0
    skipped: Mapping[int, str] = field(default_factory=dict)
    chunk: int = 0
    passes: int = 0
    changes: torch.Tensor = field(default_factory=lambda: torch.zeros(0))

    @classmethod
    def empty(cls, points: int, features: int, device: torch.device) -> "Sums":
        """Nothing measured yet."""
        counts = torch.zeros(points, dtype=torch.int64, device=device)
        drift = torch.zeros(features, dtype=torch.float64, device=device)
        return cls(Moments.empty(points, 3, device), drift, counts, 0, counts, counts - 1)

    def after_pass(self, rows: int, shrunk: int, changes: torch.Tensor) -> "Sums":
        """One more pass of the part at work; what it found stands in ``changes``."""
        return replace(self, rows=self.rows + rows, shrunk=shrunk, passes=self.passes + 1, changes=changes)

    def after_chunk(
        self, offsets: torch.Tensor, index: torch.Tensor, folded: torch.Tensor, skipped: Mapping[int, str]
    ) -> "Sums":
        """The part at work joins the sums.

        Args:
            offsets: Clean outputs less the fixed point ``(images, features)``.
            index: The images' indices.
            folded: Fields among theirs that fold, per point.
            skipped: Images of the part that could not be used.
        """
        done = replace(
            self,
            skipped={**self.skipped, **skipped},
            chunk=self.chunk + 1,
            passes=0,
            changes=torch.zeros(0),
        )
        if not len(index):
            return done
        mean = self.changes.mean(1).transpose(1, 2)
        z = torch.cat([mean, squared_norms(offsets).expand(len(mean), -1)[..., None]], 2)
        keep = z.isfinite().all(2)
        return replace(
            done,
            moments=self.moments.merge(Moments.of(z, keep)),
            drift=self.drift + offsets.double().sum(0),
            folded=self.folded + folded,
            fields=self.fields + self.changes.shape[1] * len(index),
            left_out=self.left_out + (~keep).sum(1),
            first_left_out=_smaller(self.first_left_out, torch.where(keep, _NEVER, index).amin(1)),
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """As plain arrays, every number exactly."""
        tensors = {name: getattr(self, name) for name in _TENSORS}
        tensors |= dict(zip(_MOMENTS, self.moments.arrays(), strict=True))
        reasons = "\n".join(text.replace("\n", " ") for text in self.skipped.values()).encode()
        return {name: value.cpu().numpy() for name, value in tensors.items()} | {
            "counters": np.array([getattr(self, name) for name in _COUNTERS]),
            "skipped": np.array(list(self.skipped), dtype=np.int64),
            "reasons": np.frombuffer(reasons, dtype=np.uint8),
        }

    @classmethod
    def restored(cls, arrays: Mapping[str, np.ndarray], device: torch.device) -> "Sums":
        """Back from :meth:`arrays`."""
        put = {name: torch.from_numpy(arrays[name].copy()).to(device) for name in (*_TENSORS, *_MOMENTS)}
        moments = Moments(*(put.pop(name) for name in _MOMENTS))
        counters: Any = dict(zip(_COUNTERS, (int(value) for value in arrays["counters"]), strict=True))
        reasons = bytes(arrays["reasons"]).decode().split("\n") if arrays["reasons"].size else []
        skipped = dict(zip((int(i) for i in arrays["skipped"]), reasons, strict=True))
        tensors: Any = put
        return cls(moments=moments, skipped=skipped, **tensors, **counters)


_MOMENTS = ("n", "mean", "products")
_TENSORS = ("drift", "folded", "left_out", "first_left_out", "changes")
_COUNTERS = ("fields", "rows", "shrunk", "chunk", "passes")
_NEVER = torch.iinfo(torch.int64).max


def _smaller(known: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
    """The smaller index at each point, -1 where there is neither."""
    least = torch.minimum(torch.where(known < 0, _NEVER, known), found)
    return torch.where(least == _NEVER, -1, least)


@dataclass(frozen=True, eq=False)
class Totals:
    """The sums of all processes.

    Attributes:
        found: D, G and R per point.
        spread: Mean squared distance of two images' outputs; one number for all points, but for those left out.
        n: Images that entered, per point.
        folding: Share of the fields that fold, per point.
        fields: Fields that were judged at each point.
        left_out: Images left out, per point.
        first_left_out: The smallest index of them, or -1.
        rows: Rows forward.
        shrunk: The smallest batch size that memory forced, or 0.
        skipped: Images that could not be used.
    """

    found: Sensitivities
    spread: np.ndarray
    n: np.ndarray
    folding: np.ndarray
    fields: int
    left_out: np.ndarray
    first_left_out: np.ndarray
    rows: int
    shrunk: int
    skipped: Mapping[int, str]

    @classmethod
    def of(cls, sums: Sums, *, draws: int, same_pairs: bool) -> "Totals":
        """One exchange between all processes, then the estimates."""
        parts = distributed.gather(_small(sums))
        drift = sums.drift.clone()
        distributed.sum_in_place([drift])
        moments = Moments.merged([Moments(*part["moments"]) for part in parts])
        gone = squared_norms(drift[None]).cpu() / moments.n.clamp(min=1) ** 2
        within = torch.full((1, 2, 2), torch.nan, dtype=torch.float64)
        fields = sum(part["fields"] for part in parts)
        first = parts[0]["first_left_out"]
        for part in parts[1:]:
            first = _smaller(first, part["first_left_out"])
        return cls(
            found=sensitivities(moments, within, gone, draws=draws, same_pairs=same_pairs),
            spread=2 * (moments.mean[:, 2] - gone).numpy(),
            n=moments.n.numpy().astype(int),
            folding=_added(parts, "folded") / max(fields, 1),
            fields=fields,
            left_out=_added(parts, "left_out"),
            first_left_out=first.numpy(),
            rows=sum(part["rows"] for part in parts),
            shrunk=min((part["shrunk"] for part in parts if part["shrunk"]), default=0),
            skipped={index: reason for part in parts for index, reason in part["skipped"].items()},
        )


def _small(sums: Sums) -> dict:
    """What processes send one another; the sum of the outputs goes by itself."""
    tensors = {name: getattr(sums, name).cpu() for name in ("folded", "left_out", "first_left_out")}
    plain = {name: getattr(sums, name) for name in ("fields", "rows", "shrunk")}
    return tensors | plain | {"moments": [part.cpu() for part in sums.moments.arrays()], "skipped": dict(sums.skipped)}


def _added(parts: Sequence[Mapping], name: str) -> np.ndarray:
    return torch.stack([part[name] for part in parts]).sum(0).numpy()
