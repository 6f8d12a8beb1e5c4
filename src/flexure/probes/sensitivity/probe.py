"""What did each layer become insensitive to: smooth deformations, or noise of the same size?"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from flexure import distributed
from flexure.bench import mount, weights_hash
from flexure.data import Images, as_images, notes_of
from flexure.perturb.disturbance import Transform
from flexure.probes._initialized import Initialized, initialized_networks
from flexure.probes._provenance import provenance
from flexure.probes.sensitivity.ledger import VALUES, Ledger, Outcome
from flexure.probes.sensitivity.measurement import Measurement
from flexure.probes.sensitivity.settings import SHUFFLE_DRAWS, Settings
from flexure.probes.sensitivity.table import compared, refused
from flexure.results import Checkpoint, Progress, Result
from flexure.specimen import Specimen

__all__ = ["sensitivity"]

QUESTION = "How far does each layer move when its input is smoothly deformed, and when it is shaken by noise as large?"
_OF_A_TRANSFORM = "How far does each layer move when its input is transformed, and when it is shaken by noise?"
_COMPARED = ("init", "shuffled")
_UNITS = dict.fromkeys(VALUES, "ratio") | {
    "n": "images",
    "draws": "draws per image",
    "features": "numbers per image",
    "sample_image": "pixel value",
    "sample_deformed": "pixel value",
    "sample_noisy": "pixel value",
    "sample_field": "pixels",
    **{f"{name}_{suffix}{error}": "ratio" for suffix in _COMPARED for name in "DGR" for error in ("", "_se")},
    **{f"{name}_shuffled_draws": "ratio" for name in "DGR"},
}


def sensitivity(
    specimen: Specimen | nn.Module,
    data: Any,
    *,
    displacement: float = 1.0,
    temperature: float | None = None,
    cutoff: int = 3,
    interpolation: str = "bilinear",
    fold: str = "report",
    transform: Transform | str | None = None,
    noise: str = "sphere",
    match: str = "per_image",
    sigma: float | None = None,
    space: str = "normalized",
    reduction: str = "mean",
    channels: str = "all",
    same_pairs: bool = True,
    draws: int = 1,
    precision: float | None = None,
    max_draws: int = 64,
    layers: str | Sequence[str] | None = None,
    batch_norm: str = "running",
    group_size: int = 64,
    shuffle: str | None = None,
    shuffle_draws: int = SHUFFLE_DRAWS,
    shuffle_scope: str = "shared",
    shuffle_skip_first: bool = False,
    shuffle_batch_norm: str = "keep",
    initialized: int | nn.Module | Sequence[nn.Module] = 0,
    batch_size: int = 64,
    memory_limit: int = 1 << 30,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> Result:
    r"""How far does each layer move when its input is smoothly deformed, and when it is shaken by noise as large?

    For the output and every layer and functional op :math:`f`, flattened per image,

    .. math::
        D = \frac{\mathrm{E}_{x,\tau}\|f(\tau x) - f(x)\|^2}{\mathrm{E}_{x_1,x_2}\|f(x_1) - f(x_2)\|^2}, \qquad
        G = \frac{\mathrm{E}_{x,\eta}\|f(x + \eta) - f(x)\|^2}{\mathrm{E}_{x_1,x_2}\|f(x_1) - f(x_2)\|^2}, \qquad
        R = D / G,

    with maximum-entropy deformations :math:`\tau` and noise :math:`\eta` of uniform direction and, by default, the norm
    :math:`\|\tau x - x\|` of the very deformation drawn for that image. ``R < 1``: less sensitive to a smooth
    deformation than to noise of the same size; the identity has ``R = 1`` exactly.

    Args:
        specimen: The network, or a bare module (then: no normalization, no bounds). Never written to.
        data: What ``load`` returns, a dataset, a loader, or tensors ``x (n, C, H, W)`` or ``(x, y)``; at least 2
            images.
        displacement: Nominal displacement :math:`\delta` in pixels.
        temperature: Temperature :math:`T` of the deformations; instead of ``displacement``.
        cutoff: Largest frequency :math:`c` of the deformations; modes with :math:`\sqrt{i^2+j^2} < c + 1/2`.
        interpolation: ``"bilinear"``, ``"gaussian"`` or ``"nearest"``.
        fold: ``"report"`` or ``"reject"`` deformations that fold the image over.
        transform: What bends the images instead of that deformation, whose five options must then be left as they are:
            an object with ``clean(x)`` and a call ``(x, index, *, seed, draw)``, such as ``LocalTranslation()``. Its
            ``repr`` is recorded and tells partial sums of one transform from those of another. ``"images"``: the
            local translation that goes with images of scale detection.
        noise: ``"sphere"``: uniform direction; or ``"rectified"``, as in Tomasini's 1-D program:
            :math:`\eta = \max(0, g)`, with normal :math:`g` of variance :math:`\|\tau x - x\|^2 / d` in each of the
            :math:`d` numbers of an image.
        match: Norm of the noise: ``"per_image"``, ``"batch_mean"`` or ``"batch_rms"`` over groups of ``group_size``
            images, or ``"fixed"`` at ``sigma``.
        sigma: Norm of the noise in the units of ``space``, for ``match="fixed"``.
        space: Where deformation and noise act: on ``"normalized"`` images, as the papers do, or on ``"pixel"`` values.
        reduction: ``"mean"`` over images (Tomasini), ``"coordinate_median"`` (Petrini's code: per feature, then summed)
            or ``"norm_median"``. Medians keep every image's features: within ``memory_limit``, for named ``layers``.
        channels: ``"all"``: every number of a map ``(C, H, W)`` counts; or ``"mean"``: maps are averaged over channels
            first.
        same_pairs: Whether the denominator includes pairs of an image with itself, as the papers' code does.
        draws: Deformations and noises per image.
        precision: Draw in rounds until the relative standard error of R is at most this in every layer that has one.
        max_draws: Where those rounds end at the latest.
        layers: Names or kinds to measure (``"layer3.*"``, ``"Conv2d"``), ``"blocks"`` for the outputs of modules that
            hold others, None for every op. The output is always there.
        batch_norm: ``"running"`` statistics, or those of the ``"batch"``: groups of ``group_size`` images, clean,
            deformed and noisy apart.
        group_size: Images per group where a batch is part of the definition; groups follow the images' order, and a
            single last image joins the group before.
        shuffle: ``"input"``: measure as well what is left if each convolution reads its input channels in a random
            order, filters unchanged (see below). None: do not.
        shuffle_draws: How many shuffles.
        shuffle_scope: One permutation ``"shared"`` by all outputs of a layer (of a group, in a grouped convolution), as
            in Tomasini's code, or one ``"per_output"``.
        shuffle_skip_first: Leave the convolution that runs first, which reads the image's colors, as it is.
        shuffle_batch_norm: ``"keep"`` the running statistics as trained, as in Tomasini's code, or ``"reestimate"``
            them for each shuffle on the clean images, in groups of ``group_size``.
        initialized: How many freshly initialized networks to compare with, or the networks themselves.
        batch_size: Rows (images times copies) in one forward pass, at most; one image, or a group where groups belong
            together, always goes through with one deformed and one noisy copy.
        memory_limit: Bytes that the medians may keep.
        device: Where to measure; None: where the network is.
        dtype: Arithmetic, for example ``"float64"``; None: the network's own.
        seed: Same seed and images, same deformations and noises, whatever the batch size, order or number of processes.
        progress: Told after every forward pass.
        checkpoint: Where partial sums are kept.

    Returns:
        One row per op in order of emission, the output last: ``layer``, ``kind``, ``D``, ``D_se``, ``G``, ``G_se``,
        ``R``, ``R_se`` (no units, D, G and R ≥ 0), ``n`` images, ``status``, ``draws`` per image, ``shape``,
        ``features``; with ``initialized`` also ``D_init`` … ``R_init_se`` and ``status_init``: the geometric mean over
        the initialized networks, its error over networks (over images where there is one network). Standard errors
        are over images, by the delta method; for medians by 64 bootstrap samples. With ``shuffle`` likewise
        ``D_shuffled`` … ``R_shuffled_se`` and ``status_shuffled``, over the shuffles, and arrays ``D_shuffled_draws``,
        ``G_shuffled_draws`` and ``R_shuffled_draws (shuffle_draws, rows)``. Arrays ``sample_image``,
        ``sample_deformed``, ``sample_noisy (6, C, H, W)`` and ``sample_field (6, 2, H, W)`` show what was done to
        some of the images (a transform without ``fields`` has no ``sample_field``).

    A network can lose space by pooling in each channel, or by how channels are combined. If pooling were spatial alone,
    shuffling would change nothing and both curves of R would coincide; if it were across channels alone, the shuffled
    one would not fall. A shuffle acts on the calls of convolutions while they are made; the network's own weights are
    neither written nor copied. Linear layers and depthwise convolutions are left alone; ``notes`` names what was.

    Raises:
        ArgumentError: An option is wrong, a layer's name matches nothing, or medians need more than ``memory_limit``.
        DataError: Fewer than two usable images, or values outside the specimen's bounds.
        SpecimenError: Two clean passes differ, or a forward pass fails.

    Cost: ``1 + 2 draws`` rows forward per image, and 80 images to begin with. Memory: three vectors per op. The same
        again for each shuffle, less 16 of the 80 images, and one clean row more per image to reestimate; then also a
        copy of the convolutions' weights.

    Exact case: the identity has :math:`R = 1`; a linear map :math:`W` under noise of norm :math:`r` on :math:`d` inputs
    has the G numerator :math:`\|W\|_F^2\,\mathrm{E}[r^2]/d`.

    Source: Petrini et al., *Relative stability toward diffeomorphisms indicates performance in deep nets* (2021);
        Tomasini et al., *How deep convolutional neural networks lose spatial information with training* (2022). We
        differ in giving standard errors, in several draws per image, in 0/0 being NaN with a reason instead of
        1e-10/1e-10, and in medians that average the two middle values.
    """
    settings = Settings(
        displacement=displacement,
        temperature=temperature,
        cutoff=cutoff,
        interpolation=interpolation,
        fold=fold,
        match=match,
        sigma=sigma,
        space=space,
        reduction=reduction,
        same_pairs=same_pairs,
        draws=draws,
        precision=precision,
        max_draws=max_draws,
        layers=layers if layers is None or isinstance(layers, str) else tuple(layers),
        batch_norm=batch_norm,
        group_size=group_size,
        batch_size=batch_size,
        memory_limit=memory_limit,
        seed=seed,
        transform=transform,
        noise=noise,
        channels=channels,
        shuffle=shuffle,
        shuffle_draws=shuffle_draws,
        shuffle_scope=shuffle_scope,
        shuffle_skip_first=shuffle_skip_first,
        shuffle_batch_norm=shuffle_batch_norm,
    )
    settings.transformation()
    images = as_images(data)
    others = initialized_networks("sensitivity", Specimen.of(specimen), initialized, seed)
    work = _Work(Specimen.of(specimen), images, settings.for_images(images), others, device, dtype, progress)
    return work.carried_out(checkpoint)


@dataclass(frozen=True, eq=False)
class _Work:
    """What there is to measure: a network, its shuffles, and initialized networks."""

    specimen: Specimen
    images: Images
    settings: Settings
    others: Initialized
    device: str | torch.device | None
    dtype: str | torch.dtype | None
    progress: Progress | None

    def carried_out(self, checkpoint: Checkpoint | None) -> Result:
        """Measure all of it, in turn."""
        began = time.perf_counter()
        shuffles = self.settings.shuffles
        with mount(self.specimen, device=self.device, dtype=self.dtype) as mounted:
            origin = provenance(mounted, self.images, self.settings.as_dict())
            ledger = Ledger(checkpoint, _identity(origin, self.others))
            measurement = Measurement(mounted, self.images, self.settings, ledger, self.progress)
            arrays = measurement.samples()
            given = measurement.as_given(0)
            shuffled = [measurement.shuffled(1 + draw, draw) for draw in range(shuffles)]
        fresh = [self._initialized(shuffles + n, module, ledger) for n, module in enumerate(self.others.modules, 1)]
        origin |= {"passes": _passes(given, shuffled), "initialized": len(fresh)}
        origin["seconds"] = round(time.perf_counter() - began, 2)
        notes = dict.fromkeys([*notes_of(self.images), *given.notes, *(note for one in shuffled for note in one.notes)])
        table = self._table(given, shuffled, fresh)
        question = QUESTION if self.settings.transform is None else _OF_A_TRANSFORM
        return Result("sensitivity", question, table, arrays | _draws(table, shuffled), _UNITS, origin, tuple(notes))

    def _initialized(self, number: int, module: nn.Module, ledger: Ledger) -> Outcome:
        specimen = replace(self.specimen, model=module)
        with mount(specimen, device=self.device, dtype=self.dtype) as mounted:
            return Measurement(mounted, self.images, self.settings, ledger, self.progress).as_given(number)

    def _table(self, given: Outcome, shuffled: Sequence[Outcome], fresh: Sequence[Outcome]) -> pd.DataFrame:
        table = given.table
        if shuffled:
            tables = [one.table for one in shuffled]
            table = compared(table, tables, "shuffled", "not an op of the shuffled network")
        if fresh:
            return compared(table, [one.table for one in fresh], "init", "not an op of the initialized network")
        return refused(table, "init", self.others.refusal) if self.others.refusal else table


def _identity(origin: Mapping[str, Any], others: Initialized) -> dict[str, Any]:
    """What partial sums belong to: everything that decides the numbers, and how the work was split."""
    names = ("settings", "seed", "specimen", "data", "versions", "device", "dtype", "threads")
    compared_with = [weights_hash(module) for module in others.modules]
    split = {"rank": distributed.rank(), "world_size": distributed.world_size()}
    return {name: origin[name] for name in names} | {"initialized": compared_with} | split


def _passes(given: Outcome, shuffled: Sequence[Outcome]) -> dict[str, int]:
    """What the network itself cost, and beside it all its shuffles together."""
    if not shuffled:
        return dict(given.passes)
    rows, more = (sum(one.passes[name] for one in shuffled) for name in ("rows", "reestimation"))
    return {**given.passes, "shuffled_rows": rows, "reestimation_rows": more}


def _draws(table: pd.DataFrame, shuffled: Sequence[Outcome]) -> dict[str, np.ndarray]:
    """Every shuffle's curve, in the order of the table's rows."""
    if not shuffled:
        return {}
    aligned = [one.table.set_index("layer").reindex(table["layer"]) for one in shuffled]
    return {f"{name}_shuffled_draws": np.array([one[name].to_numpy(float) for one in aligned]) for name in "DGR"}
