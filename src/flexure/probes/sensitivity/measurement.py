"""One network on the bench: rounds of passes until enough is known, as it is and with its channels shuffled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch

from flexure import distributed
from flexure.bench import Mounted
from flexure.data import Images, usable
from flexure.errors import DataError, SpecimenError
from flexure.perturb.channels import ChannelShuffle
from flexure.perturb.diffeomorphism import Diffeomorphism
from flexure.perturb.normalization import RunningStatistics
from flexure.probes.sensitivity.ledger import Ledger, Outcome
from flexure.probes.sensitivity.medians import MedianReduction
from flexure.probes.sensitivity.passes import Passes
from flexure.probes.sensitivity.reductions import MeanReduction
from flexure.probes.sensitivity.settings import Settings
from flexure.probes.sensitivity.shuffled import centered, reestimate
from flexure.probes.sensitivity.table import table, unmeasured
from flexure.results import Progress
from flexure.stats import Sensitivities
from flexure.survey import BLOCKS, Op, select, survey

__all__ = ["Measurement"]

_PILOT = 64
_SAMPLES = 6


@dataclass(frozen=True, eq=False)
class _Surveyed:
    """The network's ops, how many rows of a pass fit into memory, the shapes of maps that are averaged."""

    ops: list[Op]
    rows: int
    maps: Mapping[str, tuple[int, ...]]


@dataclass(eq=False)
class Measurement:
    """All that is measured of one network on the bench, or taken up where a stopped run left it.

    Attributes:
        mounted: The network.
        images: The data.
        settings: How.
        ledger: What is done already, of this network and of others.
        progress: Told after every forward pass.
    """

    mounted: Mounted
    images: Images
    settings: Settings
    ledger: Ledger
    progress: Progress | None = None

    def as_given(self, number: int) -> Outcome:
        """The network as it is; ``number`` is its place in the ledger."""
        if (done := self.ledger.outcome(number)) is not None:
            return done
        passes = self._passes()
        found = self._measured(passes, self._surveyed.ops)
        outcome = Outcome(found, _cost(passes), (*_remarks(passes, self.settings), *self._notes()))
        self.ledger.finish(number, outcome)
        return outcome

    def shuffled(self, number: int, draw: int) -> Outcome:
        """The network with its channels shuffled once."""
        if (done := self.ledger.outcome(number)) is not None:
            return done
        settings, passes, given = self.settings, self._passes(), self._surveyed
        shuffle = ChannelShuffle(
            self.mounted.model, seed=settings.seed, draw=draw, scope=settings.shuffle_scope,
            skip_first=settings.shuffle_skip_first,
        )  # fmt: skip
        passes.contexts = (shuffle,)
        extra, note = self._reestimated(passes) if settings.reestimates else (0, "")
        ops = centered(passes, given.ops, self._clean, given.rows)
        if shuffle.has_met_any:
            found = self._measured(passes, ops)
        else:
            found = unmeasured(select(ops, settings.layers), "no convolution to shuffle")
        notes = [*_remarks(passes, settings), shuffle.note(), *filter(None, [note])]
        outcome = Outcome(found, _cost(passes) | {"reestimation": extra}, tuple(notes))
        self.ledger.finish(number, outcome)
        return outcome

    def samples(self) -> dict[str, np.ndarray]:
        """A few images before and after, with their displacement fields, exactly as they are measured.

        Where the noise is matched over a batch, the noisy ones are left out: their norm is not the image's own. A
        transform without a method ``fields`` shows none.
        """
        x, index, _ = usable(self.images, _spread(len(self.images), _SAMPLES), self.mounted)
        if not len(x):
            return {}
        how = self.settings.disturbance()
        clean, deformed, noisy = (self.mounted.raw(part) for part in how.copies(self.mounted, x, index, [0]).chunk(3))
        arrays = {"sample_image": clean, "sample_deformed": deformed}
        if (fields := getattr(how.transform, "fields", None)) is not None:
            about = {"seed": self.settings.seed, "draw": 0, "dtype": x.dtype, "device": x.device}
            arrays["sample_field"] = fields(index, *x.shape[-2:], **about)
        if not self.settings.match.startswith("batch"):
            arrays["sample_noisy"] = noisy
        plain = {name: value.float().cpu().numpy() for name, value in arrays.items()}
        return plain | {"sample_index": index.cpu().numpy()}

    @cached_property
    def _pilot(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The images looked at first, raw, and their indices."""
        n, name = len(self.images), self.images.name
        if n < 2:
            raise DataError(f"{name}: {n} image; D and G compare images with one another, so give at least 2.")
        x, index, skipped = usable(self.images, _spread(n, _PILOT), self.mounted)
        if len(x) < 2:
            raise DataError(
                f"{name}: {len(x)} of the {len(x) + len(skipped)} images looked at first can be used, at least 2 "
                f"are needed; image {next(iter(skipped))}: {next(iter(skipped.values()))}."
            )
        return x, index

    @property
    def _clean(self) -> torch.Tensor:
        """Those images, as the network sees them undisturbed."""
        return self.settings.transformation().clean(self.mounted.normalized(self._pilot[0]))

    @cached_property
    def _surveyed(self) -> _Surveyed:
        settings, clean = self.settings, self._clean
        rows = settings.group_size if settings.has_groups else settings.batch_size
        while True:
            try:
                blocks = settings.layers == BLOCKS
                ops = survey(self.mounted, clean, rows=rows, blocks=blocks, batch_norm=settings.batch_norm)
            except torch.cuda.OutOfMemoryError as wrong:
                if rows <= 2:
                    name = self.mounted.specimen.name
                    raise SpecimenError(
                        f"{name}: out of memory at {rows} images. Use smaller images or device='cpu'."
                    ) from wrong
                rows //= 2
            else:
                maps = {op.name: op.shape for op in ops if settings.channels == "mean" and len(op.shape) == 3}
                return _Surveyed([_averaged(op) if op.name in maps else op for op in ops], rows, maps)

    def _passes(self) -> Passes:
        settings, rows = self.settings, self._surveyed.rows
        return Passes(
            self.mounted,
            self.images,
            settings.disturbance(),
            draws=settings.draws_per_round,
            batch_size=settings.batch_size,
            group_size=settings.group_size if settings.has_groups else None,
            batch_norm=settings.batch_norm,
            blocks=settings.layers == BLOCKS,
            maps=self._surveyed.maps,
            progress=self.progress,
            shrunk=rows if not settings.has_groups and rows < settings.batch_size else None,
        )

    def _measured(self, passes: Passes, everything: Sequence[Op]) -> pd.DataFrame:
        settings = self.settings
        ops = select(everything, settings.layers)
        if settings.reduction == "mean":
            reduction = MeanReduction(ops, self.mounted.device, others=[op.name for op in everything])
        else:
            reduction = MedianReduction(ops, self.mounted, self.images, settings)
        found, rounds = _rounds(passes, reduction, settings, self.ledger)
        return table(ops, reduction, found, settings, rounds)

    def _reestimated(self, passes: Passes) -> tuple[int, str]:
        """Have batch norms use statistics of the shuffled network; rows that took, over all processes, and a note."""
        statistics = RunningStatistics(self.mounted.model)
        own, count = reestimate(passes, statistics, self.settings.group_size)
        passes.contexts = (*passes.contexts, statistics)
        rows = sum(distributed.gather(own))
        if not count:
            return rows, "No batch norm has running statistics, so none were estimated anew after shuffling."
        norms = "1 batch norm" if count == 1 else f"{count} batch norms"
        return rows, (
            f"After each shuffle, {norms} had their running statistics estimated anew in one more pass over the "
            f"{rows:,} clean images, in groups of {self.settings.group_size} in the images' order."
        )

    def _notes(self) -> list[str]:
        """What is to be said of the settings on these images."""
        found = [folding] if (folding := self._folding()) else []
        if self.settings.has_groups:
            size = self.settings.group_size
            found.append(f"Groups of {size} images, in the images' order, share what belongs to a batch.")
        if self._surveyed.maps:
            found.append("Maps are averaged over their channels before anything is measured of them.")
        return found

    def _folding(self) -> str:
        """What is to be said of deformations that fold, judged on the first draw of at most 64 images."""
        deformation = self.settings.transformation()
        if not isinstance(deformation, Diffeomorphism):
            return ""
        x, index = self._pilot
        found = deformation.folds(index, *x.shape[-2:], seed=self.settings.seed)
        if deformation.fold == "reject" and int(found.attempts.max()) > 1:
            drawn = int(found.attempts.sum())
            return f"Deformations that fold were drawn again: {drawn} drawn for {len(index)} that do not fold."
        folded = int(found.folded.sum())
        return f"{folded} of {len(index)} deformations looked at fold the image over itself." if folded else ""


def _spread(n: int, count: int) -> list[int]:
    """At most ``count`` positions of ``n``, evenly spread."""
    return sorted({int(position) for position in np.linspace(0, n - 1, min(n, count))})


def _averaged(op: Op) -> Op:
    """The op whose maps ``(C, H, W)`` are averaged over C; its scale is what rounding makes of a mean."""
    center = None if op.center is None else op.center.view(op.shape).mean(0).flatten()
    return replace(op, shape=op.shape[1:], center=center, scale=op.scale / op.shape[0] ** 0.5)


def _rounds(passes: Passes, reduction: Any, settings: Settings, ledger: Ledger) -> tuple[Sensitivities, int]:
    start_round, start = 0, 0
    if (saved := ledger.partial()) is not None:
        reduction.restore(saved)
        passes.restore(saved)
        start_round, start = (int(value) for value in saved["cursor"])
    for number in range(start_round, settings.max_rounds):
        passes.run(
            reduction, number, checkpoint=ledger.checkpoint, settings=ledger.settings, keep=ledger.keep, start=start
        )
        start = 0
        found = reduction.estimates(draws=settings.draws_per_round, rounds=number + 1, same_pairs=settings.same_pairs)
        if settings.precision is None or not _worth_drawing(found, settings.precision):
            break
    return found, number + 1


def _worth_drawing(found: Sensitivities, precision: float) -> bool:
    """Whether some layer with a finite R is not precise enough yet, but can become so."""
    with np.errstate(invalid="ignore", divide="ignore"):
        open_ones = np.isfinite(found.R) & (found.R > 0) & (found.R_se / found.R > precision)
        return bool((open_ones & ~(found.R_floor / found.R > precision)).any())


def _cost(passes: Passes) -> dict[str, int]:
    """Rows forward and clean rows passed again, over all processes."""
    rows, extra = np.sum(distributed.gather((passes.rows, passes.extra_clean)), axis=0)
    return {"rows": int(rows), "extra_clean": int(extra)}


def _remarks(passes: Passes, settings: Settings) -> list[str]:
    """What was adapted or left out on the way."""
    n, skipped = len(passes.images), {}
    for part in distributed.gather(passes.skipped):
        skipped |= part
    notes = []
    if skipped:
        named = "; ".join(f"image {index}: {skipped[index]}" for index in sorted(skipped)[:3])
        notes.append(f"{len(skipped)} of {n} images could not be used and are left out ({named}).")
    if smallest := [size for size in distributed.gather(passes.shrunk) if size]:
        notes.append(
            f"Out of memory at batch_size={settings.batch_size}; went on with {min(smallest)} rows per forward pass."
        )
    return notes
