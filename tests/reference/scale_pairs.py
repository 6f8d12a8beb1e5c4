"""The scale-detection pools pair by pair, the way one would write them down; for tests alone."""

import math
from itertools import combinations


def classes(*, dimensions, task, side, scale, gap, norm="euclidean", periodic=False, diagonal=True):
    """``{pair's number: (first, second, label)}`` of every pair of pixels that has a class."""
    height = 1 if dimensions == 1 else side
    found = {}
    for number, (p, q) in enumerate(combinations(range(height * side), 2)):
        (i, j), (k, l) = divmod(p, side), divmod(q, side)
        if not diagonal and (i == j or k == l):
            continue
        down, across = abs(i - k), abs(j - l)
        if periodic:
            down, across = min(down, height - down), min(across, side - across)
        if task == "blocks":
            label = int(i // scale == k // scale and j // scale == l // scale)
        else:
            r = {"euclidean": math.hypot(down, across), "chebyshev": max(down, across), "manhattan": down + across}[
                norm
            ]
            half = gap / 2 if dimensions == 2 else gap
            label = 1 if r < scale - half else 0 if r >= scale + half else None
        if label is not None:
            found[number] = (p, q, label)
    return found
