"""Which ops a network has, and whether two clean passes agree: what every probe of activations asks first."""

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import torch

from flexure.bench import BatchStatistics, Mounted
from flexure.errors import ArgumentError, SpecimenError, nearest
from flexure.recorder import OUTPUT, Recorder
from flexure.results import MEASURED

__all__ = ["BLOCKS", "Op", "select", "survey"]

BLOCKS = "blocks"
_AGREEMENT = 1e-5


@dataclass(frozen=True, eq=False)
class Op:
    """One op of a network, as met on a few images.

    Attributes:
        name: Its place in the network (see :class:`~flexure.recorder.Emission`).
        kind: Module class or function name.
        shape: Shape of what it emits for one image.
        status: ``"measured"`` where it can be, else the reason why not.
        dtype: Element type as printed, without ``torch.``.
        center: Mean over those images ``(features,)``: a fixed point to measure distances from.
        scale: Root mean square norm of what it emits there.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    status: str
    dtype: str
    center: torch.Tensor | None = None
    scale: float = float("nan")

    @property
    def features(self) -> int:
        """Numbers emitted per image."""
        return int(torch.Size(self.shape).numel())

    @property
    def is_measurable(self) -> bool:
        """Whether it emits floating-point numbers, batch first."""
        return self.status == MEASURED


def survey(
    mounted: Mounted, x: torch.Tensor, *, rows: int, blocks: bool = False, batch_norm: str = "running"
) -> list[Op]:
    """Every op in order of emission, the output last; refuses a network whose clean passes differ.

    The first quarter of the images goes through once more, cut into other batches than before.

    Args:
        mounted: The network.
        x: At least one normalized image ``(b, C, H, W)``; 64 are plenty.
        rows: Images per forward pass at most.
        blocks: Report blocks instead of ops.
        batch_norm: ``"running"`` statistics, or those of the ``"batch"``; then the same batch is passed again.

    Raises:
        SpecimenError: The passes differ by more than 1e-5 of an op's root mean square (dropout that stays on, random
            numbers, an image's output that depends on the others in its batch); names the first op that does.

    Cost: ``1.25 len(x)`` images forward; memory for two vectors per op.
    """
    first = max(1, min(len(x) // 4, rows))
    seen: dict[str, _Sums] = {}
    _pass(mounted, x[:first], seen, blocks, batch_norm)
    before = {name: sums.copy() for name, sums in seen.items()}
    for portion in x[first:].split(rows) if len(x) > first else []:
        _pass(mounted, portion, seen, blocks, batch_norm)
    again = x[:first].split(first if batch_norm == "batch" else -(-first // 2))
    for portion in again:
        _pass(mounted, portion, before, blocks, batch_norm, sign=-1)
    for name, sums in before.items():
        if (gap := sums.remainder(first)) > max(_AGREEMENT, sums.resolution):
            raise SpecimenError(_disagreement(mounted, name, sums.kind, gap, first))
    return [sums.op(name) for name, sums in seen.items()]


def select(ops: Sequence[Op], layers: str | Sequence[str] | None) -> list[Op]:
    """The ops whose name or kind matches one of the patterns (``*`` and ``?`` as in file names), and the output.

    Raises:
        ArgumentError: A pattern matches nothing.
    """
    if layers is None or layers == BLOCKS:
        return list(ops)
    patterns = [layers] if isinstance(layers, str) else list(layers)
    for pattern in patterns:
        if not any(_matches(op, pattern) for op in ops):
            names = {op.name for op in ops} | {op.kind for op in ops}
            raise ArgumentError(f"layers: no layer and no kind matches {pattern!r}. {nearest(pattern, names)}")
    return [op for op in ops if op.name == OUTPUT or any(_matches(op, pattern) for pattern in patterns)]


def _matches(op: Op, pattern: str) -> bool:
    return fnmatchcase(op.name, pattern) or fnmatchcase(op.kind, pattern)


@dataclass(eq=False)
class _Sums:
    """What is kept of one op while images go through: the sum of what it emits, and whether that makes sense."""

    kind: str
    shape: torch.Size
    dtype: torch.dtype
    rows: int
    status: str = MEASURED
    images: int = 0
    total: torch.Tensor | None = None
    squares: float = 0.0

    def add(self, value: torch.Tensor, rows: int, sign: int) -> None:
        """Count what was emitted for ``rows`` images, or with ``sign=-1`` take it away again."""
        self.status = self._judged(value, rows)
        if self.status != MEASURED:
            return
        flat = value.reshape(rows, -1)
        flat = flat.to(torch.promote_types(flat.dtype, torch.float32))
        if self.total is None:
            self.total = torch.zeros_like(flat[0])
        self.total.add_(flat.sum(0), alpha=sign)
        if sign > 0:
            self.images += rows
            self.squares += float(torch.linalg.vector_norm(flat, dim=1).double().square_().sum())

    def copy(self) -> "_Sums":
        """The same, with a sum of its own."""
        return replace(self, total=None if self.total is None else self.total.clone())

    @property
    def resolution(self) -> float:
        """What rounding alone may make of a difference, relative to the root mean square."""
        return 4 * torch.finfo(self.dtype).eps if self.dtype.is_floating_point else 0.0

    def remainder(self, images: int) -> float:
        """What is left of the mean emission, relative to the root mean square norm; 0 where it cannot be told."""
        if self.status != MEASURED or self.total is None or not self.squares > 0:
            return 0.0
        left = float(self.total.norm()) / images / (self.squares / images) ** 0.5
        return left if math.isfinite(left) else 0.0

    def op(self, name: str) -> Op:
        """The op, with its mean emission as center."""
        dtype = str(self.dtype).removeprefix("torch.")
        if self.status != MEASURED or self.total is None:
            shape = self.shape if self.status.startswith("first dimension") else self.shape[1:]
            return Op(name, self.kind, tuple(shape), self.status, dtype)
        multiple = self.shape[0] // self.rows
        shape = (multiple, *self.shape[1:]) if multiple > 1 else tuple(self.shape[1:])
        center = torch.nan_to_num(self.total / self.images, nan=0.0, posinf=0.0, neginf=0.0)
        return Op(name, self.kind, shape, MEASURED, dtype, center, (self.squares / self.images) ** 0.5)

    def _judged(self, value: torch.Tensor, rows: int) -> str:
        if self.status != MEASURED:
            return self.status
        if not value.dtype.is_floating_point:
            return "complex numbers" if value.dtype.is_complex else "not floating point"
        multiple, rest = divmod(self.shape[0], self.rows) if self.shape else (0, 1)
        if rest or not multiple or not value.shape or value.shape[0] != multiple * rows:
            return f"first dimension is {self.shape[0] if self.shape else 0}, not the batch"
        return MEASURED if value.shape[1:] == self.shape[1:] else "shape changes from batch to batch"


def _pass(
    mounted: Mounted, x: torch.Tensor, sums: dict[str, _Sums], blocks: bool, batch_norm: str, sign: int = 1
) -> None:
    def take(name: str, kind: str, value: torch.Tensor) -> None:
        if name not in sums:
            if sign < 0:
                return
            sums[name] = _Sums(kind, value.shape, value.dtype, len(x))
        sums[name].add(value, len(x), sign)

    with ExitStack() as stack:
        if batch_norm == "batch":
            stack.enter_context(BatchStatistics())
        recorder = Recorder(mounted.model, lambda e: take(e.name, e.kind, e.value), blocks=blocks)
        stack.enter_context(recorder)
        recorder.begin()
        output = mounted.forward(x)
    take(OUTPUT, OUTPUT, output)


def _disagreement(mounted: Mounted, name: str, kind: str, gap: float, images: int) -> str:
    modules = dict(mounted.model.named_modules())
    owner = modules.get(name.rsplit("_", 1)[0] if name not in modules else name)
    advice = "It is in evaluation mode, so look for random numbers or dropout in its forward function."
    if isinstance(owner, torch.nn.modules.batchnorm._BatchNorm):
        advice = "It keeps no running statistics: measure with batch_norm='batch'."
    return (
        f"{mounted.specimen.name}: two clean passes over the same {images} images differ by {gap:.1e} of the root mean "
        f"square at {name!r} ({kind}), the first op that does (1e-5 is allowed). {advice}"
    )
