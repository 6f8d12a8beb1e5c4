"""Every weight of a network that has inputs and outputs: convolutions, fully connected layers, and all others."""

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from flexure.models.exported import Exported
from flexure.recorder import base_kind
from flexure.weights.convolutions import convolutions, of_module
from flexure.weights.layer import LayerWeight
from flexure.weights.modules import fan_in, kind_of, weight_names, weight_of

__all__ = ["every_weight"]


def every_weight(model: nn.Module) -> list[LayerWeight]:
    """Every weight of two or more axes, in order of definition; of an exported program its convolutions alone.

    Biases and the scales of normalizations have one axis and are left out. A weight called ``weight`` is known by the
    name of its layer, as the other probes call it; behind others stands their own: ``rnn.weight_ih_l0``. Weights are
    those that a forward pass would use, as of :func:`~flexure.weights.convolutions`.
    """
    if isinstance(model, Exported):
        return convolutions(model)
    inner = {
        id(part) for lists in model.modules() if isinstance(lists, ParametrizationList) for part in lists.modules()
    }
    found: list[LayerWeight] = []
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleDict | nn.ModuleList | ParametrizationList) or id(module) in inner:
            continue
        one = of_module(name, module)
        found += [one] if one is not None else _others(name, module)
    return found


def _others(path: str, module: nn.Module) -> Iterator[LayerWeight]:
    """The weights of a module that is no convolution."""
    kind = kind_of(module)
    for name in weight_names(module):
        weight = weight_of(module, name)
        if isinstance(weight, torch.Tensor) and weight.ndim >= 2:
            called = (path or kind.lower()) if name == "weight" else ".".join(filter(None, [path, name]))
            channels = f"{weight.shape[1]}→{weight.shape[0]}"
            own = fan_in(module, weight)
            yield LayerWeight(called, kind, weight, channels, base=base_kind(module), fan_in=own)
