"""Monitors by the names of their probes."""

import os
from typing import Any, ClassVar

import torch

from flexure.monitors.moments import Every
from flexure.monitors.monitor import Monitor
from flexure.specimen import Specimen

__all__ = ["Accuracy", "Elasticity", "Filters", "Fuzziness", "Sensitivity"]


class _Named(Monitor):
    """A :class:`Monitor` that knows its probe, whose options are arguments of its own.

    Args:
        data: Images to measure on.
        every: When to measure, as for :class:`Monitor`.
        out: Folder to write to; None: results are kept in memory.
        specimen: How the network is to be used.
        seed: Same seed and images, same disturbances.
        batch_size: Rows of one forward pass, at most.
        device: Where to measure; None: where the network is.
        dtype: Arithmetic; None: the network's own.
        **options: The probe's own, by their names there.
    """

    asks: ClassVar[str]

    def __init__(
        self,
        data: Any = None,
        *,
        every: Every = "epoch",
        out: str | os.PathLike | None = None,
        specimen: Specimen | None = None,
        seed: int = 0,
        batch_size: int = 64,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        **options: Any,
    ) -> None:
        common = {"seed": seed, "batch_size": batch_size, "device": device, "dtype": dtype}
        super().__init__(self.asks, data, every=every, options=options, out=out, specimen=specimen, **common)


class Sensitivity(_Named):
    """How far does each layer move under deformations and noise, while it learns?

    :func:`flexure.sensitivity` at chosen steps: ``Sensitivity(images, every=100, layers="blocks")``.
    """

    asks = "sensitivity"


class Elasticity(_Named):
    """How far does a step on one image move the prediction on another, while it learns?

    :func:`flexure.elasticity` at chosen steps; each costs a forward and a backward pass over the images.
    """

    asks = "elasticity"


class Filters(_Named):
    """Which spatial frequencies do the filters carry, while it learns?

    :func:`flexure.filters` at chosen steps. It reads weights alone and needs no images: ``Filters(every="epoch")``.
    """

    asks = "filters"


class Fuzziness(_Named):
    """How undecided are the weights between the ends of their intervals, while it learns?

    :func:`flexure.fuzziness` at chosen steps. It reads weights alone and needs no images: ``Fuzziness(every=100,
    interval="minmax")``. With ``before="initial.safetensors"``, or a copy of the network, changes since then are
    measured as well. For the interval of each weight's own path there is :class:`Trajectories`.
    """

    asks = "fuzziness"


class Accuracy(_Named):
    """How often is the network right, while it learns?

    :func:`flexure.accuracy` at chosen steps.
    """

    asks = "accuracy"
