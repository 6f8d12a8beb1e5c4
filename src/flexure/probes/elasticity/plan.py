"""How much of a kernel is computed at a time, so that it fits into the memory that may be used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from flexure.errors import ArgumentError
from flexure.probes.elasticity.tangent import Tangent

__all__ = ["Plan", "check_free", "check_memory", "in_words", "is_kept_exactly"]

_FEW = 4  # images on which the memory of a block is measured
_EXACT = 0.25  # of the memory that may be used: what matrices in float64 take at most
_HELD = 0.5  # the same of matrices in memory at all
_OF_COLUMNS = 0.3  # of the room for gradients: those of the columns are computed again for every strip of rows
_WORTH = 8  # images in a strip that are worth while
_SAFE = 0.8  # of the memory that is free


@dataclass(frozen=True)
class Plan:
    """What is there at a time.

    Attributes:
        rows: Images of a strip.
        columns: Images with which it is multiplied at a time.
        groups: Parameters whose gradients are there at a time; one group: all.
        bytes: What all that takes.
    """

    rows: int
    columns: int
    groups: tuple[tuple[str, ...], ...]
    bytes: float

    @classmethod
    def of(
        cls,
        tangent: Tangent,
        x: torch.Tensor,
        n: int,
        m: int,
        *,
        is_own: bool,
        outputs: int,
        matrices: int,
        room: float,
    ) -> "Plan":
        """For so many rows and columns.

        Args:
            tangent: The network.
            x: Some of the images.
            n: Images of the rows.
            m: Images of the columns.
            is_own: Whether they are the same.
            outputs: Outputs whose gradients are needed.
            matrices: How many numbers there are for each pair of images.
            room: Bytes that may be used.

        Raises:
            ArgumentError: Not even the gradients of two images fit.
        """
        few = x[:_FEW]
        each, strip = tangent.bytes(few) / len(few) * outputs, 8.0 * m * matrices
        whole = tuple(tangent.parameters)
        if is_own and n * (each + strip) <= room:
            return cls(n, n, (whole,), n * (each + strip))
        if 2 * each + strip <= room:
            return cls._of_sides(n, m, (whole,), each, strip, room)
        kept = _kept(tangent, few, outputs)
        above = max(each - sum(kept.values()), 0.0)
        groups = _packed(kept, (room - strip) / 2 - above)
        each = max(sum(kept[name] for name in group) for group in groups) + above
        if 2 * each + strip <= room:
            return cls._of_sides(n, m, groups, each, strip, room)
        largest = max(kept, key=lambda name: kept[name])
        raise ArgumentError(
            f"elasticity: {in_words(room)} hold no gradients of two images: those of {largest} take {in_words(each)} "
            f"each. Blocks of one image need {in_words(2 * each + strip)}, blocks of {_WORTH} images "
            f"{in_words(_WORTH * (2 * each + strip))}: give memory_limit= that much more, or take a sketch "
            "(sketch=1024), which keeps no gradients."
        )

    @classmethod
    def _of_sides(
        cls, n: int, m: int, groups: tuple[tuple[str, ...], ...], each: float, strip: float, room: float
    ) -> "Plan":
        """As many rows as there is room for beside some columns."""
        columns = min(max(int(room * _OF_COLUMNS / each), 1), m)
        rows = min(max(int((room - columns * each) / (each + strip)), 1), n)
        return cls(rows, columns, groups, rows * (each + strip) + columns * each)


def is_kept_exactly(pairs: int, limit: float) -> bool:
    """Whether so many numbers are few enough to be kept in memory, in float64."""
    return 8 * pairs <= _EXACT * limit


def check_memory(n: int, m: int, matrices: int, limit: float, outputs: int | None) -> None:
    """Refuse matrices that memory may not hold, and say what they take.

    Args:
        n: Rows.
        m: Columns.
        matrices: Numbers for each pair.
        limit: Bytes that may be used.
        outputs: Outputs, where all pairs of them are wanted.

    Raises:
        ArgumentError: They take more than half of it.
    """
    size = 8 if outputs is not None else 4
    needed = n * m * matrices * size
    if needed <= _HELD * limit:
        return
    most = int((_HELD * limit / (size * matrices)) ** 0.5)
    if outputs is not None:
        raise ArgumentError(
            f"elasticity: output='all' of {n:,} × {m:,} images and {outputs} outputs takes {in_words(needed)}, and "
            f"memory_limit={limit:g} leaves {in_words(_HELD * limit)} for it: enough for {most:,} images. Give fewer "
            f"images, memory_limit={needed / _HELD:.2g}, or output='trace', which keeps one number for each pair."
        )
    raise ArgumentError(
        f"elasticity: the kernel of {n:,} × {m:,} images takes {in_words(needed)} in float32, and memory_limit="
        f"{limit:g} leaves {in_words(_HELD * limit)} for it: enough for {most:,} images. Give folder=, where it is "
        f"kept as blocks of rows, or memory_limit={needed / _HELD:.2g}."
    )


def check_free(plan: Plan, held: float, limit: float, device: torch.device) -> None:
    """Refuse to begin what the machine has no memory for.

    Args:
        plan: What is there at a time.
        held: Bytes of what is there all the time.
        limit: Bytes that may be used.
        device: Where.

    Raises:
        ArgumentError: More is needed than is free; says which limit would fit, and which blocks that gives.
    """
    free, needed = _free(device), plan.bytes + held
    if free is None or needed <= free:
        return
    fits = min(limit, _SAFE * free)
    rows = int(plan.rows * max(fits - held, 0) / plan.bytes)
    raise ArgumentError(
        f"elasticity: blocks of {plan.rows:,} images need {in_words(needed)}, and {in_words(free)} are free. "
        f"memory_limit={fits:.2g} fits, with blocks of about {rows:,} images."
    )


def in_words(size: float) -> str:
    """A number of bytes as people say it.

    >>> in_words(1_250_000_000)
    '1.25 GB'
    """
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size / 1e3:.3g} kB"


def _kept(tangent: Tangent, x: torch.Tensor, outputs: int) -> dict[str, float]:
    """Bytes that the gradients of each parameter take at an image."""
    parts = tangent.gradients(x, [0])[0]
    sizes = {
        name: sum(value.nbytes for value in vars(part).values() if torch.is_tensor(value))
        for name, part in parts.items()
    }
    return {name: sizes.get(name, 0) / len(x) * outputs for name in tangent.parameters}


def _packed(sizes: Mapping[str, float], most: float) -> tuple[tuple[str, ...], ...]:
    """Parameters in order, in groups that take no more than so much where they are more than one."""
    groups: list[list[str]] = []
    filled = 0.0
    for name, size in sizes.items():
        if groups and filled + size <= most:
            groups[-1].append(name)
            filled += size
        else:
            groups.append([name])
            filled = size
    return tuple(map(tuple, groups))


def _free(device: torch.device) -> float | None:
    """Bytes that the device could still give; None where that is not known."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        fields: Sequence[str] = next(line for line in lines if line.startswith("MemAvailable:")).split()
        return 1024.0 * int(fields[1])
    except (OSError, StopIteration, ValueError, IndexError):
        return None
