"""How undecided are the weights of each layer between the ends of their interval, and is it more than chance?"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from flexure.bench import Mounted, mount
from flexure.errors import ArgumentError
from flexure.formulas.fuzziness import Index
from flexure.formulas.memberships import Init, Interval
from flexure.models import reinitialized
from flexure.probes._provenance import provenance
from flexure.probes.fuzziness.pictures import densities, kernels
from flexure.probes.fuzziness.reading import Reading, rows
from flexure.probes.fuzziness.settings import Settings
from flexure.probes.fuzziness.shuffles import MOST
from flexure.probes.fuzziness.table import UNITS, table
from flexure.results import Result
from flexure.specimen import Specimen
from flexure.weights import LayerWeight, convolutions, every_weight, select
from flexure.weights.earlier import Earlier, weights_before

__all__ = ["fuzziness"]

QUESTION = "How undecided are the weights of each layer between the ends of their interval, and is it more than chance?"
_BEYOND = 1 + 1e-6  # initial weights may lie beyond a bound by rounding

Weights = list[torch.Tensor | None]


def fuzziness(
    specimen: Specimen | nn.Module,
    data: Any = None,
    *,
    interval: str | Mapping[str, Any] | Interval | Sequence[Any] = "init",
    index: str | Mapping[str, Any] | Index | Sequence[Any] = "de_luca_termini",
    before: Specimen | Earlier | None = None,
    checkpoints: Mapping[int, Specimen | Earlier] | None = None,
    layers: str | Sequence[str] | None = None,
    shuffle_draws: int = 0,
    seed: int = 0,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
) -> Result:
    r"""How undecided are the weights of each layer between the ends of their interval, and is it more than chance?

    With ends a and b, a weight's membership is :math:`\mu = (w - a)/(b - a)`, its distance from the center :math:`d =
    |2\mu - 1|`. The index is 1 where all weights are at the center and 0 where each is at an end; by default De Luca
    and Termini's,

    .. math:: F = -\frac{1}{n \ln 2} \sum_i \mu_i \ln \mu_i + (1 - \mu_i) \ln(1 - \mu_i),

    with weights beyond an end counted as at it. **Which interval is meant decides the sign**: a few large weights make
    a layer fuzzy between its extremes, and crisp between 0 and its largest magnitude. So each row names it, with its
    ends.

    Args:
        specimen: The network, or a bare module. Never written to.
        data: Not looked at; taken because all probes take it.
        interval: One or several of ``"init"`` (:math:`\pm 1/\sqrt{\text{fan-in}}`, between which PyTorch draws by
            default), ``"init_minmax"`` (extremes of the weights before), ``"minmax"``, ``"symmetric"``, ``"quantile"``,
            ``"abs"``, ``"fixed"``; with options beneath the name, ``{"minmax": {"scope": "filter"}}``, or objects of
            :mod:`flexure.formulas.memberships`.
        index: One or several of :data:`flexure.formulas.fuzziness.INDICES`, likewise: ``{"yager": {"p": 1}}``.
        before: The network before training: another network, its state dict, or a weights file.
        checkpoints: A series of such by step, each read in place of the specimen's own weights; ``before`` is then the
            first of them unless it is given.
        layers: Names or kinds of layers (``"conv1"``, ``"Linear"``, ``"*"``); None: all convolutions.
        shuffle_draws: How often the changes since ``before`` are shuffled over the weights of a layer, on at most
            100,000 of them; 0, or at least 20.
        seed: Decides the shuffles and whatever is drawn for layers of independent weights.
        device: Where to read; None: where the network is.
        dtype: Round weights to this type first; None: as they are. Sums are always float64.

    Returns:
        One row per layer, interval and index: ``layer``, ``kind``, ``interval``, ``scope``, ``index``; ``low`` and
        ``high``, the ends (their means where there are several); ``fuzziness`` in [0, 1]; ``center_distance`` with
        weights beyond an end counted as at it, ``center_distance_raw`` without; ``beyond``, the share with d > 0.8;
        ``kept``, the share whose interval is more than a point; ``n`` weights; ``status``. Beside them what layers of
        independent weights give, of mean 0, as many and with the same root mean square: ``fuzziness_uniform``,
        ``…_gaussian``, ``…_laplace`` with ``…_low`` and ``…_high``, between which 95 % of such layers lie; likewise
        ``center_distance_uniform``, …. Of the magnitudes: excess ``kurtosis``, ``hoyer`` sparsity, ``l1_l2``, the
        difference of norms, ``near_zero``, the share below a tenth of the largest, ``rms``. With ``before``:
        ``fuzziness_before``, ``fuzziness_change``; ``grown``, the share of weights that grew in magnitude; ``drift``,
        the share of all movement that was along a weight's own sign; ``correlation`` of weights and steps; ``moved``.
        With ``shuffle_draws``: ``fuzziness_shuffled`` with ``…_low`` and ``…_high``, between which 95 % of shuffles
        lie, ``excess`` over it (below 0: more decided than growth of the norm explains), ``p_value``, the probability
        of at most this fuzziness by shuffles, ``grown_shuffled``. With ``checkpoints`` also ``step``, the key. Arrays
        for pictures: ``density``, ``density_before`` and ``density_edges`` (layers, bins), ``kernels`` and
        ``kernels_before``, some of the first layer's kernels as memberships. Standard errors ``X_se`` take **the
        weights of a layer as independent**; another training differs by more.

    Raises:
        ArgumentError: A name is unknown, ``layers`` matches nothing, or shuffles are asked for without ``before``.
        SpecimenError: Weights have no values yet.

    Cost: no pass over any image; all weights are read once per interval. The 23 million weights of a ResNet-50 take
        about a second of CPU at the default interval and index; nulls of moving intervals are drawn once per law and
        size.

    Exact case: a layer at PyTorch's default initialization has F = 1/(2 ln 2) = 0.7213 and mean distance ½ between
        ``init``, ``minmax`` and ``abs`` ends.

    Source: Shen, Chen & Wang, *A Study on the Uncertainty of Convolutional Layers in Deep Neural Networks* (2020), of
        which the abstract could be read; intervals, distances and nulls are our reading. The magnitudes are those of
        their *Adversarial Learning with Cost-Sensitive Classes* (2021).
    """
    settings = Settings.of(interval, index, layers, shuffle_draws, seed)
    series = _series(checkpoints)
    earlier = _model(before if before is not None or not series else next(iter(series.values())))
    if settings.shuffle_draws and earlier is None:
        raise ArgumentError("fuzziness: shuffles are of the changes since before=, which is not given.")
    specimen, began = Specimen.of(specimen), time.perf_counter()
    with mount(specimen, device=device, dtype=dtype) as mounted:
        origin = provenance(mounted, None, settings.plain())
        found = _layers(mounted, settings)
        initial = None if earlier is None else _arranged(found, weights_before(earlier, found), mounted)
        bounds = _bounds(specimen, found, initial, settings)
        states = {step: _arranged(found, weights_before(_model(one), found), mounted) for step, one in series.items()}
        states = states or {0: [None if one.weight is None else one.by_output() for one in found]}
        lines = [
            {"step": step, **row}
            for step, weights in states.items()
            for reading in _readings(found, weights, initial, bounds)
            for row in rows(reading, settings)
        ]
        last = list(states.values())[-1]
        arrays = densities(last, initial)
        drawn, pictures = kernels(_holding(found, last), initial, settings.intervals[0], bounds)
    origin |= {"kernels": drawn, "checkpoints": list(series), "seconds": round(time.perf_counter() - began, 3)}
    frame = table(
        lines, has_before=earlier is not None, has_shuffles=bool(settings.shuffle_draws), has_steps=bool(series)
    )
    units = {name: unit for name, unit in UNITS.items() if name in frame}
    notes = _notes(specimen, settings, found, has_before=earlier is not None)
    return Result("fuzziness", QUESTION, frame, arrays | pictures, units, origin, notes)


def _series(checkpoints: Mapping[int, Any] | None) -> dict[int, Any]:
    if checkpoints is None:
        return {}
    if not isinstance(checkpoints, Mapping) or not checkpoints or not all(isinstance(k, int) for k in checkpoints):
        raise ArgumentError(
            "fuzziness: checkpoints must be networks, state dicts or files by step, as in {0: …, 100: …}."
        )
    return dict(checkpoints)


def _model(one: Any) -> Any:
    return one.model if isinstance(one, Specimen) else one


def _layers(mounted: Mounted, settings: Settings) -> list[LayerWeight]:
    if settings.layers is None:
        return convolutions(mounted.model)
    return select(every_weight(mounted.model), settings.layers, "fuzziness", "weight")


def _arranged(found: Sequence[LayerWeight], weights: Weights, mounted: Mounted) -> Weights:
    """Weights of another state as ``(out, in, *kernel)``, where the network is; None where a layer has none there."""
    return [
        None if one.weight is None or w is None or w.shape != one.weight.shape
        else replace(one, weight=w.to(mounted.device, one.weight.dtype)).by_output()
        for one, w in zip(found, weights, strict=True)
    ]  # fmt: skip


def _holding(found: Sequence[LayerWeight], weights: Weights) -> list[LayerWeight]:
    """The layers with these weights, which are arranged by output already."""
    return [replace(one, weight=w, kind="", base="") for one, w in zip(found, weights, strict=True)]


def _readings(
    found: Sequence[LayerWeight], weights: Weights, initial: Weights | None, bounds: Sequence[int | None]
) -> list[Reading]:
    first: Weights = initial or [None] * len(found)
    return [
        Reading(one, w, own, bound, one.status or ("" if w is not None else "no such weight in this checkpoint"))
        for one, w, own, bound in zip(found, weights, first, bounds, strict=True)
    ]


def _bounds(
    specimen: Specimen, found: Sequence[LayerWeight], initial: Weights | None, settings: Settings
) -> list[int | None]:
    """Of each layer the fan-in, where weights before training, if there are any, lie within its bound."""
    if not any(isinstance(one, Init) for one in settings.intervals):
        return [None] * len(found)
    known: Weights = initial or [None] * len(found)
    if initial is None and specimen.factory is not None:
        fresh = reinitialized(specimen, settings.seed)
        known = weights_before(fresh, found) if isinstance(fresh, nn.Module) else known
    return [
        one.fan_in if w is None or one.fan_in is None or float(w.abs().max()) <= _BEYOND * one.fan_in**-0.5 else None
        for one, w in zip(found, known, strict=True)
    ]


def _notes(
    specimen: Specimen, settings: Settings, found: Sequence[LayerWeight], *, has_before: bool
) -> tuple[str, ...]:
    if not found:
        return (f"{specimen.name} has no convolutions. Name other layers: layers='*'.",)
    notes = []
    if any(isinstance(one, Init) for one in settings.intervals) and not has_before and specimen.factory is None:
        notes.append(
            "The interval init takes it that layers were drawn by PyTorch's default initializer, which weights after "
            "training do not show. With before= it is looked at."
        )
    most = max((one.weight.numel() for one in found if one.weight is not None), default=0)
    if settings.shuffle_draws and most > MOST:
        notes.append(f"Shuffles are of {MOST:,} weights, drawn by whole filters, in layers that have more.")
    return tuple(notes)
