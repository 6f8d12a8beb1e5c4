"""How often is the network right, and at what loss, on clean and on noisy images?"""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from flexure import distributed
from flexure.bench import Mounted, mount
from flexure.data import Batch, Images, as_images, notes_of, usable_batch
from flexure.errors import ArgumentError, DataError, SpecimenError
from flexure.losses import Loss, answers, unit_of
from flexure.perturb.corruption import unit_noise
from flexure.probes._outputs import count_outputs
from flexure.probes._provenance import provenance
from flexure.probes.accuracy.settings import AccuracySettings
from flexure.probes.accuracy.tally import Tally
from flexure.recorder import OUTPUT
from flexure.results import MEASURED, Checkpoint, Progress, Result
from flexure.specimen import Specimen
from flexure.stats import standard_error

__all__ = ["accuracy"]

QUESTION = "How often is the network right, and at what loss, on the images as they are and under noise?"
_HINGE = "One output: its sign is the class (label 1: +1, label 0: -1); loss is the hinge loss max(0, 1 - y f)."
_ESTIMATES = ("accuracy", "error", "loss")


def accuracy(
    specimen: Specimen | nn.Module,
    data: Any,
    *,
    corruption: float | Sequence[float] = (0.0,),
    draws: int = 1,
    loss: str | dict[str, dict[str, Any]] | Loss | None = None,
    batch_size: int = 64,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> Result:
    r"""How often is the network right, and at what loss, on the images as they are and under noise?

    The class is the largest of the outputs :math:`f_k(x)`, and for an image of class :math:`c`

    .. math:: \mathrm{loss} = -\ln \frac{e^{f_c(x)}}{\sum_k e^{f_k(x)}}, \qquad
        \mathrm{error} = 1 - \mathrm{accuracy} = P(\operatorname{argmax}_k f_k(x) \ne c).

    A network of one output has two classes: its sign decides, labels 0 and 1 stand for :math:`y = -1` and
    :math:`+1`, and the loss is :math:`\max(0, 1 - y f)`. Under a corruption of level :math:`\ell` the normalized images
    are :math:`x + \ell\, g/\sqrt{C H W}`, see :class:`~flexure.perturb.corruption.GaussianCorruption`.

    Args:
        specimen: The network, or a bare module (then: no normalization, no bounds). Never written to.
        data: What ``load`` returns, a dataset, a loader, or tensors ``(x, y)``. Label ``k`` is taken for output ``k``.
        corruption: Levels :math:`\ell \ge 0`, the norms of the noise: one row each. 0 is the images as they are.
        draws: Noises per image and level. The same noises serve every level, so levels differ by size alone.
        loss: A name in ``flexure.losses.LOSSES``, an object or a function that gives a loss per image, for networks
            that learnt by another than those above; it also says which class a single output stands for: 0.5 is the
            threshold of ``"squared"``. None: as above.
        batch_size: Images of one forward pass, at most.
        device: Where to measure; None: where the network is.
        dtype: Arithmetic, for example ``"float64"``; None: the network's own.
        seed: Same seed and images, same noises, whatever the batch size, order or number of processes.
        progress: Told after every batch of images.
        checkpoint: Where partial sums are kept.

    Returns:
        One row per level in the order given: ``layer`` (the output), ``corruption``, ``accuracy`` and ``error`` in
        [0, 1], ``loss`` in nats (without unit for one output and other losses), each with its standard error ``X_se``
        over images (divisor n - 1, as in training), whose draws are averaged first; ``n`` images with a label,
        ``status``, ``draws`` per image. Where labels are missing or have no output, or outputs are not one number per
        class, ``status`` says so and the estimates are NaN.

        A standard error of 0 beside an accuracy of 1 means that none of the n images was wrong; it does not say that
        none will be: up to ``3 / n`` wrong would go as unnoticed one time in twenty.

    Raises:
        ArgumentError: A level or a count is out of range, or ``loss`` gives no loss per image.
        DataError: Values outside the specimen's bounds, or no usable image.
        SpecimenError: The forward pass fails, or two clean passes over the first images differ.

    Cost: one image forward for level 0, ``draws`` for every other level, 24 to begin with; hardly any memory.
    Exact case: outputs that are all equal have a loss of ln(classes) and take the first class.
    Source: the corruptions of Tomasini et al., How deep convolutional neural networks lose spatial information with
        training (2022); there new noise comes with every access, here the same seed gives the same noise.
    """
    settings = AccuracySettings.of(corruption, draws=draws, batch_size=batch_size, seed=seed, loss=loss)
    specimen, images = Specimen.of(specimen), as_images(data)
    began = time.perf_counter()
    with mount(specimen, device=device, dtype=dtype) as mounted:
        origin = provenance(mounted, images, settings.plain())
        tally = _measure(mounted, images, settings, _Ledger(checkpoint, _identity(origin)), progress)
    found = Tally.merged([Tally.of(part) for part in distributed.gather(tally.arrays())])
    if len(found.skipped) == len(images):
        first, reason = min(found.skipped.items())
        raise DataError(f"{images.name}: none of its {len(images)} images can be used (image {first}: {reason}).")
    origin |= {"passes": {"rows": _rows(found, settings)}, "seconds": round(time.perf_counter() - began, 2)}
    units = {"corruption": "norm of the noise", "accuracy": "fraction", "error": "fraction", "n": "images"}
    units |= {"loss": _unit(found, settings), "draws": "draws per image"}
    units |= {f"{name}_se": units[name] for name in _ESTIMATES}
    notes = (*notes_of(images), *_notes(found, images, settings))
    return Result("accuracy", QUESTION, _table(found, settings), units=units, provenance=origin, notes=notes)


class _Ledger:
    """Where a process leaves its sums, and where it left them when it was stopped."""

    def __init__(self, checkpoint: Checkpoint | None, settings: Mapping[str, Any]) -> None:
        self.checkpoint, self.settings = checkpoint, settings

    def load(self, levels: int) -> tuple[Tally, int]:
        """The sums to go on from and the batch that comes next; nothing and 0 where there are none."""
        saved = self.checkpoint.load(self.settings) if self.checkpoint is not None else None
        return (Tally.empty(levels), 0) if saved is None else (Tally.of(saved), int(saved["cursor"]))

    def save(self, arrays: Mapping[str, np.ndarray], cursor: int, *, force: bool = False) -> None:
        """Keep the sums of the first ``cursor`` batches."""
        if self.checkpoint is not None:
            self.checkpoint.save(self.settings, {**arrays, "cursor": np.array(cursor)}, force=force)


def _identity(origin: Mapping[str, Any]) -> dict[str, Any]:
    """What partial sums belong to: everything that decides the numbers, and how the work was split."""
    names = ("settings", "seed", "specimen", "data", "versions", "device", "dtype", "threads")
    split = {"rank": distributed.rank(), "world_size": distributed.world_size()}
    return {name: origin[name] for name in names} | split


def _measure(
    mounted: Mounted, images: Images, settings: AccuracySettings, ledger: _Ledger, progress: Progress | None
) -> Tally:
    """The sums over the images of this process."""
    mine = distributed.shard(range(len(images)))
    batches = [mine[start : start + settings.batch_size] for start in range(0, len(mine), settings.batch_size)]
    tally, done = ledger.load(len(settings.corruption))
    kept = tally.arrays()
    if mounted.specimen.task == "features":
        tally.reason = "features, not one output per class"
        return tally
    try:
        for positions in batches[done:]:
            _count(tally, mounted, usable_batch(images, positions, mounted), settings)
            kept, done = tally.arrays(), done + 1
            if progress is not None:
                progress(done, len(batches))
            ledger.save(kept, done)
    except KeyboardInterrupt:
        ledger.save(kept, done, force=True)
        raise
    return tally


def _count(tally: Tally, mounted: Mounted, batch: Batch, settings: AccuracySettings) -> None:
    """Pass a batch through the network at every level and count what comes out."""
    known = batch.y >= 0
    tally.skipped |= dict(batch.skipped)
    tally.unlabelled += int((~known).sum())
    x, y, index = batch.x[known], batch.y[known], batch.index[known]
    if tally.reason or not len(y):
        return
    clean = mounted.normalized(x)
    if not tally.outputs and not _look(tally, mounted, clean):
        return
    fits = tally.note_strays(y, index)
    if not len(y := y[fits]):
        return
    clean, index = clean[fits], index[fits]
    z = torch.zeros(len(settings.corruption), len(y), 2, dtype=torch.float64)
    for draw in range(settings.draws if any(settings.corruption) else 1):
        noise = unit_noise(clean, index, seed=settings.seed, draw=draw) if any(settings.corruption) else None
        for place, level in enumerate(settings.corruption):
            if level and noise is not None:
                z[place] += _scores(_forward(mounted, clean + level * noise), y, settings.loss) / settings.draws
            elif draw == 0:
                z[place] = _scores(_forward(mounted, clean), y, settings.loss)
    tally.add(z, index)


def _look(tally: Tally, mounted: Mounted, clean: torch.Tensor) -> bool:
    """Whether the network gives one number per class, found out on its first images; refuses one that is not steady."""
    tally.outputs, tally.reason = count_outputs(mounted, clean)
    return not tally.reason


def _forward(mounted: Mounted, rows: torch.Tensor) -> torch.Tensor:
    """The output; in halves where the GPU's memory does not hold the whole."""
    try:
        return mounted.forward(rows)
    except torch.cuda.OutOfMemoryError as wrong:
        if len(rows) == 1:
            raise SpecimenError(
                f"{mounted.specimen.name}: out of memory for a single image. Use smaller images or device='cpu'."
            ) from wrong
    torch.cuda.empty_cache()
    return torch.cat([_forward(mounted, half) for half in rows.chunk(2)])


def _scores(output: torch.Tensor, y: torch.Tensor, loss: Loss | None) -> torch.Tensor:
    """Whether each image's class was found, and its loss: ``(b, 2)``, float64, on the CPU."""
    f, y = output.cpu().double(), y.cpu()
    if loss is not None:
        return _scores_by(loss, f.view(len(f), -1), y)
    if f.ndim == 1 or f.shape[1] == 1:
        f = f.flatten()
        return torch.stack([(f > 0) == (y == 1), (1 - (2 * y - 1) * f).clamp(min=0)], 1)
    return torch.stack([f.argmax(1) == y, F.cross_entropy(f, y, reduction="none")], 1)


def _scores_by(loss: Loss, f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    losses = loss(f, y)
    if losses.shape != y.shape:
        raise ArgumentError(
            f"accuracy: loss must give a loss per image; it gave shape {tuple(losses.shape)} for {len(y)} images. "
            "A loss of torch does with reduction='none'."
        )
    return torch.stack([answers(f, loss) == y, losses], 1)


def _unit(found: Tally, settings: AccuracySettings) -> str:
    if settings.loss is not None:
        return unit_of(settings.loss)
    return "hinge" if found.outputs == 1 else "nats"


def _table(found: Tally, settings: AccuracySettings) -> pd.DataFrame:
    mean = found.moments.mean
    errors = standard_error(torch.diagonal(found.moments.products, dim1=1, dim2=2), found.moments.n[:, None])
    rows = []
    for place, level in enumerate(settings.corruption):
        status = _status(found, place)
        right, loss, right_se, loss_se = (
            (*mean[place].tolist(), *errors[place].tolist()) if status == MEASURED else [math.nan] * 4
        )
        values = {"accuracy": (right, right_se), "error": (1 - right, right_se), "loss": (loss, loss_se)}
        row: dict[str, Any] = {"layer": OUTPUT, "corruption": level}
        row |= {f"{name}{end}": values[name][i] for name in _ESTIMATES for i, end in enumerate(("", "_se"))}
        row |= {"n": int(found.moments.n[place]), "status": status, "draws": settings.draws if level else 1}
        rows.append(row)
    return pd.DataFrame(rows)


def _rows(found: Tally, settings: AccuracySettings) -> int:
    """Images that went through the network, copies counted."""
    counts = found.moments.n.numpy() + found.left_out
    return int(sum(n * (settings.draws if level else 1) for n, level in zip(counts, settings.corruption, strict=True)))


def _status(found: Tally, place: int) -> str:
    """How the measurement at a level ended."""
    gone = found.strays or int(found.left_out[place])
    more = f" and {gone - 1} more" if gone > 1 else ""
    if found.stray:
        (index, label), last = found.stray, max(found.outputs, 2) - 1
        return f"no output for label {label} of image {index}{more}: outputs stand for labels 0 to {last}"
    if gone:
        return f"non-finite at image {found.first[place]}{more}"
    return found.reason or (MEASURED if found.moments.n[place] else "no labels")


def _notes(found: Tally, images: Images, settings: AccuracySettings) -> list[str]:
    notes, n = [], len(images)
    if found.skipped:
        named = "; ".join(f"image {index}: {found.skipped[index]}" for index in sorted(found.skipped)[:3])
        notes.append(f"{len(found.skipped)} of {n} images could not be used and are left out ({named}).")
    if 0 < found.unlabelled < n - len(found.skipped):
        notes.append(f"{found.unlabelled} of {n} images have no label and are left out.")
    if settings.loss is not None:
        notes.append(f"Loss, and from where a single output means class 1: those of {settings.plain()['loss']}.")
    elif found.outputs == 1:
        notes.append(_HINGE)
    named = len(images.classes) if images.classes is not None else 0
    if named and found.outputs and named != max(found.outputs, 2):
        notes.append(f"The data name {named} classes, the network has {found.outputs} outputs: label k is output k.")
    return notes
