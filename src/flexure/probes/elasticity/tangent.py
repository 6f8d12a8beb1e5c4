"""The tangent kernel of a network, parameter by parameter: inner products of the gradients of its outputs."""

import math
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from flexure.bench import Mounted, primary
from flexure.errors import SpecimenError
from flexure.probes.elasticity.calls import Calls, Use
from flexure.probes.elasticity.contraction import Products, compact, gram
from flexure.probes.elasticity.factors import Factors, Rows, Same

__all__ = ["Gradients", "Pass", "Tangent", "kernels"]

Gradients = Mapping[str, Factors | Same | Rows]
"""The gradients of one output, image by image, by parameter."""

_CHECKED = 2  # images whose kernel is computed in both ways
_AGREE = 1e-3  # how far both may differ, relative to their norm
_ROUNDING = 1e-6  # and relative to that of all parameters: where a scale does not matter, gradients are rounding alone


@dataclass(frozen=True, eq=False)
class Tangent:
    """What is known of a network's gradients.

    Attributes:
        mounted: The network on the bench.
        parameters: Its trainable parameters.
        fallback: The function in which a parameter takes part that no rule knows, by parameter: their gradients are
            computed for one image after the other.
        outputs: Outputs of the network.
    """

    mounted: Mounted
    parameters: Mapping[str, nn.Parameter]
    fallback: Mapping[str, str]
    outputs: int = 1

    @classmethod
    def of(cls, mounted: Mounted, x: torch.Tensor) -> "Tangent":
        """What is found on the first of these normalized images, where every rule is held against autograd.

        Raises:
            SpecimenError: The network has no trainable parameter.
        """
        parameters = {name: p for name, p in mounted.model.named_parameters() if p.requires_grad}
        if not parameters:
            raise SpecimenError(
                f"{mounted.specimen.name}: has no trainable parameter, so no training step can move a prediction. "
                "Frozen? model.requires_grad_(True)."
            )
        few = x[:_CHECKED]
        pass_ = Pass.of(cls(mounted, parameters, {}), few)
        seen = {name for use in pass_.uses for name in use.names} | pass_.others.keys()
        known = cls(mounted, parameters, pass_.others, pass_.out.shape[1])
        wrong = dict.fromkeys((name for name in parameters if name not in seen), "in no call that was seen")
        wrong |= dict.fromkeys(known._misjudged(few, pass_), "a rule that does not fit")
        return replace(known, fallback={**wrong, **pass_.others})

    def gradients(self, x: torch.Tensor, outputs: Sequence[int]) -> list[Gradients]:
        """For each of these outputs its gradients at every image: one forward pass, and a backward pass each."""
        pass_ = Pass.of(self, x)
        return [self._of_output(pass_, c, x) for c in outputs]

    def bytes(self, x: torch.Tensor) -> int:
        """Memory that the gradients of one output at these images take, and what it takes to find them."""
        pass_ = Pass.of(self, x)
        parts = self._of_output(pass_, 0, x).values()
        kept = sum(tensor.nbytes for part in parts for tensor in vars(part).values() if torch.is_tensor(tensor))
        seen = [
            (use.call["input"].nbytes, math.prod(use.call["weight"].shape[2:]))
            for use in pass_.uses
            if use.call["weight"] is not None
        ]
        return kept + 2 * sum(size for size, _ in seen) + max((size * kernel for size, kernel in seen), default=0)

    def _of_output(self, pass_: "Pass", c: int, x: torch.Tensor) -> Gradients:
        found = pass_.backward(c)
        each = {name: self.parameters[name].detach() for name in {*self.fallback, *pass_.others}}
        found |= {name: [Rows(g)] for name, g in _one_by_one(self.mounted, each, x, c).items()}
        return {name: _together(parts) for name, parts in found.items()}

    def _misjudged(self, x: torch.Tensor, pass_: "Pass") -> list[str]:
        """Parameters whose rule gives another kernel than autograd does."""
        named = {name: p.detach() for name, p in self.parameters.items() if name not in self.fallback}
        if not named:
            return []
        ruled = {name: _together(parts) for name, parts in pass_.backward(0).items()}
        rows = list(_rows(self.mounted, named, x, 0))
        expected = torch.stack([_inner([row[name] for row in rows]) for name in named])
        found = torch.stack(
            [
                gram(ruled[name], ruled[name]) if name in ruled else expected.new_zeros(expected.shape[1:]).double()
                for name in named
            ]
        )
        slack = _ROUNDING**2 * float(expected.diagonal(dim1=1, dim2=2).sum())
        return [name for name, fits in zip(named, _agree(found, expected, slack), strict=True) if not fits]


@dataclass(frozen=True, eq=False)
class Pass:
    """A forward pass that can be gone back.

    Attributes:
        out: Outputs ``(images, outputs)``.
        uses: Calls of weights in it that a rule knows.
        others: Parameters that no rule knows, of old or in this pass, and the function in which they take part.
    """

    out: torch.Tensor
    uses: Sequence[Use]
    others: Mapping[str, str]

    @classmethod
    def of(cls, tangent: Tangent, x: torch.Tensor) -> "Pass":
        """Of normalized images."""
        names = {id(p): name for name, p in tangent.parameters.items()}
        with torch.enable_grad(), Calls(names, len(x)) as calls:
            out = tangent.mounted.forward(x).flatten(1)
        return cls(out, calls.uses, {**tangent.fallback, **calls.others})

    def backward(self, c: int) -> dict[str, list[Factors | Same | Rows]]:
        """Gradients of output c image by image, use by use, of the parameters that rules know."""
        found: dict[str, list[Factors | Same | Rows]] = defaultdict(list)
        if not self.uses:
            return found
        seed = torch.zeros_like(self.out)
        seed[:, c] = 1
        edges = [use.edge for use in self.uses]
        parts = torch.autograd.grad(self.out, edges, seed, retain_graph=True, allow_unused=True)
        for use, gradient in zip(self.uses, parts, strict=True):
            for name in use.names if gradient is not None else ():
                if name not in self.others:
                    found[name].append(compact(use.unformed(name, gradient)))
        return found


def kernels(one: Gradients, two: Gradients) -> dict[str, torch.Tensor]:
    """The tangent kernel that each parameter contributes ``(images, images of two)``, float64."""
    products = Products()
    return {name: gram(one[name], two[name], products) for name in one if name in two}


def _together(parts: Sequence[Factors | Same | Rows]) -> Factors | Same | Rows:
    """A parameter that was used several times has one gradient: their sum, before any product."""
    return parts[0] if len(parts) == 1 else Rows(torch.stack([part.gradients() for part in parts]).sum(0))


def _one_by_one(
    mounted: Mounted, parameters: Mapping[str, torch.Tensor], x: torch.Tensor, c: int
) -> dict[str, torch.Tensor]:
    """Gradients of output c with respect to these parameters, image by image: ``(images, numbers)``."""
    if not parameters:
        return {}

    def output(values: Mapping[str, torch.Tensor], image: torch.Tensor) -> torch.Tensor:
        result = functional_call(mounted.model, dict(values), (image[None],))
        return primary(result, mounted.specimen).flatten()[c]

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)  # an op that vmap loops over
            found = vmap(grad(output), in_dims=(None, 0))(dict(parameters), x)
    except RuntimeError:  # control flow that depends on values, or an op without a batching rule
        return _looped(mounted, parameters, x, c)
    return {name: g.flatten(1) for name, g in found.items()}


def _looped(
    mounted: Mounted, parameters: Mapping[str, torch.Tensor], x: torch.Tensor, c: int
) -> dict[str, torch.Tensor]:
    """The same, one image after the other."""
    rows = list(_rows(mounted, parameters, x, c))
    return {name: torch.stack([row[name] for row in rows]) for name in parameters}


def _rows(
    mounted: Mounted, parameters: Mapping[str, torch.Tensor], x: torch.Tensor, c: int
) -> Iterator[dict[str, torch.Tensor]]:
    """Gradients of output c at each image, by parameter."""
    leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
    for image in x:
        with torch.enable_grad():
            result = functional_call(mounted.model, leaves, (image[None],))
            out = primary(result, mounted.specimen).flatten()[c]
        found = torch.autograd.grad(out, list(leaves.values()), allow_unused=True, materialize_grads=True)
        yield {name: g.flatten() for name, g in zip(leaves, found, strict=True)}


def _inner(rows: Sequence[torch.Tensor]) -> torch.Tensor:
    """Inner products of all of these vectors."""
    found = rows[0].new_empty(len(rows), len(rows))
    for i, one in enumerate(rows):
        for j, two in enumerate(rows[: i + 1]):
            found[i, j] = found[j, i] = one @ two
    return found


def _agree(one: torch.Tensor, two: torch.Tensor, slack: float) -> list[bool]:
    """Whether two kernels are one, as far as they are finite, for each of several ``(kernels, n, n)``."""
    gaps = (one - two).nan_to_num(0, 0, 0).flatten(1).norm(dim=1)
    allowed = max(_AGREE, 64 * torch.finfo(two.dtype).eps)
    return (gaps <= allowed * two.nan_to_num(0, 0, 0).flatten(1).norm(dim=1) + slack).tolist()
