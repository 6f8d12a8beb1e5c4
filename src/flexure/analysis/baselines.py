"""What images can be clustered by without asking how training on them would move a network."""

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import nn

from flexure.analysis.autoencoder import encode
from flexure.bench import Mounted, mount
from flexure.data import Images, as_images
from flexure.errors import ArgumentError, DataError
from flexure.recorder import OUTPUT, Recorder
from flexure.specimen import Specimen
from flexure.survey import BLOCKS, select, survey

__all__ = ["baselines"]

_SURVEYED = 16


def baselines(
    data: Any,
    specimen: Specimen | nn.Module | None = None,
    *,
    layers: str | Sequence[str] = (),
    components: int = 100,
    autoencoder: int = 0,
    batch_size: int = 256,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """What images can be clustered by without asking how training on them would move a network.

    Made for ``flexure.cluster(..., features=...)``: a row for each image that can be used, in order, which are the
    points of ``flexure.elasticity`` on the same images.

    Args:
        data: Images as for any probe.
        specimen: The network whose layers are asked; never written to.
        layers: Its layers, by names, kinds and patterns as in ``flexure.sensitivity``; the output is always with them.
        components: Principal components of the pixels, at most (exact decomposition); 0: without them.
        autoencoder: Epochs of training the small convolutional autoencoder of
            :func:`flexure.analysis.autoencoder.encode` (5000 in the paper); 0: without it.
        batch_size: Images per forward pass.
        device: Where to pass them; None: where the network is.
        dtype: Arithmetic of the network; None: its own.
        seed: Of the autoencoder.

    Returns:
        ``"pixels"`` ``(n, C·H·W)``, raw; ``"pca"`` ``(n, components)``; ``"autoencoder"`` ``(n, 32)``; ``"layer:NAME"``
        ``(n, features)`` for each layer. float32, or float64 where the images are or the network computes in it.

    Raises:
        ArgumentError: Layers without a network, a pattern that matches nothing, a number below 0, or images too small
            for the autoencoder.
        DataError: Fewer than two images can be used.
        SpecimenError: The forward pass fails, or two of them differ.

    Cost: one pass over the images; all descriptions in memory at once.

    Source: He and Su, *The local elasticity of neural networks* (2020): K-means on pixels, on 100 principal components,
        and on the codes of an autoencoder.
    """
    images = as_images(data)
    _check(
        layers,
        specimen,
        {"components": (components, 0), "autoencoder": (autoencoder, 0), "batch_size": (batch_size, 1)},
    )
    x = _pixels(images, batch_size)
    flat = x.flatten(1).numpy()
    found = {"pixels": flat}
    if components:
        found["pca"] = _principal(flat, components)
    if autoencoder:
        found["autoencoder"] = encode(x, epochs=autoencoder, seed=seed)
    if specimen is not None and layers:
        with mount(Specimen.of(specimen), device=device, dtype=dtype) as mounted:
            found |= _layers(mounted, x, layers, batch_size)
    return found


def _check(layers: str | Sequence[str], specimen: Any, numbers: Mapping[str, tuple[int, int]]) -> None:
    if layers and specimen is None:
        raise ArgumentError("baselines: layers are those of a network; give the specimen too.")
    for name, (value, least) in numbers.items():
        if not isinstance(value, Integral) or value < least:
            raise ArgumentError(f"baselines: {name} must be a whole number of at least {least}; got {value!r}.")


def _pixels(images: Images, batch_size: int) -> torch.Tensor:
    """The images whose pixels are finite, raw, in float32 at least."""
    parts = []
    for start in range(0, len(images), batch_size):
        x = images.read(range(start, min(start + batch_size, len(images)))).x
        parts.append(x[x.flatten(1).isfinite().all(1)].to("cpu", torch.promote_types(x.dtype, torch.float32)))
    x = torch.cat(parts)
    if len(x) < 2:
        raise DataError(f"{images.name}: {len(x)} of its {len(images)} images can be used; at least 2 are needed.")
    return x


def _principal(rows: np.ndarray, components: int) -> np.ndarray:
    return PCA(min(components, *rows.shape), svd_solver="full").fit_transform(rows)


def _layers(mounted: Mounted, x: torch.Tensor, layers: str | Sequence[str], batch_size: int) -> dict[str, np.ndarray]:
    """What the layers emit for each image, flat."""
    blocks = layers == BLOCKS
    some = mounted.normalized(x[:_SURVEYED].to(mounted.device, mounted.dtype))
    ops = select(survey(mounted, some, rows=batch_size, blocks=blocks), layers)
    parts: dict[str, list[np.ndarray]] = {op.name: [] for op in ops if op.is_measurable}

    def keep(name: str, value: torch.Tensor) -> None:
        if name in parts:
            kind = torch.promote_types(value.dtype, torch.float32)
            parts[name].append(value.detach().to("cpu", kind, copy=True).flatten().numpy())

    for portion in x.split(batch_size):
        with Recorder(mounted.model, lambda emission: keep(emission.name, emission.value), blocks=blocks) as recorder:
            recorder.begin()
            output = mounted.forward(mounted.normalized(portion.to(mounted.device, mounted.dtype)))
        keep(OUTPUT, output)
    return {f"layer:{name}": np.concatenate(flat).reshape(len(x), -1) for name, flat in parts.items()}
