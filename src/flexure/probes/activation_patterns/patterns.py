"""Patterns of zeros and ones, eight units to a byte: read in one pass, multiplied block by block."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from flexure.bench import Mounted
from flexure.errors import ArgumentError
from flexure.probes.activation_patterns.kinks import active, has_kink, refusal
from flexure.recorder import Emission, Recorder
from flexure.results import MEASURED, Progress

__all__ = ["Layer", "overlaps", "read"]

_NUMBERS = 2**25  # of unpacked units that are multiplied at a time
_BITS = 2 ** torch.arange(8)


@dataclass(eq=False)
class Layer:
    """An op with a kink.

    Attributes:
        name, kind: Its place in the network, and what it is.
        units: Numbers that it emits for an image.
        status: ``"measured"``, or why there is no pattern.
        parts: Packed patterns of the batches so far ``(b, bytes)``, in main memory.
        on: Images on which each unit is active ``(units,)``.
        finite: Images at which it emitted numbers ``(b,)``, batch by batch.
        calls: Batches in which it was met.
    """

    name: str
    kind: str
    units: int
    status: str = MEASURED
    parts: list[torch.Tensor] = field(default_factory=list)
    on: torch.Tensor | None = None
    finite: list[torch.Tensor] = field(default_factory=list)
    calls: int = 0

    @property
    def is_measured(self) -> bool:
        """Whether it has patterns."""
        return self.status == MEASURED

    def take(self, pattern: torch.Tensor, finite: torch.Tensor) -> None:
        """Keep the patterns of a batch ``(b, units)``; an image without numbers has none."""
        pattern = pattern & finite[:, None]
        counts = pattern.sum(0).cpu()
        self.on = counts if self.on is None else self.on + counts
        self.parts.append(_packed(pattern))
        self.finite.append(finite.cpu())

    def drop(self, reason: str) -> None:
        """Have no patterns, for this reason."""
        self.status, self.on = reason, None
        self.parts.clear()
        self.finite.clear()


def read(
    mounted: Mounted, x: torch.Tensor, *, batch_size: int, memory_limit: float, progress: Progress | None
) -> list[Layer]:
    """The patterns of normalized images at every op with a kink, in order of emission: one pass.

    Raises:
        ArgumentError: They do not fit into the memory that may be used; says how much they take.
    """
    layers: dict[str, Layer] = {}
    batches = x.split(batch_size)
    for number, batch in enumerate(batches):
        _one_batch(mounted, batch, layers, number)
        if number == 0:
            _check_memory(mounted, list(layers.values()), len(x), memory_limit)
        if progress is not None:
            progress(number + 1, len(batches))
    for layer in layers.values():
        if layer.is_measured and layer.calls < len(batches):
            layer.drop("not called on every batch")
    return list(layers.values())


def overlaps(layer: Layer, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """How many units are active on both of two images ``(n, n)``, and on each ``(n,)``; exact, float64."""
    packed = torch.cat(layer.parts)
    n, width = packed.shape
    found = torch.zeros(n, n, dtype=torch.float64, device=device)
    step = max(1, _NUMBERS // (8 * n))
    for start in range(0, width, step):
        bits = _unpacked(packed[:, start : start + step].to(device))
        found += (bits @ bits.T).double()  # whole numbers below 2**24: exact in float32
    return found, found.diagonal().clone()


def _one_batch(mounted: Mounted, batch: torch.Tensor, layers: dict[str, Layer], number: int) -> None:
    def take(emission: Emission) -> None:
        if not has_kink(emission):
            return
        value = emission.value
        layer = layers.setdefault(emission.name, Layer(emission.name, emission.kind, 0))
        first = layer.calls == 0
        layer.calls += 1
        if first:
            layer.units = value[:1].numel() if value.ndim else 1
            layer.status = _status(emission, batch, mounted)
        if number > layer.calls - 1 and layer.is_measured:
            layer.drop("not called on every batch")
        elif layer.is_measured and value.shape[0] == len(batch) and value[:1].numel() == layer.units:
            flat = value.detach().flatten(1)
            pattern = active(Emission(emission.name, emission.kind, flat, emission.base), mounted.model)
            layer.take(pattern if pattern is not None else flat.bool(), flat.isfinite().all(1))
        elif layer.is_measured:
            layer.drop("shape changes from batch to batch")

    with Recorder(mounted.model, take) as recorder:
        recorder.begin()
        mounted.forward(batch)


def _status(emission: Emission, batch: torch.Tensor, mounted: Mounted) -> str:
    """Whether it has a pattern, or why not."""
    value = emission.value
    if not value.is_floating_point():
        return "not floating point"
    if value.ndim == 0 or value.shape[0] != len(batch):
        return (
            "one number for the whole batch"
            if value.ndim == 0
            else f"first dimension is {value.shape[0]}, not the batch"
        )
    return MEASURED if active(emission, mounted.model) is not None else refusal(emission)


def _check_memory(mounted: Mounted, layers: Sequence[Layer], n: int, limit: float) -> None:
    each = sum((layer.units + 7) // 8 for layer in layers if layer.is_measured)
    if n * each > limit:
        raise ArgumentError(
            f"activation_patterns: the patterns of {n:,} images at {mounted.specimen.name} take {n * each:.3g} bytes, "
            f"and memory_limit is {limit:g}. Take at most {int(limit / each):,} images, or give "
            f"memory_limit={n * each:.2e}."
        )


def _packed(pattern: torch.Tensor) -> torch.Tensor:
    """Eight units to a byte ``(b, bytes)``, uint8, in main memory."""
    spare = -pattern.shape[1] % 8
    whole = torch.nn.functional.pad(pattern, (0, spare)).unflatten(1, (-1, 8))
    return (whole * _BITS.to(pattern.device)).sum(2).to(torch.uint8).cpu()


def _unpacked(packed: torch.Tensor) -> torch.Tensor:
    """The same as zeros and ones ``(b, 8 bytes)``, float32."""
    bits = packed[:, :, None].bitwise_and(_BITS.to(packed.device, torch.uint8)) != 0
    return bits.flatten(1).float()
