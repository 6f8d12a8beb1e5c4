"""Inner products of gradients that are given by factors: multiplied out or never formed, whichever is cheaper."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from flexure.probes.elasticity.factors import Convolution, Factors, Rows, Same

__all__ = ["Products", "compact", "gram", "operations", "squares"]

_NUMBERS = 2**24  # of an intermediate product, at most
_BLOCKS = 4  # of rows, of which those above the diagonal are enough
_SPLIT = 64  # rows from which that saves time

Part = Factors | Same | Rows


@dataclass(eq=False)
class Products:
    """Inner products of rows, the last of which is remembered: a weight and its bias share one."""

    _last: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None

    def of(self, one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
        """``one @ two.T``, not to be written to."""
        if self._last is None or not (_is_same(one, self._last[0]) and _is_same(two, self._last[1])):
            self._last = one, two, _product(one, two)
        return self._last[2]


def gram(one: Part, two: Part, products: Products | None = None) -> torch.Tensor:
    """Inner products of all gradients of one with all of the other ``(rows, rows of two)``, float64.

    Args:
        one: Gradients.
        two: Others, or the same.
        products: Remembers the last product from part to part of one layer.
    """
    products = products or Products()
    if isinstance(one, Factors) and isinstance(two, Factors) and _is_thin(one, two):
        return _thin(one, two, products)
    if isinstance(one, Same) and isinstance(two, Same):
        return _same(one, two)
    mine = _wide(one.gradients())
    return products.of(mine, mine if one is two else _wide(two.gradients())).double()


def squares(part: Part) -> torch.Tensor:
    """Squared norm of every gradient ``(rows,)``, float64."""
    if isinstance(part, Factors) and part.a.shape[2] > 1 and _is_thin(part, part):
        return ((part.a @ part.a.mT) * (part.b @ part.b.mT)).sum((1, 2, 3), dtype=torch.float64)
    if isinstance(part, Factors) and part.a.shape[2] == 1:
        norms = torch.linalg.vector_norm(part.a, dim=(2, 3)).double() * torch.linalg.vector_norm(part.b, dim=(2, 3))
        return norms.square().sum(1)
    return torch.linalg.vector_norm(part.gradients(), dim=1).double().square()


def compact(part: Convolution | Part) -> Part:
    """Factors multiplied out where products with as many others are cheaper so: a convolution's take much more room."""
    if isinstance(part, Convolution):
        whole, thin = _operations(*part.shape, part.shape[0])
        return part.factors() if thin < whole else Rows(part.gradients())
    return Rows(part.gradients()) if isinstance(part, Factors) and not _is_thin(part, part) else part


def operations(one: Factors, two: Factors) -> tuple[int, int]:
    """Multiplications with the gradients multiplied out, and without.

    >>> a, b = torch.ones(10, 1, 1, 784), torch.ones(10, 1, 1, 256)
    >>> operations(Factors(a, b), Factors(a, b))
    (24084480, 104000)
    """
    (n, groups, places, d), p = one.a.shape, one.b.shape[3]
    return _operations(n, groups, places, d, p, len(two.a))


def _operations(n: int, groups: int, places: int, d: int, p: int, m: int) -> tuple[int, int]:
    whole = (n + m) * groups * places * d * p + n * m * groups * d * p
    return whole, n * m * groups * places**2 * (d + p)


def _wide(x: torch.Tensor) -> torch.Tensor:
    """In float32 at least, where sums of squares do not overflow."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _is_thin(one: Factors, two: Factors) -> bool:
    whole, thin = operations(one, two)
    return thin < whole


def _is_same(one: torch.Tensor, two: torch.Tensor) -> bool:
    """Whether two tensors are the same numbers in the same place."""
    return (one.data_ptr(), one.shape, one.stride(), one.dtype) == (two.data_ptr(), two.shape, two.stride(), two.dtype)


def _product(one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
    """``one @ two.T``, half of it where both are the same."""
    if len(one) < _SPLIT or not _is_same(one, two):
        return one @ two.T
    found = one.new_empty(len(one), len(one))
    for rows, columns in _blocks(len(one), 1, is_same=True):
        found[rows, columns] = one[rows] @ one[columns].T
        _mirror(found, rows)
    return found


def _thin(one: Factors, two: Factors, products: Products) -> torch.Tensor:
    """Sum over groups and places t, s of (a_t · a'_s)(b_t · b'_s)."""
    one, two = (Factors(_wide(part.a), _wide(part.b)) for part in (one, two))
    n, groups, places, _ = one.a.shape
    m = len(two.a)
    found = torch.zeros(n, m, dtype=torch.float64, device=one.a.device)
    if places == 1:
        for g in range(groups):
            found += _product(one.a[:, g, 0], two.a[:, g, 0]).mul_(products.of(one.b[:, g, 0], two.b[:, g, 0]))
        return found
    is_same = _is_same(one.a, two.a) and _is_same(one.b, two.b)
    for rows, columns in _blocks(n, m * places**2, is_same):
        for g in range(groups):
            product = one.a[rows, g].flatten(0, 1) @ two.a[columns, g].flatten(0, 1).T
            product *= one.b[rows, g].flatten(0, 1) @ two.b[columns, g].flatten(0, 1).T
            found[rows, columns] += _over_places(product, places)
        if is_same:
            _mirror(found, rows)
    return found


def _same(one: Same, two: Same) -> torch.Tensor:
    """Sum over places t, s that picked the same row of b_t · b'_s."""
    (n, places), m = one.index.shape, len(two.b)
    found = torch.zeros(n, m, dtype=torch.float64, device=one.b.device)
    is_same = _is_same(one.b, two.b) and _is_same(one.index, two.index)
    for rows, columns in _blocks(n, m * places**2, is_same):
        product = one.b[rows].flatten(0, 1) @ two.b[columns].flatten(0, 1).T
        product *= one.index[rows].reshape(-1, 1) == two.index[columns].reshape(1, -1)
        found[rows, columns] = _over_places(product, places)
        if is_same:
            _mirror(found, rows)
    return found


def _blocks(n: int, numbers: int, is_same: bool) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of the parts of a product that takes so many numbers a row; half of them where both are one."""
    step = max(1, min(_NUMBERS // numbers, -(-n // _BLOCKS) if is_same else n))
    for start in range(0, n, step):
        yield slice(start, start + step), slice(start if is_same else 0, None)


def _mirror(found: torch.Tensor, rows: slice) -> None:
    """Below the diagonal what is right of these rows."""
    rest = slice(rows.stop, None)
    found[rest, rows] = found[rows, rest].T


def _over_places(product: torch.Tensor, places: int) -> torch.Tensor:
    """Sums over the places of both sides, float64."""
    rows, columns = (side // places for side in product.shape)
    return product.view(rows, places, columns, places).sum((1, 3), dtype=torch.float64)
