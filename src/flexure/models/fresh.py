"""The same network with fresh weights, for comparisons with an untrained one."""

import copy
from collections.abc import Callable

import torch
from torch import nn

from flexure import rng
from flexure.bench import unwrap
from flexure.specimen import Specimen

__all__ = ["reinitialized"]

_SHOWN = 3


def reinitialized(specimen: Specimen, seed: int) -> nn.Module | str:
    """The specimen's network as it was before training, or the reason why there is none.

    The specimen's factory is called again if it has one; else a copy's own ``reset_parameters`` are called, from the
    innermost modules outwards, and have to cover every parameter (which is checked: parameters are NaN before).

    Args:
        specimen: Never written to.
        seed: Same seed, same weights; global generators are left as they were.

    Returns:
        A network in evaluation mode, in the dtype and on the device of the specimen's; or a sentence.
    """
    own = next((p for p in specimen.model.parameters() if p.is_floating_point()), None)
    if own is None:
        return "no fresh weights: the network has no parameters"
    found = _built(specimen.factory, specimen, seed) if specimen.factory else _reset(specimen.model, seed)
    return found if isinstance(found, str) else found.to(device=own.device, dtype=own.dtype).eval()


def _built(factory: Callable[[], nn.Module], specimen: Specimen, seed: int) -> nn.Module | str:
    def build(seed: int) -> nn.Module:
        with rng.seeded(seed):
            return factory()

    try:
        model = build(seed)
        if _same(model, unwrap(specimen.model)) and _same(model, build(seed + 1)):
            return "no fresh weights: the factory gives the trained ones again, so it loads them itself"
    except Exception as wrong:
        return f"no fresh weights: calling the factory again failed: {type(wrong).__name__}: {wrong}"
    return model


def _same(one: nn.Module, two: nn.Module) -> bool:
    pairs = dict(one.named_parameters()), dict(two.named_parameters())
    return pairs[0].keys() == pairs[1].keys() and all(
        torch.equal(value.cpu(), pairs[1][name].cpu().to(value.dtype)) for name, value in pairs[0].items()
    )


def _reset(model: nn.Module, seed: int) -> nn.Module | str:
    try:
        model = copy.deepcopy(unwrap(model))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.is_floating_point():
                    parameter.fill_(torch.nan)
        with rng.seeded(seed):
            for module in reversed(list(model.modules())):
                _reset_one(module)
    except Exception as wrong:
        return f"no fresh weights: reset_parameters failed: {type(wrong).__name__}: {wrong}"
    missed = [name for name, parameter in model.named_parameters() if parameter.isnan().any()]
    if missed:
        more = f" and {len(missed) - _SHOWN} more" if len(missed) > _SHOWN else ""
        shown = ", ".join(missed[:_SHOWN]) + more
        return f"no fresh weights: reset_parameters does not cover {shown}; give Specimen(factory=…)"
    return model


def _reset_one(module: nn.Module) -> None:
    reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
    if callable(reset):
        reset()
