"""Running statistics of batch norms, estimated anew where a network's weights act otherwise; none is written."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from flexure import distributed

__all__ = ["RunningStatistics"]

Sums = tuple[int, torch.Tensor, torch.Tensor]
"""Count, means and centered sums of squares, per channel, float64."""


class RunningStatistics(TorchFunctionMode):
    r"""What would the running statistics of the batch norms be, had they been taken of what comes in now?

    A context for forward passes. While it gathers, every batch norm with running statistics normalizes by the mean and
    variance of its batch, as in training, and these are merged to those of everything it has seen, in float64 (Chan,
    Golub and LeVeque, 1979; the variance with divisor :math:`n - 1`, as torch keeps it). After :meth:`settle`, batch
    norms normalize by the merged ones. The network's own are neither read nor written.

    Args:
        model: The network on whose batch norms it acts.

    Cost: while it gathers, a float64 copy of what enters a batch norm; then two vectors per batch norm.
    Exact case: a batch norm on the images themselves gets the mean and variance of all their pixels, however they were
        cut into batches.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._names = {id(buffer): name for name, buffer in model.named_buffers()}
        self._sums: dict[str, Sums] = {}
        self._settled: dict[str, tuple[torch.Tensor, ...]] | None = None

    def settle(self) -> int:
        """Merge what all processes have gathered, in order of rank, and use it from now on; number of batch norms."""
        total: dict[str, Sums] = {}
        for part in distributed.gather({name: _on_cpu(sums) for name, sums in self._sums.items()}):
            for name, sums in part.items():
                total[name] = _merged(total.get(name), sums)
        self._settled = {name: (mean, squares / max(n - 1, 1)) for name, (n, mean, squares) in total.items()}
        return len(self._settled)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        return self._batch_norm(*args, **kwargs) if func is F.batch_norm else func(*args, **kwargs)

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
        name = self._names.get(id(running_mean))
        if name is not None and not training:
            running_mean, running_var = self._statistics(name, x, running_mean, running_var)
        return F.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)

    def _statistics(self, name: str, x: torch.Tensor, *own: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Those that were settled, else its own; or while gathering those of this batch, which are counted."""
        if self._settled is not None:
            found = tuple(part.to(own[0]) for part in self._settled.get(name, own))
            self._settled[name] = found  # where they are needed, from now on
            return found
        dims = [dim for dim in range(x.ndim) if dim != 1]
        variance, mean = torch.var_mean(x.double(), dims, correction=0)
        n = x.numel() // x.shape[1]
        self._sums[name] = _merged(self._sums.get(name), (n, mean, variance * n))
        return mean.to(own[0]), variance.to(own[0])


def _merged(one: Sums | None, other: Sums) -> Sums:
    if one is None:
        return other
    n = one[0] + other[0]
    gap = other[1] - one[1]
    share = other[0] / n
    return n, one[1] + share * gap, one[2] + other[2] + one[0] * share * gap.square()


def _on_cpu(sums: Sums) -> Sums:
    return sums[0], sums[1].cpu(), sums[2].cpu()
