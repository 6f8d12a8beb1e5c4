r"""How the weights of one call enter a network: factors whose product is the gradient of one image.

A call of a linear layer or a convolution at T places turns inputs ``a_t`` into ``W a_t``. With ``b_t`` the gradient of
what came out, the gradient of W for one image is :math:`\sum_t b_t a_t^T`: two thin factors stand for a large matrix.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F

__all__ = ["RULES", "Convolution", "Factors", "Rows", "Rule", "Same"]

_NUMBERS = 2**19  # of images, gradients and what they give, at a time: some that stay in the cache


@dataclass(frozen=True, eq=False)
class Factors:
    """Gradients ``sum_t b_t a_t^T`` of a weight, one per row, in each of its groups.

    Attributes:
        a: ``(rows, groups, places, d)``.
        b: ``(rows, groups, places, p)``.
    """

    a: torch.Tensor
    b: torch.Tensor

    def gradients(self) -> torch.Tensor:
        """The gradients themselves ``(rows, groups · p · d)``."""
        return (self.b.transpose(2, 3) @ self.a).flatten(1)


@dataclass(frozen=True, eq=False)
class Same:
    """Gradients of rows that a call picked by number: row v of the weight gets the ``b_t`` of all t that picked v.

    Attributes:
        index: Numbers that were picked ``(rows, places)``.
        b: ``(rows, places, p)``.
        size: Rows of the weight.
    """

    index: torch.Tensor
    b: torch.Tensor
    size: int

    def gradients(self) -> torch.Tensor:
        """The gradients themselves ``(rows, size · p)``."""
        found = self.b.new_zeros(len(self.b), self.size, self.b.shape[2])
        return found.scatter_add_(1, self.index[..., None].expand_as(self.b), self.b).flatten(1)


@dataclass(frozen=True, eq=False)
class Rows:
    """Gradients as they are ``(rows, numbers)``."""

    g: torch.Tensor

    def gradients(self) -> torch.Tensor:
        """The gradients themselves."""
        return self.g


@dataclass(frozen=True, eq=False)
class Convolution:
    """Gradients of a convolution's kernel, before anything is formed: what it sees at each place takes much room.

    Attributes:
        seen: What the kernel slides over ``(rows, C, …)``.
        given: What it is multiplied with at every place ``(rows, P, …)``.
        call: The call's arguments.
    """

    seen: torch.Tensor
    given: torch.Tensor
    call: Mapping[str, Any]

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """Rows, groups, places, d and p of the factors."""
        weight, groups = self.call["weight"], self.call["groups"]
        places, d = math.prod(self.given.shape[2:]), math.prod(weight.shape[1:])
        return len(self.seen), groups, places, d, len(weight) // groups

    def factors(self) -> Factors:
        """What the kernel sees at each place, and what that is multiplied with."""
        call, groups = self.call, self.call["groups"]
        kernel, places = call["weight"].shape[2:], self.given.shape[2:]
        a = _windows(self.seen, kernel, call["stride"], call["padding"], call["dilation"], groups, places)
        return Factors(a, _by_group(self.given, groups))

    def gradients(self) -> torch.Tensor:
        """The gradients themselves ``(rows, groups · p · d)``."""
        if self.seen.device.type != "cpu" or not self.seen.is_floating_point():
            return self.factors().gradients()
        numbers = self.seen[0].numel() + self.given[0].numel() + self.call["weight"].numel()
        rows = max(1, _NUMBERS // numbers)
        found = self.seen.new_empty(len(self.seen), self.call["weight"].numel())
        for start in range(0, len(found), rows):
            some = slice(start, start + rows)
            found[some] = _side_by_side(self.seen[some], self.given[some], self.call)
        return found


@dataclass(frozen=True)
class Rule:
    """What is known of a function that takes weights.

    Attributes:
        names: Its parameters in order, with their defaults from ``input`` on.
        weight: From the call's arguments and the gradient of what came out to the gradients of its weight.
        bias: The same for its bias.
    """

    names: Mapping[str, Any]
    weight: Callable[[Mapping[str, Any], torch.Tensor], Convolution | Factors | Same | Rows]
    bias: Callable[[Mapping[str, Any], torch.Tensor], Rows]

    def bound(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The call's arguments by name."""
        return {**self.names, **dict(zip(self.names, args, strict=False)), **kwargs}


def _linear(call: Mapping[str, Any], g: torch.Tensor) -> Factors:
    x = call["input"]
    return Factors(x.reshape(len(x), 1, -1, x.shape[-1]), g.reshape(len(g), 1, -1, g.shape[-1]))


def _last(call: Mapping[str, Any], g: torch.Tensor) -> Rows:
    return Rows(g.reshape(len(g), -1, g.shape[-1]).sum(1) if g.ndim > 2 else g)


def _per_channel(call: Mapping[str, Any], g: torch.Tensor) -> Rows:
    return Rows(g.flatten(2).sum(2) if g.ndim > 2 else g)


def _convolution(call: Mapping[str, Any], g: torch.Tensor) -> Convolution:
    return Convolution(call["input"], g, call)


def _transposed(call: Mapping[str, Any], g: torch.Tensor) -> Convolution:
    return Convolution(g, call["input"], call)


def _side_by_side(seen: torch.Tensor, given: torch.Tensor, call: Mapping[str, Any]) -> torch.Tensor:
    """Gradients of a kernel image by image: the images as groups of channels of one convolution."""
    weight, rows = call["weight"], len(seen)
    dims = weight.ndim - 2
    stride, dilation = _each(call["stride"], dims), _each(call["dilation"], dims)
    margins = _margins(call["padding"], weight.shape[2:], dilation)
    if any(low != high for low, high in margins):
        seen = F.pad(seen, [side for pair in reversed(margins) for side in pair])
        margins = [(0, 0)] * dims
    images, gradients = (x.reshape(1, -1, *x.shape[2:]) for x in (seen, given))
    shape = [rows * len(weight), *weight.shape[1:]]
    of_kernel = (torch.nn.grad.conv1d_weight, torch.nn.grad.conv2d_weight, torch.nn.grad.conv3d_weight)[dims - 1]
    padding = [low for low, _ in margins]
    return of_kernel(images, shape, gradients, stride, padding, dilation, rows * call["groups"]).reshape(rows, -1)


def _by_group(x: torch.Tensor, groups: int) -> torch.Tensor:
    """``(n, C, …)`` as ``(n, groups, places, C / groups)``."""
    return x.reshape(len(x), groups, x.shape[1] // groups, -1).transpose(2, 3)


def _windows(
    x: torch.Tensor, kernel: Sequence[int], stride: Any, padding: Any, dilation: Any, groups: int, places: Sequence[int]
) -> torch.Tensor:
    """What a kernel sees at each of the first so many places: ``(n, groups, places, C / groups · kernel)``."""
    dims = len(kernel)
    stride, dilation = _each(stride, dims), _each(dilation, dims)
    x = F.pad(x, [side for pair in reversed(_margins(padding, kernel, dilation)) for side in pair])
    for d in range(dims):
        reach = dilation[d] * (kernel[d] - 1) + 1
        missing = (places[d] - 1) * stride[d] + reach - x.shape[2 + d]
        if missing > 0:
            x = F.pad(x, [0, 0] * (dims - 1 - d) + [0, missing])
        x = x.unfold(2 + d, reach, stride[d])[..., :: dilation[d]].narrow(2 + d, 0, places[d])
    n, channels = x.shape[:2]
    x = x.permute(0, 1, *range(2 + dims, 2 + 2 * dims), *range(2, 2 + dims))  # (n, C, kernel, places): one copy below
    return x.reshape(n, groups, channels // groups * math.prod(kernel), math.prod(places)).mT


def _margins(padding: Any, kernel: Sequence[int], dilation: Sequence[int]) -> list[tuple[int, int]]:
    if padding == "valid":
        return [(0, 0)] * len(kernel)
    if padding == "same":
        total = [step * (k - 1) for k, step in zip(kernel, dilation, strict=True)]
        return [(t // 2, t - t // 2) for t in total]
    return [(p, p) for p in _each(padding, len(kernel))]


def _each(value: Any, count: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * count if len(values) == 1 else values


def _norm(
    function: Callable[..., torch.Tensor], sums: Callable[..., Rows], plain: Sequence[str]
) -> Callable[..., Rows]:
    """The gradient of a scale: what came out times what it scaled, which is the function without scale and shift."""

    def weight(call: Mapping[str, Any], g: torch.Tensor) -> Rows:
        return sums(call, g * function(call["input"], **{name: call[name] for name in plain}))

    return weight


def _over_leading(call: Mapping[str, Any], g: torch.Tensor) -> Rows:
    shape = tuple(call["normalized_shape"])
    return Rows(g.reshape(len(g), -1, math.prod(shape)).sum(1))


def _embedding(call: Mapping[str, Any], g: torch.Tensor) -> Same:
    index, table = call["input"], call["weight"]
    b = g.reshape(len(g), -1, g.shape[-1])
    index = index.reshape(len(index), -1)
    if call["padding_idx"] is not None:
        b = b * (index != call["padding_idx"] % len(table))[..., None]
    return Same(index, b, len(table))


_CONV = {"input": None, "weight": None, "bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}
_UP = {**dict(list(_CONV.items())[:5]), "output_padding": 0, "groups": 1, "dilation": 1}
_BATCH = {"input": None, "running_mean": None, "running_var": None, "weight": None, "bias": None}
_BATCH |= {"training": False, "momentum": 0.1, "eps": 1e-5}
_GROUP = {"input": None, "num_groups": None, "weight": None, "bias": None, "eps": 1e-5}
_LAYER = {"input": None, "normalized_shape": None, "weight": None, "bias": None, "eps": 1e-5}
_RMS = {"input": None, "normalized_shape": None, "weight": None, "eps": None}
_PICK = {"input": None, "weight": None, "padding_idx": None, "max_norm": None, "norm_type": 2.0}
_PICK |= {"scale_grad_by_freq": False, "sparse": False}
_STATISTICS = ("running_mean", "running_var", "eps")

RULES: Mapping[Callable[..., Any], Rule] = MappingProxyType(
    {
        F.linear: Rule({"input": None, "weight": None, "bias": None}, _linear, _last),
        **{conv: Rule(_CONV, _convolution, _per_channel) for conv in (F.conv1d, F.conv2d, F.conv3d)},
        **{
            conv: Rule(_UP, _transposed, _per_channel)
            for conv in (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
        },
        F.batch_norm: Rule(_BATCH, _norm(F.batch_norm, _per_channel, _STATISTICS), _per_channel),
        F.group_norm: Rule(_GROUP, _norm(F.group_norm, _per_channel, ("num_groups", "eps")), _per_channel),
        F.layer_norm: Rule(_LAYER, _norm(F.layer_norm, _over_leading, ("normalized_shape", "eps")), _over_leading),
        F.rms_norm: Rule(_RMS, _norm(F.rms_norm, _over_leading, ("normalized_shape", "eps")), _over_leading),
        F.embedding: Rule(_PICK, _embedding, _last),
    }
)
