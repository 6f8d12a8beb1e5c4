"""Points on two entangled curves or surfaces, with the distances along them: made from nothing."""

import random
from collections.abc import Sequence
from functools import cached_property
from numbers import Integral

import numpy as np
import torch

from flexure import rng
from flexure.data.manifold_shapes import SHAPES
from flexure.data.options import options_behind
from flexure.data.stream import Batch
from flexure.errors import ArgumentError, nearest

__all__ = ["Manifold", "is_manifold", "manifold", "manifold_options"]

_SPLITS = ("train", "test")
_OPTIONS = {"distance": ("geodesic", "authors"), "draw": ("seeded", "authors")}
_SIZE = 100
_AUTHORS_SEED = 666


class Manifold:
    r"""Points of two classes, each on a curve or surface of its own, as images of one row.

    The images are ``(1, 1, d)`` with the d = 2 or 3 coordinates of a point. Every second one is of class 1, beginning
    with the first. A point depends on the set's name, the split, the seed and its index alone; its parameter is
    uniform, not its arc length.

    Args:
        shape: ``"torus-curves"``, ``"folded-boxes"``, ``"double-helix"``, ``"two-cosines"``, ``"two-spheres"`` or
            ``"two-cycles"``.
        split: ``"train"`` or ``"test"``: other points.
        size: Points of both classes together; None: 100.
        seed: Seed of the points.
        distance: ``"geodesic"``: the length of the shortest way within the curve or surface. ``"authors"``: what the
            authors' program takes for it: the angle instead of the arc, the difference of heights on the helix and of t
            on the cosines, and roofs that are 0.17 too wide.
        draw: ``"seeded"``, or ``"authors"``: the points of their program, whatever the split and the seed.

    Attributes:
        shape: Name of the set.
        split: Which split.
        seed: Seed of the points.
        distance: Which distances.
        draw: Whose points.

    Raises:
        ArgumentError: A name is unknown, or ``size`` below 1, or of the authors' points no multiple of 4.

    Exact case: the slope of an affine network at its own bias 1, :math:`|x \cdot x' + 1| / (\|x\|^2 + 1)`, correlates
    with the authors' distances of their 50 points of class 1 by -0.072 on the torus and -0.136 on the boxes; without
    the absolute value by -0.985 and -0.971.

    Source: He & Su, *The Local Elasticity of Neural Networks* (2020), Figure 1, and the program released with it.

    >>> points = Manifold("torus-curves", size=4)
    >>> points.labels.tolist(), tuple(points.read([0]).x.shape), points.distances.shape
    ([1, 0, 1, 0], (1, 1, 1, 3), (4, 4))
    """

    def __init__(
        self,
        shape: str,
        *,
        split: str = "test",
        size: int | None = None,
        seed: int = 0,
        distance: str = "geodesic",
        draw: str = "seeded",
    ) -> None:
        given = {"shape": shape, "split": split, "distance": distance, "draw": draw}
        for name, valid in {"shape": tuple(SHAPES), "split": _SPLITS, **_OPTIONS}.items():
            if given[name] not in valid:
                raise ArgumentError(f"points: no {name} {given[name]!r}. {nearest(str(given[name]), valid)}")
        size = _SIZE if size is None else size
        if not isinstance(size, Integral) or size < 1:
            raise ArgumentError(f"{shape}: size must be a whole number of points, at least 1; got {size!r}.")
        if draw == "authors" and size % 4:
            raise ArgumentError(f"{shape}: the authors draw points in fours; got size {size}.")
        self.shape, self.split, self.seed, self.distance, self.draw = shape, split, seed, distance, draw
        self.size = int(size)

    @property
    def name(self) -> str:
        """The name under which :func:`~flexure.load` knows the set."""
        return self.shape

    @property
    def classes(self) -> tuple[str, str]:
        """Names of classes 0 and 1."""
        return SHAPES[self.shape].classes

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest coordinate there may be."""
        extent = SHAPES[self.shape].extent
        return -extent, extent

    @property
    def dimensions(self) -> int:
        """Coordinates of a point."""
        return self.points.shape[1]

    @property
    def notes(self) -> tuple[str, ...]:
        """What sets the points or their distances apart."""
        told = {
            "The points are those of the authors' program.": self.draw == "authors",
            "Distances between points are those of the authors' program.": self.distance == "authors",
        }
        return tuple(sentence for sentence, holds in told.items() if holds)

    @property
    def indices(self) -> np.ndarray:
        """0 … size - 1."""
        return np.arange(self.size, dtype=np.int64)

    @property
    def labels(self) -> np.ndarray:
        """1, 0, 1, 0, …"""
        return 1 - self.indices % 2

    @cached_property
    def points(self) -> np.ndarray:
        """Coordinates ``(n, d)``, float64."""
        shape, (u, is_upper), labels = SHAPES[self.shape], self._parameters, self.labels
        both = np.stack([shape.points(u, is_upper, label) for label in (0, 1)])
        return both[labels, self.indices]

    @property
    def distances(self) -> np.ndarray:
        """Distances ``(n, n)`` along the curve or surface, float64; infinite between points of different classes."""
        u, is_upper = self._parameters
        found = np.full((self.size, self.size), np.inf)
        for label in (0, 1):
            here = np.flatnonzero(self.labels == label)
            found[np.ix_(here, here)] = SHAPES[self.shape].distances(
                u[here], is_upper[here], label, authors=self.distance == "authors"
            )
        return found

    def __len__(self) -> int:
        return self.size

    def __repr__(self) -> str:
        return f"{self.name}: {len(self)} points of split {self.split!r}"

    def read(self, positions: Sequence[int]) -> Batch:
        """The points at these positions, float32."""
        at = np.asarray(positions, dtype=np.int64)
        x = torch.from_numpy(self.points[at]).float()[:, None, None]
        return Batch(x, torch.from_numpy(self.labels[at]), torch.from_numpy(self.indices[at]))

    @cached_property
    def _parameters(self) -> tuple[np.ndarray, np.ndarray]:
        """Each point's parameters in (0, 1), and whether it lies on the upper of two halves."""
        shape, pair = SHAPES[self.shape], self.indices // 2
        if self.draw == "authors":
            return _authors_draw(self.size, shape.parameters, shape.grouped), pair < self.size // 4
        index = torch.from_numpy(self.indices)
        u = rng.uniform(shape.parameters, seed=self.seed, purpose=f"{self.shape} {self.split}", index=index)
        return u.numpy(), pair % 2 == 0


def _authors_draw(size: int, parameters: int, grouped: bool) -> np.ndarray:
    """The numbers of Python's generator in the order in which the authors' program asks for them."""
    own = random.Random(_AUTHORS_SEED)
    drawn = np.array([own.random() for _ in range(size * parameters)])
    by_point = drawn.reshape(-1, 2, 2) if grouped else drawn.reshape(-1, parameters, 2)  # (…, class, which) or …
    return by_point.transpose(0, 2, 1).reshape(size, parameters)  # … (pair, parameter, class)


def is_manifold(name: str) -> bool:
    """Whether this is one of the names of these sets, with options behind a colon or without."""
    return name.partition(":")[0] in SHAPES


def manifold_options(name: str) -> dict[str, str]:
    """The options behind a name's colon: ``distance=authors,draw=authors``.

    Raises:
        ArgumentError: One of them is unknown, or not of the form NAME=VALUE.
    """
    found = {}
    for option, value in options_behind(name, _OPTIONS):
        if value not in _OPTIONS[option]:
            raise ArgumentError(f"data {name!r}: {option} must be {' or '.join(_OPTIONS[option])}; got {value!r}.")
        found[option] = value
    return found


def manifold(name: str, *, split: str = "test", size: int | None = None, seed: int = 0) -> Manifold:
    """The points of a name, with its options.

    Raises:
        ArgumentError: An option is unknown, or a value out of range.

    >>> len(manifold("two-spheres:distance=authors", size=6))
    6
    """
    return Manifold(name.partition(":")[0], split=split, size=size, seed=seed, **manifold_options(name))
