"""Several processes, one measurement: unpadded shards and one exchange of statistics at the end."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from flexure.errors import FlexureError

T = TypeVar("T")

__all__ = ["gather", "is_main", "local_device", "rank", "shard", "start", "sum_in_place", "together", "world_size"]


def rank() -> int:
    """Number of this process; 0 where there is only one."""
    return dist.get_rank() if _running() else 0


def world_size() -> int:
    """How many processes measure together."""
    return dist.get_world_size() if _running() else 1


def is_main() -> bool:
    """Whether this process writes and speaks for all."""
    return rank() == 0


@contextmanager
def start() -> Iterator[None]:
    """Join the processes that ``torchrun`` started, if it did; leave them at the end.

    A process group that the caller has opened is used and left open. With one process nothing happens.
    """
    if _running() or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(local_device())
    dist.init_process_group("gloo")  # little is exchanged, and NCCL refuses two processes on one GPU
    try:
        yield
    finally:
        dist.destroy_process_group()


def local_device() -> torch.device:
    """The GPU that belongs to this process, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


def shard(items: Sequence[T]) -> Sequence[T]:
    """Share of this process: every ``world_size``-th item. Nothing is padded, so each item is counted once."""
    return items[rank() :: world_size()]


def gather(value: Any) -> list[Any]:
    """Every process's value, in order of rank, on every process."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    if failed := [value for value in values if isinstance(value, _Failure)]:
        raise failed[0]
    return values


@contextmanager
def together() -> Iterator[None]:
    """Work that all processes finish or none: an error of ours in one of them is raised in every one.

    Those that wait for the one that failed learn of it in :func:`gather`, in place of what they wait for; afterwards
    all are at the same point, and can go on with something else.
    """
    try:
        yield
        gather(None)
    except _Failure as elsewhere:
        raise elsewhere.error from None
    except FlexureError as wrong:
        with suppress(_Failure):
            gather(_Failure(wrong))
        raise


def sum_in_place(tensors: Sequence[torch.Tensor]) -> None:
    """Replace each tensor by its sum over all processes."""
    if world_size() == 1:
        return
    device = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
    for tensor in tensors:
        total = tensor.to(device)
        dist.all_reduce(total)
        tensor.copy_(total)


class _Failure(Exception):
    """What a process sends when it cannot go on, and what the others find instead of an answer."""

    def __init__(self, error: FlexureError) -> None:
        super().__init__(error)
        self.error = error


def _running() -> bool:
    return dist.is_available() and dist.is_initialized()
