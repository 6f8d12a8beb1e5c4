"""Whether a network's output has a gradient with respect to the image at all, and where it is lost."""

import torch

from flexure.bench import Mounted
from flexure.errors import SpecimenError
from flexure.perturb.attacks import logits_of, slope
from flexure.recorder import Emission, Recorder

__all__ = ["refuse_indifferent"]


def refuse_indifferent(mounted: Mounted, x: torch.Tensor, y: torch.Tensor) -> None:
    """Refuse a network that no gradient leads through.

    Args:
        mounted: The network.
        x: Raw images; the first is looked at.
        y: Their classes.

    Raises:
        SpecimenError: There is no gradient; names the op that loses it.
    """
    try:
        slope(logits_of(mounted), x[:1], y[:1])
    except SpecimenError as wrong:
        if "no gradient" not in str(wrong):
            raise
        raise SpecimenError(
            f"{mounted.specimen.name}: {wrong} {_where_lost(mounted, x[:1])} Attacks follow the gradient; put "
            "something differentiable in its place, or attack another network and try its images on this one."
        ) from wrong


def _where_lost(mounted: Mounted, x: torch.Tensor) -> str:
    """A sentence on the op after which nothing depends on the image any more."""
    x = x.detach().requires_grad_()
    seen: list[tuple[str, bool]] = []

    def emit(emission: Emission) -> None:
        seen.append((f"{emission.name!r} ({emission.kind})", _depends(emission.value, x)))

    with torch.enable_grad(), Recorder(mounted.model, emit) as recorder:
        recorder.begin()
        mounted.forward(mounted.normalized(x))
    after = max((place for place, (_, depends) in enumerate(seen) if depends), default=-1) + 1
    return f"It is lost at {seen[after][0]}." if after < len(seen) else "It is lost after the last op that was seen."


def _depends(value: torch.Tensor, x: torch.Tensor) -> bool:
    if not value.requires_grad:
        return False
    try:
        found = torch.autograd.grad(value.sum(), x, retain_graph=True, allow_unused=True)
    except RuntimeError:  # an op without a derivative lies before
        return False
    return found[0] is not None
