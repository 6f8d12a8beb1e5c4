"""Which convolutions a network has, and the filters that they really apply."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx, nn

from flexure.models.exported import Exported
from flexure.recorder import base_kind
from flexure.weights.layer import LayerWeight
from flexure.weights.modules import fan_in, kind_of, weight_of

__all__ = ["convolutions", "of_module"]

_KINDS = {f"Conv{transposed}{d}d" for d in (1, 2, 3) for transposed in ("", "Transpose")}
_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_FUNCTIONS = {"convolution", *(f"conv{transposed}{d}d" for d in (1, 2, 3) for transposed in ("", "_transpose"))}


def convolutions(model: nn.Module) -> list[LayerWeight]:
    """Every convolution of a network in evaluation mode, in order of definition; of an exported program, of use.

    Weights are those that a forward pass would use: parametrized, normalized and pruned ones are worked out anew, and
    nothing of the network is written to. Convolutions that are no modules (``F.conv2d``) are found in exported programs
    alone.
    """
    return list(_in_graph(model.graph_module) if isinstance(model, Exported) else _in_modules(model))


def of_module(name: str, module: nn.Module) -> LayerWeight | None:
    """The convolution that a module of this name is; None where it is none."""
    kind = kind_of(module)
    if isinstance(module, _LAYERS) or (isinstance(module, torch.jit.ScriptModule) and kind in _KINDS):
        base = base_kind(module) if isinstance(module, _LAYERS) else kind
        weight, groups = weight_of(module), int(getattr(module, "groups", 1))
        return _convolution(name or kind.lower(), kind, base, groups, weight, fan_in(module, weight))
    return None


def _in_modules(model: nn.Module) -> Iterator[LayerWeight]:
    for name, module in model.named_modules():
        if (found := of_module(name, module)) is not None:
            yield found


def _in_graph(graph_module: fx.GraphModule) -> Iterator[LayerWeight]:
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
            yield LayerWeight(name, function, None, status="its filters depend on the image")
        else:
            kind, groups = _kind_and_groups(node, function, value.ndim - 2)
            yield _convolution(name, kind, kind, groups, value, _fan_in(node, value))


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


def _fan_in(node: fx.Node, weight: torch.Tensor) -> int | None:
    """That of PyTorch's default where the call stands in a layer of PyTorch's own, whose weight is a parameter."""
    owners = list((node.meta.get("nn_module_stack") or {}).values())
    is_own = bool(owners) and str(owners[-1][1]).startswith("torch.nn.modules.conv.")
    is_plain = isinstance(node.args[1], fx.Node) and node.args[1].op == "get_attr"
    return math.prod(weight.shape[1:]) if is_own and is_plain else None


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


def _convolution(name: str, kind: str, base: str, groups: int, weight: torch.Tensor, fan_in: int | None) -> LayerWeight:
    first, second = weight.shape[:2]
    into, out = (first, second * groups) if "Transpose" in base else (second * groups, first)
    channels = f"{into}→{out}" + (f", {groups} groups" if groups > 1 else "")
    return LayerWeight(name, kind, weight, channels, base=base, groups=groups, fan_in=fan_in)
