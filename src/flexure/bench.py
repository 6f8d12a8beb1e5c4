"""Putting a specimen on the bench: in evaluation mode, quiet and exact; and taking it down as it was."""

import contextlib
import copy
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from flexure import distributed, rng
from flexure.errors import ArgumentError, FlexureError, SpecimenError, nearest
from flexure.specimen import Specimen

__all__ = ["BatchStatistics", "Mounted", "choose_device", "mount", "tensors_hash", "unwrap", "weights_hash"]

_PRECISIONS = [  # from the general to the particular: (backend, operation)
    *(("generic", "all"), ("cuda", "all"), ("mkldnn", "all")),
    *((backend, operation) for backend in ("cuda", "mkldnn") for operation in ("matmul", "conv", "rnn")),
]
_DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, eq=False)
class Mounted:
    """A specimen ready to be measured.

    Attributes:
        model: The network itself (wrappers taken off), or a copy of it where device or dtype had to change.
        specimen: What it was made from.
        device: Where inputs have to lie.
        dtype: What inputs have to be.
    """

    model: nn.Module
    specimen: Specimen
    device: torch.device
    dtype: torch.dtype

    def normalized(self, x: torch.Tensor) -> torch.Tensor:
        """Raw images ``(b, C, H, W)`` as the network wants them."""
        if self.specimen.normalize is None:
            return x
        mean, std = (self._per_channel(part, x) for part in self.specimen.normalize)
        return (x - mean) / std

    def raw(self, x: torch.Tensor) -> torch.Tensor:
        """The images that :meth:`normalized` would turn into ``x``."""
        if self.specimen.normalize is None:
            return x
        mean, std = (self._per_channel(part, x) for part in self.specimen.normalize)
        return x * std + mean

    def _per_channel(self, part: Any, x: torch.Tensor) -> torch.Tensor:
        if len(part) not in (1, x.shape[1]):
            raise SpecimenError(
                f"{self.specimen.name}: its normalization is for {len(part)} channels, the images have {x.shape[1]} "
                f"(batch of shape {tuple(x.shape)}). Give images, or normalize=, with as many channels as it takes."
            )
        return torch.tensor(part, dtype=x.dtype, device=x.device).view(1, -1, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The network's output for normalized images; errors name the specimen and the input's shape."""
        try:
            result = self.model(x)
        except (torch.cuda.OutOfMemoryError, FlexureError):
            raise
        except Exception as wrong:
            raise SpecimenError(_explain(self, x, wrong)) from wrong
        return primary(result, self.specimen)


@contextmanager
def mount(
    specimen: Specimen, *, device: str | torch.device | None = None, dtype: str | torch.dtype | None = None
) -> Iterator[Mounted]:
    """Put a specimen in evaluation mode without gradients, autocast, compilation or TF32; put all back at the end.

    Restored bit for bit, also after an exception: weights, buffers and training flags, hooks (none are left), the
    global random states of Python, NumPy and torch, and the precision of float32 arithmetic. ``.grad`` is never written
    to. Wrappers (``DataParallel``, ``DistributedDataParallel``, ``torch.compile``) are taken off: the module inside is
    measured, eagerly. Where ``device`` or ``dtype`` differ from the network's, a converted copy is measured.

    Raises:
        SpecimenError: The network has weights without values, cannot be copied, or changed its own weights meanwhile.

    Cost: a copy of the weights in main memory.
    """
    model = unwrap(specimen.model)
    if empty := [name for name, value in _tensors(model) if is_lazy(value) or value.is_meta]:
        raise SpecimenError(
            f"{specimen.name}: {empty[0]!r} has no values yet (a lazy layer, or the meta device). Load the weights or "
            "pass a batch through the network first."
        )
    own = next((value for _, value in _tensors(model) if value.is_floating_point()), None)
    target = choose_device(device, model)
    kind = _dtype(dtype) or (own.dtype if own is not None else torch.float32)
    if own is not None and (own.device != target or own.dtype != kind):
        model = _converted(model, target, kind)
    with ExitStack() as stack:
        stack.enter_context(rng.undisturbed())
        stack.enter_context(_exact_arithmetic())
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        stack.enter_context(torch.autocast(target.type, enabled=False))
        stack.enter_context(_eagerly())
        stack.enter_context(_untouched(model, specimen.name))
        yield Mounted(model.eval(), specimen, target, kind)


class BatchStatistics(TorchFunctionMode):
    """A context in which every batch norm normalizes by the statistics of its batch, each copy of the batch by itself.

    Rows are ``copies`` blocks of equal height (the clean images, then each disturbed copy); running statistics are
    neither read nor written. Set ``copies`` before each pass.
    """

    def __init__(self) -> None:
        super().__init__()
        self.copies = 1

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.batch_norm:
            return func(*args, **kwargs)
        return self._batch_norm(*args, **kwargs)

    def _batch_norm(
        self,
        x: torch.Tensor,
        running_mean: Any,
        running_var: Any,
        weight: Any = None,
        bias: Any = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> torch.Tensor:
        parts = x.chunk(self.copies)
        return torch.cat([F.batch_norm(part, None, None, weight, bias, True, 0.0, eps) for part in parts])


def unwrap(model: nn.Module) -> nn.Module:
    """The module inside ``DataParallel``, ``DistributedDataParallel`` and ``torch.compile`` wrappers."""
    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


def choose_device(device: str | torch.device | None, model: nn.Module | None = None) -> torch.device:
    """``None``: where the network lies. ``"auto"``: this process's GPU where there is one, else the CPU."""
    if device is None:
        own = next((value.device for _, value in _tensors(model)), None) if model is not None else None
        return own or torch.device("cpu")
    if device == "auto":
        return distributed.local_device()
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as wrong:
        raise ArgumentError(f"device {str(device)!r} cannot be used here ({wrong}). Try 'auto' or 'cpu'.") from wrong
    return chosen


def primary(result: Any, specimen: Specimen) -> torch.Tensor:
    """The output that is meant: a tensor, or the part of a tuple or dict that the specimen names."""
    if specimen.output is not None:
        result = _part(result, specimen)
    if isinstance(result, torch.Tensor):
        return result
    logits = result.get("logits") if isinstance(result, Mapping) else getattr(result, "logits", None)
    if isinstance(logits, torch.Tensor):
        return logits
    parts = list(result.values()) if isinstance(result, Mapping) else list(result) if _is_list(result) else []
    tensors = [part for part in parts if isinstance(part, torch.Tensor)]
    if len(tensors) == 1:
        return tensors[0]
    raise SpecimenError(
        f"{specimen.name}: the network returns {_describe(result)}; which part is the output? "
        "Say so with Specimen(model, output=KEY_OR_INDEX)."
    )


def weights_hash(model: nn.Module) -> str:
    """First 16 hex digits of the SHA-256 of the state dict's tensors, names included."""
    return tensors_hash(unwrap(model).state_dict())


def tensors_hash(state: Mapping[str, Any]) -> str:
    """The same of whatever tensors there are by name."""
    digest = hashlib.sha256()
    for name, value in state.items():
        if isinstance(value, torch.Tensor):
            digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
            digest.update(_bits(value).numpy().data)
    return digest.hexdigest()[:16]


def _dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    if dtype is None or isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in _DTYPES:
        raise ArgumentError(f"no dtype {dtype!r}. {nearest(str(dtype), _DTYPES)}")
    return _DTYPES[dtype]


def _converted(model: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    try:
        return copy.deepcopy(model).to(device=device, dtype=dtype)
    except (RuntimeError, TypeError, NotImplementedError) as wrong:
        raise SpecimenError(
            f"{type(model).__name__} cannot be copied to {dtype} on {device}: {wrong}. Move it there yourself and pass "
            "device=None, dtype=None."
        ) from wrong


class _Snapshot:
    """What a network was: its modes, the tensors and modules it held, and every bit of them."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._modes = [(module, module.training) for module in model.modules()]
        stores = chain.from_iterable((m._parameters, m._buffers, m._modules) for m in model.modules())
        plain: list[dict[str, Any]] = [store for store in stores if isinstance(store, dict)]  # TorchScript's are not
        self._held = [(store, dict(store)) for store in plain]
        self._parameters = dict(model.named_parameters())
        self._values = [(value, value.detach(), _bits(value).clone()) for _, value in _tensors(model)]

    def restore(self) -> list[str]:
        """Make the network what it was; names of the weights that had changed."""
        changed = self._changed()
        for module, training in self._modes:
            module.training = training
        for store, held in self._held:
            store.clear()
            store.update(held)
        for value, storage, bits in self._values:
            if not _is_equal(_bits(storage), bits):
                storage.copy_(bits.view(storage.dtype).view(storage.shape))
            if value.data_ptr() != storage.data_ptr() or value.shape != storage.shape:
                value.data = storage
        return changed

    def _changed(self) -> list[str]:
        now = dict(self._model.named_parameters())
        before = {id(value): bits for value, _, bits in self._values}
        return [
            name
            for name in self._parameters | now
            if now.get(name) is not (old := self._parameters.get(name))
            or not _is_equal(_bits(now[name]), before[id(old)])
        ]


@contextmanager
def _untouched(model: nn.Module, name: str) -> Iterator[None]:
    before = _Snapshot(model)
    try:
        yield
    except BaseException:
        before.restore()
        raise
    if changed := before.restore():
        raise SpecimenError(f"{name}: a forward pass changed the weights {changed[:5]}; nothing can be said. Restored.")


def _tensors(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and buffers by name, each once."""
    return chain(model.named_parameters(), model.named_buffers())


def _bits(value: torch.Tensor) -> torch.Tensor:
    """The bytes of a tensor, in main memory."""
    return value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)


def _is_equal(one: torch.Tensor, two: torch.Tensor) -> bool:
    """Whether bytes are equal, eight at a time where that is possible."""
    if one.shape == two.shape and all(len(x) % 8 == x.storage_offset() % 8 == 0 for x in (one, two)):
        one, two = one.view(torch.int64), two.view(torch.int64)
    return torch.equal(one, two)


@contextmanager
def _exact_arithmetic() -> Iterator[None]:
    """Plain float32, without TF32 or bfloat16 inside of it, on every device.

    Changed from the general setting to the particular: what follows a more general one is never given its own value.
    """
    read, write = torch._C._get_fp32_precision_getter, torch._C._set_fp32_precision_setter
    before: list[tuple[tuple[str, str], str]] = []
    try:
        for place in _PRECISIONS:
            if (precision := read(*place)) != "ieee":
                before.append((place, precision))
                write(*place, "ieee")
        yield
    finally:
        for place, precision in before:
            write(*place, precision)


@contextmanager
def _eagerly() -> Iterator[None]:
    """Run compiled parts as written. Where nothing was compiled yet, the compiler is not even imported (100 MB)."""
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def _explain(mounted: Mounted, x: torch.Tensor, wrong: Exception) -> str:
    first = f"{type(wrong).__name__}: {wrong}".splitlines()[0].rstrip(".: ")
    text = f"{mounted.specimen.name}: the forward pass failed on a batch of shape {tuple(x.shape)}. {first}."
    conv = next((m for m in mounted.model.modules() if isinstance(m, nn.Conv2d)), None)
    if conv is not None and conv.in_channels != x.shape[1]:
        return f"{text} Its first convolution takes {conv.in_channels} channels, the images have {x.shape[1]}."
    if isinstance(wrong, TypeError) and "missing" in first and "argument" in first:
        return f"{text} A specimen is called with one batch of images; wrap a network of several inputs."
    size = mounted.specimen.image_size
    if size is not None and tuple(x.shape[-2:]) != tuple(size):
        return f"{text} It was made for images of {size[0]}×{size[1]}; try image_size={size} when loading."
    return f"{text} Was it made for images of {x.shape[-2]}×{x.shape[-1]}?"


def _part(result: Any, specimen: Specimen) -> Any:
    """The key, index or attribute of a result that the specimen names, or what its function makes of it."""
    wanted: Any = specimen.output
    if callable(wanted):
        return wanted(result)
    if isinstance(result, Mapping | Sequence):
        with contextlib.suppress(KeyError, IndexError, TypeError):
            return result[wanted]
    found = getattr(result, wanted, None) if isinstance(wanted, str) else None
    if not isinstance(found, torch.Tensor):
        raise SpecimenError(f"{specimen.name}: output={wanted!r}, but the network returns {_describe(result)}.")
    return found


def _describe(result: Any) -> str:
    if isinstance(result, Mapping):
        return f"a {type(result).__name__} with keys {list(result)}"
    if _is_list(result):
        return f"a {type(result).__name__} of {len(result)}"
    return f"a {type(result).__name__}"


def _is_list(result: Any) -> bool:
    return isinstance(result, Sequence) and not isinstance(result, str | bytes)
