"""Two lit pixels: are they near or far, in one block or two? A task in which only space counts, made from nothing."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from numbers import Integral
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import yaml

from flexure import rng
from flexure.data.options import options_behind
from flexure.data.sample import balanced
from flexure.data.scale_pairs import Pairs, Rules
from flexure.data.stream import Batch
from flexure.errors import ArgumentError, nearest
from flexure.perturb.translation import LocalTranslation

__all__ = ["SCALE_DETECTION", "ScaleDetection", "is_scale_detection", "options_in", "scale_detection"]

SCALE_DETECTION: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "scale-detection-1d": (1, "distance"),
        "scale-detection-1d-blocks": (1, "blocks"),
        "scale-detection-2d": (2, "distance"),
        "scale-detection-2d-blocks": (2, "blocks"),
    }
)
"""Dimensions and task of each name that :func:`~flexure.load` knows."""

PURPOSE = "scale-detection split"
_SPLITS = ("train", "validation", "test")
_CLASSES = {"distance": ("far", "near"), "blocks": ("different", "same")}
_OPTIONS: Mapping[str, tuple[type, ...]] = {
    "side": (int,),
    "scale": (int,),
    "gap": (int, float),
    "norm": (str,),
    "periodic": (bool,),
    "diagonal": (bool,),
    "value": (int, float),
}
_WORDS = {int: "a whole number", float: "a number", str: "a name", bool: "true or false"}
_TRAIN_SIZE = 1024
_TEST_SIZE = 4096


class ScaleDetection:
    r"""Images with two lit pixels, labelled by how far apart these are.

    ``distance`` (the paper's task 1): near where :math:`r < \xi - h`, far where :math:`r \ge \xi + h`; pairs between
    are left out. ``h = gap / 2`` in two dimensions and ``h = gap`` in one, as the authors' two programs have it.
    ``blocks`` (task 2): whether both pixels lie in the same block of side :math:`\xi`. Label 1 (a hinge loss's +1) is
    near or same; label 0 (its -1) is far or different.

    An image's index is the number of its pair among all pairs of pixels, in the order (0, 1), (0, 2), … row by row: it
    depends on neither task, gap nor split. Which pairs are for testing is fixed: those of each class are put in one
    order for good, the last of it is set aside for testing, what precedes for validation.

    Args:
        dimensions: 2: images ``(1, side, side)``. 1: rings ``(1, 1, side)``.
        task: ``"distance"`` or ``"blocks"``.
        split: ``"train"``, ``"validation"`` or ``"test"``; each holds as many images of either class.
        size: Images wanted of the split, a seeded sample, a smaller one part of a larger; None: 1,024 of the training
            images, all of the others.
        seed: Seed of that sample.
        side: Pixels along an axis; None: 28 in two dimensions, 128 in one.
        scale: The scale :math:`\xi`, pixels; None: 14 in two dimensions, 32 in one.
        gap: Width left out around the scale, pixels; None: 2 in two dimensions, 0 in one.
        norm: ``"euclidean"``, ``"chebyshev"`` or ``"manhattan"`` distance.
        periodic: Whether opposite ends touch; None: in one dimension they do.
        diagonal: Whether pixels (i, i) may be lit; False: never, an omission of the authors' data in two dimensions.
        value: Value of a lit pixel, the others being 0; None: side² / 2 in two dimensions, √(side / 2) in one.
        test_size: Images set aside for testing; None: 4,096 in two dimensions, in one all but 1,024 and those for
            validation.
        validation_size: Images set aside for validation. The splits of one task share no pair where both sizes are the
            same for all.

    Raises:
        ArgumentError: A name or number is out of range, or there are too few pairs for these splits.

    Cost: one pass over all pairs when images are first asked for (0.3 million in two dimensions, a tenth of a second);
    an image is made when it is read.

    Exact case: 28 × 28 without the diagonal: 120,767 near and 135,397 far; 71,162 pairs in one block, 214,228 in two. A
    ring of 128: 3,968 and 4,160; 1,984 and 6,144.

    Source: Tomasini et al., *How deep convolutional neural networks lose spatial information with training* (2022). We
        differ in lighting the diagonal too, in drawing as many training images of either class, and in leaving out
        what the larger class has more than the smaller.

    >>> images = ScaleDetection(dimensions=1, split="train", size=4)
    >>> images.labels.tolist().count(1), tuple(images.read([0]).x.shape)
    (2, (1, 1, 1, 128))
    """

    def __init__(
        self,
        *,
        dimensions: int = 2,
        task: str = "distance",
        split: str = "test",
        size: int | None = None,
        seed: int = 0,
        side: int | None = None,
        scale: int | None = None,
        gap: float | None = None,
        norm: str = "euclidean",
        periodic: bool | None = None,
        diagonal: bool = True,
        value: float | None = None,
        test_size: int | None = None,
        validation_size: int = 128,
    ) -> None:
        ring = dimensions == 1
        self.rules = Rules(
            dimensions=dimensions,
            task=task,
            side=(128 if ring else 28) if side is None else side,
            scale=(32 if ring else 14) if scale is None else scale,
            gap=(0.0 if ring else 2.0) if gap is None else gap,
            norm=norm,
            periodic=ring if periodic is None else periodic,
            diagonal=diagonal,
        )
        usual = math.sqrt(self.rules.side / 2) if ring else self.rules.side**2 / 2
        self.value = float(usual if value is None else value)
        self.split, self.seed = split, seed
        self.size = _TRAIN_SIZE if size is None and split == "train" else size
        self.test_size = None if ring and test_size is None else (_TEST_SIZE if test_size is None else test_size)
        self.validation_size = validation_size
        self._check()

    def _check(self) -> None:
        if self.split not in _SPLITS:
            raise ArgumentError(f"scale detection: no split {self.split!r}. {nearest(self.split, _SPLITS)}")
        if not 0 < self.value < math.inf:
            raise ArgumentError(f"scale detection: value of a lit pixel must be finite and > 0; got {self.value}.")
        if self.size is not None and (not isinstance(self.size, Integral) or self.size < 1):
            raise ArgumentError(f"scale detection: size must be a whole number, at least 1; got {self.size!r}.")
        for name in ("test_size", "validation_size"):
            found = getattr(self, name)
            if found is not None and (not isinstance(found, Integral) or found < 0 or found % 2):
                raise ArgumentError(
                    f"scale detection: {name} must be even, 0 or more, for as many of either class; got {found!r}."
                )

    @property
    def name(self) -> str:
        """The name under which :func:`~flexure.load` knows the task."""
        return next(name for name, what in SCALE_DETECTION.items() if what == (self.rules.dimensions, self.rules.task))

    @property
    def classes(self) -> tuple[str, str]:
        """Names of classes 0 and 1."""
        return _CLASSES[self.rules.task]

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest pixel value."""
        return 0.0, self.value

    @property
    def notes(self) -> tuple[str, ...]:
        """What sets these images apart from the task as it is meant."""
        return () if self.rules.diagonal else ("Pixels (i, i) are never lit, as in the authors' data.",)

    @property
    def translation(self) -> LocalTranslation:
        """How pixels move in this task, around the ring where opposite ends touch.

        In one dimension a pixel does not leave its block in task 2; in two it may, as in the authors' program.
        """
        keeps = self.rules.dimensions == 1 and self.rules.task == "blocks"
        return LocalTranslation(periodic=self.rules.periodic, block=self.rules.scale if keeps else None)

    @property
    def indices(self) -> np.ndarray:
        """Number of each image's pair among all pairs of pixels."""
        return self._pairs[0]

    @property
    def positions(self) -> np.ndarray:
        """The two lit pixels of each image ``(n, 2)``, row by row, the first the lower."""
        return np.stack(self._pairs[1:3], axis=1)

    @property
    def labels(self) -> np.ndarray:
        """1 for near or same, 0 for far or different."""
        return self._pairs[3]

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        return f"{self.name}: {len(self)} images of split {self.split!r}, {self.rules}"

    def read(self, positions: Sequence[int]) -> Batch:
        """The images at these positions, float32."""
        at = np.asarray(positions, dtype=np.int64)
        numbers, first, second, labels = (part[at] for part in self._pairs)
        height, width = self.rules.shape
        x = torch.zeros(len(at), height * width)
        rows = torch.arange(len(at))
        for pixels in (first, second):
            x[rows, torch.from_numpy(pixels)] = self.value
        return Batch(x.view(-1, 1, height, width), torch.from_numpy(labels), torch.from_numpy(numbers))

    @cached_property
    def _pairs(self) -> Pairs:
        """Number, lit pixels and label of every image."""
        pairs = self.rules.pairs()
        numbers, _, _, labels = pairs
        lots = rng.integers(1, seed=0, purpose=PURPOSE, index=torch.from_numpy(numbers))[:, 0].numpy()
        ordered = np.lexsort((numbers, lots))
        part = self._part(int(min((labels == label).sum() for label in (0, 1))))
        chosen = np.sort(np.concatenate([_cut(ordered[labels[ordered] == label], part) for label in (0, 1)]))
        if self.size is not None:
            chosen = chosen[balanced(labels[chosen], numbers[chosen], self.size, seed=self.seed)]
        number, first, second, label = (column[chosen] for column in pairs)
        return number, first, second, label

    def _part(self, available: int) -> tuple[int, int]:
        """Which of a class's pairs are the split's, counted from the end: ``(first, last)``."""
        validation = self.validation_size // 2
        left = available - validation - _TRAIN_SIZE // 2
        test = left if self.test_size is None else self.test_size // 2
        edges = {"test": (0, test), "validation": (test, test + validation), "train": (test + validation, available)}
        start, stop = edges[self.split]
        if test < 0 or available < test + validation or stop <= start:
            raise ArgumentError(
                f"scale detection: split {self.split!r} is empty: the smaller class has {available} pairs, of which "
                f"{max(test, 0)} go to testing and {validation} to validation. Raise side and scale (by name: "
                f"'{self.name}:side={2 * self.rules.side},scale={2 * self.rules.scale}'), or choose test_size and "
                "validation_size, which names do not have but flexure.data.ScaleDetection(…) takes."
            )
        return start, stop


def is_scale_detection(name: str) -> bool:
    """Whether this is one of the names of ``SCALE_DETECTION``, with options behind a colon or without."""
    return name.partition(":")[0] in SCALE_DETECTION


def scale_detection(name: str, *, split: str = "test", size: int | None = None, seed: int = 0) -> ScaleDetection:
    """The task of one of the names of ``SCALE_DETECTION``: as in the paper, or with options behind a colon.

    Raises:
        ArgumentError: An option is unknown, or its value out of range.

    >>> scale_detection("scale-detection-1d:side=64,scale=16").rules.shape
    (1, 64)
    """
    dimensions, task = SCALE_DETECTION[name.partition(":")[0]]
    return ScaleDetection(dimensions=dimensions, task=task, split=split, size=size, seed=seed, **options_in(name))


def options_in(name: str) -> dict[str, Any]:
    """The options behind a name's colon: ``side=64,scale=16,diagonal=false``.

    Raises:
        ArgumentError: One of them is unknown, or not of the form NAME=VALUE.
    """
    return {option: _read(name, option, value) for option, value in options_behind(name, _OPTIONS)}


def _read(name: str, option: str, value: str) -> Any:
    known = yaml.safe_load(value)
    if not isinstance(known, _OPTIONS[option]) or isinstance(known, bool) != (bool in _OPTIONS[option]):
        wanted = " or ".join(_WORDS[kind] for kind in _OPTIONS[option])
        raise ArgumentError(f"data {name!r}: {option} must be {wanted}; got {value!r}.")
    return known


def _cut(ordered: np.ndarray, part: tuple[int, int]) -> np.ndarray:
    start, stop = part
    return ordered[len(ordered) - stop : len(ordered) - start]
