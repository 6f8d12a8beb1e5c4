"""The calls in which a network's weights take part, with what went in and the gradient of what came out."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode

from flexure.probes.elasticity.factors import RULES, Convolution, Factors, Rows, Rule, Same

__all__ = ["Calls", "Use"]


@dataclass(eq=False)
class Use:
    """One call whose weights a rule knows.

    Attributes:
        rule: The rule.
        call: The call's arguments; its input is kept, detached.
        names: What the rule calls each parameter (``weight``, ``bias``), by its name.
        edge: What came out, as autograd knows it: also where the next op works in place.
    """

    rule: Rule
    call: Mapping[str, Any]
    names: Mapping[str, str]
    edge: GradientEdge

    def unformed(self, name: str, gradient: torch.Tensor) -> Convolution | Factors | Same | Rows:
        """The gradients of a parameter image by image, from the gradient of what came out; a convolution's unformed."""
        return (self.rule.weight if self.names[name] == "weight" else self.rule.bias)(self.call, gradient)

    def of(self, name: str, gradient: torch.Tensor) -> Factors | Same | Rows:
        """The same, a convolution's by factors."""
        part = self.unformed(name, gradient)
        return part.factors() if isinstance(part, Convolution) else part


@dataclass(eq=False)
class Calls(TorchFunctionMode):
    """A context in which forward passes note every call that takes one of these parameters.

    Attributes:
        names: Name of each parameter, by ``id``.
        images: Rows of the batch; a call whose first dimension is another is one that no rule knows.
        uses: Calls that a rule knows, in order.
        others: The function in which a parameter took part that no rule knows, by parameter.
    """

    names: Mapping[int, str]
    images: int
    uses: list[Use] = field(default_factory=list)
    others: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        here = {id(value): value for value in _tensors((args, kwargs)) if id(value) in self.names}
        if here and not self._noted(func, args, kwargs, here, result) and _is_new(result, here):
            self.others |= {self.names[one]: getattr(func, "__name__", str(func)) for one in here}
        return result

    def _noted(
        self, func: Callable[..., Any], args: Any, kwargs: Mapping[str, Any], here: Mapping[int, Any], result: Any
    ) -> bool:
        """Whether a rule knows all parameters of this call; then it is a use."""
        if func not in RULES:
            return False
        call = RULES[func].bound(args, kwargs)
        if call.get("scale_grad_by_freq") or call.get("sparse") or (func is F.linear and call["weight"].ndim < 2):
            return False
        names = {self.names[id(call[part])]: part for part in ("weight", "bias") if id(call.get(part)) in here}
        x = call["input"]
        is_known = len(names) == len(here) and id(x) not in here and len(x) == len(result) == self.images
        if is_known and result.requires_grad:
            self.uses.append(Use(RULES[func], {**call, "input": x.detach()}, names, get_gradient_edge(result)))
        return is_known


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """Tensors in arguments, also in lists and mappings of them."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _tensors(part)


def _is_new(result: Any, here: Mapping[int, Any]) -> bool:
    """Whether a call made a tensor out of a parameter; asking for its shape or its type does not."""
    return any(id(value) not in here and value.requires_grad for value in _tensors(result))
