"""Which spatial frequencies do the filters of each convolution carry, and how near are they to pooling?"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from flexure.bench import mount
from flexure.probes._initialized import initialized_networks
from flexure.probes._provenance import provenance
from flexure.probes.filters.spectra import ESTIMATES, Spectrum, average, sides, spectrum
from flexure.results import Result
from flexure.specimen import Specimen
from flexure.weights import LayerWeight, convolutions, select

__all__ = ["filters"]

QUESTION = "Which spatial frequencies do the filters of each convolution carry, and how near are they to pooling?"
_NUMBERS = (
    "pooling_index", "pooling_index_se", "pooling_index_null_low", "pooling_index_null_high", "p_value",
    "frequency", "frequency_se", "squared_norm", "squared_norm_se",
)  # fmt: skip
_NOTHING = np.empty(0)
_SPECTRA = ("power", "power_se", "power_std", "share", "share_se")
_UNITS = {
    **dict.fromkeys(
        ("pooling_index", "pooling_index_null_low", "pooling_index_null_high"), "1: constant, 0: by chance"
    ),
    "p_value": "probability",
    "frequency": "1: by chance, 0: constant",
    "squared_norm": "squared weight",
    "n": "filters",
    "eigenvalue": "of the grid Laplacian",
    "degeneracy": "modes",
    **dict.fromkeys(("power", "power_std", "power_init"), "squared weight"),
    **dict.fromkeys(("share", "share_init", "ratio"), "ratio"),
}


def filters(
    specimen: Specimen | nn.Module,
    data: Any = None,
    *,
    initialized: int | nn.Module | Sequence[nn.Module] = 1,
    layers: str | Sequence[str] | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
) -> Result:
    r"""Which spatial frequencies do the filters of each convolution carry, and how near are they to pooling?

    A layer's filters :math:`w_{cc'}`, one for each pair of channels that it joins, are projected on the orthonormal
    modes :math:`\Psi_l` of the Laplacian of their :math:`F_1 \times F_2` grid with free boundary, which are the cosines
    of the DCT-II:

    .. math::
        \gamma_l = \mathrm{E}_{cc'} (\Psi_l \cdot w_{cc'})^2, \qquad
        \lambda_{ab} = 4 - 2\cos(\pi a/F_1) - 2\cos(\pi b/F_2),

    summed over modes that share an eigenvalue. With :math:`m = F_1 F_2` modes and :math:`p = \gamma_1 / \sum_l
    \gamma_l`, the part of the power in the constant mode,

    .. math::
        \text{pooling index} = \frac{p - 1/m}{1 - 1/m}, \qquad
        \text{frequency} = \frac{\sum_l \lambda_l \gamma_l / \sum_l \gamma_l}{\sum_l \lambda_l / m}.

    Filters that only add up what they see, as average pooling does, have index 1 and frequency 0; independent weights
    of mean 0 have index 0 and frequency 1 in expectation, and
    :math:`p \sim \mathrm{Beta}(N/2, N(m-1)/2)` exactly where they are Gaussian and :math:`N` is the number of filters.
    Filters without a mean have index :math:`-1/(m-1)`.

    Args:
        specimen: The network, or a bare module. Never written to.
        data: Not looked at; taken because all probes take it.
        initialized: How many freshly initialized networks to compare with, or the networks themselves.
        layers: Names or kinds of convolutions (``"layer3.*"``, ``"Conv2d"``), None for all.
        seed: Decides the weights of the initialized networks and nothing else.
        device: Where to sum; None: where the network is.
        dtype: Round weights to this type first; None: as they are. Sums are always float64.

    Returns:
        One row per convolution (also transposed, grouped, depthwise; in 1, 2 or 3 dimensions), in order of definition:
        ``layer``, ``kind``, ``kernel`` (``"3×3"``), ``channels``; ``pooling_index`` in :math:`[-1/(m-1), 1]` with the
        central 95 % ``pooling_index_null_low``, ``…_high`` of independent Gaussian weights and the two-sided
        ``p_value``; ``frequency`` ≥ 0; ``squared_norm``, the mean :math:`\|w\|^2`; ``n``, the number of filters;
        ``status`` (``"1×1: one mode only"`` has a squared norm and no index).
        Arrays ``(convolutions, groups)``, NaN beyond a layer's own groups: ``eigenvalue``, ``degeneracy``, ``power``
        with ``power_std``, its spread over filters, and ``share``, the power over its sum.
        With ``initialized`` also ``X_init`` for these, means over the networks, ``ratio``, the power over that of the
        initialized networks, and ``status_init``.
        Standard errors ``X_se`` take **the filters of a layer as independent**: they say how far another set of as
        many filters like these would differ, not another training. Those of ratios are by the delta method. Means over
        several initialized networks have errors over the networks.
        A network without convolutions has no rows and a note that says so.

    Raises:
        ArgumentError: ``layers`` matches no convolution, or ``initialized`` is negative.
        SpecimenError: Weights have no values yet.

    Cost: no pass over any image; all filters are read once. A ResNet-50's 23 million weights take a tenth of a second
        of CPU, their hash and the copy that shows they were left alone a quarter; drawing fresh weights comes on top.

    Exact case: constant filters have everything at eigenvalue 0 and index 1; :math:`\sum_l \gamma_l` is the mean
        :math:`\|w\|^2`; nothing changes when channels are shuffled.

    Source: Tomasini et al., *How deep convolutional neural networks lose spatial information with training* (2022),
        equation 3. We differ in summing over degenerate modes, among which a numerical basis is arbitrary, in any shape
        of kernel, and in index, errors and null distribution.
    """
    specimen = Specimen.of(specimen)
    others = initialized_networks("filters", specimen, initialized, seed)
    began = time.perf_counter()
    settings = {"layers": layers if layers is None or isinstance(layers, str) else list(layers), "seed": seed}
    with mount(specimen, device=device, dtype=dtype) as mounted:
        origin = provenance(mounted, None, settings)
        found = select(convolutions(mounted.model), layers, "filters")
        trained = [spectrum(one) for one in found]
    fresh = [_of_another(replace(specimen, model=module), found, device, dtype) for module in others.modules]
    means = [average(column) for column in zip(*fresh, strict=True)]
    table = _table(found, trained)
    if others.modules or others.refusal:
        table = table.join(_initial_columns(table, means, others.refusal))
    origin |= {"initialized": len(others.modules), "seconds": round(time.perf_counter() - began, 3)}
    return Result("filters", QUESTION, table, _arrays(trained, means), _UNITS, origin, _notes(specimen, found))


def _of_another(
    specimen: Specimen,
    wanted: Sequence[LayerWeight],
    device: str | torch.device | None,
    dtype: str | torch.dtype | None,
) -> list[Spectrum]:
    """The spectra of another network's convolutions of the same names."""
    with mount(specimen, device=device, dtype=dtype) as mounted:
        there = {one.name: one for one in convolutions(mounted.model)}
        return [_matching(one, there.get(one.name)) for one in wanted]


def _matching(one: LayerWeight, other: LayerWeight | None) -> Spectrum:
    if other is None:
        return Spectrum(0, "not a convolution of the initialized network")
    if one.weight is not None and other.weight is not None and one.kernel != other.kernel:
        return Spectrum(0, f"{sides(other.kernel)} in the initialized network")
    return spectrum(other)


def _table(found: Sequence[LayerWeight], spectra: Sequence[Spectrum]) -> pd.DataFrame:
    rows = [
        [one.name, one.kind, sides(one.kernel), one.channels]
        + [own.numbers.get(name, np.nan) for name in _NUMBERS]
        + [own.n, own.status]
        for one, own in zip(found, spectra, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["layer", "kind", "kernel", "channels", *_NUMBERS, "n", "status"])
    return table.astype(dict.fromkeys(_NUMBERS, float) | {"n": "int64"})


def _initial_columns(table: pd.DataFrame, means: Sequence[Spectrum], refusal: str) -> pd.DataFrame:
    """``X_init`` and ``X_init_se``, empty with the reason in ``status_init`` where there is nothing to compare with."""
    columns: dict[str, Any] = {}
    for name in ESTIMATES:
        for error in ("", "_se"):
            values = [own.numbers.get(f"{name}{error}", np.nan) for own in means]
            columns[f"{name}_init{error}"] = np.nan if refusal else np.array(values, dtype=float)
    columns["status_init"] = refusal or [own.status for own in means]
    return pd.DataFrame(columns, index=table.index)


def _arrays(trained: Sequence[Spectrum], means: Sequence[Spectrum]) -> dict[str, np.ndarray]:
    """Every layer's groups, one row each, padded with NaN to the most that any has."""
    width = max((len(own.groups.get("power", ())) for own in trained), default=0)
    arrays = {name: _padded(trained, name, width) for name in ("eigenvalue", "degeneracy", *_SPECTRA)}
    if means:
        for name in ("power", "share"):
            arrays[f"{name}_init"] = _padded(means, name, width)
            arrays[f"{name}_init_se"] = _padded(means, f"{name}_se", width)
        arrays |= _ratio(arrays)
    return arrays


def _padded(spectra: Sequence[Spectrum], name: str, width: int) -> np.ndarray:
    array = np.full((len(spectra), width), np.nan)
    for row, own in zip(array, spectra, strict=True):
        values = own.groups.get(name, _NOTHING)
        row[: len(values)] = values
    return array


def _ratio(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Power over that of the initialized networks, the two being independent."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = arrays["power"] / arrays["power_init"]
        relative = np.hypot(*(arrays[f"{name}_se"] / arrays[name] for name in ("power", "power_init")))
        return {"ratio": ratio, "ratio_se": ratio * relative}


def _notes(specimen: Specimen, found: Sequence[LayerWeight]) -> tuple[str, ...]:
    if found:
        return ()
    return (f"{specimen.name} has no convolutions, so there are no filters to look at.",)
