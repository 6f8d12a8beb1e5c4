"""What a training step of finite size on each image does to the prediction at every other."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.func import functional_call

from flexure.bench import Mounted, primary
from flexure.losses import Loss
from flexure.probes.elasticity.rank_one import LinearNetwork, corrections
from flexure.probes.elasticity.steps import Step, costs, pushed
from flexure.probes.elasticity.tangent import Pass, Tangent
from flexure.results import Progress

__all__ = ["Moves", "OneOutput", "by_loop", "by_rank_one", "cheaper"]

_NUMBERS = 2**18  # of activations at a time, which stay in the cache


@dataclass(frozen=True)
class OneOutput:
    """A loss that sees one output of several, as if the network had no other; its class is label 1, the rest are 0.

    Attributes:
        loss: A loss of one output.
        output: The output's number.
    """

    loss: Loss
    output: int

    def __call__(self, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Outputs ``(b, C)`` and classes ``(b,)`` to a loss per image ``(b,)``."""
        return self.loss(outputs[:, self.output : self.output + 1], (y == self.output).long())


@dataclass(frozen=True, eq=False)
class Moves:
    """What the steps did to one output.

    Attributes:
        moved: Change of the prediction at point j by the steps on image i ``(n, m)``, float64.
        own: Change at the image itself ``(n,)``.
        slope: Derivative of the loss by the output at the image, summed over the steps ``(n,)``.
        out: All outputs at the image where the steps begin ``(n, outputs)``.
    """

    moved: torch.Tensor
    own: torch.Tensor
    slope: torch.Tensor
    out: torch.Tensor


def cheaper(network: LinearNetwork | None, n: int, m: int) -> str:
    """Which way needs fewer multiplications: one correction per image and point, or all weights anew per image."""
    if network is None:
        return "loop"
    layers = [layer.weight for layer in network.modules.values() if isinstance(layer, nn.Linear)]
    all_weights = sum(weight.numel() for weight in layers)
    rank_one = n * m * (all_weights - layers[0].numel() + 4 * sum(len(weight) for weight in layers))
    loop = n * (m + 3) * all_weights
    return "rank_one" if rank_one <= loop else "loop"


def by_loop(
    mounted: Mounted,
    parameters: Mapping[str, nn.Parameter],
    x: torch.Tensor,
    y: torch.Tensor,
    to: torch.Tensor | None,
    output: int,
    step: Step,
    *,
    batch_size: int,
    progress: Progress | None,
) -> Moves:
    """New weights for every image, and a pass of all points through each."""
    points = x if to is None else to

    def evaluate(values: Mapping[str, torch.Tensor]) -> torch.Tensor:
        parts = [functional_call(mounted.model, dict(values), (part,)) for part in points.split(batch_size)]
        return torch.cat([primary(part, mounted.specimen).flatten(1)[:, output : output + 1] for part in parts])

    def at(values: Mapping[str, torch.Tensor], image: torch.Tensor) -> torch.Tensor:
        out = primary(functional_call(mounted.model, dict(values), (image[None],)), mounted.specimen)
        return out.flatten(1)[0, output].double()

    moved, own, slopes, outs = [], [], [], []
    steps = pushed(mounted, parameters, x, y, evaluate, step)
    for i, push in enumerate(steps):
        moved.append(push.moved[:, 0])
        slopes.append(push.slope[output])
        outs.append(push.out)
        own.append(push.moved[i, 0] if to is None else at(push.after, x[i]) - at(push.before, x[i]))
        if progress is not None:
            progress(i + 1, len(x))
    return Moves(torch.stack(moved), torch.stack(own), torch.stack(slopes), torch.stack(outs))


def by_rank_one(
    network: LinearNetwork,
    tangent: Tangent,
    x: torch.Tensor,
    y: torch.Tensor,
    to: torch.Tensor | None,
    output: int,
    step: Step,
    *,
    progress: Progress | None,
) -> Moves:
    """No new weights: corrections of rank one, some images at a time."""
    one = Pass.of(tangent, x)
    seed, slope = _slopes(one.out, y, step.loss, output)
    gradients = torch.autograd.grad(one.out, [use.edge for use in one.uses], seed)
    changes = corrections(one.uses, gradients, step.size)
    points, out = x if to is None else to, one.out.detach()
    base = (out if to is None else tangent.mounted.forward(points).flatten(1))[:, output].double()
    moved = x.new_zeros(len(x), len(points), dtype=torch.float64)
    for some, after in network.in_parts(points, changes, max(1, _NUMBERS // (len(points) * network.width))):
        moved[some] = after[..., output].double() - base
        if progress is not None:
            progress(min(some.stop, len(x)), len(x))
    if to is None:
        return Moves(moved, moved.diagonal(), slope, out)
    own = network.own(x, changes, max(1, _NUMBERS // network.width))[:, output].double() - out[:, output].double()
    return Moves(moved, own, slope, out)


def _slopes(out: torch.Tensor, y: torch.Tensor, loss: Loss, output: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Derivatives of each image's loss by its outputs, and by the one that is watched."""
    with torch.enable_grad():
        leaf = out.detach().requires_grad_()
        cost = costs(loss, leaf, y).sum()
    (seed,) = torch.autograd.grad(cost, leaf)
    return seed, seed[:, output].double()
