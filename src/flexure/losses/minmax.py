"""A penalty that moves weights to the ends of their intervals, the readings of magnitudes, and controls for both."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from flexure.errors import ArgumentError, SpecimenError, nearest
from flexure.formulas.fuzziness import Index, as_index
from flexure.formulas.memberships import Interval, Reference, Trajectory, as_interval, membership
from flexure.formulas.sparsity import excess_kurtosis, hoyer, l1_minus_l2
from flexure.weights import LayerWeight, convolutions, every_weight, select
from flexure.weights.earlier import Earlier, Kept, weights_before

__all__ = ["MinMaxPenalty"]


@dataclass(frozen=True)
class MinMaxPenalty:
    r"""How far are the weights of these layers from what they shall become? :math:`\lambda \sum_l \lambda_l\, P(W_l)`.

    Of the weights :math:`W_l` of a layer, :math:`P` is, by ``kind``:

    ================== ========================================== ==================================================
    ``"fuzziness"``    :math:`F(\mu(W))`, in [0, 1]               weights go to the ends of their interval
    ``"l1-l2"``        :math:`\|W\|_1 - \|W\|_2`                  few weights stay, all shrink
    ``"hoyer"``        1 - Hoyer's sparsity, in [0, 1]            few weights stay, at any scale
    ``"kurtosis"``     minus the excess kurtosis                  heavy tails
    ``"log-kurtosis"`` :math:`-\ln(1 + \max(0, \text{excess}))`   heavy tails, the heavier the weaker; 0 for light ones
    ``"l1"``           :math:`\|W\|_1`                            control: shrinks, and empties
    ``"l2"``           :math:`\tfrac12 \|W\|_2^2`                 control: weight decay with rate :math:`\lambda`
    ================== ========================================== ==================================================

    Ends of intervals that depend on the weights have no gradient. A layer without a value (a point for an interval, no
    sparsity of zeros) adds nothing.

    Attributes:
        kind: What is made small.
        strength: :math:`\lambda`, at least 0. Look at ``P`` at the start beside the loss: the difference of norms of a
            layer of 2,400 weights is near 100.
        layers: Names or kinds (``"conv1"``, ``"Linear"``, with ``*`` and ``?``), one or several, or factors
            :math:`\lambda_l` by them: ``{"conv1": 5, "conv2": 0.1}``. None: all convolutions alike.
        index: Of fuzziness: a name in :data:`flexure.formulas.fuzziness.INDICES`, with options beneath it.
        interval: Likewise of :data:`flexure.formulas.memberships.INTERVALS`; ``"init"`` takes it that the layers are
            drawn by PyTorch's default initializer.
        clamp: Memberships nearer to an end than that are left alone, which bounds the slopes; in [0, 0.5).
        before: For the interval ``"init_minmax"``: the network before training, its state dict, or a weights file. It
            is read and copied at once, and told by the hash of its numbers.

    Exact case: a weight in the center of its interval is not moved by fuzziness; all others keep their side.

    Source: Shen, Chen & Wang, *A Study on the Uncertainty of Convolutional Layers in Deep Neural Networks* (2020), who
        propose to add the Min-Max property to the loss; the form of the term is our reading. ``"l1-l2"`` and
        ``"kurtosis"`` are those of the code of their *Adversarial Learning with Cost-Sensitive Classes* (2021), where
        the second has no gradient.
    """

    kind: str = "fuzziness"
    strength: float = 1.0
    layers: str | Sequence[str] | Mapping[str, float] | None = None
    index: str | Mapping[str, Any] | Index = "de_luca_termini"
    interval: str | Mapping[str, Any] | Interval = "init"
    clamp: float = 1e-3
    before: Earlier | None = None

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ArgumentError(f"MinMaxPenalty: no kind {self.kind!r}. {nearest(str(self.kind), _KINDS)}")
        if not (0 <= self.strength < math.inf and 0 <= self.clamp < 0.5):
            raise ArgumentError(
                f"MinMaxPenalty: strength must be at least 0 and finite, clamp in [0, 0.5); got {self.strength}, "
                f"{self.clamp}."
            )
        object.__setattr__(self, "index", as_index(self.index))
        object.__setattr__(self, "interval", as_interval(self.interval))
        if self.before is not None and not isinstance(self.before, Kept):
            object.__setattr__(self, "before", Kept(self.before))
        if isinstance(self.interval, Trajectory):
            raise ArgumentError(
                "MinMaxPenalty: a weight is its own reason for the interval 'trajectory'; take init or init_minmax."
            )

    def __call__(self, model: nn.Module) -> torch.Tensor:
        """The penalty of a network, with a gradient.

        Raises:
            ArgumentError: A pattern matches no layer.
            SpecimenError: It has no convolution, or the interval of a layer is not known.
        """
        chosen = self._layers(model)
        if not chosen:
            raise SpecimenError(
                f"{type(model).__name__}: a Min-Max penalty on convolutions, but it has none. Name others: layers='*'."
            )
        earlier = (
            [None] * len(chosen) if self.before is None else weights_before(self.before, [one for one, _ in chosen])
        )
        parts = [
            factor * _KINDS[self.kind](self, one, initial)
            for (one, factor), initial in zip(chosen, earlier, strict=True)
        ]
        return self.strength * torch.stack(parts).sum()

    def _layers(self, model: nn.Module) -> list[tuple[LayerWeight, float]]:
        """The layers that are meant, each with its factor."""
        if self.layers is None:
            return [(one, 1.0) for one in convolutions(model) if one.weight is not None]
        every = [one for one in every_weight(model) if one.weight is not None]
        if not isinstance(self.layers, Mapping):
            return [(one, 1.0) for one in select(every, self.layers, "MinMaxPenalty", "weight")]
        return [
            (one, float(factor))
            for pattern, factor in self.layers.items()
            for one in select(every, pattern, "MinMaxPenalty", "weight")
        ]

    def _fuzziness(self, one: LayerWeight, initial: torch.Tensor | None) -> torch.Tensor:
        weight = one.by_output()
        before = None if initial is None else replace(one, weight=initial).by_output().to(weight)
        try:
            ends = self.interval.ends(weight, Reference(fan_in=one.fan_in, initial=before))  # pyrefly: ignore
        except SpecimenError as wrong:
            raise SpecimenError(f"MinMaxPenalty: {one.name}: {wrong}.") from wrong
        mu = membership(weight, ends)
        kept = mu[~mu.isnan()]
        return self.index(kept, clamp=self.clamp) if kept.numel() else weight.new_zeros(())  # pyrefly: ignore


def _of_magnitudes(reading: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., torch.Tensor]:
    """A part that looks at the weight alone, and is 0 where that has no reading."""
    return lambda penalty, one, initial: reading(one.weight).nan_to_num(0.0)


_KINDS: Mapping[str, Callable[..., torch.Tensor]] = MappingProxyType(
    {
        "fuzziness": MinMaxPenalty._fuzziness,
        "l1-l2": _of_magnitudes(l1_minus_l2),
        "hoyer": _of_magnitudes(lambda weight: 1 - hoyer(weight)),
        "kurtosis": _of_magnitudes(lambda weight: -excess_kurtosis(weight)),
        "log-kurtosis": _of_magnitudes(lambda weight: -excess_kurtosis(weight).clamp(min=0).log1p()),
        "l1": _of_magnitudes(lambda weight: weight.abs().sum()),
        "l2": _of_magnitudes(lambda weight: weight.square().sum() / 2),
    }
)
