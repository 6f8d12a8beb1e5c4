"""What does the network's output make of deformations, from invisible ones to folding ones, of every roughness?"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from flexure import distributed
from flexure.bench import Mounted, mount
from flexure.data import Images, as_images, notes_of, usable
from flexure.errors import DataError, SpecimenError
from flexure.formulas import maximum_entropy as law
from flexure.perturb.interpolation import gaussian_smooth
from flexure.probes._provenance import provenance
from flexure.probes.phase_diagram.copies import Copies, critical
from flexure.probes.phase_diagram.passes import Passes
from flexure.probes.phase_diagram.settings import Point, Settings, points_of
from flexure.probes.phase_diagram.sums import Sums, Totals
from flexure.results import MEASURED, Checkpoint, Progress, Result
from flexure.specimen import Specimen
from flexure.survey import Op, survey

__all__ = ["phase_diagram"]

QUESTION = "How sensitive is the output to deformations of every size and roughness, and which of them fold the image?"
_PILOT = 64
_SAMPLES = 5
_VALUES = ("D", "D_se", "G", "G_se", "R", "R_se")
_UNITS = dict.fromkeys(_VALUES, "ratio") | {
    "displacement": "pixels",
    "rms_displacement": "pixels",
    "folding": "share of the fields",
    "folding_se": "share of the fields",
    "n": "images",
    "draws": "draws per image",
    "sample_image": "pixel value",
    "sample_deformed": "pixel value",
    "sample_field": "pixels",
}


def phase_diagram(
    specimen: Specimen | nn.Module,
    data: Any,
    *,
    temperatures: int | float | Sequence[float] = 30,
    cutoffs: int | Sequence[int] = (3, 5, 15),
    interpolation: str = "bilinear",
    space: str = "normalized",
    same_pairs: bool = True,
    draws: int = 1,
    batch_size: int = 64,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> Result:
    r"""How sensitive is the output to deformations of every size and roughness, and which of them fold the image?

    Deformations of maximum entropy fill a plane of temperature T and cut-off c. At each point of a grid over it, for
    the network's output :math:`f`,

    .. math::
        D = \frac{\mathrm{E}\|f(\tau x) - f(x)\|^2}{\mathrm{E}\|f(x_1) - f(x_2)\|^2}, \qquad
        G = \frac{\mathrm{E}\|f(x + \eta) - f(x)\|^2}{\mathrm{E}\|f(x_1) - f(x_2)\|^2}, \qquad
        R = D / G,

    with noise :math:`\eta` of uniform direction and of the norm :math:`\|\tau x - x\|` of each image's own deformation
    at that point, and the share of the deformations that fold the image over. The same draws serve every point, so
    curves differ by temperature and cut-off, not by luck. Below :math:`T_1 = 1/(\pi n^2 \ln c)` the nominal
    displacement is under half a pixel, and what changes is mostly the interpolation's blur; above
    :math:`T_2 = 4/(\pi^3 c^2 \ln c)` many deformations fold. Between them, in the band, R is about smooth deformations.

    Args:
        specimen: The network, or a bare module (then: no normalization, no bounds). Never written to.
        data: What ``load`` returns, a dataset, a loader, or tensors ``x (n, C, H, W)`` or ``(x, y)``; at least 2
            images.
        temperatures: How many, in equal ratios from :math:`T_1/15` to :math:`2 T_2` of each cut-off, on purpose beyond
            the band on both sides; or the temperatures themselves, the same at every cut-off.
        cutoffs: Cut-offs, whole numbers of at least 2, up to two less than the image's side.
        interpolation: ``"bilinear"``, ``"gaussian"`` or ``"nearest"``.
        space: Where deformation and noise act: on ``"normalized"`` images, as the papers do, or on ``"pixel"`` values.
        same_pairs: Whether the denominator includes pairs of an image with itself, as the papers' code does.
        draws: Deformations and noises per image and point.
        batch_size: Rows in one forward pass, at most.
        device: Where to measure; None: where the network is.
        dtype: Arithmetic, for example ``"float64"``; None: the network's own.
        seed: Same seed and images, same deformations and noises, whatever the batch size or number of processes.
        progress: Told after every forward pass of disturbed images.
        checkpoint: Where partial sums are kept.

    Returns:
        One row per point, by rising ``cutoff``, then ``temperature``: ``layer`` (``"output"``), ``displacement``
        (nominal δ) and ``rms_displacement`` (exact; both in pixels), ``in_band`` (T in [T1, T2]), ``folding`` and
        ``folding_se`` (share of the images' own fields that fold, in [0, 1]; where it is 0 or 1 its standard error is
        0, and all that N fields tell is that the share is within 3/N of that), ``D``, ``D_se``, ``G``, ``G_se``,
        ``R``, ``R_se`` (no units; errors over images, by the delta method), ``n`` images, ``status``, ``draws``.
        Arrays ``curve_cutoff``, ``curve_T1``, ``curve_T2 (k,)``: the band over cut-offs (a line of constant
        displacement δ is :math:`4\delta^2 T_1`). One image across the plane: ``sample_image (C, H, W)``,
        ``sample_deformed (cutoffs, 5, C, H, W)``, ``sample_field (cutoffs, 5, 2, H, W)``, ``sample_temperature``,
        ``sample_displacement``, ``sample_folded (cutoffs, 5)``, ``sample_index``.

    Raises:
        ArgumentError: An option is wrong, or the images are too small for a cut-off.
        DataError: Fewer than two usable images, or values outside the specimen's bounds.
        SpecimenError: Two clean passes differ, or a forward pass fails.

    Cost: ``1 + 2 draws * points`` rows forward per image, and 80 images to begin with. Fields, noise and the search
    for folds are drawn once per image, draw and cut-off.

    Exact case: the identity has :math:`R = 1` at every point. A row equals ``flexure.sensitivity`` at that temperature
    and cut-off, at the output.

    Source: Petrini et al., *Relative stability toward diffeomorphisms indicates performance in deep nets* (2021), whose
        grid is the default. We differ in taking means over images instead of medians of coordinates, in standard
        errors, in drawing once for all points, and in counting folds instead of trusting T2 (a third of the fields fold
        there at c = 3).
    """
    settings = Settings(
        temperatures=_several(temperatures),
        cutoffs=_several(cutoffs),
        interpolation=interpolation,
        space=space,
        same_pairs=same_pairs,
        draws=draws,
        batch_size=batch_size,
        seed=seed,
    )
    specimen, images = Specimen.of(specimen), as_images(data)
    began = time.perf_counter()
    with mount(specimen, device=device, dtype=dtype) as mounted:
        x, index = _pilot(images, mounted)
        size = (int(x.shape[-2]), int(x.shape[-1]))
        points = points_of(settings, size)
        origin = provenance(mounted, images, settings.as_dict()) | {"image_size": list(size)}
        output, limit = _survey(mounted, x, settings)
        passes = Passes(mounted, images, settings, points, output, limit, checkpoint, _identity(origin), progress)
        sums = passes.run() if output.is_measurable else Sums.empty(len(points), 1, mounted.device)
        arrays = _samples(mounted, settings, points, x[:1], index[:1]) | _curves(settings, size)
    totals = Totals.of(sums, draws=draws, same_pairs=same_pairs)
    table = _table(settings, points, output, totals)
    origin |= {"passes": {"rows": totals.rows}, "initialized": 0, "seconds": round(time.perf_counter() - began, 2)}
    notes = (*notes_of(images), *_notes(totals, settings, len(images)))
    return Result("phase_diagram", QUESTION, table, arrays, _UNITS, origin, notes)


def _several(values: Any) -> Any:
    """A single value as it is, several as a tuple."""
    return tuple(values) if isinstance(values, Iterable) and not isinstance(values, str) else values


def _pilot(images: Images, mounted: Mounted) -> tuple[torch.Tensor, torch.Tensor]:
    """Some usable images, evenly spread over the set, and their indices."""
    places = sorted({int(place) for place in np.linspace(0, len(images) - 1, min(len(images), _PILOT))})
    x, index, skipped = usable(images, places, mounted)
    if len(x) < 2:
        why = "".join(f"; image {i}: {reason}" for i, reason in list(skipped.items())[:1])
        raise DataError(
            f"{images.name}: {len(x)} of the {len(places)} images looked at first can be used{why}. D and G compare "
            "images with one another, so give at least 2."
        )
    return x, index


def _survey(mounted: Mounted, x: torch.Tensor, settings: Settings) -> tuple[Op, int]:
    """The network's output on a few images, and how many rows of the batch size fit into memory."""
    clean = mounted.normalized(x)
    clean = gaussian_smooth(clean) if settings.interpolation == "gaussian" else clean
    rows = settings.batch_size
    while True:
        try:
            return survey(mounted, clean, rows=rows)[-1], rows
        except torch.cuda.OutOfMemoryError as wrong:
            if rows <= 2:
                raise SpecimenError(
                    f"{mounted.specimen.name}: out of memory at {rows} images. Use smaller images or device='cpu'."
                ) from wrong
            rows //= 2


def _identity(origin: Mapping[str, Any]) -> dict[str, Any]:
    """What partial sums belong to: everything that decides the numbers, and how the work was split."""
    names = ("settings", "seed", "specimen", "data", "versions", "device", "dtype", "threads", "image_size")
    split = {"rank": distributed.rank(), "world_size": distributed.world_size()}
    return {name: origin[name] for name in names} | split


def _samples(
    mounted: Mounted, settings: Settings, points: Sequence[Point], x: torch.Tensor, index: torch.Tensor
) -> dict[str, np.ndarray]:
    """One image at some temperatures of every cut-off, deformed as it is measured, with its fields."""
    copies = Copies(mounted, settings, x, index)
    size = (int(x.shape[-2]), int(x.shape[-1]))
    count = settings.n_temperatures
    places = sorted({round(place) for place in np.linspace(0, count - 1, min(count, _SAMPLES))})
    rows = [[points[first + place] for place in places] for first in range(0, len(points), count)]
    temperatures = np.array([[point.temperature for point in row] for row in rows])
    bent = [[copies.pictures(point.cutoff, point.temperature, 0)[0] for point in row] for row in rows]
    fields = [[copies.fields(point.cutoff, point.temperature, 0)[0] for point in row] for row in rows]
    limits = [float(critical(index, size, row[0].cutoff, settings.seed, 0)) for row in rows]
    return {
        "sample_image": _plain(copies.originals()[0]),
        "sample_deformed": np.stack([[_plain(one) for one in row] for row in bent]),
        "sample_field": np.stack([[_plain(one) for one in row] for row in fields]),
        "sample_temperature": temperatures,
        "sample_displacement": np.array([[point.displacement for point in row] for row in rows]),
        "sample_folded": temperatures >= np.array(limits)[:, None],
        "sample_index": index.cpu().numpy(),
    }


def _plain(value: torch.Tensor) -> np.ndarray:
    return value.float().cpu().numpy()


def _curves(settings: Settings, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """The ends of the band at every whole cut-off from 2 to somewhat beyond the largest."""
    cutoffs = range(2, 2 + round(1.35 * max(*settings.cutoffs, 3)))
    low, high = zip(*(law.temperature_range(cutoff, size) for cutoff in cutoffs), strict=True)
    return {"curve_cutoff": np.array(cutoffs), "curve_T1": np.array(low), "curve_T2": np.array(high)}


def _table(settings: Settings, points: Sequence[Point], output: Op, totals: Totals) -> pd.DataFrame:
    status = [_status(output, totals, place) for place in range(len(points))]
    hidden = np.array([text not in (MEASURED, _NO_RESPONSE) for text in status])
    folding = totals.folding if totals.fields else np.full(len(points), np.nan)
    columns: dict[str, Any] = {name: [getattr(point, name) for point in points] for name in _OF_A_POINT}
    columns |= {"folding": folding, "folding_se": np.sqrt(folding * (1 - folding) / max(totals.fields, 1))}
    columns |= {name: np.where(hidden, np.nan, getattr(totals.found, name)) for name in _VALUES}
    columns |= {"n": totals.n, "status": status, "draws": settings.draws}
    return pd.DataFrame({"layer": "output", **columns})


_OF_A_POINT = ("cutoff", "temperature", "displacement", "rms_displacement", "in_band")
_NO_RESPONSE = "no response to noise"


def _status(output: Op, totals: Totals, place: int) -> str:
    """How the measurement of a point ended."""
    if not output.is_measurable:
        return output.status
    if left_out := int(totals.left_out[place]):
        more = f" and {left_out - 1} more" if left_out > 1 else ""
        return f"non-finite at image {int(totals.first_left_out[place])}{more}"
    resolution = 4 * torch.finfo(getattr(torch, output.dtype)).eps * output.scale
    if not totals.spread[place] > 2 * resolution**2:
        return "constant output"
    return _NO_RESPONSE if totals.found.G[place] == 0 else MEASURED


def _notes(totals: Totals, settings: Settings, n: int) -> list[str]:
    notes = []
    if totals.skipped:
        named = "; ".join(f"image {index}: {totals.skipped[index]}" for index in sorted(totals.skipped)[:3])
        notes.append(f"{len(totals.skipped)} of {n} images could not be used and are left out ({named}).")
    if totals.shrunk:
        notes.append(
            f"Out of memory at batch_size={settings.batch_size}; went on with {totals.shrunk} rows per forward pass."
        )
    return notes
