"""What can be measured in a network, and why the rest cannot?"""

from typing import Any

import pandas as pd
import torch
from torch import nn

from flexure import rng
from flexure.bench import mount
from flexure.data import as_images
from flexure.errors import ArgumentError
from flexure.results import Result
from flexure.specimen import Specimen
from flexure.survey import Op, survey

__all__ = ["layers"]

QUESTION = "Which layers and functional ops does the network call, and what can be measured at each?"


def layers(
    specimen: Specimen | nn.Module,
    data: Any = None,
    *,
    shape: tuple[int, int, int] | None = None,
    blocks: bool = False,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
) -> Result:
    """What can be measured in a network, and why the rest cannot?

    Passes a few images through the network and lists every op in order of emission, the output last.

    Args:
        specimen: The network, or a bare module. Never written to.
        data: Images as for any probe, the first four of which are used; None: uniform noise of ``shape``.
        shape: ``(C, H, W)`` of that noise; None: what the specimen's image size, its normalization or its first
            convolution tell.
        blocks: List the modules that hold others instead of the ops.
        device: Where to pass them; None: where the network is.
        dtype: Arithmetic; None: the network's own.

    Returns:
        One row per op: ``layer``, ``kind``, ``shape`` and ``features`` for one image, ``dtype``, ``parameters`` (of the
        module with that name, 0 for functions), ``status``: ``"measured"``, or why it cannot be.

    Raises:
        ArgumentError: Neither data nor shape, and the specimen does not tell.
        SpecimenError: The forward pass fails, or two of them differ.

    Cost: two passes of at most four images.
    """
    specimen = Specimen.of(specimen)
    with mount(specimen, device=device, dtype=dtype) as mounted:
        if data is not None:
            images = as_images(data)
            x = images.read(range(min(4, len(images)))).x.to(mounted.device, mounted.dtype)
        else:
            x = _noise(specimen, shape).to(mounted.device, mounted.dtype)
        ops = survey(mounted, mounted.normalized(x), rows=len(x), blocks=blocks)
        sizes = {name: sum(p.numel() for p in m.parameters()) for name, m in mounted.model.named_modules()}
    table = pd.DataFrame([_row(op, sizes) for op in ops])
    units = {"features": "numbers per image", "parameters": "numbers"}
    return Result("layers", QUESTION, table, units=units, provenance={"specimen": {"name": specimen.name}})


def _row(op: Op, sizes: dict[str, int]) -> dict[str, Any]:
    return {
        "layer": op.name,
        "kind": op.kind,
        "shape": "×".join(map(str, op.shape)),
        "features": op.features,
        "dtype": op.dtype,
        "parameters": sizes.get(op.name, 0) if op.name else 0,
        "status": op.status,
    }


def _noise(specimen: Specimen, shape: tuple[int, int, int] | None) -> torch.Tensor:
    if shape is None:
        shape = _shape(specimen)
    count = int(torch.Size(shape).numel())
    return rng.uniform(count, seed=0, purpose="layers", index=torch.arange(4)).view(4, *shape)


def _shape(specimen: Specimen) -> tuple[int, int, int]:
    conv = next((m for m in specimen.model.modules() if isinstance(m, nn.Conv2d)), None)
    channels = conv.in_channels if conv is not None else len(specimen.normalize[0]) if specimen.normalize else None
    if channels is None or specimen.image_size is None:
        raise ArgumentError(
            f"layers: {specimen.name} does not tell what images it takes. "
            "Give data, or shape=(channels, height, width)."
        )
    return channels, *specimen.image_size
