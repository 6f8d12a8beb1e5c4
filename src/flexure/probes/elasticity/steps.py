"""Training steps on one image each, and how far they move every prediction: one forward pass of all points per step."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.func import functional_call

from flexure.bench import Mounted, primary
from flexure.errors import ArgumentError
from flexure.losses import Loss

__all__ = ["Push", "Step", "costs", "pushed"]

Parameters = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Step:
    """A training step, or several, on one image.

    Attributes:
        loss: From outputs and labels to a loss per image.
        size: Learning rate of plain gradient descent.
        count: Steps on the same image, one after the other.
        optimizer: Takes the steps instead, from the state it is in; None: plain gradient descent.
        sequential: Whether each image's steps begin where those of the one before it ended, instead of at the network.
    """

    loss: Loss
    size: float
    count: int = 1
    optimizer: torch.optim.Optimizer | None = None
    sequential: bool = False


@dataclass(frozen=True, eq=False)
class Push:
    """What the steps on one image did.

    Attributes:
        moved: Change of every prediction ``(points, outputs)``, float64.
        slope: Derivative of the loss by the outputs at the image, summed over the steps ``(outputs,)``, float64.
        out: Outputs at the image before the first of them ``(outputs,)``.
        before, after: The parameters.
    """

    moved: torch.Tensor
    slope: torch.Tensor
    out: torch.Tensor
    before: Parameters
    after: Parameters


def costs(loss: Loss, out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The loss of each image ``(b,)``, also by a loss that returns the mean of those it is given."""
    found = loss(out, y)
    if found.ndim:
        return found
    return torch.stack([loss(out[i : i + 1], y[i : i + 1]) for i in range(len(out))])


def pushed(
    mounted: Mounted,
    parameters: Parameters,
    x: torch.Tensor,
    y: torch.Tensor,
    evaluate: Callable[[Parameters], torch.Tensor],
    step: Step,
) -> Iterator[Push]:
    """For each image in turn, what the steps on it do.

    Args:
        mounted: The network on the bench; it is not written to.
        parameters: Its trainable parameters.
        x: Normalized images to step on ``(n, C, H, W)``.
        y: Their labels.
        evaluate: From parameters to the predictions of all points.
        step: What a step is.
    """
    here = {name: p.detach() for name, p in parameters.items()}
    base = evaluate(here).double()
    begin, take = _beginner(step, parameters), None
    for image, label in zip(x, y, strict=True):
        values, slope = here, torch.zeros((), dtype=torch.float64, device=base.device)
        take = take if step.sequential and take is not None else begin()
        outs = []
        for _ in range(step.count):
            gradients, push, out = _gradients(mounted, values, image[None], label[None], step.loss)
            values, slope = take(values, gradients), slope + push
            outs.append(out)
        after = evaluate(values).double()
        yield Push(after - base, slope, outs[0], here, values)
        if step.sequential:
            here, base = values, after


def _gradients(
    mounted: Mounted, values: Parameters, x: torch.Tensor, y: torch.Tensor, loss: Loss
) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
    """Gradients of the loss at one image by the parameters, and by the outputs; and the outputs."""
    leaves = {name: value.requires_grad_() for name, value in values.items()}
    with torch.enable_grad():
        out = primary(functional_call(mounted.model, leaves, (x,)), mounted.specimen).flatten(1)
        cost = loss(out, y).sum()
    found = torch.autograd.grad(cost, [out, *leaves.values()], allow_unused=True, materialize_grads=True)
    for value in values.values():
        value.requires_grad_(False)
    return list(found[1:]), found[0][0].double(), out[0].detach()


def _beginner(step: Step, parameters: Parameters) -> Callable[[], Callable[[Parameters, Sequence[torch.Tensor]], Any]]:
    """What begins the steps on one image: from parameters and gradients to the parameters after a step."""
    if step.optimizer is not None:
        return lambda: _twin(step.optimizer, parameters)
    return lambda: (
        lambda values, gradients: {
            name: torch.sub(value, g, alpha=step.size)
            for (name, value), g in zip(values.items(), gradients, strict=True)
        }
    )


def _twin(optimizer: Any, parameters: Parameters) -> Callable[[Parameters, Sequence[torch.Tensor]], Parameters]:
    """The optimizer with its state, at work on tensors of its own."""
    leaves = {id(p): p.detach().clone() for p in parameters.values()}
    if any(id(p) not in leaves for group in optimizer.param_groups for p in group["params"] if p.requires_grad):
        raise ArgumentError(
            "elasticity: optimizer= must be one of this network's own trainable parameters, in the arithmetic and on "
            "the device it is measured in. Leave dtype= and device= as they are, or make the optimizer anew."
        )
    own = [[leaves.setdefault(id(p), p.detach().clone()) for p in group["params"]] for group in optimizer.param_groups]
    groups = [{**group, "params": params} for group, params in zip(optimizer.param_groups, own, strict=True)]
    twin = type(optimizer)(groups)
    twin.load_state_dict(copy.deepcopy(optimizer.state_dict()))

    def move(values: Parameters, gradients: Sequence[torch.Tensor]) -> Parameters:
        for leaf, value, gradient in zip(leaves.values(), values.values(), gradients, strict=False):
            leaf.copy_(value)
            leaf.grad = gradient
        twin.step()
        return {name: leaf.clone() for name, leaf in zip(values, leaves.values(), strict=False)}

    return move
