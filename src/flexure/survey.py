"""Which ops a network has, and whether two clean passes agree: what every probe of activations asks first."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from itertools import accumulate

import torch

from flexure.bench import BatchStatistics, Mounted
from flexure.errors import ArgumentError, SpecimenError, nearest
from flexure.recorder import OUTPUT, Recorder
from flexure.results import MEASURED

__all__ = ["BLOCKS", "Op", "refuse_unsteady", "select", "survey"]

BLOCKS = "blocks"
_SAME_BATCH = 1e-5  # how far two passes over one batch may differ, relative to the root mean square
_OTHER_BATCH = 1e-3  # and two over the same images in batches of other sizes, where rounding differs
_JUMP = 100  # by what factor a difference must grow at one op to be of the op's making, not amplified rounding
_RANDOM = "It is in evaluation mode, so look in its forward function for random numbers or dropout."
_MIXED = "Look in its forward function for what makes an image's output depend on the others in its batch."


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
        base: Kind that the module's class extends; as a pattern for layers as good as the kind. Empty: none.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    status: str
    dtype: str
    center: torch.Tensor | None = None
    scale: float = float("nan")
    base: str = ""

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

    An eighth of the images, two at least, goes through twice more: as it did the first time, and in batches of half the
    size (a single image together with itself). Where a batch is part of the definition, and in half precision, whose
    rounding would be taken for a difference, the batches stay as they are.

    Args:
        mounted: The network.
        x: At least one normalized image ``(b, C, H, W)``; 64 are plenty.
        rows: Images per forward pass at most; 2 where it is less.
        blocks: Report blocks instead of ops.
        batch_norm: ``"running"`` statistics, or those of the ``"batch"``.

    Raises:
        SpecimenError: Two passes over the same batch differ by more than 1e-5 of an op's root mean square (dropout that
            stays on, random numbers), or those in other batches by more than 1e-3 and a hundred times more than before
            that op (batch statistics); names the first op that does.

    Cost: ``1.25 len(x)`` images forward; memory for two vectors per op.
    """
    through = partial(_pass, mounted, blocks=blocks, batch_norm=batch_norm)
    rows = max(rows, 2)
    first = x[: min(max(2, len(x) // 8), rows)]
    seen: dict[str, _Sums] = {}
    through(first, seen)
    gaps = {name: sums.remainder() for name, sums in _minus(seen, [first], through).items()}
    _refuse(mounted, seen, gaps, _SAME_BATCH, f"two clean passes over the same {len(first)} images", _RANDOM)
    if batch_norm == "running" and not any(sums.resolution > _SAME_BATCH for sums in seen.values()):
        again = _minus(seen, first.chunk(2) if len(first) > 1 else [torch.cat([first, first])], through)
        gaps = _jumps({name: seen[name].compare(sums) for name, sums in again.items()})
        _refuse(mounted, seen, gaps, _OTHER_BATCH, f"passes over {len(first)} images in batches of two sizes", _MIXED)
    for portion in x[len(first) :].split(rows) if len(x) > len(first) else []:
        through(portion, seen)
    return [sums.op(name) for name, sums in seen.items()]


def refuse_unsteady(mounted: Mounted, x: torch.Tensor) -> None:
    """Refuse a network whose output differs from one clean pass to another, or with the size of the batch.

    What :func:`survey` finds out op by op, for those who need the output alone.

    Args:
        mounted: The network.
        x: A few normalized images.

    Raises:
        SpecimenError: Passes differ by more than 1e-5 of the output's root mean square, or 1e-3 in batches of other
            sizes.

    Cost: three passes over these images.
    """
    output = mounted.forward(x)
    again = {"the same images": (mounted.forward(x), _SAME_BATCH)}
    if len(x) > 1:
        parts = torch.cat([*map(mounted.forward, x.chunk(2))])
        again["the same images in batches of another size"] = (parts, _OTHER_BATCH)
    for what, (other, allowed) in again.items():
        scale = output.double().square().mean().sqrt()
        gap = float((other.double() - output.double()).abs().max() / scale)
        if gap > max(allowed, 16 * torch.finfo(output.dtype).eps):
            raise SpecimenError(
                f"{mounted.specimen.name}: two passes over {what} differ by {gap:.1e} of the output's root mean square "
                f"({allowed:.0e} is allowed). Is there dropout that stays on, or a batch norm without running "
                "statistics? `flexure layers` names the op."
            )


def select(ops: Sequence[Op], layers: str | Sequence[str] | None) -> list[Op]:
    """The ops whose name or kind matches one of the patterns (``*`` and ``?`` as in file names), and the output.

    A class that extends one of PyTorch's layers is of that kind too: ``"Conv2d"`` takes a network's own convolutions.

    Raises:
        ArgumentError: A pattern matches nothing.
    """
    if layers is None or layers == BLOCKS:
        return list(ops)
    patterns = [layers] if isinstance(layers, str) else list(layers)
    for pattern in patterns:
        if not any(_matches(op, pattern) for op in ops):
            names = {text for op in ops for text in (op.name, op.kind, op.base) if text}
            raise ArgumentError(f"layers: no layer and no kind matches {pattern!r}. {nearest(pattern, names)}")
    return [op for op in ops if op.name == OUTPUT or any(_matches(op, pattern) for pattern in patterns)]


def _matches(op: Op, pattern: str) -> bool:
    return any(fnmatchcase(text, pattern) for text in (op.name, op.kind, op.base) if text)


@dataclass(eq=False)
class _Sums:
    """What is kept of one op while images go through: sums of what it emits, and whether they make sense."""

    kind: str
    shape: torch.Size
    dtype: torch.dtype
    rows: int
    base: str
    status: str = MEASURED
    images: int = 0
    total: torch.Tensor | None = None
    squares: float = 0.0
    norms: tuple[torch.Tensor, ...] = ()

    def add(self, value: torch.Tensor, rows: int, weight: float) -> None:
        """Count what was emitted for ``rows`` images; with a negative weight, take it away from the sum again."""
        self.status = self._judged(value, rows)
        if self.status != MEASURED:
            return
        flat = value.to(torch.promote_types(value.dtype, torch.float32)).reshape(len(value), -1)
        norms = torch.linalg.vector_norm(flat, dim=1).double()
        flat = flat.reshape(rows, -1)
        if self.total is None:
            self.total, self.norms = torch.zeros_like(flat[0]), (norms,)
        elif weight < 0:
            self.norms += (norms,)
        self.total.add_(flat.sum(0), alpha=weight)
        self.squares += float(norms.square().sum())
        self.images += rows

    def copy(self) -> "_Sums":
        """The same, with a sum of its own and no norms."""
        return replace(self, total=None if self.total is None else self.total.clone(), norms=())

    def compare(self, again: "_Sums") -> float:
        """How far the same images in other batches made the op emit something else, relative to the root mean square.

        Where it is the same, but in another order, the first dimension is not the image's: a status, and no distance.
        """
        one, two = self.norms, again.norms
        self.norms = ()
        if self.status != MEASURED or again.status != MEASURED or not two:
            self.status = again.status if self.status == MEASURED else self.status
            return 0.0
        theirs = torch.cat(two)
        if len(theirs) % len(one[0]):
            self.status = "not called on every batch"
            return 0.0
        ours = one[0].repeat(len(theirs) // len(one[0]))
        gap = _distance(ours, theirs)
        if _OTHER_BATCH < gap > _JUMP * _distance(ours.sort()[0], theirs.sort()[0]):
            self.status = "first dimension mixes the images"
            return 0.0
        return max(gap if math.isfinite(gap) else 0.0, again.remainder())

    @property
    def resolution(self) -> float:
        """What rounding alone may make of a difference, relative to the root mean square."""
        return 4 * torch.finfo(self.dtype).eps if self.dtype.is_floating_point else 0.0

    @property
    def scale(self) -> float:
        """Root mean square norm of what is emitted for one image."""
        return (self.squares / self.images) ** 0.5

    def remainder(self) -> float:
        """What is left of the mean emission, relative to the root mean square norm; 0 where it cannot be told."""
        if self.status != MEASURED or self.total is None or not self.squares > 0:
            return 0.0
        left = float(self.total.norm()) / self.rows / self.scale
        return left if math.isfinite(left) else 0.0

    def op(self, name: str) -> Op:
        """The op, with its mean emission as center."""
        about = (self._per_image(), self.status, str(self.dtype).removeprefix("torch."))
        op = Op(name, self.kind, *about, base=self.base)
        if self.status != MEASURED or self.total is None:
            return op
        center = torch.nan_to_num(self.total / self.images, nan=0.0, posinf=0.0, neginf=0.0)
        return replace(op, center=center, scale=self.scale)

    def _per_image(self) -> tuple[int, ...]:
        """Shape of what is emitted for one image; the whole where the first dimension is not the batch."""
        multiple, rest = divmod(self.shape[0], self.rows) if self.shape else (0, 1)
        if rest or not multiple or self.status.startswith("first dimension is"):
            return tuple(self.shape)
        return (multiple, *self.shape[1:]) if multiple > 1 else tuple(self.shape[1:])

    def _judged(self, value: torch.Tensor, rows: int) -> str:
        if self.status != MEASURED:
            return self.status
        if not value.dtype.is_floating_point:
            return "complex numbers" if value.dtype.is_complex else "not floating point"
        if not self.shape:
            return "one number for the whole batch"
        multiple, rest = divmod(self.shape[0], self.rows)
        if rest or not multiple or not value.shape or value.shape[0] != multiple * rows:
            return f"first dimension is {self.shape[0]}, not the batch"
        return MEASURED if value.shape[1:] == self.shape[1:] else "shape changes from batch to batch"


def _pass(
    mounted: Mounted, x: torch.Tensor, sums: dict[str, _Sums], weight: float = 1.0, *, blocks: bool, batch_norm: str
) -> None:
    """Count what every op emits for ``x``; with a negative weight, only of ops that are known already."""

    def take(name: str, kind: str, base: str, value: torch.Tensor) -> None:
        if name not in sums:
            if weight < 0:
                return
            sums[name] = _Sums(kind, value.shape, value.dtype, len(x), base)
        sums[name].add(value, len(x), weight)

    with ExitStack() as stack:
        if batch_norm == "batch":
            stack.enter_context(BatchStatistics())
        recorder = Recorder(mounted.model, lambda e: take(e.name, e.kind, e.base, e.value), blocks=blocks)
        stack.enter_context(recorder)
        recorder.begin()
        output = mounted.forward(x)
    take(OUTPUT, OUTPUT, OUTPUT, output)


def _minus(
    seen: Mapping[str, _Sums], portions: Sequence[torch.Tensor], through: Callable[..., None]
) -> dict[str, _Sums]:
    """What is left of the first pass when the same images, passed again, are taken away."""
    left = {name: sums.copy() for name, sums in seen.items()}
    images = next(iter(seen.values())).rows
    for portion in portions:
        through(portion, left, -images / sum(map(len, portions)))
    return left


def _distance(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """The largest difference, relative to the root mean square."""
    return float((ours - theirs).abs().max() / ours.square().mean().sqrt())


def _jumps(gaps: Mapping[str, float]) -> dict[str, float]:
    """Those differences that are much larger than any before them."""
    before = [0.0, *accumulate(gaps.values(), max)]
    return {name: gap for (name, gap), largest in zip(gaps.items(), before, strict=False) if gap > _JUMP * largest}


def _refuse(
    mounted: Mounted, seen: Mapping[str, _Sums], gaps: Mapping[str, float], allowed: float, passes: str, advice: str
) -> None:
    for name, gap in gaps.items():
        if gap > max(allowed, seen[name].resolution):
            kind = seen[name].kind
            if "batchnorm" in kind.replace("_", "").lower():
                advice = "It keeps no running statistics: measure with batch_norm='batch'."
            raise SpecimenError(
                f"{mounted.specimen.name}: {passes} differ by {gap:.1e} of the root mean square at {name!r} ({kind}), "
                f"the first op that does ({allowed:.0e} is allowed). {advice}"
            )
