"""One network, one set of images: rounds of passes until enough is known, then a table with a reason in every row."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from flexure import distributed
from flexure.bench import Mounted
from flexure.data import Images, usable
from flexure.errors import DataError, SpecimenError
from flexure.perturb.disturbance import Disturbance
from flexure.probes.sensitivity.medians import MedianReduction
from flexure.probes.sensitivity.passes import Passes
from flexure.probes.sensitivity.reductions import MeanReduction
from flexure.probes.sensitivity.settings import Settings
from flexure.results import MEASURED, Checkpoint, Progress
from flexure.stats import Sensitivities
from flexure.survey import BLOCKS, Op, select, survey

__all__ = ["VALUES", "Ledger", "Outcome", "measure", "sample_arrays"]

VALUES = ("D", "D_se", "G", "G_se", "R", "R_se")
_PILOT = 64
_SAMPLES = 6


@dataclass(frozen=True, eq=False)
class Outcome:
    """What was found out about one network.

    Attributes:
        table: One row per op.
        passes: What it cost: rows forward, clean rows passed again.
        notes: What was left out or adapted.
    """

    table: pd.DataFrame
    passes: Mapping[str, int]
    notes: tuple[str, ...]

    def packed(self) -> np.ndarray:
        """As bytes, every number exactly."""
        table = {name: column.tolist() for name, column in self.table.items()}
        return np.frombuffer(json.dumps([table, dict(self.passes), list(self.notes)]).encode(), dtype=np.uint8)

    @classmethod
    def unpacked(cls, packed: np.ndarray) -> "Outcome":
        """Back from :meth:`packed`."""
        table, passes, notes = json.loads(packed.tobytes())
        return cls(pd.DataFrame(table), passes, tuple(notes))


class Ledger:
    """Outcomes of the networks that are done, and the partial sums of the one that is not.

    Several processes must agree on where they go on. Where they do not (one was stopped in another round), the partial
    sums are dropped; finished outcomes stay if all have the same.
    """

    def __init__(self, checkpoint: Checkpoint | None, settings: Mapping[str, Any]) -> None:
        self.checkpoint, self.settings = checkpoint, settings
        saved = checkpoint.load(settings) if checkpoint is not None else None
        self._saved = dict(saved) if saved is not None else {}
        self.finished: dict[str, np.ndarray] = {k: v for k, v in self._saved.items() if k.startswith("finished.")}
        cursor = self._saved.get("cursor")
        places = distributed.gather((sorted(self.finished), None if cursor is None else int(cursor[0])))
        if any(place != places[0] for place in places):
            self._saved = {}
        if any(done != places[0][0] for done, _ in places):
            self.finished = {}

    def outcome(self, number: int) -> Outcome | None:
        """The outcome of network ``number``, if it was finished before."""
        packed = self.finished.get(f"finished.{number}")
        return None if packed is None else Outcome.unpacked(packed)

    def partial(self) -> dict[str, np.ndarray] | None:
        """The sums to go on from, once."""
        saved, self._saved = self._saved, {}
        return saved if "cursor" in saved else None

    def finish(self, number: int, outcome: Outcome) -> None:
        """Keep an outcome."""
        self.finished[f"finished.{number}"] = outcome.packed()
        if self.checkpoint is not None:
            self.checkpoint.save(self.settings, self.finished)

    def keep(self) -> dict[str, np.ndarray]:
        """What is stored beside partial sums."""
        return self.finished


def measure(
    number: int, mounted: Mounted, images: Images, settings: Settings, ledger: Ledger, progress: Progress | None
) -> Outcome:
    """Measure network ``number`` (0 is the user's own), or take up where a stopped run left it."""
    if (done := ledger.outcome(number)) is not None:
        return done
    everything, rows = _survey(mounted, images, settings)
    ops = select(everything, settings.layers)
    passes = Passes(
        mounted,
        images,
        disturbance(settings),
        draws=settings.draws_per_round,
        batch_size=settings.batch_size,
        group_size=settings.group_size if settings.has_groups else None,
        batch_norm=settings.batch_norm,
        blocks=settings.layers == BLOCKS,
        progress=progress,
        shrunk=rows if not settings.has_groups and rows < settings.batch_size else None,
    )
    if settings.reduction == "mean":
        reduction = MeanReduction(ops, mounted.device, others=[op.name for op in everything])
    else:
        reduction = MedianReduction(ops, mounted, images, settings)
    found, rounds = _rounds(passes, reduction, settings, ledger)
    table = _table(ops, reduction, found, settings, rounds)
    outcome = Outcome(table, _cost(passes), _notes(passes, settings, len(images)))
    ledger.finish(number, outcome)
    return outcome


def disturbance(settings: Settings) -> Disturbance:
    """What the settings do to an image."""
    return Disturbance(
        settings.diffeomorphism(), match=settings.match, sigma=settings.sigma, space=settings.space, seed=settings.seed
    )


def sample_arrays(mounted: Mounted, images: Images, settings: Settings) -> dict[str, np.ndarray]:
    """A few images before and after, with their displacement fields, exactly as they are measured.

    Where the noise is matched over a batch, the noisy ones are left out: their norm is not the image's own.
    """
    x, index, _ = usable(images, _spread(len(images), _SAMPLES), mounted)
    if not len(x):
        return {}
    how = disturbance(settings)
    clean, deformed, noisy = (mounted.raw(part) for part in how.copies(mounted, x, index, [0]).chunk(3))
    height, width = x.shape[-2:]
    fields = settings.diffeomorphism().fields(
        index, height, width, seed=settings.seed, draw=0, dtype=x.dtype, device=x.device
    )
    arrays = {"sample_image": clean, "sample_deformed": deformed, "sample_field": fields, "sample_noisy": noisy}
    if settings.match.startswith("batch"):
        del arrays["sample_noisy"]
    plain = {name: value.float().cpu().numpy() for name, value in arrays.items()}
    return plain | {"sample_index": index.cpu().numpy()}


def _survey(mounted: Mounted, images: Images, settings: Settings) -> tuple[list[Op], int]:
    """The network's ops, and how many rows of the batch size fit into memory."""
    if len(images) < 2:
        raise DataError(
            f"{images.name}: {len(images)} image; D and G compare images with one another, so give at least 2."
        )
    x, _, skipped = usable(images, _spread(len(images), _PILOT), mounted)
    if len(x) < 2:
        raise DataError(
            f"{images.name}: {len(x)} of the {len(x) + len(skipped)} images looked at first can be used, at least 2 "
            f"are needed; image {next(iter(skipped))}: {next(iter(skipped.values()))}."
        )
    clean = settings.diffeomorphism().clean(mounted.normalized(x))
    rows = settings.group_size if settings.has_groups else settings.batch_size
    while True:
        try:
            blocks = settings.layers == BLOCKS
            return survey(mounted, clean, rows=rows, blocks=blocks, batch_norm=settings.batch_norm), rows
        except torch.cuda.OutOfMemoryError as wrong:
            if rows <= 2:
                raise SpecimenError(
                    f"{mounted.specimen.name}: out of memory at {rows} images. Use smaller images or device='cpu'."
                ) from wrong
            rows //= 2


def _spread(n: int, count: int) -> list[int]:
    """At most ``count`` positions of ``n``, evenly spread."""
    return sorted({int(position) for position in np.linspace(0, n - 1, min(n, count))})


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


def _table(ops: Sequence[Op], reduction: Any, found: Sensitivities, settings: Settings, rounds: int) -> pd.DataFrame:
    counts = reduction.counts()
    places = {op.name: place for place, op in enumerate(reduction.ops)}
    draws = settings.draws_per_round * rounds
    rows = []
    for op in ops:
        row: dict[str, Any] = {"layer": op.name, "kind": op.kind} | dict.fromkeys(VALUES, float("nan"))
        row |= {"n": 0, "status": reduction.reasons.get(op.name, op.status), "draws": draws}
        if (place := places.get(op.name)) is not None:
            n, left_out, first = (int(column[place]) for column in counts)
            values = {name: float(getattr(found, name)[place]) for name in VALUES} if not left_out else {}
            row |= {"n": n // rounds, **values}
            row["status"] = _bad(-(-left_out // rounds), first) or _ended(row, found.R_floor[place], settings)
        row |= {"shape": "×".join(map(str, op.shape)), "features": op.features}
        rows.append(row)
    return pd.DataFrame(rows)


def _bad(left_out: int, first: int) -> str:
    """What is said of an op that emitted NaN or infinity."""
    more = f" and {left_out - 1} more" if left_out > 1 else ""
    return f"non-finite at image {first}{more}" if left_out else ""


def _ended(row: Mapping[str, Any], floor: float, settings: Settings) -> str:
    """How the measurement of an op with finite emissions ended."""
    if np.isnan(row["D"]):
        return "constant output"
    if row["G"] == 0:
        return "no response to noise"
    relative = row["R_se"] / row["R"] if row["R"] > 0 else 0.0
    if settings.precision is None or relative <= settings.precision:
        return MEASURED
    if floor / row["R"] > settings.precision:
        return f"precision not reachable with {row['n']} images (floor {floor / row['R']:.1%})".replace("%", " %")
    return f"precision not reached after {row['draws']} draws ({relative:.1%})".replace("%", " %")


def _folding(passes: Passes, settings: Settings) -> str:
    """What is to be said of deformations that fold, judged on the first draw of at most 64 images."""
    x, index, _ = usable(passes.images, _spread(len(passes.images), _PILOT), passes.mounted)
    found = settings.diffeomorphism().folds(index, *x.shape[-2:], seed=settings.seed)
    if settings.fold == "reject" and int(found.attempts.max()) > 1:
        drawn = int(found.attempts.sum())
        return f"Deformations that fold were drawn again: {drawn} drawn for {len(index)} that do not fold."
    folded = int(found.folded.sum())
    return f"{folded} of {len(index)} deformations looked at fold the image over itself." if folded else ""


def _cost(passes: Passes) -> dict[str, int]:
    """Rows forward and clean rows passed again, over all processes."""
    rows, extra = np.sum(distributed.gather((passes.rows, passes.extra_clean)), axis=0)
    return {"rows": int(rows), "extra_clean": int(extra)}


def _notes(passes: Passes, settings: Settings, n: int) -> tuple[str, ...]:
    skipped: dict[int, str] = {}
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
    if folding := _folding(passes, settings):
        notes.append(folding)
    if passes.group_size is not None:
        notes.append(f"Groups of {passes.group_size} images, in the images' order, share what belongs to a batch.")
    return tuple(notes)
