"""How often is the network still right when its images are attacked?"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from flexure import distributed
from flexure.bench import mount
from flexure.data import Images, as_images, notes_of
from flexure.ecosystem import toolbox
from flexure.errors import DataError, SpecimenError
from flexure.perturb.attacks import STARTS
from flexure.probes._provenance import provenance
from flexure.probes.robustness.outcomes import Outcomes
from flexure.probes.robustness.passes import Passes
from flexure.probes.robustness.sanity import checks_of, warnings_of
from flexure.probes.robustness.settings import Settings
from flexure.probes.robustness.table import cells_of, rows_of, table_of
from flexure.results import Checkpoint, Progress, Result
from flexure.specimen import Specimen

__all__ = ["robustness"]

QUESTION = "How often is the network still right when every pixel of its images may be changed by eps to fool it?"


def robustness(
    specimen: Specimen | nn.Module,
    data: Any,
    *,
    eps: float | Sequence[float] = (0.01, 0.03, 0.1),
    attacks: str | Sequence[str] = ("pgd-margin",),
    steps: int = 40,
    step: float | None = None,
    starts: str | Sequence[str] = STARTS,
    batch_size: int = 64,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> Result:
    r"""How often is the network still right when every pixel of its images may be changed by eps to fool it?

    For images :math:`x_i` of class :math:`y_i`, bounds :math:`[l, h]` and an attack :math:`A`,

    .. math::
        \mathrm{robust\ accuracy} = \frac1n \#\{i : f(x_i) = y_i \text{ and } f(A(x_i)) = y_i\}, \qquad
        A(x) \in [x - \varepsilon, x + \varepsilon] \cap [l, h].

    It is what these attacks leave: another may leave less. Attacks act on the pixels, within the specimen's bounds;
    normalization is part of the network.

    Args:
        specimen: The network, with ``bounds``. Never written to; its weights get no gradients.
        data: What ``load`` returns, a dataset, a loader, or tensors ``(x, y)``, within the bounds.
        eps: Largest change of a pixel :math:`\varepsilon \ge 0`, in the unit of the images, rising: one row each.
        attacks: Further attacks: ``"pgd-margin"``; with the extra ``[attacks]`` also ``"autoattack"``, and without a
            budget, for the nearest image of another class, ``"deepfool"``, ``"carlini-wagner"`` and ``"jsma"``.
            ``"sign-noise"`` (random signs), ``"fgsm"`` and ``"pgd"`` are always among them, since a number of the one
            says little without those of the others.
        steps: Steps of PGD from each start.
        step: Size of a step as a share of eps; None: a tenth, or as much more as few steps need to reach across.
        starts: Where PGD starts: ``"random"`` (may be repeated), ``"clean"``, ``"fgsm"``.
        batch_size: Images that are attacked together, at most.
        device: Where to measure; None: where the network is.
        dtype: Arithmetic, for example ``"float64"``; None: the network's own.
        seed: Same seed and images, same random starts and signs, whatever the batch size, order or number of processes.
        progress: Told after every attack on a batch of images.
        checkpoint: Where partial sums are kept.

    Returns:
        A row for ``attack`` ``clean`` (eps 0), one per attack and eps, one per eps for ``worst``, the images that every
        attack leaves right, and one for each attack without a budget (eps NaN), with ``median_norm``: how far in
        ``norm`` the images it fooled had to go, of those right at first, with an interval that holds it at 95 %.
        ``robust_accuracy`` with ``robust_accuracy_se`` and Wilson's interval ``low`` to
        ``high``; ``success``, the share of the images right at first that are fooled; ``clean_accuracy``; ``n`` images
        with a label; ``status``. PGD counts the worst of all images on its way from all starts, and what fools within a
        smaller eps fools within a larger.

        Arrays: ``image_index (images,)``, ``image_label`` and ``image_right (rows, images)``, 1 where the image was
        right and -1 where an output was not finite, in the order of the table's rows: what two networks are compared by
        (:func:`flexure.analysis.paired.paired`); ``by_step (climbs, eps, steps + 1)``, robust accuracy after so many
        steps of PGD, a climb per line of ``provenance["climbs"]``.

        ``provenance["sanity"]`` is the panel that tells whether the attacks were worth their name, a record per check:
        eps = 0 changes nothing; the network is better than one answer for all; plain PGD, the last image from the first
        start, does no less harm than FGSM, FGSM no less than random signs, the cross-entropy no less than the margin;
        at a very large eps nothing is left; how many gradients are exactly zero and how large the median is; whether
        PGD had converged; how many wrong images FGSM made right, which do not count. Where a check fails a note says
        so, and names gradient masking.

    Raises:
        ArgumentError: eps is negative or does not rise, or another option is out of range.
        DataError: Values outside the bounds, a label that no output stands for, or no usable image; before any attack.
        SpecimenError: There are no bounds, the network has no gradient with respect to its images (the op that loses it
            is named), or two clean passes differ.

    Cost: per eps ``len(starts) * (steps + 1)`` passes for each PGD and one for each other attack, ``steps + 3`` for the
        panel; most of them forward and backward. A few bytes per image are kept for each row.
    Exact case: a linear network away from the bounds: every attack moves the margin of two classes by
        :math:`\varepsilon \|w_1 - w_0\|_1`, and no other image is worse.
    Source: Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks (2018); the panel follows
        Athalye, Carlini and Wagner (2018) and Carlini et al., On Evaluating Adversarial Robustness (2019).
    """
    given: dict[str, Any] = {"eps": eps, "attacks": attacks, "steps": steps, "step": step, "starts": starts}
    settings = Settings(**given, batch_size=batch_size, seed=seed)
    specimen = Specimen.of(specimen)
    bounds, images = _bounds_of(specimen), as_images(data)
    if settings.needs_library:
        toolbox()
    began = time.perf_counter()
    with mount(specimen, device=device, dtype=dtype) as mounted:
        origin = provenance(mounted, images, settings.as_dict())
        mine = Passes(mounted, bounds, images, settings, checkpoint, _identity(origin), progress).run()
    found = Outcomes.merged([Outcomes.of(part) for part in distributed.gather(mine.arrays())])
    if len(found.skipped) == len(images):
        first, reason = min(found.skipped.items())
        raise DataError(f"{images.name}: none of its {len(images)} images can be used (image {first}: {reason}).")
    checks = checks_of(found, settings, bounds)
    origin |= {
        "sanity": [check.as_dict() for check in checks],
        "climbs": list(settings.climbs),
        "passes": {"rows": settings.passes[0] * len(found)} if not settings.needs_library else None,
        "seconds": round(time.perf_counter() - began, 2),
    }
    notes = (*notes_of(images), *warnings_of(checks), *_notes(found, images))
    return Result(
        "robustness",
        QUESTION,
        table_of(found, settings),
        arrays=_arrays(found, settings),
        units=_UNITS,
        provenance=origin,
        notes=notes,
    )


_UNITS = {
    "eps": "largest change of a pixel, in its unit",
    "success": "share of the images right at first",
    "success_se": "share of the images right at first",
    "n": "images",
    "image_right": "1 right, 0 wrong, -1 not finite",
    "by_step": "fraction",
} | dict.fromkeys(
    ("robust_accuracy", "robust_accuracy_se", "low", "high", "clean_accuracy", "clean_accuracy_se"), "fraction"
)


def _bounds_of(specimen: Specimen) -> tuple[float, float]:
    if specimen.bounds is None:
        raise SpecimenError(
            f"{specimen.name}: has no bounds, so nothing says which images an attack may make. Give them: "
            "flexure.Specimen(model, bounds=(0, 1), normalize=(mean, std))."
        )
    return specimen.bounds


def _identity(origin: Mapping[str, Any]) -> dict[str, Any]:
    """What partial sums belong to: everything that decides the numbers, and how the work was split."""
    names = ("settings", "seed", "specimen", "data", "versions", "device", "dtype", "threads")
    split = {"rank": distributed.rank(), "world_size": distributed.world_size()}
    return {name: origin[name] for name in names} | split


def _arrays(found: Outcomes, settings: Settings) -> dict[str, np.ndarray]:
    right = rows_of(found, settings)
    if not right:
        return {}
    names = dict.fromkeys(name for name, _ in cells_of(settings))
    arrays = {f"{name}_norm": found[f"{name}.distance"][0] for name in settings.minimum}
    return arrays | {
        "image_index": found["index"],
        "image_label": found["label"],
        "image_right": np.concatenate([right[name] for name in names]),
        "by_step": np.stack([_by_step(found, name, settings.steps) for name in settings.climbs]),
    }


def _by_step(found: Outcomes, name: str, steps: int) -> np.ndarray:
    """Share of images that were right at first and still are after 0 … steps steps ``(eps, steps + 1)``."""
    first = np.where(found[f"{name}.first"] < 0, steps + 1, found[f"{name}.first"])
    after = np.arange(steps + 1)
    return ((first[:, None] > after[:, None]) & (found["clean"] == 1)).mean(2)


def _notes(found: Outcomes, images: Images) -> list[str]:
    notes, n = [], len(images)
    if found.skipped:
        named = "; ".join(f"image {index}: {found.skipped[index]}" for index in sorted(found.skipped)[:3])
        notes.append(f"{len(found.skipped)} of {n} images could not be used and are left out ({named}).")
    if 0 < found.unlabelled < n - len(found.skipped):
        notes.append(f"{found.unlabelled} of {n} images have no label and are left out.")
    if found.outputs == 1:
        notes.append("One output: its sign is the class; attacks climb the logistic loss.")
    return notes
