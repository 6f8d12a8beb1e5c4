"""What pictures need besides the table: how weights are spread, and a few kernels as memberships."""

from collections.abc import Sequence

import numpy as np
import torch

from flexure.errors import SpecimenError
from flexure.formulas.memberships import Interval, Reference, membership
from flexure.weights import LayerWeight

__all__ = ["BINS", "densities", "kernels"]

BINS = 60
_KERNELS = 16


def densities(
    weights: Sequence[torch.Tensor | None], before: Sequence[torch.Tensor | None] | None
) -> dict[str, np.ndarray]:
    """Histograms of the weights of each layer, as densities over bins that a layer's two states share.

    Returns:
        ``density_edges (layers, BINS + 1)``, ``density (layers, BINS)`` and, where there is anything before,
        ``density_before``; NaN for layers without finite weights.
    """
    pairs = list(zip(weights, before or [None] * len(weights), strict=True))
    edges = np.full((len(pairs), BINS + 1), np.nan)
    found = {name: np.full((len(pairs), BINS), np.nan) for name in ("density", "density_before")}
    for row, pair in enumerate(pairs):
        known = [w.flatten().float() for w in pair if w is not None and w.numel() and torch.isfinite(w).all()]
        if not known or pair[0] is None:
            continue
        low, high = min(float(w.min()) for w in known), max(float(w.max()) for w in known)
        if high > low:
            edges[row] = np.linspace(low, high, BINS + 1)
            for values, w in zip(found.values(), known, strict=False):
                counts = torch.histc(w, BINS, low, high).cpu().double().numpy()
                values[row] = counts / counts.sum() / (high - low) * BINS
    arrays = {"density_edges": edges, "density": found["density"]}
    return arrays if before is None else arrays | {"density_before": found["density_before"]}


def kernels(
    found: Sequence[LayerWeight],
    before: Sequence[torch.Tensor | None] | None,
    interval: Interval,
    bounds: Sequence[int | None],
) -> tuple[str, dict[str, np.ndarray]]:
    """A few kernels of the first convolution of more than one pixel, drawn as memberships.

    Returns:
        Name of the layer, and ``kernels (at most 16, height, width)`` with values in [0, 1], ``kernels_before``
        likewise. Nothing where there is no such layer, or its interval is not known.
    """
    for i, one in enumerate(found):
        if one.weight is None or len(one.kernel) != 2 or max(one.kernel) < 2:
            continue
        initial = None if before is None else before[i]
        reference = Reference(fan_in=bounds[i], initial=initial)
        states = {"kernels": one.by_output()} | ({"kernels_before": initial} if initial is not None else {})
        try:
            drawn = {
                name: membership(w, interval.ends(w, reference)).flatten(0, 1)[:_KERNELS].float().cpu().numpy()
                for name, w in states.items()
            }
        except SpecimenError:
            return "", {}
        return one.name, drawn
    return "", {}
