"""Measured sensitivities of a convolutional network beside those that path counts predict, and the powers of both."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats

from flexure.data import Images, content_hash, translation_of
from flexure.errors import ArgumentError, nearest
from flexure.formulas.path_counts import check_layers, decay_exponent
from flexure.formulas.path_sensitivities import PathSensitivities, path_sensitivities
from flexure.perturb.translation import LocalTranslation
from flexure.results import MEASURED, Result

__all__ = ["path_exponents", "path_theory"]

QUESTION = "Do this network's layers answer to moved pixels and to noise as constant filters must?"
EXPONENTS_QUESTION = "With which power of the effective size do D, G and R change from layer to layer?"
QUANTITIES = ("D", "G", "R")
_SLOPES = ("slope", "slope_se", "slope_low", "slope_high", "path_slope")
_FEWEST = 3


def path_theory(
    measured: Result,
    images: Images | None = None,
    *,
    kernels: Sequence[int],
    strides: Sequence[int],
    layers: Sequence[str] | None = None,
    transform: LocalTranslation | None = None,
    ring: int = 128,
) -> Result:
    r"""Do this network's layers answer to moved pixels and to noise as constant filters must?

    Beside the measured :math:`D_k, G_k, R_k` of layers k = 1 … K stand those of a network of the same kernels and
    strides whose filters are all constant, by exact path counts
    (:func:`~flexure.formulas.path_sensitivities.path_sensitivities`): not the asymptotic powers, which finite depth
    hides, but what the measurement must give. A log-ratio of 0 says that the layer pools as evenly as it can; above 0
    in D, that it reacts more to the move than pooling alone would.

    Args:
        measured: A result of ``flexure.sensitivity`` with ``transform=`` a local translation, means, and noise matched
            per image.
        images: The images that were measured, of a few lit pixels. None: one lit pixel anywhere on a ring, which
            predicts the same powers but not the same numbers.
        kernels: Kernel size of each layer, the first first.
        strides: Strides.
        layers: Names of the layers 1 … K in the result; None: its ReLUs, in order.
        transform: The local translation that was measured; None: the ``translation`` of the images.
        ring: Pixels of the ring, where there are no images.

    Returns:
        One row per layer: ``k``, ``layer``, ``kernel``, ``stride``, ``A`` (effective size, pixels), and for X = D, G,
        R: ``X``, ``X_se`` as measured, ``X_path`` predicted, ``X_log_ratio``, ``X_log_ratio_se`` (natural log of
        measured / predicted); ``n`` images, ``status``. The fitted exponents of :func:`path_exponents` are notes and
        in ``provenance["exponents"]``.

    Raises:
        ArgumentError: The result is not of such a measurement or of other images, a layer's name is not in it, or
            there are not as many layers as kernels and strides.

    Cost: no forward pass; operations with the number of pixels cubed per layer (a second for 28 × 28).

    Exact case: a network of constant filters without bias has log-ratios of 0 within their errors.

    Source: Tomasini et al., *How deep convolutional neural networks lose spatial information with training* (2022),
        Figure 7, which compares with the powers alone.
    """
    kernels, strides = check_layers(kernels, strides)
    settings = _settings(measured)
    rows = _rows(measured, layers, len(kernels))
    path = _predicted(measured, settings, images, kernels, strides, transform, ring)
    facts = {"k": range(1, len(kernels) + 1), "layer": rows["layer"], "kernel": kernels, "stride": strides}
    table = pd.DataFrame(facts | {"A": path.A.numpy()})
    for name in QUANTITIES:
        table = table.join(_beside(name, rows, getattr(path, name).numpy()))
    table["n"], table["status"] = rows["n"], _statuses(rows["status"], table)
    exponents = _exponents(table, kernels, strides)
    units = {"A": "pixels", "n": "images"} | {f"{name}{end}": "ratio" for name in QUANTITIES for end in ("", "_path")}
    origin = {**measured.provenance, "exponents": exponents, "measured": dict(settings)}
    origin["settings"] = {"kernels": list(kernels), "strides": list(strides), "images": images is not None}
    notes = (*measured.notes, *map(_sentence, exponents))
    return Result("path_theory", QUESTION, table, {}, units, origin, notes)


def path_exponents(theory: Result) -> Result:
    r"""With which power of the effective size do D, G and R change from layer to layer?

    Slopes of :math:`\log X_k` over :math:`\log A_k` by ordinary least squares over layers, for the measured values and,
    over the same layers, for those of the exact path counts. Finite depth biases both alike (the offset of G, images
    that become alike as :math:`A_k` nears the image's size), so compare ``slope`` with ``path_slope``; ``limit`` is
    what many layers would give.

    Args:
        theory: A result of :func:`path_theory`.

    Returns:
        A row for each of D, G and R: ``quantity``, ``slope``, ``slope_se``, ``slope_low``, ``slope_high`` (95 %, from
        the layers' scatter about the line, Student's t), ``path_slope``, ``limit`` (NaN where layers differ), ``n``
        layers, ``status``.

    Raises:
        ArgumentError: The result is another probe's.
    """
    if theory.probe != "path_theory":
        raise ArgumentError(f"path_exponents: expected a result of path_theory; got one of {theory.probe!r}.")
    units = {"n": "layers"}
    table = pd.DataFrame(theory.provenance["exponents"]).astype(dict.fromkeys((*_SLOPES, "limit"), float))
    return Result("path_exponents", EXPONENTS_QUESTION, table, {}, units, theory.provenance, theory.notes)


def _settings(measured: Result) -> Mapping[str, Any]:
    """The measurement's settings, if path counts can say anything about it."""
    if measured.probe != "sensitivity":
        raise ArgumentError(f"path_theory: expected a result of sensitivity; got one of {measured.probe!r}.")
    settings = measured.provenance.get("settings") or {}
    for name, valid in (("reduction", ("mean",)), ("match", ("per_image", "batch_rms"))):
        if (found := settings.get(name)) not in valid:
            raise ArgumentError(
                f"path_theory: the sensitivity was measured with {name}={found!r}; path counts predict {name}="
                f"{' or '.join(map(repr, valid))}. Measure again."
            )
    if "LocalTranslation" not in str(settings.get("transform")):
        raise ArgumentError(
            "path_theory: the sensitivity was not measured with a local translation. Measure again with transform="
            "images.translation of the scale-detection images, or LocalTranslation()."
        )
    if (measured.provenance.get("specimen") or {}).get("normalize"):
        raise ArgumentError(
            "path_theory: the images were normalized, so that dark pixels were not 0. Measure a Specimen without "
            "normalize."
        )
    return settings


def _rows(measured: Result, layers: Sequence[str] | None, count: int) -> pd.DataFrame:
    """Rows of layers 1 … K of the measured table."""
    table = measured.to_frame().set_index("layer", drop=False)
    if layers is None:
        layers = [name for name, kind in zip(table["layer"], table["kind"], strict=True) if "relu" in kind.lower()]
    if missing := [name for name in layers if name not in table.index]:
        raise ArgumentError(f"path_theory: no layer {missing[0]!r} in the result. {nearest(missing[0], table.index)}")
    if len(layers) != count:
        raise ArgumentError(
            f"path_theory: {len(layers)} layers ({', '.join(layers)}) for {count} kernels and strides; name the layer "
            "of each with layers=."
        )
    return table.loc[list(layers)].reset_index(drop=True)


def _predicted(
    measured: Result,
    settings: Mapping[str, Any],
    images: Images | None,
    kernels: Sequence[int],
    strides: Sequence[int],
    transform: LocalTranslation | None,
    ring: int,
) -> PathSensitivities:
    options = {"noise": str(settings.get("noise", "sphere")), "same_pairs": bool(settings.get("same_pairs", True))}
    if images is None:
        moves = LocalTranslation(periodic=True).moves(1, ring)
        return path_sensitivities(torch.eye(ring)[:, None], moves, kernels, strides, **options)
    if (expected := (measured.provenance.get("data") or {}).get("hash")) != (found := content_hash(images)):
        raise ArgumentError(
            f"path_theory: these images (hash {found}) are not those that were measured (hash {expected}). Load them "
            "with the same limit, seed and split."
        )
    transform = translation_of(images) if transform is None else transform
    if transform is None or repr(transform) != settings["transform"]:
        raise ArgumentError(
            f"path_theory: measured with {settings['transform']}, but to be predicted for {transform!r}. Give the one "
            "that was measured as transform=."
        )
    x = images.read(range(len(images))).x.cpu()
    if x.shape[1] != 1:
        raise ArgumentError(f"path_theory: images must have one channel; these have {x.shape[1]}.")
    return path_sensitivities(x[:, 0], transform.moves(*x.shape[2:]), kernels, strides, **options)


def _beside(name: str, rows: pd.DataFrame, path: Any) -> pd.DataFrame:
    """Columns of one quantity: measured, predicted, and their log-ratio."""
    found = pd.DataFrame({name: rows[name].astype(float), f"{name}_se": rows[f"{name}_se"].astype(float)})
    found[f"{name}_path"] = path
    ratio = found[name] / found[f"{name}_path"]
    has_log = (found[name] > 0) & (found[f"{name}_path"] > 0)
    found[f"{name}_log_ratio"] = np.log(ratio.where(has_log))
    found[f"{name}_log_ratio_se"] = (found[f"{name}_se"] / found[name]).where(has_log)
    return found


def _statuses(measured: pd.Series, table: pd.DataFrame) -> list[str]:
    """How the comparison of each layer ended."""
    found = []
    for status, d, path in zip(measured, table["D"], table["D_path"], strict=True):
        if np.isnan(path):
            status = "all images are alike to constant filters"
        elif status == MEASURED and (d == 0 or path == 0):
            status = "no response to moves" if d == 0 else "constant filters do not respond to these moves"
        found.append(str(status))
    return found


def _exponents(table: pd.DataFrame, kernels: Sequence[int], strides: Sequence[int]) -> list[dict[str, Any]]:
    """Fitted powers of the effective size, measured and predicted over the same layers; None for no number."""
    limits = _limits(kernels, strides)
    return [_exponent(table, name, limits.get(name)) for name in QUANTITIES]


def _exponent(table: pd.DataFrame, name: str, limit: float | None) -> dict[str, Any]:
    usable = table[np.isfinite(table[f"{name}_log_ratio"])]
    row: dict[str, Any] = {"quantity": name} | dict.fromkeys(_SLOPES)
    row |= {"limit": limit, "n": len(usable), "status": MEASURED}
    size = np.log(usable["A"].to_numpy(float))
    if len(usable) < _FEWEST or np.ptp(size) < 1e-9:
        return row | {"status": f"{len(usable)} layers of different effective size; at least {_FEWEST} are needed"}
    line = stats.linregress(size, np.log(usable[name].to_numpy(float)))
    half = float(stats.t.ppf(0.975, len(usable) - 2) * line.stderr)
    path = stats.linregress(size, np.log(usable[f"{name}_path"].to_numpy(float)))
    numbers = {"slope": line.slope, "slope_se": line.stderr, "path_slope": path.slope}
    numbers |= {"slope_low": line.slope - half, "slope_high": line.slope + half}
    return row | {key: float(number) for key, number in numbers.items()}


def _limits(kernels: Sequence[int], strides: Sequence[int]) -> dict[str, float]:
    """The powers of many layers like these; unknown where layers differ, or kernels are 1."""
    if len(set(kernels)) > 1 or len(set(strides)) > 1 or kernels[0] < 2:
        return {}
    alpha = decay_exponent(kernels[0], strides[0])
    return {"D": 0.0 - alpha, "G": 1.0, "R": -alpha - 1}  # no minus before a zero


def _sentence(row: Mapping[str, Any]) -> str:
    """A fitted exponent in words."""
    name, limit = row["quantity"], row["limit"]
    if row["status"] != MEASURED:
        return f"No power of {name} is fitted: {row['status']}."
    far = "" if limit is None else f"; {limit:.3g} in the limit of many layers"
    return (
        f"{name} goes as A^{row['slope']:.2f} ± {row['slope_se']:.2f} over {row['n']} layers; exact path counts over "
        f"the same layers give {row['path_slope']:.2f}{far}."
    )
