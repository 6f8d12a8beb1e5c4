"""What every layer and functional op of a network emits, handed over at the moment of emission.

Handing over later would hand over something else: where the next op works in place, the tensor a hook has kept is
already the next op's result (ResNet's ``bn1`` comes back rectified). So nothing is kept here; a consumer reduces.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations
from torch.overrides import TorchFunctionMode

__all__ = ["OUTPUT", "Emission", "Recorder", "SelfReporting", "base_kind", "is_block", "is_leaf", "op_name"]

OUTPUT = "output"
_VARIANT = re.compile(r"^[ir](add|sub|mul|div|truediv|floordiv|matmul|mod|pow|and|or|xor)$")
_HOMES = ("torch.nn", "torch.ao.nn")
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True, eq=False)
class Emission:
    """One tensor that one op produced.

    Attributes:
        name: Where it happened, in torch.fx's way: ``layer1.0.relu_1`` is the second use of ``layer1.0.relu``.
        kind: The module's class, or the function's name (``"Conv2d"``, ``"add"``).
        value: The tensor, valid only until the consumer returns: the next op may overwrite it.
        base: The kind that the module's class extends, where that is one of PyTorch's own (see :func:`base_kind`); else
            ``kind``.
    """

    name: str
    kind: str
    value: torch.Tensor
    base: str


def is_leaf(module: nn.Module) -> bool:
    """Whether a module counts as one op: PyTorch's own layers do, containers and users' modules are looked into.

    A class of modules may say of itself that it is one, by an attribute ``is_one_op``.

    >>> is_leaf(nn.ReLU()), is_leaf(nn.Sequential(nn.ReLU()))
    (True, False)
    """
    home = type_before_parametrizations(module).__module__
    is_torchs = home.startswith(_HOMES) and not isinstance(module, _CONTAINERS)
    return is_torchs or getattr(type(module), "is_one_op", False) is True


def base_kind(module: nn.Module) -> str:
    """The layer of PyTorch's own that a module is, or that its class extends; else the name of its class.

    >>> class MyConv(nn.Conv2d): pass
    >>> base_kind(MyConv(1, 1, 1)), base_kind(nn.ReLU6())
    ('Conv2d', 'ReLU6')
    """
    own = type_before_parametrizations(module)
    layers = (
        cls
        for cls in own.__mro__
        if cls is not nn.Module and cls.__module__.startswith(_HOMES) and not cls.__name__.startswith("_")
    )
    return next(layers, own).__name__


def is_block(module: nn.Module) -> bool:
    """Whether a module is a block: it holds other modules and is not a mere list of them."""
    return not is_leaf(module) and not isinstance(module, _CONTAINERS) and next(module.children(), None) is not None


def op_name(function: str) -> str:
    """What an op is called, from the name of the function: in-place and reflected variants like the plain op.

    >>> op_name("relu_"), op_name("__iadd__"), op_name("__rsub__"), op_name("__getitem__")
    ('relu', 'add', 'sub', 'getitem')
    """
    return _VARIANT.sub(r"\1", function.strip("_"))


class SelfReporting(nn.Module):
    """A network that tells of its ops itself, because neither hooks nor calls show them: an exported graph.

    Attributes:
        observer: Called as ``observer(name, kind, value)`` at each op, in order of emission; None: nobody watches.
        image_shape: ``(C, H, W)`` of the images it takes; None where a side is free.
    """

    observer: Callable[[str, str, Any], None] | None = None
    image_shape: tuple[int | None, ...] = (None, None, None)


class Recorder(TorchFunctionMode):
    """A context in which a network's forward passes report each op to ``emit``, in order of emission.

    Forward hooks keep a stack of module names; a torch-function mode sees the calls between leaf modules (``+``,
    ``flatten``, ``F.relu``). Calls that return no tensor, or hand back their input untouched, are no ops. The hooks go
    when the context ends, also after an exception; the network is otherwise not touched.

    Modules called twice and modules shared between two places keep the first place's name with ``_1``, ``_2`` … for the
    further calls, less the numbers that are a module's own name. Results of several tensors give ``name`` and
    ``name.1``, ``name.2`` …. ``output`` is kept for what the network returns: a module of that name is ``output_1``.
    Names are torch.fx's, except that ``/`` and ``%`` are ``div`` and ``remainder`` here.

    Args:
        model: The network whose passes are watched.
        emit: Called with each :class:`Emission`.
        blocks: Report the outputs of blocks (modules that hold other modules) instead of ops.
    """

    def __init__(self, model: nn.Module, emit: Callable[[Emission], None], *, blocks: bool = False) -> None:
        super().__init__()
        self._model, self._emit, self._blocks = model, emit, blocks
        self._stack: list[str] = []
        self._inside_leaf = 0
        self._calls: Counter[str] = Counter({OUTPUT: 1})
        self._modules: frozenset[str] = frozenset()
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._sees_calls = not (blocks or isinstance(model, SelfReporting))

    def __enter__(self) -> "Recorder":
        modules = dict(self._model.named_modules())
        self._modules = frozenset(modules)
        for name, module in modules.items():
            self._watch(name, module)
        self._observe_nodes(None if self._blocks else self._report)
        if self._sees_calls:
            super().__enter__()
        return self

    def __exit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._observe_nodes(None)
        if self._sees_calls:
            super().__exit__(exc_type, exc_val, exc_tb)

    def begin(self) -> None:
        """Forget the last pass; to be called before each, also after one that raised."""
        self._stack.clear()
        self._calls = Counter({OUTPUT: 1})
        self._inside_leaf = 0

    def _watch(self, name: str, module: nn.Module) -> None:
        leaf = is_leaf(module)
        reports = (is_block(module) and module is not self._model) if self._blocks else leaf
        if self._blocks and next(module.children(), None) is None:
            return
        kind, base = type_before_parametrizations(module).__name__, base_kind(module)

        def enter(module: nn.Module, args: Any) -> None:
            self._stack.append(name)
            self._inside_leaf += leaf

        def leave(module: nn.Module, args: Any, result: Any) -> None:
            self._stack.pop()
            self._inside_leaf -= leaf
            if reports and not self._inside_leaf:
                self._report(name or kind.lower(), kind, result, base)

        # Around the user's own hooks, and left also where the network itself catches what a module raised.
        self._handles.append(module.register_forward_pre_hook(enter, prepend=True))
        self._handles.append(module.register_forward_hook(leave, always_call=True))

    def _observe_nodes(self, observer: Callable[[str, str, Any], None] | None) -> None:
        if isinstance(self._model, SelfReporting):
            self._model.observer = observer

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        if not self._stack or self._inside_leaf:
            return func(*args, **(kwargs or {}))
        before = _version(args)
        result = func(*args, **(kwargs or {}))
        handed_back = bool(args) and result is args[0] and _version(args) == before
        name = getattr(func, "__name__", "")
        if name != "__get__" and not handed_back:
            base = op_name(name)
            self._report(f"{self._stack[-1]}.{base}" if self._stack[-1] else base, base, result)
        return result

    def _report(self, name: str, kind: str, result: Any, base: str | None = None) -> None:
        for position, value in enumerate(_tensors(result)):
            part = self._numbered(f"{name}.{position}" if position else name)
            with torch._C.DisableTorchFunction():
                self._emit(Emission(part, kind, value, base or kind))

    def _numbered(self, name: str) -> str:
        """The name at its first use, then with the next number that makes no module's own name of it."""
        while True:
            again = self._calls[name]
            self._calls[name] += 1
            if not again:
                return name
            if f"{name}_{again}" not in self._modules:
                return f"{name}_{again}"


def _version(args: Sequence[Any]) -> int:
    """How often the first argument was written to: what tells an op in place from one that hands back its input."""
    first = args[0] if args else None
    return first._version if isinstance(first, torch.Tensor) and not first.is_inference() else 0


def _tensors(result: Any) -> Iterator[torch.Tensor]:
    if isinstance(result, torch.Tensor):
        yield result
    elif isinstance(result, Mapping):
        yield from (value for value in result.values() if isinstance(value, torch.Tensor))
    elif isinstance(result, list | tuple):
        yield from (value for value in result if isinstance(value, torch.Tensor))
