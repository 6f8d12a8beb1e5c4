"""The same network without its nonlinearities: every activation function replaced by the identity."""

import copy
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import partial
from types import MappingProxyType
from typing import Any, overload

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from flexure import rng
from flexure.bench import unwrap
from flexure.errors import ArgumentError, SpecimenError, nearest
from flexure.models.exported import Exported
from flexure.specimen import Specimen

__all__ = ["TWINS", "LinearTwin", "linear_twin"]

_MODULES = (
    nn.CELU, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.LeakyReLU, nn.LogSigmoid,
    nn.Mish, nn.PReLU, nn.ReLU, nn.ReLU6, nn.RReLU, nn.SELU, nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Softshrink,
    nn.Softsign, nn.Tanh, nn.Tanhshrink, nn.Threshold,
)  # fmt: skip
_FUNCTIONS = (
    "celu", "elu", "gelu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "logsigmoid", "mish",
    "prelu", "relu", "relu6", "rrelu", "selu", "silu", "sigmoid", "softplus", "softshrink", "softsign", "tanh",
    "tanhshrink", "threshold",
)  # fmt: skip
_SEALED = {
    nn.RNNBase: "its activations are within a compiled op",
    nn.RNNCellBase: "its activations are within a compiled op",
    torch.jit.ScriptModule: "it is a compiled program",
    Exported: "it is an exported program",
}
_KEPT: ContextVar[bool] = ContextVar("kept", default=False)


@overload
def linear_twin(model: Specimen, *, keep: str | Sequence[str] = ()) -> Specimen: ...


@overload
def linear_twin(model: nn.Module, *, keep: str | Sequence[str] = ()) -> nn.Module: ...


def linear_twin(model: Specimen | nn.Module, *, keep: str | Sequence[str] = ()) -> Specimen | nn.Module:
    r"""What is left of this network without its nonlinearities?

    A copy with every elementwise activation function, :math:`x \mapsto \sigma(x)`, replaced by the identity: modules
    (``nn.ReLU``, ``nn.GELU``, …, and modules of others that do nothing but act on each number by itself) and calls
    (``F.relu``, ``torch.tanh``, ``x.sigmoid()``, …), which are passed over while the copy runs. Sizes, weights, names
    and modes are those of the network; only the weights of ``nn.PReLU`` go with it.

    Max pooling, softmax, normalization and products of activations stay: a convolutional network's twin is linear but
    for its pooling, and a sigmoid that gates (squeeze and excitation) leaves a product behind. An activation that is
    spelled out among other operations, such as ``x * torch.sigmoid(x)`` in a network's own ``forward``, is not known as
    one; its sigmoid is.

    Args:
        model: A network, or a specimen, whose normalization and factory its twin then has. Never written to.
        keep: Names of modules that stay as they are, with what is in them: a sigmoid that makes probabilities of the
            output.

    Returns:
        A network, or a specimen, of its own: nothing is shared.

    Raises:
        ArgumentError: There is no module of a name to keep.
        SpecimenError: An activation lies where it cannot be replaced: in a recurrent layer or a compiled program.

    Exact case: a fully connected network becomes affine, :math:`W_2 (W_1 x + b_1) + b_2`.

    Source: the linear networks of He & Su, *The Local Elasticity of Neural Networks* (2020).

    >>> linear_twin(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)))[1]
    Identity()
    """
    kept = (keep,) if isinstance(keep, str) else tuple(keep)
    if not isinstance(model, Specimen):
        return _twin(model, kept)
    factory = None if model.factory is None else partial(_fresh, model.factory, kept)
    return dataclasses.replace(model, model=_twin(model.model, kept), factory=factory, name=f"{model.name}, linear")


@dataclasses.dataclass(frozen=True)
class LinearTwin:
    """Takes a specimen's nonlinearities out of it, for files that name what is trained (see :func:`linear_twin`).

    Attributes:
        keep: Names of modules that stay as they are.
    """

    keep: tuple[str, ...] = ()

    def __call__(self, specimen: Specimen) -> Specimen:
        """The linear twin of a specimen."""
        return linear_twin(specimen, keep=self.keep)


TWINS: Mapping[str, Callable[..., Callable[[Specimen], Specimen]]] = MappingProxyType({"linear": LinearTwin})
"""What can be trained in a network's place, by name."""


def _fresh(factory: Callable[[], nn.Module], kept: tuple[str, ...]) -> nn.Module:
    return _twin(factory(), kept)


def _twin(model: nn.Module, kept: tuple[str, ...]) -> nn.Module:
    names = [name for name, _ in unwrap(model).named_modules() if name]
    for name in kept:
        if name not in names:
            raise ArgumentError(f"linear_twin: no module {name!r} to keep. {nearest(name, names)}")
    twin = copy.deepcopy(unwrap(model))
    for name, module in twin.named_modules():
        _refuse_sealed(name or type(twin).__name__, module)
    if _is_activation(twin):
        return nn.Identity().train(twin.training)
    for parent, name, module in list(_children(twin, kept)):
        if _is_activation(module):
            setattr(parent, name, nn.Identity().train(module.training))
    for name in kept:
        module = twin.get_submodule(name)
        module.forward = _Passing(module, keeps=True)  # type: ignore[method-assign]
    if any(map(_may_call, twin.modules())):
        twin.forward = _Passing(twin, keeps=False)  # type: ignore[method-assign]
    return twin


def _may_call(module: nn.Module) -> bool:
    """Whether activation functions may be called in a module's ``forward``; in those of torch, by a few alone."""
    return not type(module).__module__.startswith("torch.nn.") or hasattr(module, "activation")


def _children(root: nn.Module, kept: Iterable[str]) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """Every module with its parent and its name there, but for those that are kept and those within."""
    stays = {id(module) for name in kept for module in root.get_submodule(name).modules()}
    for parent in root.modules():
        for name, module in parent._modules.items():  # each place of a module that stands in several
            if module is not None and id(module) not in stays:
                yield parent, name, module


def _refuse_sealed(name: str, module: nn.Module) -> None:
    for kind, reason in _SEALED.items():
        if isinstance(module, kind):
            raise SpecimenError(f"linear_twin: no twin of {name} ({type(module).__name__}): {reason}.")
    if not isinstance(vars(module).get("forward"), _Passing | None):
        raise SpecimenError(f"linear_twin: no twin of {name}: its forward was set on the object and cannot be copied.")


def _is_activation(module: nn.Module) -> bool:
    """Whether a module is an activation function: one of torch's, or another's that acts as one."""
    if type(module) in _MODULES:
        return True
    is_torchs = type(module).__module__.startswith("torch.nn.")
    if is_torchs or isinstance(module, _MODULES) or next(module.parameters(), None) is not None:
        return False  # what derives from torch's calls its functions, which are passed over
    return not list(module.children()) and _acts_as_activation(copy.deepcopy(module).eval())


@torch.no_grad()
def _acts_as_activation(module: nn.Module) -> bool:
    """Whether a module maps every number by itself, and not along a straight line."""
    one = torch.linspace(-4, 4, 64).view(1, 4, 4, 4)
    other = one.clone()
    other.view(-1)[::2] += 1
    try:
        with rng.undisturbed():
            f, g, between = (module(x.clone()) for x in (one, other, (one + other) / 2))
    except Exception:  # whatever it takes, it is no such map
        return False
    if not isinstance(f, torch.Tensor) or f.shape != one.shape:
        return False
    is_elementwise = torch.equal(f.reshape(-1)[1::2], g.reshape(-1)[1::2])
    return is_elementwise and not torch.allclose(between, (f + g) / 2, atol=1e-5)


@dataclasses.dataclass(eq=False)
class _Passing:
    """A module's ``forward`` under which calls of activation functions are passed over, or are not."""

    module: nn.Module
    keeps: bool

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        token = _KEPT.set(self.keeps)
        try:
            if self.keeps:
                return type(self.module).forward(self.module, *args, **kwargs)
            with _PassedOver():
                return type(self.module).forward(self.module, *args, **kwargs)
        finally:
            _KEPT.reset(token)


class _PassedOver(TorchFunctionMode):
    """A context in which an activation function gives back what it is given."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if func in _CALLS and not _KEPT.get():
            return args[0] if args else kwargs["input"]
        return func(*args, **kwargs)


def _calls() -> Iterator[Any]:
    for name in _FUNCTIONS:
        for place in (torch, F, torch.Tensor):
            yield from (getattr(place, f"{name}{end}", None) for end in ("", "_"))
        packet = getattr(torch.ops.aten, name, None)
        if packet is not None:
            yield from (packet, *(getattr(packet, overload) for overload in packet.overloads()))
    yield from (torch.special.expit, torch.ops.aten.log_sigmoid)


_CALLS = frozenset(filter(None, _calls()))
