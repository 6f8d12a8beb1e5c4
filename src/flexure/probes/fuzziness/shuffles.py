"""Is it more than growth of the norm? The same changes, handed out among the weights of a layer at random."""

import math
from collections.abc import Sequence

import numpy as np
import torch

from flexure import rng
from flexure.formulas.fuzziness import Index
from flexure.formulas.memberships import Interval, Reference, membership

__all__ = ["MOST", "Shuffled", "shuffled"]

MOST = 100_000
"""Weights of a layer that take part."""

Shuffled = dict[str, float]


def shuffled(
    weight: torch.Tensor,
    reference: Reference,
    interval: Interval,
    indices: Sequence[Index],
    draws: int,
    purpose: tuple[int, str],
) -> list[Shuffled]:
    """For each index, what a layer's fuzziness would be had each weight made the step of another one.

    Whole rows of the weight are drawn until they hold ``MOST`` numbers; the layer's own value on these stands beside
    the shuffles.

    Args:
        weight: ``(out, in, *kernel)`` after the training.
        reference: With the weight before it.
        interval: Ends that move are found anew for every shuffle.
        indices: Of fuzziness.
        draws: How many shuffles.
        purpose: Seed and what the numbers are drawn for.
    """
    generator = torch.Generator().manual_seed(rng.key(purpose[0], f"shuffled steps {purpose[1]}")[0])
    now, initial = _part(weight, reference.initial, generator)
    step, kept = (now - initial).flatten(), Reference(fan_in=reference.fan_in, initial=initial)
    own = _values(now, interval, indices, kept)
    moved = []
    grown = []
    for _ in range(draws):
        order = torch.randperm(len(step), generator=generator)
        other = initial + step[order].view_as(initial)
        moved.append(_values(other, interval, indices, kept))
        grown.append(float((other.abs() > initial.abs()).double().mean()))
    values = np.asarray(moved)
    return [_summary(own[i], values[:, i], np.asarray(grown), len(step)) for i in range(len(indices))]


def _part(
    weight: torch.Tensor, initial: torch.Tensor | None, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    if initial is None:
        raise ValueError("there are no weights before")
    if weight[0].numel() > MOST:
        weight, initial = (whole.flatten(1)[:, :MOST] for whole in (weight, initial))
    rows = max(MOST // weight[0].numel(), 1)
    if len(weight) > rows:
        chosen = torch.randperm(len(weight), generator=generator)[:rows].sort().values.to(weight.device)
        weight, initial = weight[chosen], initial[chosen]
    return weight.double().cpu(), initial.double().cpu()


def _values(weight: torch.Tensor, interval: Interval, indices: Sequence[Index], reference: Reference) -> list[float]:
    mu = membership(weight, interval.ends(weight, reference))
    mu = mu[~mu.isnan()]
    return [float(index(mu)) for index in indices]


def _summary(own: float, values: np.ndarray, grown: np.ndarray, n: int) -> Shuffled:
    mean, std = float(values.mean()), float(values.std(ddof=1))
    return {
        "fuzziness_shuffled": mean,
        "fuzziness_shuffled_se": std / math.sqrt(len(values)),
        "fuzziness_shuffled_low": mean - 1.96 * std,
        "fuzziness_shuffled_high": mean + 1.96 * std,
        "excess": own - mean,
        "excess_se": std * math.sqrt(1 + 1 / len(values)),
        "p_value": (1 + int((values <= own).sum())) / (1 + len(values)),
        "grown_shuffled": float(grown.mean()),
        "n_shuffled": n,
    }
