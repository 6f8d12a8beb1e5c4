"""Ops with a kink, and when a unit of theirs is active: where its slope is that of the other side of the kink."""

from collections.abc import Callable

import torch
from torch import nn

from flexure.recorder import Emission

__all__ = ["active", "has_kink", "refusal"]

Rule = Callable[[torch.Tensor], torch.Tensor]


def _positive(value: torch.Tensor) -> torch.Tensor:
    return value > 0


def _between(low: float, high: float) -> Rule:
    return lambda value: (value > low) & (value < high)


def _nonzero(value: torch.Tensor) -> torch.Tensor:
    return value != 0


_RULES: dict[str, Rule] = {
    **dict.fromkeys(("relu", "leakyrelu", "prelu", "rrelu", "selu"), _positive),
    "relu6": _between(0, 6),
    "hardsigmoid": _between(0, 1),
    **dict.fromkeys(("hardshrink", "softshrink"), _nonzero),
}
_PICKS = "picks one of several: no unit is on or off"
_UNSEEN = "its limits are arguments that are not seen: use the module"
_REASONS: dict[str, str] = {
    **dict.fromkeys(("maxpool1d", "maxpool2d", "maxpool3d", "adaptivemaxpool1d", "adaptivemaxpool2d"), _PICKS),
    **dict.fromkeys(("adaptivemaxpool3d", "fractionalmaxpool2d", "fractionalmaxpool3d", "maximum", "minimum"), _PICKS),
    **dict.fromkeys(("hardtanh", "threshold", "clamp", "clampmin", "clampmax", "clip"), _UNSEEN),
    "hardswish": "three pieces, one of them curved: not on or off",
    "abs": "neither side is off",
}


def has_kink(emission: Emission) -> bool:
    """Whether the op has a kink that is known."""
    return bool({_plain(emission.kind), _plain(emission.base)} & {*_RULES, *_REASONS})


def active(emission: Emission, model: nn.Module) -> torch.Tensor | None:
    """Which units are on ``(images, …)``, true or false; None where they are not on or off.

    Args:
        emission: What an op with a kink emitted.
        model: The network, in which the limits of a module are looked up.
    """
    rule = _of_module(emission, model) or next(
        (_RULES[name] for name in map(_plain, (emission.kind, emission.base)) if name in _RULES), None
    )
    return None if rule is None else rule(emission.value)


def refusal(emission: Emission) -> str:
    """Why an op with a kink has no pattern."""
    return next(_REASONS[name] for name in map(_plain, (emission.kind, emission.base)) if name in _REASONS)


def _of_module(emission: Emission, model: nn.Module) -> Rule | None:
    """The rule of a module whose limits are its own."""
    modules = dict(model.named_modules())
    name = emission.name if emission.name in modules else emission.name.rpartition("_")[0]
    module = modules.get(name)
    if isinstance(module, nn.Hardtanh) and not isinstance(module, nn.ReLU6):
        return _between(float(module.min_val), float(module.max_val))
    if isinstance(module, nn.Threshold) and module.value <= module.threshold:
        limit = float(module.threshold)
        return lambda value: value > limit
    return None


def _plain(kind: str) -> str:
    """A module's class or a function's name as one word.

    >>> _plain("LeakyReLU"), _plain("leaky_relu"), _plain("max_pool2d_with_indices")
    ('leakyrelu', 'leakyrelu', 'maxpool2d')
    """
    return kind.lower().replace("_with_indices", "").replace("_", "")
