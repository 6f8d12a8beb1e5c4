"""One batch under attack: what every attack makes of the answers, as plain arrays."""

from collections.abc import Mapping
from functools import cached_property

import numpy as np
import torch

from flexure.bench import Mounted
from flexure.data import Batch
from flexure.perturb import attacks
from flexure.perturb.attacks_library import MINIMUM, autoattack
from flexure.probes.robustness.outcomes import LOST
from flexure.probes.robustness.settings import CLIMBS, Settings

__all__ = ["FAR", "AttackedBatch"]

FAR = 0.5
"""The very large eps of the panel, as a share of the bounds' range: every image can be made the same gray one."""


class AttackedBatch:
    """A batch of images and what became of them so far.

    Attributes:
        parts: Outcomes by name, the images along the last axis. ``index``, ``label``; ``clean``: right, on the images
            as they are; ``still``: the answer at eps = 0 is the clean one; ``size`` and ``zeros``: mean size of the
            gradient and share of its numbers that are exactly 0; ``NAME`` per attack ``(eps, images)``: right under
            it; ``NAME.last``: right at the end of plain PGD; ``NAME.first``: the step at which it was first wrong,
            -1 for never; ``NAME.distance (1, images)``: how far the nearest failure is that an attack without a budget
            found, NaN where it found none; ``far``: right under PGD at a very large eps. Right is 1, wrong 0, not
            finite -1.

    Args:
        mounted: The network.
        bounds: Smallest and largest value that a pixel may have.
        settings: What was asked for.
        batch: Raw images with their labels.
        parts: What was found before an interruption.
    """

    def __init__(
        self,
        mounted: Mounted,
        bounds: tuple[float, float],
        settings: Settings,
        batch: Batch,
        parts: Mapping[str, np.ndarray],
    ) -> None:
        self._network, self._settings, self._batch, self._bounds = attacks.logits_of(mounted), settings, batch, bounds
        self.parts = dict(parts) or (self._clean() if len(batch.y) else {})

    def carry_out(self, job: tuple[str, int]) -> None:
        """Attack all images in one way, and keep what became of them."""
        name, place = job
        eps = self._settings.eps[place]
        if name == "far":
            self.parts = self.parts | self._far()
        elif name in CLIMBS:
            self.parts = self.parts | self._climb(name, place, eps)
        elif name in MINIMUM:
            self.parts = self.parts | self._nearest(name)
        else:
            self.parts = self.parts | {name: self._beside(name, self._judged(self._within(name, eps)))}

    @cached_property
    def _at_clean(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs and gradient on the images as they are."""
        return attacks.slope(self._network, self._batch.x, self._batch.y)

    def _clean(self) -> dict[str, np.ndarray]:
        f, gradient = self._at_clean
        right, still = _verdict(f, self._batch.y), attacks.outputs(self._network, self._along(0.0))
        flat = gradient.flatten(1).double()
        return {
            "index": self._batch.index.cpu().numpy(),
            "label": self._batch.y.cpu().numpy(),
            "clean": right,
            "still": (still.argmax(1) == f.argmax(1)).cpu().numpy().astype(np.int8),
            "size": flat.abs().mean(1).cpu().numpy(),
            "zeros": (flat == 0).double().mean(1).cpu().numpy(),
        }

    def _along(self, eps: float) -> torch.Tensor:
        """FGSM's images; its gradient is the same for every eps."""
        box = attacks.Box.around(self._batch.x, eps, self._bounds)
        return box.nearest(self._batch.x + eps * self._at_clean[1].sign())

    def _within(self, name: str, eps: float) -> torch.Tensor:
        """The images of an attack that takes no steps of ours."""
        if name == "fgsm":
            return self._along(eps)
        batch, common = self._batch, {"eps": eps, "bounds": self._bounds, "seed": self._settings.seed}
        if name == "sign-noise":
            return attacks.sign_noise(batch.x, batch.index, **common)
        return autoattack(self._network, batch.x, batch.y, batch.index, **common)

    def _nearest(self, name: str) -> dict[str, np.ndarray]:
        """An attack without a budget: whom it fools, and how far from the image."""
        batch, kind = self._batch, MINIMUM[name]
        options = {"bounds": self._bounds, "seed": self._settings.seed}
        images = kind.attack(self._network, batch.x, batch.y, batch.index, **options)
        right = self._judged(images)
        far = kind.distance(batch.x, images).cpu().numpy()
        fooled = (right == 0) & (self.parts["clean"] == 1)
        return {name: right[None], f"{name}.distance": np.where(fooled, far, np.nan)[None]}

    def _judged(self, images: torch.Tensor) -> np.ndarray:
        return _verdict(attacks.outputs(self._network, images), self._batch.y)

    def _climb(self, name: str, place: int, eps: float) -> dict[str, np.ndarray]:
        """PGD; what fooled the network within a smaller eps does so within this one."""
        found = self._pgd(eps, CLIMBS[name], self._settings.starts)
        right = _marked(found.is_right, found.is_finite)
        if place:
            before = self.parts[name][place - 1]
            right = np.where(right == LOST, LOST, np.where(before == LOST, LOST, np.minimum(before, right)))
        last = _marked(found.last_is_right, found.is_finite)
        first = found.first.cpu().numpy().astype(np.int32)
        news = {name: right.astype(np.int8), f"{name}.last": last, f"{name}.first": first}
        return {key: self._beside(key, value) for key, value in news.items()}

    def _far(self) -> dict[str, np.ndarray]:
        eps = FAR * (self._bounds[1] - self._bounds[0])
        found = self._pgd(eps, CLIMBS["pgd"], self._settings.starts[:1])
        return {"far": _marked(found.is_right, found.is_finite)}

    def _pgd(self, eps: float, loss: str, starts: tuple[str, ...]) -> attacks.Attacked:
        settings, batch = self._settings, self._batch
        return attacks.pgd(
            self._network,
            batch.x,
            batch.y,
            batch.index,
            eps=eps,
            bounds=self._bounds,
            loss=loss,
            steps=settings.steps,
            step=settings.step,
            starts=starts,
            seed=settings.seed,
        )

    def _beside(self, name: str, row: np.ndarray) -> np.ndarray:
        """The rows of the smaller eps, and this one below them."""
        return np.concatenate([*([self.parts[name]] if name in self.parts else []), row[None]])


def _verdict(f: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    return _marked(f.argmax(1) == y, f.isfinite().all(1))


def _marked(right: torch.Tensor, is_finite: torch.Tensor) -> np.ndarray:
    """1 where right, 0 where wrong, -1 where an output was not finite."""
    return torch.where(is_finite, right.to(torch.int8), LOST).to(torch.int8).cpu().numpy()
