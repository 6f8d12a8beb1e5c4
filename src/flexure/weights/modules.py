"""What lies in a module: its weights as a forward pass would use them, and how PyTorch drew them."""

import copy
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrize import type_before_parametrizations

__all__ = ["fan_in", "kind_of", "weight_names", "weight_of"]

_DEFAULT = {cls.reset_parameters for cls in (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.RNN, nn.RNNCell)}
_KEEPS_SCALE = ("WeightNorm", "_WeightNorm")  # at the start, the weight is as it was drawn


def kind_of(module: nn.Module) -> str:
    """The name of a module's class, under its parametrizations and TorchScript's wrapper."""
    if isinstance(module, torch.jit.ScriptModule):
        return str(module.original_name)
    return type_before_parametrizations(module).__name__


def weight_of(module: Any, name: str = "weight") -> torch.Tensor:
    """The weight that a forward pass would use; nothing of the module is written to.

    torch's older ``weight_norm``, ``spectral_norm`` and ``prune`` work it out in a hook before each pass and leave it
    lying about; what lies there may be older than the weights it comes from. Their hooks are called on a shallow copy.
    """
    if hooks := list(_hooks(module)):
        module = copy.copy(module)
        for hook in hooks:
            hook(module, ())
    return getattr(module, name)


def weight_names(module: nn.Module) -> list[str]:
    """The names of a module's own parameters, those that are worked out from others in place of these."""
    names = [name for name, _ in module.named_parameters(recurse=False)]
    if parametrize.is_parametrized(module):
        names += list(module.parametrizations)  # pyrefly: ignore
    for hook in _hooks(module):
        made = str(getattr(hook, "name", None) or getattr(hook, "_tensor_name", "weight"))
        names = [name for name in names if name not in (f"{made}_g", f"{made}_v", f"{made}_orig")]
        names += [made] if made not in names else []
    return names


def fan_in(module: Any, weight: torch.Tensor) -> int | None:
    """The number whose root bounds what PyTorch's default initializer draws; None where a layer is drawn otherwise."""
    kind = getattr(nn, kind_of(module), None) if isinstance(module, torch.jit.ScriptModule) else None
    if getattr(kind or type_before_parametrizations(module), "reset_parameters", None) not in _DEFAULT:
        return None
    makers = [type(hook).__name__ for hook in _hooks(module)]
    if parametrize.is_parametrized(module):
        makers += [type(part).__name__ for parts in module.parametrizations.values() for part in parts]
    if any(maker not in _KEEPS_SCALE for maker in makers):
        return None
    return int(getattr(module, "hidden_size", 0)) or math.prod(weight.shape[1:])


def _hooks(module: nn.Module) -> Iterator[Any]:
    return (hook for hook in module._forward_pre_hooks.values() if type(hook).__module__.startswith("torch.nn.utils"))
