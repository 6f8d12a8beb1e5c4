"""A program made by ``torch.export``, run node by node so that its layers can be told apart."""

import copy
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import fx
from torch.utils import _pytree as pytree

from flexure.errors import SpecimenError
from flexure.recorder import SelfReporting, op_name
from flexure.specimen import Specimen

__all__ = ["Exported", "exported_specimen"]

_LAYERS = ("torch.nn.", "torch.ao.nn.")
_CONTAINERS = tuple(f"torch.nn.modules.container.{name}" for name in ("Sequential", "ModuleList", "ModuleDict"))


@dataclass(frozen=True)
class _Call:
    """One call of a layer, or of a function outside of layers, as the original network made it."""

    key: str
    name: str
    kind: str
    is_layer: bool


@dataclass(frozen=True, eq=False)
class _Point:
    """Where an observer is shown a call: the nodes that hold its results."""

    call: _Call
    nodes: tuple[fx.Node, ...]


class Exported(SelfReporting):
    """An exported program as a module that takes batches of any size.

    A program exported for a fixed batch size runs at that size: larger batches are split, the last part is filled up
    with copies of its last image, and what comes of those is cut off. All parts advance node by node together, so an
    observer sees every node once per call, with the whole batch.

    Nodes are named as :class:`flexure.recorder.Recorder` names them, from ``nn_module_stack``: PyTorch's own layers by
    their path (``layer1.0.conv1``), functions by the path of the module they stand in (``layer1.0.add``). What does not
    depend on the input is not shown, nor is a second result that nothing uses. Devices written into the program (an
    ``arange`` on the CPU) stay as they are.

    Args:
        graph_module: A program as a graph of one tensor input, from :meth:`of`.
        batch: Smallest and largest batch it runs at.
    """

    def __init__(self, graph_module: fx.GraphModule, batch: tuple[int, int]) -> None:
        super().__init__()
        self.graph_module = graph_module
        self.training = False
        self._batch = batch
        self._input = next(node for node in graph_module.graph.nodes if node.op == "placeholder")
        self._points = {point.nodes[-1]: point for point in _points(graph_module.graph, self._input)}
        self.image_shape = tuple(
            side if isinstance(side, int) else None for side in tuple(self._input.meta["val"].shape)[1:]
        )

    @classmethod
    def of(cls, program: torch.export.ExportedProgram) -> "Exported":
        """The module for a program as ``torch.export.load`` gives it.

        Raises:
            SpecimenError: It does not take exactly one tensor with a batch axis.
        """
        graph_module = program.module()
        inputs = [node for node in graph_module.graph.nodes if node.op == "placeholder"]
        values = [node.meta.get("val") for node in inputs]
        if len(inputs) != 1 or not isinstance(values[0], torch.Tensor) or values[0].ndim < 2:
            names = ", ".join(node.name for node in inputs) or "nothing"
            raise SpecimenError(f"the exported program takes {names}; it must take one batch of images. Wrap it first.")
        return cls(graph_module, _batch_range(program, values[0].shape[0]))

    def __deepcopy__(self, memo: dict[int, Any]) -> "Exported":
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)  # torch's own copying
            return Exported(copy.deepcopy(self.graph_module, memo), self._batch)

    def train(self, mode: bool = True) -> "Exported":
        """An exported program stays in the mode it was exported in; asking for another changes nothing."""
        return self

    def forward(self, x: torch.Tensor) -> Any:
        """What the program returns for ``x (b, C, H, W)``, whatever ``b``.

        Raises:
            SpecimenError: The images have another shape than those it was exported for.
        """
        if x.ndim != len(self.image_shape) + 1 or any(
            wanted not in (None, found) for wanted, found in zip(self.image_shape, x.shape[1:], strict=True)
        ):
            wanted = " x ".join("any" if side is None else str(side) for side in self.image_shape)
            raise SpecimenError(f"exported for images of {wanted}; got a batch of shape {tuple(x.shape)}.")
        return self._run(x)

    def _run(self, x: torch.Tensor) -> Any:
        least, most = self._batch
        rows = [min(most, len(x) - first) for first in range(0, len(x), most)]
        parts = [_filled(part, least) for part in x.split(rows)]
        sizes = [(len(part), kept) for part, kept in zip(parts, rows, strict=True)]
        workers = [fx.Interpreter(self.graph_module) for _ in parts]
        for node in self.graph_module.graph.nodes:
            if node.op == "output":
                flat = [worker.map_nodes_to_values(node.args[0], node) for worker in workers]
                return self.graph_module.graph.process_outputs(_whole(flat, sizes))
            for worker, part in zip(workers, parts, strict=True):
                self._step(node, worker, part)
            if self.observer is not None and node in self._points:
                self._show(self._points[node], workers, sizes)
            for worker in workers:
                for done in worker.user_to_last_uses.get(node, ()):
                    worker.env.pop(done, None)
        raise SpecimenError("the exported program has no output.")

    def _step(self, node: fx.Node, worker: fx.Interpreter, part: torch.Tensor) -> None:
        if node is self._input:
            worker.env[node] = part
        elif node.op == "get_attr":
            value = worker.run_node(node)
            worker.env[node] = value.to(part.device) if isinstance(value, torch.Tensor) else value
        elif node.op != "call_module":  # the only one checks shapes, batch size included; forward does that
            worker.env[node] = worker.run_node(node)

    def _show(self, point: _Point, workers: Sequence[fx.Interpreter], sizes: Sequence[tuple[int, int]]) -> None:
        first, last = workers[0], point.nodes[-1]
        if not point.call.is_layer and not _in_place(last) and first.env[last] is first.env.get(_first_input(last)):
            return  # handed back as it was: contiguous on what is contiguous
        whole = _whole([[worker.env[node] for node in point.nodes] for worker in workers], sizes)
        if self.observer is not None:
            self.observer(point.call.name, point.call.kind, whole[0] if len(whole) == 1 else tuple(whole))


def exported_specimen(path: str | os.PathLike) -> Specimen:
    """The program in a ``.pt2`` file as a specimen. Opening it may run code that is in it.

    Raises:
        SpecimenError: It cannot be read, or does not take one batch of images.
    """
    path = Path(path).expanduser()
    try:
        program = torch.export.load(path)
    except Exception as wrong:
        first = (str(wrong).splitlines() or [type(wrong).__name__])[0]
        raise SpecimenError(
            f"{path}: not an exported program this version of torch ({torch.__version__}) can read: {first}"
        ) from wrong
    try:
        model = Exported.of(program)
    except SpecimenError as wrong:
        raise SpecimenError(f"{path}: {wrong}") from wrong
    height, width = (None, *model.image_shape)[-2:]
    known = height is not None and width is not None
    return Specimen(model, name=path.name, image_size=(height, width) if known else None)


def _batch_range(program: torch.export.ExportedProgram, size: int | torch.SymInt) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    allowed = program.range_constraints.get(size.node.expr)
    if allowed is None:
        return 1, sys.maxsize
    return max(1, int(allowed.lower)), min(int(allowed.upper), sys.maxsize) if allowed.upper.is_finite else sys.maxsize


def _filled(part: torch.Tensor, least: int) -> torch.Tensor:
    lacking = least - len(part)
    return part if lacking <= 0 else torch.cat([part, part[-1:].expand(lacking, *part.shape[1:])])


def _whole(parts: Sequence[Any], sizes: Sequence[tuple[int, int]]) -> Any:
    """The parts' values put together: leaf by leaf, without the rows that only fill up."""
    return pytree.tree_map(lambda *leaves: _joined(leaves, sizes), *parts)


def _joined(leaves: Sequence[Any], sizes: Sequence[tuple[int, int]]) -> Any:
    """Tensors of ``k`` rows per image, one after the other; anything else is taken from the first part."""
    first = leaves[0]
    if not isinstance(first, torch.Tensor) or not first.ndim or (len(leaves) == 1 and sizes[0][0] == sizes[0][1]):
        return first
    per_image = len(first) // sizes[0][0]
    if not per_image or any(len(leaf) != per_image * size for leaf, (size, _) in zip(leaves, sizes, strict=True)):
        return first
    return torch.cat([leaf[: per_image * kept] for leaf, (_, kept) in zip(leaves, sizes, strict=True)])


def _points(graph: fx.Graph, source: fx.Node) -> Iterator[_Point]:
    """What to show, in order: neighboring nodes that belong to one call are one point."""
    live = {source}
    call: _Call | None = None
    nodes: list[fx.Node] = []
    for node in graph.nodes:
        if live.isdisjoint(node.all_input_nodes):
            continue
        live.add(node)
        if node.op != "call_function" or not _gives_tensors(node):
            continue
        found = _call(node)
        if call is not None and found != call:
            yield _point(call, nodes)
            nodes = []
        call = found
        nodes.append(node)
    if call is not None:
        yield _point(call, nodes)


def _point(call: _Call, nodes: Sequence[fx.Node]) -> _Point:
    inside = set(nodes)
    return _Point(call, tuple(node for node in nodes if not inside.issuperset(node.users)) or (nodes[-1],))


def _call(node: fx.Node) -> _Call:
    """The outermost PyTorch layer a node stands in, else the function that made it."""
    key = path = ""
    for key, (path, kind) in (node.meta.get("nn_module_stack") or {}).items():
        full = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
        if full.startswith(_LAYERS) and full not in _CONTAINERS:
            short = full.rpartition(".")[2]
            return _Call(key, path or short.lower(), short, True)
    number, function = node.meta.get("torch_fn") or (node.name, _aten_name(node))
    kind = op_name(function.rpartition(".")[2])
    return _Call(f"{key} {number}", f"{path}.{kind}" if path else kind, kind, False)


def _aten_name(node: fx.Node) -> str:
    target: Any = node.target
    return target._schema.name.rpartition("::")[2] if hasattr(target, "_schema") else target.__name__


def _in_place(node: fx.Node) -> bool:
    return _aten_name(node).endswith("_")


def _first_input(node: fx.Node) -> Any:
    return node.args[0] if node.args else None


def _gives_tensors(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) or (
        isinstance(value, list | tuple) and any(isinstance(part, torch.Tensor) for part in value)
    )
