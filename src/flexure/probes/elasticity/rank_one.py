r"""Exact training steps of networks of linear layers, without the weights they lead to.

A step on image i changes a linear layer by :math:`-\eta \delta_i h_i^T` and its bias by :math:`-\eta \delta_i`. At
image j, whose input has become :math:`h_{ij}`, it then gives
:math:`W h_{ij} + b - \eta \delta_i (h_i \cdot h_{ij} + 1)`: a correction of rank one. Before the first layer nothing
has moved, so there :math:`h_{ij} = x_j`.
"""

import operator
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from flexure.probes.elasticity.calls import Use

__all__ = ["Corrections", "LinearNetwork", "corrections"]

_ELEMENTWISE = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.Softsign),
    *(nn.Tanh, nn.Sigmoid, nn.LogSigmoid, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.Identity, nn.Dropout),
)
_FUNCTIONS = (
    *(F.relu, torch.relu, F.gelu, F.silu, F.elu, F.leaky_relu, F.softplus, F.mish, F.selu, F.relu6, F.hardtanh),
    *(torch.tanh, torch.sigmoid, F.tanh, F.sigmoid),
)
_FEW = 8  # outputs of a layer so small that reading its input takes longer than multiplying it
_METHODS = ("relu", "tanh", "sigmoid")
_SUMS = (operator.add, torch.add)

Corrections = Mapping[str, Sequence[tuple[torch.Tensor, torch.Tensor]]]
"""By parameter, for each of its uses: the input ``(n, d)`` at the images stepped on, and ``-η δ (n, p)``."""


def corrections(uses: Sequence[Use], gradients: Sequence[torch.Tensor], size: float) -> Corrections:
    """What a step of this size adds to each parameter, as factors."""
    found: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = defaultdict(list)
    for use, gradient in zip(uses, gradients, strict=True):
        for name in use.names:
            found[name].append((use.call["input"], -size * gradient))
    return found


@dataclass(frozen=True, eq=False)
class LinearNetwork:
    """A network of linear layers, elementwise functions and sums, each layer called with one vector per image.

    Attributes:
        graph: What is called in which order.
        modules: Its modules by name.
        names: Name of each parameter, by ``id``.
    """

    graph: fx.Graph
    modules: Mapping[str, nn.Module]
    names: Mapping[int, str]

    @classmethod
    def of(cls, model: nn.Module) -> "LinearNetwork | None":
        """The network as a graph, or None where something else happens in it."""
        try:
            graph = fx.symbolic_trace(model).graph
        except Exception:  # whatever a forward raises that cannot be traced: it is no such network
            return None
        names = {id(p): name for name, p in model.named_parameters()}
        found = cls(graph, dict(model.named_modules(remove_duplicate=False)), names)
        return found if all(found._is_known(node) for node in graph.nodes) else None

    @property
    def width(self) -> int:
        """Numbers of the widest layer."""
        return max((layer.out_features for layer in self.modules.values() if isinstance(layer, nn.Linear)), default=1)

    def pushed(self, x: torch.Tensor, changes: Corrections) -> torch.Tensor:
        """Predictions at normalized points ``(m, …)`` after a step on each of n images: ``(n, m, outputs)``."""
        values: dict[Any, torch.Tensor] = {}
        for node in self.graph.nodes:
            if node.op == "output":
                break
            values[node] = x[None] if node.op == "placeholder" else self._value(node, values, changes)
        return values[node.args[0]]

    def _is_known(self, node: fx.Node) -> bool:
        """Whether a node is of the kinds that can be followed."""
        if node.op == "call_module":
            layer = self.modules[str(node.target)]
            is_plain = not any(True for _ in layer.children())
            return is_plain and type(layer) in (nn.Linear, nn.Flatten, *_ELEMENTWISE) and not _is_partial(layer)
        if node.op == "call_function":
            return node.target in _FUNCTIONS or (node.target in _SUMS and not node.kwargs) or _flattens(node)
        if node.op == "call_method":
            return node.target in _METHODS or _flattens(node)
        return node.op == "placeholder" or (node.op == "output" and isinstance(node.args[0], fx.Node))

    def _value(self, node: fx.Node, values: Mapping[Any, torch.Tensor], changes: Corrections) -> torch.Tensor:
        """What a node gives: ``(1, m, …)`` where no step has changed it yet, else ``(n, m, …)``."""
        given: list[Any] = [values[arg] if isinstance(arg, fx.Node) else arg for arg in node.args]
        layer = self.modules[str(node.target)] if node.op == "call_module" else None
        if isinstance(layer, nn.Linear):
            return self._linear(layer, given[0], changes)
        if isinstance(layer, nn.Flatten) or _flattens(node):
            return given[0].flatten(2)
        if isinstance(layer, nn.ReLU) and self._is_free(node.args[0]):
            return given[0].relu_()
        if layer is not None:
            return layer(given[0])
        if node.op == "call_method":
            return getattr(given[0], str(node.target))()
        return node.target(*given, **node.kwargs)  # type: ignore[operator]

    def _is_free(self, node: Any) -> bool:
        """Whether what a node gave is a linear layer's, which nobody else needs: it may be overwritten."""
        is_linear = node.op == "call_module" and isinstance(self.modules[str(node.target)], nn.Linear)
        return is_linear and len(node.users) == 1

    def _linear(self, layer: nn.Linear, h: torch.Tensor, changes: Corrections) -> torch.Tensor:
        """A linear layer after the step: what it was, and a correction of rank one for each use of its weight."""
        of_bias = changes.get(self.names[id(layer.bias)], ()) if layer.bias is not None else ()
        of_weight = changes.get(self.names[id(layer.weight)], ())
        is_whole = [id(change) for _, change in of_bias] == [id(change) for _, change in of_weight]
        z, reaches = _forward(layer, h, [entered for entered, _ in of_weight])
        for (_, change), reach in zip(of_weight, reaches, strict=True):
            z = torch.addcmul(z, reach + 1 if is_whole else reach, change[:, None])
        for _, change in () if is_whole else of_bias:
            z = z + change[:, None]
        return z


def _forward(
    layer: nn.Linear, h: torch.Tensor, entered: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """What a linear layer gives as it is, and how far ``h (n, m, d)`` goes along each ``(n, d)``: ``(n, m, 1)``."""
    if len(h) == 1:
        return F.linear(h, layer.weight, layer.bias), [(h[0] @ along.T).T[..., None] for along in entered]
    if layer.out_features > _FEW:
        return F.linear(h, layer.weight, layer.bias), [h @ along[..., None] for along in entered]
    rows = torch.cat([layer.weight.expand(len(h), -1, -1), *(along[:, None] for along in entered)], 1)
    z, *reaches = (h @ rows.mT).split([layer.out_features, *[1] * len(entered)], 2)  # once through h instead of twice
    return z if layer.bias is None else z + layer.bias, reaches


def _is_partial(layer: nn.Module) -> bool:
    """Whether it flattens less than everything of an image."""
    return isinstance(layer, nn.Flatten) and (layer.start_dim, layer.end_dim) != (1, -1)


def _flattens(node: fx.Node) -> bool:
    """Whether a call of a function or method flattens everything of an image."""
    is_called_so = node.target is torch.flatten or (node.op == "call_method" and node.target == "flatten")
    return is_called_so and tuple(node.args[1:]) == (1,) and not node.kwargs
