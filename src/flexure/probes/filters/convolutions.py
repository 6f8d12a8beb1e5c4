"""Which convolutions a network has, and the filters that they really apply."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import fx, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from flexure.errors import ArgumentError, nearest
from flexure.models.exported import Exported
from flexure.recorder import base_kind

__all__ = ["Convolution", "convolutions", "select"]

_KINDS = {f"Conv{transposed}{d}d" for d in (1, 2, 3) for transposed in ("", "Transpose")}
_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_FUNCTIONS = {"convolution", *(f"conv{transposed}{d}d" for d in (1, 2, 3) for transposed in ("", "_transpose"))}


@dataclass(frozen=True, eq=False)
class Convolution:
    """One convolution.

    Attributes:
        name: Its place in the network, as the other probes call it.
        kind: ``"Conv2d"``, ``"ConvTranspose1d"``, …, or a class that extends one of these.
        weight: All its filters ``(a, b, *kernel)``; each pair of the first two axes is one. None where ``status`` says
            why there are none.
        channels: Channels in and out and, where there are several, groups: ``"64→128"``, ``"32→32, 32 groups"``.
        status: Empty, or why its filters cannot be read.
        base: Kind that the module's class extends; as a pattern for layers as good as the kind. Empty: none.
    """

    name: str
    kind: str
    weight: torch.Tensor | None
    channels: str = ""
    status: str = ""
    base: str = ""

    @property
    def kernel(self) -> tuple[int, ...]:
        """Sides of a filter."""
        return () if self.weight is None else tuple(self.weight.shape[2:])


def convolutions(model: nn.Module) -> list[Convolution]:
    """Every convolution of a network in evaluation mode, in order of definition; of an exported program, of use.

    Weights are those that a forward pass would use: parametrized, normalized and pruned ones are worked out anew, and
    nothing of the network is written to. Convolutions that are no modules (``F.conv2d``) are found in exported programs
    alone.
    """
    return list(_in_graph(model.graph_module) if isinstance(model, Exported) else _in_modules(model))


def select(found: Sequence[Convolution], layers: str | Sequence[str] | None) -> list[Convolution]:
    """Those whose name or kind matches one of the patterns (``*`` and ``?`` as in file names); None: all.

    Raises:
        ArgumentError: A pattern matches none.
    """
    if layers is None or not found:
        return list(found)
    patterns = [layers] if isinstance(layers, str) else list(layers)
    for pattern in patterns:
        if not any(_matches(one, pattern) for one in found):
            names = {text for one in found for text in (one.name, one.kind, one.base) if text}
            raise ArgumentError(f"filters: no convolution matches {pattern!r}. {nearest(pattern, names)}")
    return [one for one in found if any(_matches(one, pattern) for pattern in patterns)]


def _matches(one: Convolution, pattern: str) -> bool:
    return any(fnmatchcase(text, pattern) for text in (one.name, one.kind, one.base) if text)


def _in_modules(model: nn.Module) -> Iterator[Convolution]:
    for name, module in model.named_modules():
        kind = _kind(module)
        if isinstance(module, _LAYERS) or (isinstance(module, torch.jit.ScriptModule) and kind in _KINDS):
            base = base_kind(module) if isinstance(module, _LAYERS) else kind
            yield _convolution(name or kind.lower(), kind, base, int(module.groups), _weight(module))


def _kind(module: nn.Module) -> str:
    if isinstance(module, torch.jit.ScriptModule):
        return str(module.original_name)
    return type_before_parametrizations(module).__name__


def _weight(module: Any) -> torch.Tensor:
    """The weight that a forward pass would use.

    torch's older ``weight_norm``, ``spectral_norm`` and ``prune`` work it out in a hook before each pass and leave it
    lying about; what lies there may be older than the weights it comes from. Their hooks are called on a shallow copy.
    """
    hooks = [hook for hook in module._forward_pre_hooks.values() if type(hook).__module__.startswith("torch.nn.utils")]
    if hooks:
        module = copy.copy(module)
        for hook in hooks:
            hook(module, ())
    return module.weight


def _in_graph(graph_module: fx.GraphModule) -> Iterator[Convolution]:
    """The convolutions of an exported program, each once however often it is used."""
    seen: dict[tuple[str, fx.Node], None] = {}
    for node in graph_module.graph.nodes:
        function = node.target._schema.name.rpartition("::")[2] if hasattr(node.target, "_schema") else ""
        if function not in _FUNCTIONS:
            continue
        called, weight = _named(node, function), node.args[1]
        if (called, weight) in seen:
            continue
        again = sum(called == other for other, _ in seen)
        seen[called, weight] = None
        name = f"{called}_{again}" if again else called
        value = _constant(graph_module, weight)
        if value is None:
            yield Convolution(name, function, None, status="its filters depend on the image")
        else:
            kind, groups = _kind_and_groups(node, function, value.ndim - 2)
            yield _convolution(name, kind, kind, groups, value)


def _kind_and_groups(node: fx.Node, function: str, dimensions: int) -> tuple[str, int]:
    arguments: list[Any] = [*node.args, *[None] * 9]
    transposed, groups = "transpose" in function, arguments[6]
    if function == "convolution":  # what a decomposed program calls
        transposed, groups = arguments[6], arguments[8]
    return f"Conv{'Transpose' if transposed else ''}{dimensions}d", groups or 1


def _named(node: fx.Node, function: str) -> str:
    """A layer's path; for a function, that of the module it stands in, and the function."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, owner = stack[-1] if stack else ("", "")
    is_layer = str(owner).rpartition(".")[2].removeprefix("Parametrized") in _KINDS
    return path if is_layer and path else ".".join(filter(None, [path, function]))


def _constant(graph_module: fx.GraphModule, wanted: fx.Node) -> torch.Tensor | None:
    """The value of a node that depends on weights alone; None where it depends on the input."""
    needed, todo = {wanted}, [wanted]
    while todo:
        for before in todo.pop().all_input_nodes:
            if before not in needed:
                needed.add(before)
                todo.append(before)
    if any(node.op == "placeholder" for node in needed):
        return None
    worker = fx.Interpreter(graph_module)
    for node in graph_module.graph.nodes:
        if node in needed:
            worker.env[node] = worker.run_node(node)
    return worker.env[wanted]


def _convolution(name: str, kind: str, base: str, groups: int, weight: torch.Tensor) -> Convolution:
    first, second = weight.shape[:2]
    into, out = (first, second * groups) if "Transpose" in base else (second * groups, first)
    channels = f"{into}→{out}" + (f", {groups} groups" if groups > 1 else "")
    return Convolution(name, kind, weight.detach(), channels, base=base)
