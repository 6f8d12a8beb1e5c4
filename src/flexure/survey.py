"""Which ops a network has, and whether two clean passes agree: what every probe of activations asks first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

import torch

from flexure.bench import Mounted
from flexure.errors import ArgumentError, SpecimenError, nearest
from flexure.recorder import OUTPUT, Emission, Recorder
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


def survey(mounted: Mounted, x: torch.Tensor, *, rows: int, blocks: bool = False) -> list[Op]:
    """Every op in order of emission, the output last; refuses a network whose clean passes differ.

    Args:
        mounted: The network.
        x: At least one normalized image ``(b, C, H, W)``; 64 are plenty.
        rows: Images per forward pass at most.
        blocks: Report blocks instead of ops.

    Raises:
        SpecimenError: A second pass over some of the images differs from the first by more than 1e-5 of an op's root
            mean square (dropout that stays on, random numbers, batch statistics); names the first op that does.

    Cost: ``1.25 len(x)`` images forward.
    """
    first = max(1, min(len(x) // 4, rows))
    tables: list[dict[str, _Sums]] = []
    portions = [x[:first], *(x[first:].split(rows) if len(x) > first else [])]
    for portion in [*portions, x[:first]]:
        tables.append(dict(_pass(mounted, portion, blocks)))
    *clean, again = tables
    for name, sums in again.items():
        if name in clean[0] and (gap := sums.gap(clean[0][name])) > max(_AGREEMENT, sums.resolution):
            raise SpecimenError(_disagreement(mounted, name, sums, gap, first))
    return [_op(name, [table[name] for table in clean if name in table]) for name in clean[0]]


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


@dataclass(frozen=True, eq=False)
class _Sums:
    """What is kept of one op from one forward pass."""

    kind: str
    rows: int
    shape: torch.Size
    dtype: torch.dtype
    total: torch.Tensor | None = field(default=None)
    squares: float = 0.0

    @property
    def resolution(self) -> float:
        return 4 * torch.finfo(self.dtype).eps if self.dtype.is_floating_point else 0.0

    def gap(self, other: "_Sums") -> float:
        """Distance of two mean emissions, relative to the root mean square norm; 0 where it cannot be told."""
        if self.total is None or other.total is None or self.total.shape != other.total.shape:
            return 0.0
        distance = float((self.total - other.total).norm()) / self.rows
        return distance / (self.squares / self.rows) ** 0.5 if self.squares > 0 and distance == distance else 0.0


def _pass(mounted: Mounted, x: torch.Tensor, blocks: bool) -> Iterator[tuple[str, _Sums]]:
    seen: list[tuple[str, _Sums]] = []

    def keep(emission: Emission) -> None:
        seen.append((emission.name, _sums(emission.kind, emission.value, len(x))))

    recorder = Recorder(mounted.model, keep, blocks=blocks)
    with recorder:
        recorder.begin()
        output = mounted.forward(x)
    seen.append((OUTPUT, _sums(OUTPUT, output, len(x))))
    yield from seen


def _sums(kind: str, value: torch.Tensor, rows: int) -> _Sums:
    if not value.is_floating_point() or value.dim() == 0 or value.shape[0] % rows:
        return _Sums(kind, rows, value.shape, value.dtype)
    flat = value.reshape(rows, -1)
    flat = flat.float() if flat.dtype.itemsize < 4 else flat
    norms = torch.linalg.vector_norm(flat, dim=1).double()
    return _Sums(kind, rows, value.shape, value.dtype, flat.sum(0), float(norms.square().sum()))


def _op(name: str, parts: Sequence[_Sums]) -> Op:
    head = parts[0]
    dtype = str(head.dtype).removeprefix("torch.")
    op = Op(name, head.kind, tuple(head.shape[1:]), MEASURED, dtype)
    if not head.dtype.is_floating_point:
        return replace(op, status="complex numbers" if head.dtype.is_complex else "not floating point")
    lead = head.shape[0] if head.shape else 0
    multiple = lead // head.rows if lead % head.rows == 0 else 0
    if not multiple or any(not part.shape or part.shape[0] != multiple * part.rows for part in parts):
        return replace(op, shape=tuple(head.shape), status=f"first dimension is {lead}, not the batch")
    if any(part.shape[1:] != head.shape[1:] for part in parts):
        return replace(op, status="shape changes from batch to batch")
    shape = (multiple, *op.shape) if multiple > 1 else op.shape
    n = sum(part.rows for part in parts)
    total = torch.stack([part.total for part in parts if part.total is not None]).sum(0)
    center = torch.nan_to_num(total / n, nan=0.0, posinf=0.0, neginf=0.0)
    return replace(op, shape=shape, center=center, scale=(sum(part.squares for part in parts) / n) ** 0.5)


def _disagreement(mounted: Mounted, name: str, sums: _Sums, gap: float, images: int) -> str:
    modules = dict(mounted.model.named_modules())
    owner = modules.get(name.rsplit("_", 1)[0] if name not in modules else name)
    detail = ""
    if isinstance(owner, torch.nn.modules.batchnorm._BatchNorm):
        detail = " It keeps no running statistics: measure with batch_norm='batch'."
    return (
        f"{mounted.specimen.name}: two clean passes over the same {images} images differ by {gap:.1e} of the root mean "
        f"square at {name!r} ({sums.kind}), the first op that does (1e-5 is allowed). It is in evaluation mode, "
        f"so look for random numbers or dropout in its forward function.{detail}"
    )
