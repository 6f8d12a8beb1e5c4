"""Connections between the channels of successive convolutions, permuted while a pass lasts; no weight is written."""

from collections.abc import Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from flexure import rng
from flexure.errors import ArgumentError, nearest

__all__ = ["SCOPES", "ChannelShuffle", "orders", "permuted"]

SCOPES = ("shared", "per_output")
PURPOSE = "channel shuffle"
_ATEN = torch.ops.aten
_GROUPS = 6  # position of ``groups`` in the calls below
_CONVOLUTIONS: Mapping[Any, bool] = MappingProxyType(
    {torch.conv1d: False, torch.conv2d: False, torch.conv3d: False}
    | {torch.conv_transpose1d: True, torch.conv_transpose2d: True, torch.conv_transpose3d: True}
    | {_ATEN.conv1d.default: False, _ATEN.conv2d.default: False, _ATEN.conv3d.default: False}
    | {_ATEN.conv1d.padding: False, _ATEN.conv2d.padding: False, _ATEN.conv3d.padding: False}
    | {_ATEN.conv_transpose1d.default: True, _ATEN.conv_transpose2d.input: True, _ATEN.conv_transpose3d.input: True}
)
"""Calls whose second argument is the weight of a convolution, and whether it is a transposed one."""
_GENERAL = {torch.convolution, _ATEN.convolution.default}  # the same with ``transposed`` and ``groups`` at 6 and 8
_SHOWN = 4


def orders(
    shape: Sequence[int],
    *,
    groups: int = 1,
    transposed: bool = False,
    scope: str = "shared",
    seed: int,
    number: int,
    draw: int = 0,
) -> torch.Tensor:
    """In which order do the outputs of a convolution read its inputs, once these are shuffled?

    Args:
        shape: Of the weight: ``(outputs, inputs / groups, …)``; for a transposed convolution
            ``(inputs, outputs / groups, …)``.
        groups: Groups of the convolution; inputs stay within theirs.
        transposed: Whether it is a transposed convolution.
        scope: ``"shared"``: one permutation for all outputs of a group, as in Tomasini's code; ``"per_output"``: one of
            its own for each output.
        seed: The run's seed.
        number: Number of the layer.
        draw: Number of the shuffle.

    Returns:
        Permutations of ``range(inputs / groups)``, int64: ``(groups, inputs / groups)``, or
        ``(outputs, inputs / groups)`` per output. Each row depends on ``(seed, number, draw)`` alone.

    Raises:
        ArgumentError: No such scope.
    """
    if scope not in SCOPES:
        raise ArgumentError(f"channel shuffle: no scope {scope!r}. {nearest(str(scope), SCOPES)}")
    outputs, inputs = (shape[1] * groups, shape[0] // groups) if transposed else (shape[0], shape[1])
    rows = groups if scope == "shared" else outputs
    keys = rng.integers(rows * inputs, seed=seed, purpose=PURPOSE, index=torch.tensor([number]), draw=draw)
    return keys.view(rows, inputs).argsort(dim=1, stable=True)


def permuted(weight: torch.Tensor, order: torch.Tensor, *, groups: int = 1, transposed: bool = False) -> torch.Tensor:
    """The weight of a convolution that reads its inputs in another order.

    The filters are those of before, each between other channels: filter ``i`` of an output is what was filter
    ``order[…, i]``.

    Args:
        weight: As for :func:`orders`; not written to.
        order: What :func:`orders` returns.
        groups: Groups of the convolution.
        transposed: Whether it is a transposed convolution.

    Exact case: the permutations ``0, 1, 2, …`` give the weight back.
    """
    if transposed:
        swapped = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
        return permuted(swapped, order, groups=groups).unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    order = order.to(weight.device).repeat_interleave(len(weight) // len(order), 0)
    return weight[torch.arange(len(weight), device=weight.device)[:, None], order]


class ChannelShuffle(TorchFunctionMode):
    r"""What would the network do, if each convolution read the channels before it in a random order?

    A context for forward passes. Each call of a convolution inside the network, by a module or not, gets
    :func:`permuted` weights in place of its own; the network is neither copied nor written to, so a pass outside of the
    context is what it was, bit for bit. The convolution of a residual shortcut is one like any other and has its own
    permutation. A weight that serves several layers has one.

    Layers are numbered in the order in which they first run, and a permutation depends on
    ``(seed, number of the layer, draw)`` alone.

    Args:
        model: The network.
        seed: The run's seed.
        draw: Number of the shuffle.
        scope: See :func:`orders`.
        skip_first: Leave the convolution that runs first, which reads the image's own channels, as it is.

    Attributes:
        shuffled: Names of the layers met so far whose inputs were shuffled.
        left_alone: Names of those that were not, with the reason.

    Cost: a copy of the convolutions' weights. Weights that are computed anew in each pass are permuted in each.
    """

    def __init__(
        self, model: nn.Module, *, seed: int, draw: int = 0, scope: str = "shared", skip_first: bool = False
    ) -> None:
        super().__init__()
        self._model, self._seed, self._draw, self._scope, self._skip_first = model, seed, draw, scope, skip_first
        self._names: dict[int, list[str]] = {}
        for name, value in chain(model.named_parameters(remove_duplicate=False), model.named_buffers()):
            self._names.setdefault(id(value), []).append(_layer(name))
        self._taken = {name for names in self._names.values() for name in names}
        self._inside: list[list[Any]] = []  # the modules that are running: name, calls with a computed weight
        self._orders: dict[str, torch.Tensor | None] = {}
        self._kept: dict[str, tuple[torch.Tensor, int, torch.Tensor]] = {}
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self.shuffled: list[str] = []
        self.left_alone: dict[str, str] = {}

    def __enter__(self) -> "ChannelShuffle":
        self._inside.clear()
        for name, module in self._model.named_modules():
            self._watch(name, module)
        super().__enter__()
        return self

    def __exit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        super().__exit__(exc_type, exc_val, exc_tb)
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    @property
    def has_met_any(self) -> bool:
        """Whether any convolution was called so far."""
        return bool(self._orders)

    def note(self) -> str:
        """What was shuffled, what was left alone and why, in the passes made so far."""
        count = len(self.shuffled)
        found = [f"Channels were shuffled in {_counted(count, 'convolution') if count else 'no convolution'}."]
        for reason in dict.fromkeys(self.left_alone.values()):
            names = [name for name, why in self.left_alone.items() if why == reason]
            found.append(f"Not shuffled ({reason}): {_listed(names)}.")
        if linear := [name for name, module in self._model.named_modules() if isinstance(module, nn.Linear)]:
            found.append(f"Not shuffled (linear layers never are): {_listed(linear)}.")
        met = {*self.shuffled, *self.left_alone}
        for one, *others in self._names.values():
            if others and one in met:
                found.append(f"{_listed([one, *others])} share a weight, and so a permutation.")
        return " ".join(found)

    def _watch(self, name: str, module: nn.Module) -> None:
        def enter(module: nn.Module, args: Any) -> None:
            self._inside.append([name, 0])

        def leave(module: nn.Module, args: Any, result: Any) -> None:
            self._inside.pop()

        self._handles.append(module.register_forward_pre_hook(enter, prepend=True))
        self._handles.append(module.register_forward_hook(leave, always_call=True))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if (func not in _CONVOLUTIONS and func not in _GENERAL) or not self._inside:
            return func(*args, **kwargs)
        transposed = bool(args[6]) if func in _GENERAL else _CONVOLUTIONS[func]
        place = 8 if func in _GENERAL else _GROUPS
        groups = args[place] if len(args) > place else kwargs.get("groups", 1)
        if "weight" in kwargs:
            return func(*args, **{**kwargs, "weight": self._rewired(kwargs["weight"], groups, transposed)})
        return func(args[0], self._rewired(args[1], groups, transposed), *args[2:], **kwargs)

    def _rewired(self, weight: torch.Tensor, groups: int, transposed: bool) -> torch.Tensor:
        """What a convolution gets instead of its weight."""
        name = self._called(weight)
        if name not in self._orders:
            self._orders[name] = self._drawn(name, weight, groups, transposed)
        if (order := self._orders[name]) is None:
            return weight
        source, version, result = self._kept.get(name, (None, 0, weight))
        now = 0 if weight.is_inference() else weight._version
        if source is not weight or version != now:
            result = permuted(weight, order, groups=groups, transposed=transposed)
            self._kept[name] = weight, now, result
        return result

    def _called(self, weight: torch.Tensor) -> str:
        """The layer's name: that of its weight, or for a computed one that of the module it is computed in."""
        if (known := self._names.get(id(weight))) is not None:
            return known[0]
        frame = self._inside[-1]
        frame[1] += 1
        name = frame[0] or "the network"
        return f"{name} (convolution {frame[1]})" if frame[1] > 1 or name in self._taken else name

    def _drawn(self, name: str, weight: torch.Tensor, groups: int, transposed: bool) -> torch.Tensor | None:
        """The permutations of a layer that is met for the first time; None where it is left alone."""
        number, shape = len(self._orders), weight.shape
        inputs = shape[0] // groups if transposed else shape[1]
        if inputs == 1:
            self.left_alone[name] = "one input channel" + (" per group: depthwise" if groups > 1 else "")
        elif self._skip_first and number == 0:
            self.left_alone[name] = "the first convolution"
        else:
            self.shuffled.append(name)
            return orders(
                shape, groups=groups, transposed=transposed, scope=self._scope, seed=self._seed, number=number,
                draw=self._draw,
            ).to(weight.device)  # fmt: skip
        return None


def _layer(name: str) -> str:
    """A layer's name from its weight's."""
    return name.removeprefix("graph_module.").removesuffix(".weight") or name


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}" + ("" if count == 1 else "s")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
