"""The question, its settings, its answer."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from flexure.bench import mount
from flexure.data import as_images, notes_of
from flexure.losses import Loss
from flexure.probes._provenance import provenance
from flexure.probes.elasticity.limit import Limit
from flexure.probes.elasticity.measurement import Measurement
from flexure.probes.elasticity.settings import Settings
from flexure.probes.elasticity.table import UNITS
from flexure.results import Progress, Result
from flexure.specimen import Specimen

__all__ = ["elasticity"]

QUESTION = "How far does training on one image move the prediction on another?"


def elasticity(
    specimen: Specimen | torch.nn.Module,
    data: Any,
    *,
    points: Any = None,
    step: float | None = None,
    steps: int = 1,
    loss: str | Mapping[str, Mapping[str, Any]] | Loss = "squared",
    optimizer: torch.optim.Optimizer | None = None,
    sequential: bool = False,
    output: int | str | None = None,
    route: str = "auto",
    per_layer: bool = False,
    sketch: int | None = None,
    memory_limit: float = 2e9,
    batch_size: int = 256,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    seed: int = 0,
    folder: str | os.PathLike | None = None,
    progress: Progress | None = None,
) -> Result:
    r"""How far does training on one image move the prediction on another?

    One step of gradient descent on image i with label y takes the weights from w to :math:`w_i`. With f a prediction,

    .. math::
        S^{\mathrm{ker}}_{ij} = \frac{f(x_j; w) - f(x_j; w_i)}{\eta\, \partial L / \partial f(x_i)}, \qquad
        S^{\mathrm{rel}}_{ij} = \left|\frac{f(x_j; w_i) - f(x_j; w)}{f(x_i; w_i) - f(x_i; w)}\right|,

    and in the limit of small steps (``step=None``) :math:`S^{\mathrm{ker}}` is the tangent kernel
    :math:`K_{ij} = \nabla_w f(x_i) \cdot \nabla_w f(x_j)`, whatever label and loss, and
    :math:`S^{\mathrm{rel}}_{ij} = |K_{ij}| / K_{ii}`. A network is locally elastic where both are large for similar
    images alone. That linear networks seem not to be is the work of the absolute value: their K is large and negative
    for opposite images. ``relative_signed`` keeps the sign.

    The similarities are of weights, not of the function: rescaling a hidden unit of a ReLU network leaves every
    prediction as it is and changes K.

    Args:
        specimen: The network, or a bare module (then: no normalization, no bounds). Never written to.
        data: Images to step on: what ``load`` returns, a dataset, a loader, or tensors ``x (n, C, H, W)`` or
            ``(x, y)``; at least 2 of them.
        points: Other images whose predictions are watched; None: the same images.
        step: Learning rate of the step; None: the limit of small steps.
        steps: Steps on the same image, one after the other.
        loss: What a step makes smaller, of no effect in the limit: a name of ``flexure.losses.LOSSES``, a name with its
            options (``{"squared": {"half": True}}``), or an object. A loss of one output sees the output that is
            watched, whose class is then label 1 and all others 0.
        optimizer: An optimizer of this very network, whose step is taken from the state it is in; ``step`` then only
            scales ``kernel``. None: plain gradient descent.
        sequential: Whether each image's step begins where the one before it ended, as in an epoch of training, rather
            than at the network's own weights.
        output: The output that is watched; ``"trace"``: the sum of the kernels of all outputs; ``"all"``: that sum, and
            the kernel of every two outputs. None: the only output, or the trace.
        route: How steps of finite size are computed: ``"rank_one"`` (linear layers and elementwise functions alone),
            ``"loop"`` (new weights for every image), or by counted cost. Both are exact.
        per_layer: Keep the kernel of each layer, too (``"kernel/fc1"``, ``"cosine/fc1"``, …).
        sketch: Estimate the kernel in the limit from gradients projected at random to so many numbers, for networks and
            sets of images whose gradients are too much; None: exactly.
        memory_limit: Bytes that the limit may use. More images are treated in blocks; a kernel that takes more than a
            quarter of it is kept in float32, and refused without ``folder`` where it takes more than half of it then.
        batch_size: Points evaluated in one forward pass, at most, by steps of finite size.
        device: Where to measure; None: where the network is.
        dtype: Arithmetic, for example ``"float64"``, which finite steps should have; None: the network's own.
        seed: Kept with the result; nothing here is random.
        folder: Where such a kernel is kept as blocks of rows instead of in memory. A run that was stopped goes on
            there at the next block, to the identical result; blocks of anything else are refused.
        progress: Told after each block of rows.

    Returns:
        One row per layer with trainable weights in the limit, and one for all of them (``layer`` is ``"output"``, the
        last row): ``kind``, ``parameters``, ``share`` of the kernel of an image with itself, ``kernel_self`` (its
        mean), ``relative_mean`` and ``cosine_mean`` (over pairs of different images), ``same_class`` (mean cosine
        within classes), ``ratio`` (that mean as a share of itself and the mean between classes; 0.5: classes do not
        matter), each with ``X_se`` over images (jackknife for pairs), ``n`` images, ``status``. Means over pairs of a
        layer need ``per_layer=True``.

        Arrays, float64, rows stepped on, columns watched: ``kernel (n, m)`` and what is derived from it when it is
        read, ``relative`` (unsigned), ``relative_signed``, ``cosine``; ``own (n,)`` and, with ``points``, ``own_to
        (m,)``, the kernel of an image with itself; with ``output="all"`` also ``kernel_outputs (n, m, C, C)``; of a
        sketch ``kernel_se (n, m)``, standard errors; ``labels (n,)``, ``index (n,)``, of ``points`` also
        ``point_labels`` and ``point_index (m,)``; ``distance (n, m)``, Euclidean between the images as given, float32,
        of up to 4,000,000 pairs. ``result.rows(name, i, j)`` reads some rows of any of them. For the first image of
        each of up to 6 classes, the image, its 3 nearest by cosine (where that is not defined, by ``relative_signed``)
        and its 3 farthest: ``sample_image (rows, 7, C, H, W)`` as given, ``sample_place`` in the matrices and
        ``sample_index`` ``(rows, 7)``.

        ``provenance["diagnostics"]`` of finite steps: ``linearity`` (the largest share of a residual that a step takes
        away, :math:`2 \eta K_{ii}` for squared loss; small where the step is as good as the limit), ``rounding`` (how
        far float64 is from what was measured) and ``crossed`` (share of units with a kink whose sign a step changes),
        both at the first few images. Of a sketch: ``sketch_error``, how far it is from the exact kernel of up to 32
        images, relative to its norm; ``sketch_expected``, the same of the standard errors; ``sketch_worst``, the
        largest difference in standard errors.

    Raises:
        ArgumentError: An option is wrong, options exclude each other, or more memory is needed than there is.
        DataError: Fewer than two usable images, or a finite step on images without labels.
        SpecimenError: Nothing can be trained, the output that is asked for does not exist, or a pass fails.
        RunError: ``folder`` cannot be written, or holds blocks of another kernel.

    Cost: in the limit a forward pass, a backward pass per output (without weight gradients), and per layer the cheaper
        of two products; a sketch a backward pass per image instead of those products, and n² k / 2 operations; with
        finite steps n² forward passes (loop), or :math:`n^2 \sum_l d_l d_{l-1}` operations over layers but the first
        (rank one).

    Exact case: an affine network has :math:`S^{\mathrm{ker}}_{ij} = x_i \cdot x_j + 1` at any step.

    Source: He and Su, *The local elasticity of neural networks* (2020). We differ in taking the limit instead of a step
        of 1e-6 in float32, whose rounding was half of the answer for trained networks; in starting every step from the
        same weights, as their code does but not, it seems, their text; and in the right factor for cross-entropy.
    """
    settings = Settings(
        step=step,
        steps=steps,
        loss=loss,
        optimizer=optimizer,
        sequential=sequential,
        output=output,
        route=route,
        per_layer=per_layer,
        sketch=sketch,
        memory_limit=memory_limit,
        batch_size=batch_size,
        seed=seed,
    )
    specimen, images = Specimen.of(specimen), as_images(data)
    others = None if points is None else as_images(points)
    began = time.perf_counter()
    with mount(specimen, device=device, dtype=dtype) as mounted:
        origin = provenance(mounted, images, settings.as_dict())
        origin |= {"points": None if others is None else provenance(mounted, others, {})["data"]}
        asked = Measurement.of(mounted, images, others, settings)
        if settings.is_limit:
            found = Limit(asked, None if folder is None else Path(folder), origin, progress).found()
        else:
            found = asked.exact(progress)
    origin |= {"route": found.route, "diagnostics": dict(found.diagnostics)}
    origin |= {"seconds": round(time.perf_counter() - began, 2)}
    notes = (*notes_of(images), *asked.notes, *found.notes)
    return Result("elasticity", QUESTION, found.table, found.arrays, UNITS, origin, notes, found.derived)
