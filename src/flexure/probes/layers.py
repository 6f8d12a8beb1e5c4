"""What can be measured in a network, and why the rest cannot?"""

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from flexure import rng
from flexure.bench import Mounted, mount
from flexure.data import as_images
from flexure.errors import ArgumentError, DataError, nearest
from flexure.recorder import OUTPUT, SelfReporting, is_leaf
from flexure.results import Result
from flexure.specimen import Specimen
from flexure.survey import Op, survey

__all__ = ["layers"]

_IMAGES = 4
QUESTION = "Which layers and functional ops does the network call, and what can be measured at each?"


def layers(
    specimen: Specimen | nn.Module,
    data: Any = None,
    *,
    shape: tuple[int, int, int] | None = None,
    blocks: bool = False,
    batch_norm: str = "running",
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
) -> Result:
    """What can be measured in a network, and why the rest cannot?

    Passes a few images through the network and lists every op in order of emission, the output last.

    Args:
        specimen: The network, or a bare module. Never written to.
        data: Images as for any probe, of which the first four that can be read are used; None: uniform noise of
            ``shape`` within the specimen's bounds, else in [0, 1].
        shape: ``(C, H, W)`` of that noise; None: what the specimen's image size, its normalization or its first
            convolution tell.
        blocks: List the modules that hold others instead of the ops.
        batch_norm: ``"running"`` statistics, or those of the ``"batch"``.
        device: Where to pass them; None: where the network is.
        dtype: Arithmetic; None: the network's own.

    Returns:
        One row per op: ``layer``, ``kind``, ``shape`` and ``features`` for one image, ``dtype``, ``parameters`` (of the
        module with that name, 0 for functions), ``status``: ``"measured"``, or why it cannot be.

    Raises:
        ArgumentError: Neither data nor shape, and the specimen does not tell.
        DataError: None of the images can be read.
        SpecimenError: The forward pass fails, or two of them differ.

    Cost: eight images forward.
    """
    specimen = Specimen.of(specimen)
    if batch_norm not in ("running", "batch"):
        raise ArgumentError(f"layers: no batch_norm {batch_norm!r}. {nearest(batch_norm, ('running', 'batch'))}")
    with mount(specimen, device=device, dtype=dtype) as mounted:
        x, name = (_noise(specimen, shape), "uniform noise") if data is None else _first(data)
        x = mounted.normalized(x.to(mounted.device, mounted.dtype))
        ops = survey(mounted, x, rows=len(x), blocks=blocks, batch_norm=batch_norm)
        parameters = _parameters(mounted)
    table = pd.DataFrame([_row(op, parameters) for op in ops])
    units = {"features": "numbers per image", "parameters": "numbers"}
    origin = {"specimen": {"name": specimen.name}, "data": {"name": name, "shape": list(x.shape[1:])}}
    return Result("layers", QUESTION, table, units=units, provenance=origin)


def _row(op: Op, parameters: dict[str, int]) -> dict[str, Any]:
    return {
        "layer": op.name,
        "kind": op.kind,
        "shape": "×".join(map(str, op.shape)),
        "features": op.features,
        "dtype": op.dtype,
        "parameters": parameters.get(op.name, 0),
        "status": op.status,
    }


def _parameters(mounted: Mounted) -> dict[str, int]:
    """How many numbers are trained in each module, under the name the recorder gives it."""
    counts = {name: sum(p.numel() for p in module.parameters()) for name, module in mounted.model.named_modules()}
    whole = counts.pop("")
    if is_leaf(mounted.model):
        counts[type(mounted.model).__name__.lower()] = whole
    if OUTPUT in counts:
        counts[f"{OUTPUT}_1"] = counts.pop(OUTPUT)
    return counts


def _first(data: Any) -> tuple[torch.Tensor, str]:
    images = as_images(data)
    batch = images.read(range(min(_IMAGES, len(images))))
    if not len(batch.x):
        raise DataError(f"{images.name}: none of its first {_IMAGES} images can be used: {batch.skipped[0][1]}.")
    return batch.x, images.name


def _noise(specimen: Specimen, shape: tuple[int, int, int] | None) -> torch.Tensor:
    shape = _shape(specimen) if shape is None else tuple(shape)
    if len(shape) != 3 or not all(isinstance(side, int) and side > 0 for side in shape):
        raise ArgumentError(f"layers: shape must be (channels, height, width), whole numbers > 0; got {shape!r}.")
    count = int(torch.Size(shape).numel())
    low, high = specimen.bounds or (0.0, 1.0)
    return low + (high - low) * rng.uniform(count, seed=0, purpose="layers", index=torch.arange(_IMAGES)).view(
        -1, *shape
    )


def _shape(specimen: Specimen) -> tuple[int, int, int]:
    conv = next((m for m in specimen.model.modules() if isinstance(m, nn.Conv2d)), None)
    told = specimen.model.image_shape if isinstance(specimen.model, SelfReporting) else (None,)
    channels = conv.in_channels if conv is not None else told[0]
    if channels is None and specimen.normalize is not None:
        channels = int(np.size(specimen.normalize[0]))
    if channels is None or specimen.image_size is None:
        raise ArgumentError(
            f"layers: {specimen.name} does not tell what images it takes. "
            "Give data, or shape=(channels, height, width)."
        )
    return channels, *specimen.image_size
