"""What did each layer become insensitive to: smooth deformations, or noise of the same size?"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from flexure import distributed, rng
from flexure.bench import mount, weights_hash
from flexure.data import as_images, notes_of
from flexure.errors import ArgumentError
from flexure.models import reinitialized
from flexure.probes._provenance import provenance
from flexure.probes.sensitivity.measurement import VALUES, Ledger, measure, sample_arrays
from flexure.probes.sensitivity.settings import Settings
from flexure.results import MEASURED, Checkpoint, Progress, Result
from flexure.specimen import Specimen

__all__ = ["sensitivity"]

QUESTION = "How far does each layer move when its input is smoothly deformed, and when it is shaken by noise as large?"
_UNITS = dict.fromkeys(VALUES, "ratio") | {
    "n": "images",
    "draws": "draws per image",
    "features": "numbers per image",
    "sample_image": "pixel value",
    "sample_deformed": "pixel value",
    "sample_noisy": "pixel value",
    "sample_field": "pixels",
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
    match: str = "per_image",
    sigma: float | None = None,
    space: str = "normalized",
    reduction: str = "mean",
    same_pairs: bool = True,
    draws: int = 1,
    precision: float | None = None,
    max_draws: int = 64,
    layers: str | Sequence[str] | None = None,
    batch_norm: str = "running",
    group_size: int = 64,
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
        match: Norm of the noise: ``"per_image"``, ``"batch_mean"`` or ``"batch_rms"`` over groups of ``group_size``
            images, or ``"fixed"`` at ``sigma``.
        sigma: Norm of the noise in the units of ``space``, for ``match="fixed"``.
        space: Where deformation and noise act: on ``"normalized"`` images, as the papers do, or on ``"pixel"`` values.
        reduction: ``"mean"`` over images (Tomasini), ``"coordinate_median"`` (Petrini's code: per feature, then summed)
            or ``"norm_median"``. Medians keep every image's features: within ``memory_limit``, for named ``layers``.
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
        are over images, by the delta method; for medians by 64 bootstrap samples. Arrays ``sample_image``,
        ``sample_deformed``, ``sample_noisy (6, C, H, W)`` and ``sample_field (6, 2, H, W)`` show what was done to
        some of the images.

    Raises:
        ArgumentError: An option is wrong, a layer's name matches nothing, or medians need more than ``memory_limit``.
        DataError: Fewer than two usable images, or values outside the specimen's bounds.
        SpecimenError: Two clean passes differ, or a forward pass fails.

    Cost: ``1 + 2 draws`` rows forward per image, and 80 images to begin with. Memory: three vectors per op.

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
    )
    settings.diffeomorphism()
    specimen, images = Specimen.of(specimen), as_images(data)
    others = _initialized(specimen, initialized, seed)
    began = time.perf_counter()
    with mount(specimen, device=device, dtype=dtype) as mounted:
        origin = provenance(mounted, images, settings.as_dict())
        samples = sample_arrays(mounted, images, settings)
        ledger = Ledger(checkpoint, _identity(origin, others))
        trained = measure(0, mounted, images, settings, ledger, progress)
    tables = []
    for number, module in enumerate(others.modules, 1):
        with mount(replace(specimen, model=module), device=device, dtype=dtype) as mounted:
            tables.append(measure(number, mounted, images, settings, ledger, progress).table)
    table = trained.table
    if tables:
        table = table.join(_initial_columns(table, tables))
    elif others.refusal:
        table = table.join(_refused_columns(table, others.refusal))
    origin |= {"passes": dict(trained.passes), "initialized": len(tables)}
    origin["seconds"] = round(time.perf_counter() - began, 2)
    units = _UNITS | {f"{name}_init": "ratio" for name in VALUES}
    return Result("sensitivity", QUESTION, table, samples, units, origin, (*notes_of(images), *trained.notes))


@dataclass(frozen=True, eq=False)
class _Others:
    """Freshly initialized networks to compare with, or why there are none although they were asked for."""

    modules: tuple[nn.Module, ...] = ()
    refusal: str = ""


def _initialized(specimen: Specimen, wanted: int | nn.Module | Sequence[nn.Module], seed: int) -> _Others:
    if isinstance(wanted, nn.Module):
        return _Others((wanted,))
    if isinstance(wanted, Sequence):
        return _Others(tuple(wanted))
    if wanted < 0:
        raise ArgumentError(f"sensitivity: initialized counts networks and must be at least 0; got {wanted}.")
    modules = []
    for number in range(wanted):
        fresh = reinitialized(specimen, rng.key(seed, f"initialized {number}")[0])
        if isinstance(fresh, str):
            return _Others(refusal=fresh)
        modules.append(fresh)
    return _Others(tuple(modules))


def _identity(origin: Mapping[str, Any], others: _Others) -> dict[str, Any]:
    """What partial sums belong to: everything that decides the numbers, and how the work was split."""
    names = ("settings", "seed", "specimen", "data", "versions", "device", "dtype", "threads")
    compared = [weights_hash(module) for module in others.modules]
    split = {"rank": distributed.rank(), "world_size": distributed.world_size()}
    return {name: origin[name] for name in names} | {"initialized": compared} | split


def _initial_columns(table: pd.DataFrame, tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """``X_init`` and ``X_init_se``: geometric means over the networks, matched by the layers' names."""
    aligned = [other.set_index("layer").reindex(table["layer"]) for other in tables]
    columns: dict[str, Any] = {}
    for name in ("D", "G", "R"):
        values = np.array([other[name].to_numpy(float) for other in aligned])
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.exp(np.log(values).mean(0))
            if len(values) > 1:
                errors = mean * np.log(values).std(0, ddof=1) / np.sqrt(len(values))
            else:
                errors = aligned[0][f"{name}_se"].to_numpy(float)
        columns |= {f"{name}_init": mean, f"{name}_init_se": errors}
    states = np.array([other["status"].fillna("not an op of the initialized network").to_numpy() for other in aligned])
    columns["status_init"] = [next((s for s in column if s != MEASURED), MEASURED) for column in states.T]
    return pd.DataFrame(columns, index=table.index)


def _refused_columns(table: pd.DataFrame, reason: str) -> pd.DataFrame:
    empty = dict.fromkeys((f"{name[:1]}_init{name[1:]}" for name in VALUES), np.nan)
    return pd.DataFrame({**empty, "status_init": reason}, index=table.index)
