"""The grid Laplacian and the power of filters on its modes, written down plainly."""

import itertools
import math

import numpy as np

__all__ = ["laplacian", "mode", "powers_of"]


def laplacian(shape):
    """Degree on the diagonal, -1 between neighbors along one axis."""
    points = list(itertools.product(*map(range, shape)))
    matrix = np.zeros((len(points), len(points)))
    for i, one in enumerate(points):
        for j, other in enumerate(points):
            if sum(abs(a - b) for a, b in zip(one, other, strict=True)) == 1:
                matrix[i, j] = -1
                matrix[i, i] += 1
    return matrix


def mode(shape, frequency):
    """The DCT-II mode with these frequencies, of norm 1, and its eigenvalue."""
    grid = np.zeros(shape)
    for point in itertools.product(*map(range, shape)):
        grid[point] = math.prod(
            math.cos(math.pi * a * (x + 0.5) / side) for a, x, side in zip(frequency, point, shape, strict=True)
        )
    eigenvalue = sum(2 - 2 * math.cos(math.pi * a / side) for a, side in zip(frequency, shape, strict=True))
    return grid / np.linalg.norm(grid), eigenvalue


def powers_of(weight):
    """Mean over filters of the squared projections on modes, summed where eigenvalues agree to six digits."""
    shape, found = weight.shape[2:], {}
    for frequency in itertools.product(*map(range, shape)):
        wave, eigenvalue = mode(shape, frequency)
        squares = [float((weight[i, j] * wave).sum()) ** 2 for i in range(len(weight)) for j in range(weight.shape[1])]
        key = round(eigenvalue, 6)
        found[key] = found.get(key, 0.0) + sum(squares) / len(squares)
    return dict(sorted(found.items()))
