"""Putting a specimen on the bench: in evaluation mode, quiet and exact; and taking it down as it was."""

import copy
import hashlib
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from flexure import distributed
from flexure.errors import ArgumentError, SpecimenError, nearest
from flexure.specimen import Specimen

__all__ = ["BatchStatistics", "Mounted", "choose_device", "mount", "unwrap", "weights_hash"]

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
                f"{self.specimen.name}: normalize has {len(part)} channels, the images have {x.shape[1]} "
                f"(batch of shape {tuple(x.shape)}). Give one mean and one std per channel."
            )
        return torch.tensor(part, dtype=x.dtype, device=x.device).view(1, -1, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The network's output for normalized images; errors name the specimen and the input's shape."""
        try:
            result = self.model(x)
        except torch.cuda.OutOfMemoryError:
            raise
        except (RuntimeError, TypeError, ValueError, IndexError, AssertionError) as wrong:
            raise SpecimenError(_explain(self, x, wrong)) from wrong
        return primary(result, self.specimen)


@contextmanager
def mount(
    specimen: Specimen, *, device: str | torch.device | None = None, dtype: str | torch.dtype | None = None
) -> Iterator[Mounted]:
    """Put a specimen in evaluation mode without gradients, autocast, compilation or TF32; put all back at the end.

    Restored bit for bit, also after an exception: training flags, buffers, hooks (none are left), the global random
    states of Python, NumPy and torch, and the TF32 switches. Weights and ``.grad`` are never written to. Wrappers
    (``DataParallel``, ``DistributedDataParallel``, ``torch.compile``) are taken off: the module inside is measured,
    eagerly. Where ``device`` or ``dtype`` differ from the network's, a converted copy is measured.

    Raises:
        SpecimenError: The network cannot be copied, or changes its own weights in a forward pass.
    """
    model = unwrap(specimen.model)
    own = next((p for p in model.parameters() if p.is_floating_point()), None)
    target = choose_device(device, model)
    kind = _dtype(dtype) or (own.dtype if own is not None else torch.float32)
    if own is not None and (own.device != target or own.dtype != kind):
        model = _converted(model, target, kind)
    versions = [p._version for p in model.parameters()]
    with ExitStack() as stack:
        for keep in (_random_states, _exact_arithmetic):
            stack.enter_context(keep())
        stack.enter_context(_evaluation_mode(model))
        stack.enter_context(torch.no_grad())
        stack.enter_context(torch.autocast(target.type, enabled=False))
        stack.enter_context(_eagerly())
        yield Mounted(model, specimen, target, kind)
    if versions != [p._version for p in model.parameters()]:
        changed = [n for (n, p), v in zip(model.named_parameters(), versions, strict=True) if p._version != v]
        raise SpecimenError(f"{specimen.name}: a forward pass changed the weights {changed[:5]}; nothing can be said.")


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
        own = next((p.device for p in model.parameters()), None) if model is not None else None
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
    wanted = specimen.output
    if callable(wanted):
        result = wanted(result)
    elif wanted is not None:
        try:
            result = result[wanted]
        except (KeyError, IndexError, TypeError):
            raise SpecimenError(
                f"{specimen.name}: output={wanted!r}, but the network returns {_describe(result)}."
            ) from None
    if isinstance(result, torch.Tensor):
        return result
    if isinstance(result, Mapping) and isinstance(result.get("logits"), torch.Tensor):
        return result["logits"]
    parts = list(result.values()) if isinstance(result, Mapping) else list(result) if _is_list(result) else []
    tensors = [part for part in parts if isinstance(part, torch.Tensor)]
    if len(tensors) == 1:
        return tensors[0]
    raise SpecimenError(
        f"{specimen.name}: the network returns {_describe(result)}; which part is the output? "
        "Say so with Specimen(model, output=KEY_OR_INDEX)."
    )


def weights_hash(model: nn.Module) -> str:
    """First 16 hex digits of the SHA-256 of all parameters and buffers, names included."""
    digest = hashlib.sha256()
    for name, value in unwrap(model).state_dict().items():
        if isinstance(value, torch.Tensor):
            digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
            plain = value.detach().cpu().contiguous()
            digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b"")
    return digest.hexdigest()[:16]


def _dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    if dtype is None or isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in _DTYPES:
        raise ArgumentError(f"no dtype {dtype!r}. {nearest(dtype, _DTYPES)}")
    return _DTYPES[dtype]


def _converted(model: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    try:
        return copy.deepcopy(model).to(device=device, dtype=dtype)
    except (RuntimeError, TypeError, NotImplementedError) as wrong:
        own = next(model.parameters())
        raise SpecimenError(
            f"the network ({own.dtype} on {own.device}) cannot be copied to {dtype} on {device}: {wrong}. "
            "Move it there yourself and pass device=None, dtype=None."
        ) from wrong


@contextmanager
def _evaluation_mode(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    buffers = {name: (buffer, buffer._version, buffer.clone()) for name, buffer in model.named_buffers()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
        with torch.no_grad():
            for buffer, version, before in buffers.values():
                if buffer._version != version:
                    buffer.copy_(before)


@contextmanager
def _random_states() -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


@contextmanager
def _exact_arithmetic() -> Iterator[None]:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = False
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


@contextmanager
def _eagerly() -> Iterator[None]:
    """Run compiled parts as written. Where nothing was compiled yet, the compiler is not even imported (100 MB)."""
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def _explain(mounted: Mounted, x: torch.Tensor, wrong: Exception) -> str:
    first = str(wrong).splitlines()[0] if str(wrong) else type(wrong).__name__
    text = f"{mounted.specimen.name}: the forward pass failed on a batch of shape {tuple(x.shape)}: {first}."
    conv = next((m for m in mounted.model.modules() if isinstance(m, nn.Conv2d)), None)
    if conv is not None and conv.in_channels != x.shape[1]:
        return f"{text} Its first convolution takes {conv.in_channels} channels, the images have {x.shape[1]}."
    if isinstance(wrong, TypeError) and "positional argument" in first:
        return f"{text} A specimen is called with one batch of images; wrap a network of several inputs."
    size = mounted.specimen.image_size
    if size is not None and tuple(x.shape[-2:]) != tuple(size):
        return f"{text} It was made for images of {size[0]}×{size[1]}; try image_size={size} when loading."
    return text


def _describe(result: Any) -> str:
    if isinstance(result, Mapping):
        return f"a {type(result).__name__} with keys {list(result)}"
    if _is_list(result):
        return f"a {type(result).__name__} of {len(result)}"
    return f"a {type(result).__name__}"


def _is_list(result: Any) -> bool:
    return isinstance(result, Sequence) and not isinstance(result, str | bytes)
