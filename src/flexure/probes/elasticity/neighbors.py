"""A few images with those that are most and least like them, to be looked at."""

import numpy as np

from flexure.arrays import Arrays

__all__ = ["neighbors"]

_ROWS = 6  # images with neighbors, at most
_NEAR = 3  # neighbors at either end, at most
_BY = ("cosine", "relative_signed", "kernel")  # the first that holds a number orders the neighbors


def neighbors(arrays: Arrays, labels: np.ndarray, is_own: bool) -> np.ndarray:
    """The first image of each of the first classes, its nearest and its farthest.

    Args:
        arrays: Matrices ``(n, m)`` by name; neighbors are ordered by the first of cosine, signed relative and
            kernel that has a number.
        labels: Class of each row ``(n,)``, negative where unknown: then the first images.
        is_own: Whether the columns are the rows' images; none is its own neighbor then.

    Returns:
        Places ``(rows, 1 + 2 k)``: the row; then columns, the k of the largest similarity and the k of the smallest,
        falling throughout; k is 3 where there are so many. Rows without enough numbers are passed over.

    >>> near = np.array([[1.0, 0.2, -0.5], [0.2, 1.0, 0.7], [-0.5, 0.7, 1.0]])
    >>> neighbors(Arrays({"cosine": near}), np.array([0, 1, 1]), is_own=True)
    array([[0, 1, 2],
           [1, 2, 0]])
    """
    by = next((name for name in _BY if arrays.has_number(name)), "")
    m = arrays.shape(by)[1] - int(is_own) if by else 0
    near = min(_NEAR, m // 2)
    found = []
    for row in _first_of_each(labels) if by and near else []:
        if len(found) == _ROWS:
            break
        order = _falling(arrays.rows(by, row, row + 1)[0], row if is_own else None)
        if len(order) >= 2 * near:
            found.append([row, *order[:near], *order[-near:]])
    return np.array(found, dtype=np.int64).reshape(-1, 1 + 2 * near)


def _first_of_each(labels: np.ndarray) -> list[int]:
    """The first image of each class, the classes in order; all images where some have none."""
    return list(range(len(labels))) if (labels < 0).any() else np.unique(labels, return_index=True)[1].tolist()


def _falling(values: np.ndarray, own: int | None) -> list[int]:
    """Columns that have a number, the largest first, the image itself left out."""
    order = np.argsort(-values, kind="stable")
    return [int(place) for place in order if np.isfinite(values[place]) and place != own]
