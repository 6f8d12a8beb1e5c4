"""What is kept of clean, deformed and noisy activations the moment an op emits them: three numbers per image."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch

from flexure import distributed
from flexure.errors import SpecimenError
from flexure.stats import Moments, Sensitivities, block_norms, n_blocks, sensitivities, squared_norms
from flexure.survey import Op

__all__ = ["MeanReduction", "refuse_gaps"]

_WORKSPACE = 1 << 20  # bytes of differences worked on at a time: they stay in a core's cache


class MeanReduction:
    r"""Moments of :math:`(a, b, v)` per op: squared change by deformation, by noise, squared distance from the center.

    Fed chunk by chunk: ``begin``, any number of passes whose rows are ``[clean; deformed 1 … k; noisy 1 … k]``, then
    ``commit`` (the chunk counts) or ``begin`` again (it does not: nothing of it was added). Draws are averaged per
    image before anything is squared or merged. Memory per op: two vectors of one image's width, and constants.

    Args:
        ops: What to measure.
        device: Where the activations will be.
        others: Names of ops that may emit without being measured.
    """

    def __init__(self, ops: Sequence[Op], device: torch.device, others: Collection[str] = ()) -> None:
        self.ops = [op for op in ops if op.is_measurable]
        self._place = {op.name: place for place, op in enumerate(self.ops)}
        self._known = {op.name for op in ops} | set(others)
        self.reasons = {op.name: op.status for op in ops if not op.is_measurable}
        self.moments = Moments.empty(len(self.ops), 3, device)
        self.within = torch.zeros(len(self.ops), 2, 2, dtype=torch.float64, device=device)
        self.drift = [torch.zeros(op.features, dtype=torch.float64, device=device) for op in self.ops]
        self._sums = [torch.zeros_like(op.center) for op in self.ops if op.center is not None]
        self.left_out = np.zeros(len(self.ops), dtype=np.int64)
        self.first_left_out = np.full(len(self.ops), -1, dtype=np.int64)
        self._room = torch.empty(_WORKSPACE, dtype=torch.uint8, device=device)
        self.begin()

    def begin(self) -> None:
        """Forget what the current chunk has added so far."""
        self._changes: dict[int, list[torch.Tensor]] = {}
        self._clean: dict[int, torch.Tensor] = {}

    def emit(self, name: str, value: torch.Tensor, images: int, draws: int) -> None:
        """Reduce what op ``name`` emitted for ``images * (1 + 2 draws)`` rows."""
        place = self._place.get(name)
        if place is None:
            self._must_be_known(name)
            return
        center = self.ops[place].center
        if center is None or value.numel() != center.numel() * images * (1 + 2 * draws):
            raise SpecimenError(f"op {name!r} changes its shape from batch to batch; now {tuple(value.shape)}.")
        copies = value.reshape(1 + 2 * draws, images, -1)
        first = place not in self._clean
        sums = self._sums[place].zero_() if first else None
        norms = self._distances(copies, center, sums)
        if first:
            self._clean[place] = norms[-1]
        self._changes.setdefault(place, []).append(norms[: 2 * draws].view(2, draws, images))

    def commit(self, index: torch.Tensor) -> None:
        """Count the chunk: its images' numbers join the sums."""
        refuse_gaps(self.ops, self._changes)
        if not self.ops:
            return
        places = range(len(self.ops))
        ab = torch.stack([torch.cat(self._changes[place], 1) for place in places])  # (ops, 2, draws, images)
        v = torch.stack([self._clean[place] for place in places])
        mean = ab.mean(2)
        z = torch.cat([mean, v[:, None]], 1).transpose(1, 2)
        keep = z.isfinite().all(2)
        self.moments = self.moments.merge(Moments.of(z, keep))
        if (draws := ab.shape[2]) > 1:
            off = torch.where(keep[:, None, None], ab - mean[:, :, None], 0.0)
            self.within += torch.einsum("qidm,qjdm->qij", off, off) / (draws - 1)
        for drift, sums in zip(self.drift, self._sums, strict=True):
            drift.add_(sums)
        self._count_left_out(keep, index)
        self.begin()

    def _distances(self, copies: torch.Tensor, center: torch.Tensor, sums: torch.Tensor | None) -> torch.Tensor:
        """Squared distances of each further copy from the first ``(k, images)``.

        With ``sums`` also, in a last row, those of the first from ``center``, whose differences are added to ``sums``.
        ``copies`` is ``(1 + k, images, features)``. Differences are taken in the features' own precision (at least
        float32), a piece of the batch at a time.
        """
        n_copies, images, width = copies.shape
        rows = n_copies if sums is not None else n_copies - 1
        step = max(1, min(images, _WORKSPACE // max(1, rows * width * center.itemsize)))
        room = self._space(rows * step * width, center.dtype).view(rows, step, width)
        norms = center.new_empty(rows, images, n_blocks(width))
        ones = center.new_ones(step)
        for start in range(0, images, step):
            stop = min(start + step, images)
            piece = room[:, : stop - start]
            clean = copies[0, start:stop]
            torch.sub(copies[1:, start:stop], clean, out=piece[: n_copies - 1])
            if sums is not None:
                torch.sub(clean, center, out=piece[-1])
                sums.addmv_(piece[-1].t(), ones[: stop - start])
            block_norms(piece, norms[:, start:stop])
        return torch.linalg.vector_norm(norms, dim=2, dtype=torch.float64).square_()

    def _space(self, count: int, dtype: torch.dtype) -> torch.Tensor:
        """Room for ``count`` numbers: the same memory again and again, unless one image alone needs more."""
        if self._room.nbytes < count * dtype.itemsize:
            self._room = torch.empty(count * dtype.itemsize, dtype=torch.uint8, device=self._room.device)
        return self._room.view(dtype)[:count]

    def _count_left_out(self, keep: torch.Tensor, index: torch.Tensor) -> None:
        if bool(keep.all()):
            return
        bad = ~keep.cpu().numpy()
        numbers = index.cpu().numpy()
        for place in np.flatnonzero(bad.any(1)):
            lowest = numbers[bad[place]].min()
            known = self.first_left_out[place]
            self.first_left_out[place] = lowest if known < 0 else min(known, lowest)
        self.left_out += bad.sum(1)

    def _must_be_known(self, name: str) -> None:
        if name not in self._known:
            raise SpecimenError(f"op {name!r} was not called on the first images but is on these; cannot be compared.")

    def estimates(self, *, draws: int, rounds: int, same_pairs: bool) -> Sensitivities:
        """D, G and R over everything that all processes have committed."""
        if not self.ops:
            return Sensitivities(*np.empty((7, 0)))
        parts = distributed.gather([part.cpu() for part in (*self.moments.arrays(), self.within)])
        moments = Moments.merged([Moments(*part[:3]) for part in parts])
        totals = [total.clone() for total in self.drift]
        distributed.sum_in_place(totals)
        count = moments.n.clamp(min=1)
        drift = torch.stack([squared_norms(total[None])[0].cpu() for total in totals]) / count**2
        within = (
            sum(part[3] for part in parts) / count[:, None, None] if draws > 1 else torch.full((1, 2, 2), torch.nan)
        )
        found = sensitivities(moments, within, drift, draws=draws, rounds=rounds, same_pairs=same_pairs)
        spread = 2 * (moments.mean[:, 2] - drift).numpy()
        return _without_constants(found, spread, np.array([op.scale for op in self.ops]), self.ops)

    def counts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Per op, over all processes: images times rounds that entered, those left out, the first image left out."""
        n, left_out, first = zip(
            *distributed.gather((self.moments.n.cpu().numpy(), self.left_out, self.first_left_out)), strict=True
        )
        lowest = np.min([np.where(part < 0, np.iinfo(np.int64).max, part) for part in first], axis=0)
        return np.sum(n, axis=0), np.sum(left_out, axis=0), lowest

    def arrays(self) -> dict[str, np.ndarray]:
        """The sums, to be kept while the run goes on."""
        names = ("n", "mean", "products")
        state = {name: part.cpu().numpy() for name, part in zip(names, self.moments.arrays(), strict=True)}
        drift = torch.cat(self.drift).cpu().numpy() if self.drift else np.zeros(0)
        extra = {"left_out": self.left_out.copy(), "first_left_out": self.first_left_out.copy()}
        return state | extra | {"within": self.within.cpu().numpy(), "drift": drift}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from what :meth:`arrays` gave."""
        device = self.within.device
        put = {name: torch.from_numpy(arrays[name].copy()).to(device) for name in ("n", "mean", "products", "within")}
        self.moments = Moments(put["n"], put["mean"], put["products"])
        self.within = put["within"]
        sizes = [op.features for op in self.ops]
        self.drift = [part.clone() for part in torch.from_numpy(arrays["drift"].copy()).to(device).split(sizes)]
        self.left_out, self.first_left_out = arrays["left_out"].copy(), arrays["first_left_out"].copy()


def refuse_gaps(ops: Sequence[Op], changes: Mapping[int, Sequence[torch.Tensor]]) -> None:
    """Refuse a network that called some op on a part of the images alone; each of ``changes`` is ``(2, draws, …)``."""
    drawn = [sum(part.shape[1] for part in changes.get(place, ())) for place in range(len(ops))]
    for op, count in zip(ops, drawn, strict=True):
        if count == 0 or count < max(drawn):
            raise SpecimenError(f"op {op.name!r} was called on the first images, but not on all; nothing to compare.")


def _without_constants(found: Sensitivities, spread: np.ndarray, scale: np.ndarray, ops: Sequence[Op]) -> Sensitivities:
    """NaN instead of ratios of rounding errors where an op emits the same for every image."""
    eps = np.array([torch.finfo(op.center.dtype).eps if op.center is not None else 0.0 for op in ops])
    constant = ~(spread > 2 * (4 * eps * scale) ** 2)
    values = {name: np.where(constant, np.nan, value) for name, value in vars(found).items()}
    return Sensitivities(**values)
