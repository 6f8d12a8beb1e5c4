r"""Exact training steps of networks of linear layers, without the weights they lead to.

A step on image i changes a linear layer by :math:`-\eta \delta_i h_i^T` and its bias by :math:`-\eta \delta_i`. At
image j, whose input has become :math:`h_{ij}`, it then gives
:math:`W h_{ij} + b - \eta \delta_i (h_i \cdot h_{ij} + 1)`: a correction of rank one. Before the first layer nothing
has moved, so there :math:`h_{ij} = x_j`.
"""

import operator
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
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

_ALL = slice(None)

Correction = tuple[torch.Tensor, torch.Tensor]
"""The input ``(n, d)`` at the images stepped on, and ``-η δ (n, p)``."""

Corrections = Mapping[str, Sequence[Correction]]
"""By parameter, for each of its uses."""

Room = Callable[..., torch.Tensor]
"""From a tensor and a shape to memory of that shape and that tensor's type that may be written to."""


def corrections(uses: Sequence[Use], gradients: Sequence[torch.Tensor], size: float) -> Corrections:
    """What a step of this size adds to each parameter, as factors."""
    found: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = defaultdict(list)
    for use, gradient in zip(uses, gradients, strict=True):
        for name in use.names:
            found[name].append((use.call["input"], -size * gradient))
    return found


@dataclass(frozen=True, eq=False)
class Corrected:
    """A linear layer after a step on each of n images.

    Attributes:
        layer: The layer.
        of_weight: What the steps add to its weight, for each use.
        of_bias: What they add to its bias.
    """

    layer: nn.Linear
    of_weight: Sequence[Correction]
    of_bias: Sequence[Correction]

    def __len__(self) -> int:
        """Images whose steps change it."""
        return max((len(change) for _, change in (*self.of_weight, *self.of_bias)), default=0)

    def __call__(self, h: torch.Tensor, some: slice, room: Room | None = None) -> torch.Tensor:
        """Outputs after the steps on some images, at inputs ``(1, m, d)`` or ``(images, m, d)``."""
        is_small = self.layer.out_features <= _FEW and len(self.of_weight) == 1
        if is_small and len(h) == len(self.of_weight[0][0][some]):
            return self._by_weights(h, some)
        return self.moved(self.plain(h, room), self.reaches(h, some), some)

    def plain(self, h: torch.Tensor, room: Room | None = None) -> torch.Tensor:
        """What the layer gives as it is, in one product."""
        rows, weight, bias = h.flatten(0, 1), self.layer.weight, self.layer.bias
        out = None if room is None else room(h, *h.shape[:2], len(weight)).flatten(0, 1)
        z = torch.mm(rows, weight.T, out=out) if bias is None else torch.addmm(bias, rows, weight.T, out=out)
        return z.unflatten(0, h.shape[:2])

    def reaches(self, h: torch.Tensor, some: slice) -> list[torch.Tensor]:
        """How far inputs go along those of some images, for each use; one further where the bias moves as much."""
        found = [_along(h, along[some]) for along, _ in self.of_weight]
        return [reach.add_(1) for reach in found] if self._is_even else found

    def moved(
        self, z: torch.Tensor, reaches: Sequence[torch.Tensor], some: slice, room: Room | None = None
    ) -> torch.Tensor:
        """What the layer gave, with a correction of rank one for each use of its weight.

        Without a room to put it into, what it gave is overwritten.
        """
        for (_, change), reach in zip(self.of_weight, reaches, strict=True):
            push = change[some, None]
            mine = z if len(z) == len(push) else None
            out = mine if room is None else room(z, len(push), *z.shape[1:])
            z, room = torch.addcmul(z, reach, push, out=out), None
        for _, change in () if self._is_even else self.of_bias:
            z = z + change[some, None]
        return z

    @property
    def _is_even(self) -> bool:
        """Whether the bias moves as the weight does, as if an input were 1."""
        return [id(change) for _, change in self.of_bias] == [id(change) for _, change in self.of_weight]

    def _by_weights(self, h: torch.Tensor, some: slice) -> torch.Tensor:
        """By the weights after the step on each image, which take little room where outputs are few."""
        ((along, change),) = self.of_weight
        weights = torch.addcmul(self.layer.weight, change[some, :, None], along[some, None])
        z = torch.cat([_along(h, weights[:, p]) for p in range(weights.shape[1])], 2)
        for more in (self.layer.bias, *(change[some, None] for _, change in self.of_bias)):
            z = z if more is None else z.add_(more)
        return z


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
            graph = fx.Tracer().trace(model)
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
        return self._run({self._input: x[None]}, self._layers(changes), _ALL)

    def own(self, x: torch.Tensor, changes: Corrections, images: int) -> torch.Tensor:
        """Predictions at each of n normalized images after the step on itself, some at a time: ``(n, outputs)``."""
        layers, parts = self._layers(changes), _parts(len(x), images)
        return torch.cat([self._run({self._input: x[some, None]}, layers, some)[:, 0] for some in parts])

    def in_parts(self, x: torch.Tensor, changes: Corrections, images: int) -> Iterator[tuple[slice, torch.Tensor]]:
        """What ``pushed`` gives, some images at a time, to be read before the next ones come.

        What no step has changed yet is computed once, and the same memory is written to again and again.
        """
        layers = self._layers(changes)
        still, first = self._before(x, layers)
        rooms: dict[fx.Node, torch.Tensor] = {}
        for some in _parts(max((len(layer) for layer in layers.values()), default=1), images):
            yield some, self._run(still, layers, some, first, rooms)

    @property
    def _input(self) -> fx.Node:
        return next(node for node in self.graph.nodes if node.op == "placeholder")

    def _layers(self, changes: Corrections) -> dict[str, Corrected]:
        linear = {name: layer for name, layer in self.modules.items() if isinstance(layer, nn.Linear)}
        return {
            name: Corrected(layer, *(changes.get(self.names.get(id(p), ""), ()) for p in (layer.weight, layer.bias)))
            for name, layer in linear.items()
        }

    def _before(
        self, x: torch.Tensor, layers: Mapping[str, Corrected]
    ) -> tuple[dict[fx.Node, torch.Tensor], dict[fx.Node, tuple[torch.Tensor, list[torch.Tensor]]]]:
        """Values ``(1, m, …)`` of the nodes that no step changes; and of the first layers that one does.

        Of those what they give without a step, and how far their input goes along that of every image ``(n, m, 1)``.
        """
        still: dict[fx.Node, torch.Tensor] = {self._input: x[None]}
        first: dict[fx.Node, tuple[torch.Tensor, list[torch.Tensor]]] = {}
        for node in self.graph.nodes:
            if node.op in ("placeholder", "output") or any(arg not in still for arg in node.all_input_nodes):
                continue
            layer = layers.get(str(node.target)) if node.op == "call_module" else None
            if layer is not None and len(layer):
                h = still[node.all_input_nodes[0]]
                first[node] = layer.plain(h), layer.reaches(h, _ALL)
            else:
                still[node] = self._value(node, still, layers, _ALL)
        return still, first

    def _run(
        self,
        values: Mapping[fx.Node, torch.Tensor],
        layers: Mapping[str, Corrected],
        some: slice,
        first: Mapping[fx.Node, tuple[torch.Tensor, list[torch.Tensor]]] = MappingProxyType({}),
        rooms: dict[fx.Node, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """What the network gives after steps on some of the images, where the values of some nodes are known."""
        found: dict[Any, torch.Tensor] = dict(values)
        for node in self.graph.nodes:
            if node.op == "output":
                break
            if node in first:
                (z, reaches), layer = first[node], layers[str(node.target)]
                found[node] = layer.moved(z, [reach[some] for reach in reaches], some, _room(rooms, node))
            elif node not in found:
                found[node] = self._value(node, found, layers, some, _room(rooms, node))
        return found[node.args[0]]

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

    def _value(
        self,
        node: fx.Node,
        values: Mapping[Any, torch.Tensor],
        layers: Mapping[str, Corrected],
        some: slice,
        room: Room | None = None,
    ) -> torch.Tensor:
        """What a node gives: ``(1, m, …)`` where no step has changed it yet, else ``(n, m, …)``."""
        given: list[Any] = [values[arg] if isinstance(arg, fx.Node) else arg for arg in node.args]
        layer = self.modules[str(node.target)] if node.op == "call_module" else None
        if isinstance(layer, nn.Linear):
            return layers[str(node.target)](given[0], some, room)
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


def _along(h: torch.Tensor, along: torch.Tensor) -> torch.Tensor:
    """How far ``h (1 or n, m, d)`` goes along each of ``(n, d)``: ``(n, m, 1)``."""
    if len(h) == 1:
        return (along @ h[0].T)[..., None]
    return torch.stack([one @ direction for one, direction in zip(h, along, strict=True)])[..., None]


def _parts(n: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, n, size)]


def _room(rooms: dict[fx.Node, torch.Tensor] | None, node: fx.Node) -> Room | None:
    """Memory for what a node gives, made at the first call, where it may be used again."""
    if rooms is None:
        return None

    def room(like: torch.Tensor, *shape: int) -> torch.Tensor:
        if node not in rooms:
            rooms[node] = like.new_empty(shape)
        return rooms[node][: shape[0]]

    return room


def _is_partial(layer: nn.Module) -> bool:
    """Whether it flattens less than everything of an image."""
    return isinstance(layer, nn.Flatten) and (layer.start_dim, layer.end_dim) != (1, -1)


def _flattens(node: fx.Node) -> bool:
    """Whether a call of a function or method flattens everything of an image."""
    is_called_so = node.target is torch.flatten or (node.op == "call_method" and node.target == "flatten")
    return is_called_so and tuple(node.args[1:]) == (1,) and not node.kwargs
