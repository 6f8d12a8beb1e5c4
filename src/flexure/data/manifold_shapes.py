"""Six pairs of curves and surfaces that no plane divides: points on them, and how far apart these are along them."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import ClassVar

import numpy as np

__all__ = ["SHAPES", "Shape"]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


class Shape(ABC):
    """Two curves or surfaces, one per class.

    Points are told by ``u (n, parameters)``, uniform in (0, 1), and ``is_upper (n,)``: which half of two they lie on,
    of no effect where there are none.

    Attributes:
        parameters: Numbers that tell a point.
        extent: Largest magnitude of a coordinate.
        classes: Names of classes 0 and 1.
        grouped: Whether the authors' program draws two points of class 1 and then two of class 0, instead of each
            parameter for one point of either.
    """

    parameters: ClassVar[int]
    extent: ClassVar[float]
    classes: ClassVar[tuple[str, str]]
    grouped: ClassVar[bool]

    @abstractmethod
    def points(self, u: np.ndarray, is_upper: np.ndarray, label: int) -> np.ndarray:
        """The points ``(n, d)`` of a class."""

    @abstractmethod
    def distances(self, u: np.ndarray, is_upper: np.ndarray, label: int, *, authors: bool) -> np.ndarray:
        """Distances ``(n, n)`` among points of a class, along it, or as the authors' program takes them."""


class TorusCurves(Shape):
    r""":math:`((8 \pm \sin 4\theta) \cos \theta, (8 \pm \sin 4\theta) \sin \theta, \pm \cos 4\theta)`, once around."""

    parameters, extent, classes, grouped = 1, 9.0, ("minus", "plus"), False

    def points(self, u: np.ndarray, is_upper: np.ndarray, label: int) -> np.ndarray:
        """As in the class's formula."""
        theta, sign = _around(u), _sign(label)
        radius = 8 + sign * np.sin(4 * theta)
        return np.stack([radius * np.cos(theta), radius * np.sin(theta), sign * np.cos(4 * theta)], 1)

    def distances(self, u: np.ndarray, is_upper: np.ndarray, label: int, *, authors: bool) -> np.ndarray:
        """Arc length, the shorter way around; the authors' is the angle."""
        if authors:
            return _along(_around(u), 2 * math.pi)

        def speed(theta: np.ndarray) -> np.ndarray:
            return np.hypot(4, 8 + _sign(label) * np.sin(4 * theta))

        whole = 2 * _arc(speed, np.array([math.pi]))[0]  # the halves before and after 0 are as long
        return _along(_arc(speed, _around(u)), whole)


class FoldedBoxes(Shape):
    r""":math:`|y| + 1.2\,|x| = 13` or 11 for :math:`|z| \le 1`: two roofs, the lower upside down, joined at the edges.

    The authors take the edges to lie at 11 or 9, where the roofs do not reach: from one roof to the other is too far
    for class 1 by up to 0.52.
    """

    parameters, extent, classes, grouped = 2, 13.0, ("inner", "outer"), False
    slope = 1.2

    def points(self, u: np.ndarray, is_upper: np.ndarray, label: int) -> np.ndarray:
        """As in the class's formula."""
        x, z = self._flat(u, label)
        y = self.slope * (self._edge(label) - np.abs(x))
        return np.stack([x, np.where(is_upper, y, -y), z], 1)

    def distances(self, u: np.ndarray, is_upper: np.ndarray, label: int, *, authors: bool) -> np.ndarray:
        """Straight on the unfolded box."""
        x, z = self._flat(u, label)
        edge = 10.0 + _sign(label) if authors else self._edge(label)
        place = np.where(is_upper, edge - x, 3 * edge + x) * math.hypot(1, self.slope)
        return np.hypot(_along(place, 4 * edge * math.hypot(1, self.slope)), _along(z))

    def _edge(self, label: int) -> float:
        return 10 + _sign(label) / self.slope

    def _flat(self, u: np.ndarray, label: int) -> tuple[np.ndarray, np.ndarray]:
        return self._edge(label) * (2 * u[:, 0] - 1), 2 * u[:, 1] - 1


class DoubleHelix(Shape):
    r""":math:`(\pm \cos 1.5\theta, \pm \sin 1.5\theta, \theta)`, :math:`|\theta| < \pi/2`."""

    parameters, extent, classes, grouped = 1, math.pi / 2, ("minus", "plus"), False
    turns = 1.5

    def points(self, u: np.ndarray, is_upper: np.ndarray, label: int) -> np.ndarray:
        """As in the class's formula."""
        theta, sign = _around(u) / 2, _sign(label)
        return np.stack([sign * np.cos(self.turns * theta), sign * np.sin(self.turns * theta), theta], 1)

    def distances(self, u: np.ndarray, is_upper: np.ndarray, label: int, *, authors: bool) -> np.ndarray:
        """Arc length; the authors' is the difference of heights."""
        return _along(_around(u) / 2) * (1.0 if authors else math.hypot(1, self.turns))


class TwoCosines(Shape):
    r""":math:`(t, \cos t \pm 0.2)`, :math:`|t| < 0.6\,\pi`."""

    parameters, extent, classes, grouped = 1, 0.6 * math.pi, ("lower", "upper"), False

    def points(self, u: np.ndarray, is_upper: np.ndarray, label: int) -> np.ndarray:
        """As in the class's formula."""
        t = 0.6 * _around(u)
        return np.stack([t, np.cos(t) + 0.2 * _sign(label)], 1)

    def distances(self, u: np.ndarray, is_upper: np.ndarray, label: int, *, authors: bool) -> np.ndarray:
        """Arc length; the authors' is the difference of t."""
        t = 0.6 * _around(u)
        return _along(t if authors else _arc(lambda t: np.hypot(1, np.sin(t)), t))


class TwoSpheres(Shape):
    """Spheres of radius 10 (class 1) and 20 around the same center; the polar angle is uniform, not the area."""

    parameters, extent, classes, grouped = 2, 20.0, ("outer", "inner"), False
    radii = (20.0, 10.0)

    def points(self, u: np.ndarray, is_upper: np.ndarray, label: int) -> np.ndarray:
        """Radius times direction."""
        return self.radii[label] * self._directions(u)

    def distances(self, u: np.ndarray, is_upper: np.ndarray, label: int, *, authors: bool) -> np.ndarray:
        """Along great circles; the authors' is the angle."""
        d = self._directions(u)
        chord, across = (np.linalg.norm(d[:, None] + sign * d, axis=2) for sign in (-1, 1))
        return 2 * np.arctan2(chord, across) * (1.0 if authors else self.radii[label])

    def _directions(self, u: np.ndarray) -> np.ndarray:
        theta, phi = math.pi * u[:, 0], 2 * math.pi * u[:, 1]
        return np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], 1)


class TwoCycles(Shape):
    """Circles of radius 10 (class 1) and 50 around the same center."""

    parameters, extent, classes, grouped = 1, 50.0, ("outer", "inner"), True
    radii = (50.0, 10.0)

    def points(self, u: np.ndarray, is_upper: np.ndarray, label: int) -> np.ndarray:
        """Radius times direction."""
        theta = _around(u)
        return self.radii[label] * np.stack([np.cos(theta), np.sin(theta)], 1)

    def distances(self, u: np.ndarray, is_upper: np.ndarray, label: int, *, authors: bool) -> np.ndarray:
        """Arc length, the shorter way around; the authors' is the angle."""
        return _along(_around(u), 2 * math.pi) * (1.0 if authors else self.radii[label])


SHAPES: Mapping[str, Shape] = MappingProxyType(
    {
        "torus-curves": TorusCurves(),
        "folded-boxes": FoldedBoxes(),
        "double-helix": DoubleHelix(),
        "two-cosines": TwoCosines(),
        "two-spheres": TwoSpheres(),
        "two-cycles": TwoCycles(),
    }
)
"""By the names that :func:`~flexure.load` knows."""


def _sign(label: int) -> int:
    return 1 if label else -1


def _around(u: np.ndarray) -> np.ndarray:
    """Angles in (-π, π)."""
    return math.pi * (2 * u[:, 0] - 1)


def _along(place: np.ndarray, whole: float | None = None) -> np.ndarray:
    """Distances ``(n, n)`` of places on a line, or on a ring of length ``whole``."""
    apart = np.abs(place[:, None] - place)
    return apart if whole is None else np.minimum(apart, whole - apart)


def _arc(speed: Callable[[np.ndarray], np.ndarray], t: np.ndarray) -> np.ndarray:
    """Length of a curve from 0 to each t, by Gauss and Legendre's rule of 64 nodes, exact to rounding here."""
    half = t[:, None] / 2
    return (half * _WEIGHTS * speed(half * (_NODES + 1))).sum(1)
