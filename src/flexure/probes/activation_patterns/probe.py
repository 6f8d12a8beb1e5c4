"""The question, its settings, its answer."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from flexure.bench import Mounted, mount
from flexure.data import Images, as_images, notes_of, usable_batch
from flexure.errors import ArgumentError, DataError
from flexure.formulas.pair_means import Estimate, PairSums
from flexure.probes._provenance import provenance
from flexure.probes.activation_patterns.patterns import Layer, overlaps, read
from flexure.recorder import OUTPUT
from flexure.results import MEASURED, Progress, Result
from flexure.specimen import Specimen
from flexure.survey import refuse_unsteady

__all__ = ["Settings", "activation_patterns"]

QUESTION = "Which units do two images switch on together?"
_LOOKED_AT = 8  # images on which it is found out whether they are independent
_PAIRS = {"cosine_mean": "cosine", "agreement_mean": "share of units", "same_class": "cosine", "ratio": "fraction"}
_UNITS = {
    **{f"{name}{end}": unit for name, unit in _PAIRS.items() for end in ("", "_se")},
    **dict.fromkeys(("active", "active_se", "agreement"), "share of units"),
    **dict.fromkeys(("units", "never_active", "always_active"), "units"),
    "n": "images",
}


@dataclass(frozen=True)
class Settings:
    """Options of activation_patterns, as given.

    Raises:
        ArgumentError: A value is out of range.
    """

    per_layer: bool = False
    memory_limit: float = 2e9
    batch_size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        size = self.batch_size
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ArgumentError(f"activation_patterns: batch_size must be a whole number of at least 1; got {size!r}.")
        if not self.memory_limit >= 1e6:
            raise ArgumentError(
                f"activation_patterns: memory_limit is in bytes and at least 1e6; got {self.memory_limit:g}."
            )


def activation_patterns(
    specimen: Specimen | torch.nn.Module,
    data: Any,
    *,
    per_layer: bool = False,
    memory_limit: float = 2e9,
    batch_size: int = 64,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Result:
    r"""Which units do two images switch on together?

    At an op with a kink (a rectifier and its like), let :math:`a(x) \in \{0, 1\}^u` say which of its u units are active
    on image x: those beyond the kink, above zero for a ReLU. For two images,

    .. math::
        \text{cosine}_{ij} = \frac{a(x_i) \cdot a(x_j)}{\|a(x_i)\|\, \|a(x_j)\|}, \qquad
        \text{agreement}_{ij} = 1 - \frac{\|a(x_i) - a(x_j)\|^2}{u},

    in [0, 1], per op and for the units of all of them together. Where two patterns agree the network is one and the
    same linear map, and a weight that feeds a unit moves both predictions only if the unit is active on both: the
    first part of the tangent kernel falls as patterns part.

    Args:
        specimen: The network, or a bare module (then: no normalization, no bounds). Never written to.
        data: What ``load`` returns, a dataset, a loader, or tensors ``x (n, C, H, W)`` or ``(x, y)``; at least 2
            images.
        per_layer: Keep the matrices of each op, too (``"cosine/relu1"``, ``"agreement/relu1"``).
        memory_limit: Bytes that patterns may take, eight units to a byte.
        batch_size: Rows of one forward pass, at most.
        device: Where to measure; None: where the network is.
        dtype: Arithmetic; None: the network's own.
        seed: Kept with the result; nothing here is random.
        progress: Told after each forward pass.

    Returns:
        One row per op with a kink, in order of emission, and one for all units together (``layer`` is ``"output"``, the
        last row): ``kind``, ``units``, ``active`` (mean share of them, over images), ``never_active`` and
        ``always_active`` (units, on these images), ``cosine_mean``, ``agreement_mean`` (over pairs of different
        images), ``same_class`` (mean cosine within classes), ``ratio`` (that mean as a share of itself and the mean
        between classes; 0.5: classes do not matter), each estimate with ``X_se`` over images (jackknife for pairs),
        ``n``, ``status`` (for a max-pooling: that it picks one of several). Arrays, float64: ``cosine``, ``agreement
        (n, n)``, ``labels``, ``index (n,)``.

    Raises:
        ArgumentError: The patterns take more than ``memory_limit``; says how many images fit.
        DataError: Fewer than two usable images.
        SpecimenError: Clean passes differ, or a pass fails.

    A cosine is not defined for an image on which no unit is active: NaN. Units at the kink itself count as not active,
    and rounding may put them on either side; the last digits of float32 can so move single units.

    Cost: one forward pass; :math:`n^2 u` additions per op; memory for :math:`n u / 8` bytes and a few n × n matrices.

    Exact case: for standard normal weights without bias, two inputs at the angle θ have cosine :math:`1 - \theta/\pi`
        and agreement :math:`1 - \theta/\pi` in expectation.

    Source: He and Su, *The local elasticity of neural networks* (2020), whose code takes the cosine of one layer's
        patterns with units at zero counted as active; Hanin and Rolnick, *Deep ReLU networks have surprisingly few
        activation patterns* (2019) for the name.
    """
    settings = Settings(per_layer, memory_limit, batch_size, seed)
    specimen, images = Specimen.of(specimen), as_images(data)
    began = time.perf_counter()
    with mount(specimen, device=device, dtype=dtype) as mounted:
        origin = provenance(mounted, images, asdict(settings))
        x, y, index, notes = _usable(images, mounted)
        refuse_unsteady(mounted, x[:_LOOKED_AT])
        layers = read(mounted, x, batch_size=batch_size, memory_limit=memory_limit, progress=progress)
        labels = y if (y >= 0).all() else None
        table, arrays = _answered(layers, labels, index, per_layer, mounted.device)
    origin |= {"seconds": round(time.perf_counter() - began, 2)}
    arrays |= {"labels": y, "index": index}
    if not layers:
        notes = (*notes, f"{specimen.name} has no op with a kink, so no unit is on or off.")
    return Result("activation_patterns", QUESTION, table, arrays, _UNITS, origin, (*notes_of(images), *notes))


def _usable(images: Images, mounted: Mounted) -> tuple[torch.Tensor, np.ndarray, np.ndarray, tuple[str, ...]]:
    """Normalized images, labels, indices, and what must be said of others."""
    batch = usable_batch(images, range(len(images)), mounted)
    if len(batch.x) < 2:
        raise DataError(f"{images.name}: {len(batch.x)} usable images; patterns are compared between two at least.")
    notes = ()
    if batch.skipped:
        number, reason = batch.skipped[0]
        notes = (f"{len(batch.skipped)} of {len(images)} images could not be used (image {number}: {reason}).",)
    return mounted.normalized(batch.x), batch.y.cpu().numpy(), batch.index.cpu().numpy(), notes


def _answered(
    layers: Sequence[Layer], labels: np.ndarray | None, index: np.ndarray, per_layer: bool, device: torch.device
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """The table and the matrices, from one op after the other."""
    n = len(index)
    both, on, units = np.zeros((n, n)), np.zeros(n), 0
    rows: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray] = {}
    never = always = 0
    finite = np.ones(n, dtype=bool)
    for layer in layers:
        similar: Mapping[str, np.ndarray] | None = None
        row: dict[str, Any] = {"layer": layer.name, "kind": layer.kind, "units": layer.units}
        if layer.is_measured and layer.on is not None:
            fine = torch.cat(layer.finite).numpy()
            pairs, own = (part.cpu().numpy() for part in overlaps(layer, device))
            both, on, units, finite = both + pairs, on + own, units + layer.units, finite & fine
            seen = int(fine.sum())
            counts = int((layer.on == 0).sum()), int((layer.on == seen).sum())
            never, always = never + counts[0], always + counts[1]
            similar = _similar(pairs, own, layer.units, fine)
            row |= _numbers(similar, own / layer.units, fine, labels, counts)
            row["status"] = MEASURED if fine.all() else _non_finite(index[~fine])
            if per_layer:
                arrays |= {f"{name}/{layer.name}": matrix for name, matrix in similar.items()}
        else:
            row |= _numbers(None, np.full(n, np.nan), np.zeros(n, dtype=bool), labels, (0, 0))
            row["status"] = layer.status
        rows.append(row)
    whole = _similar(both, on, units, finite) if units else None
    row = {"layer": OUTPUT, "kind": OUTPUT, "units": units}
    row |= _numbers(whole, on / max(units, 1), finite & bool(units), labels, (never, always))
    status = MEASURED if finite.all() else _non_finite(index[~finite])
    rows.append(row | {"status": status if units else "no op with a pattern"})
    empty = np.full((n, n), np.nan)
    return pd.DataFrame(rows), arrays | (dict(whole) if whole else {"cosine": empty, "agreement": empty.copy()})


def _similar(both: np.ndarray, on: np.ndarray, units: int, fine: np.ndarray) -> dict[str, np.ndarray]:
    """Cosine and agreement of patterns; NaN for images without numbers."""
    scale = np.sqrt(np.where(fine & (on > 0), on, np.nan))
    hidden = np.where(fine[:, None] & fine, 0.0, np.nan)
    agreement = 1 - (on[:, None] + on - 2 * both) / units
    return {"cosine": both / scale[:, None] / scale, "agreement": agreement + hidden}


def _numbers(
    similar: Mapping[str, np.ndarray] | None,
    share: np.ndarray,
    fine: np.ndarray,
    labels: np.ndarray | None,
    counts: tuple[int, int],
) -> dict[str, Any]:
    """What a row says of its patterns."""
    found: dict[str, Estimate] = {"active": _mean(share[fine])}
    found |= dict.fromkeys(_PAIRS, (math.nan, math.nan))
    if similar is not None:
        alike, same = PairSums.of([(0, similar["cosine"])], labels)
        found |= {"cosine_mean": alike.mean(), "agreement_mean": PairSums.of([(0, similar["agreement"])])[0].mean()}
        if labels is not None:
            found |= {"same_class": same.mean(), "ratio": same.share_of(alike)}
    row: dict[str, Any] = {f"{name}{end}": pair[i] for name, pair in found.items() for i, end in enumerate(("", "_se"))}
    return row | {"never_active": counts[0], "always_active": counts[1], "n": int(fine.sum())}


def _mean(values: np.ndarray) -> Estimate:
    """Over images, with its error."""
    n = len(values)
    return (
        float(values.mean()) if n else math.nan,
        float(values.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan,
    )


def _non_finite(index: np.ndarray) -> str:
    more = f" and {len(index) - 1} more" if len(index) > 1 else ""
    return f"non-finite at image {index[0]}{more}"
