"""Inner products of gradients that are given by factors: multiplied out or never formed, whichever is cheaper."""

import torch

from flexure.probes.elasticity.factors import Factors, Rows, Same

__all__ = ["compact", "gram", "operations", "squares"]

_NUMBERS = 2**24  # of an intermediate product, at most


def gram(one: Factors | Same | Rows, two: Factors | Same | Rows) -> torch.Tensor:
    """Inner products of all gradients of one with all of the other ``(rows, rows of two)``, float64."""
    if isinstance(one, Factors) and isinstance(two, Factors) and _is_thin(one, two):
        return _thin(one, two)
    if isinstance(one, Same) and isinstance(two, Same):
        return _same(one, two)
    mine = _wide(one.gradients())
    return (mine @ (mine if one is two else _wide(two.gradients())).T).double()


def squares(part: Factors | Same | Rows) -> torch.Tensor:
    """Squared norm of every gradient ``(rows,)``, float64."""
    if isinstance(part, Factors) and part.a.shape[2] > 1 and _is_thin(part, part):
        return ((part.a @ part.a.mT) * (part.b @ part.b.mT)).sum((1, 2, 3), dtype=torch.float64)
    if isinstance(part, Factors) and part.a.shape[2] == 1:
        norms = torch.linalg.vector_norm(part.a, dim=(2, 3)).double() * torch.linalg.vector_norm(part.b, dim=(2, 3))
        return norms.square().sum(1)
    return torch.linalg.vector_norm(part.gradients(), dim=1).double().square()


def compact(part: Factors | Same | Rows) -> Factors | Same | Rows:
    """Factors multiplied out where products with as many others are cheaper so: a convolution's take much more room."""
    return Rows(part.gradients()) if isinstance(part, Factors) and not _is_thin(part, part) else part


def operations(one: Factors, two: Factors) -> tuple[int, int]:
    """Multiplications with the gradients multiplied out, and without.

    >>> a, b = torch.ones(10, 1, 1, 784), torch.ones(10, 1, 1, 256)
    >>> operations(Factors(a, b), Factors(a, b))
    (24084480, 104000)
    """
    (n, groups, places, d), p = one.a.shape, one.b.shape[3]
    m = len(two.a)
    whole = (n + m) * groups * places * d * p + n * m * groups * d * p
    return whole, n * m * groups * places**2 * (d + p)


def _wide(x: torch.Tensor) -> torch.Tensor:
    """In float32 at least, where sums of squares do not overflow."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _is_thin(one: Factors, two: Factors) -> bool:
    whole, thin = operations(one, two)
    return thin < whole


def _thin(one: Factors, two: Factors) -> torch.Tensor:
    """Sum over groups and places t, s of (a_t · a'_s)(b_t · b'_s)."""
    one, two = (Factors(_wide(part.a), _wide(part.b)) for part in (one, two))
    n, groups, places, _ = one.a.shape
    m = len(two.a)
    if places == 1:
        parts = [(one.a[:, g, 0] @ two.a[:, g, 0].T).mul_(one.b[:, g, 0] @ two.b[:, g, 0].T) for g in range(groups)]
        return torch.stack(parts).sum(0, dtype=torch.float64)
    found = torch.zeros(n, m, dtype=torch.float64, device=one.a.device)
    step = max(1, _NUMBERS // (m * places**2))
    for g in range(groups):
        theirs = two.a[:, g].flatten(0, 1).T, two.b[:, g].flatten(0, 1).T
        for start in range(0, n, step):
            rows = slice(start, start + step)
            product = one.a[rows, g].flatten(0, 1) @ theirs[0]
            product *= one.b[rows, g].flatten(0, 1) @ theirs[1]
            found[rows] += product.view(-1, places, m, places).sum((1, 3), dtype=torch.float64)
    return found


def _same(one: Same, two: Same) -> torch.Tensor:
    """Sum over places t, s that picked the same row of b_t · b'_s."""
    (n, places), m = one.index.shape, len(two.b)
    found = torch.zeros(n, m, dtype=torch.float64, device=one.b.device)
    step = max(1, _NUMBERS // (m * places**2))
    for start in range(0, n, step):
        rows = slice(start, start + step)
        product = one.b[rows].flatten(0, 1) @ two.b.flatten(0, 1).T
        product *= one.index[rows].reshape(-1, 1) == two.index.reshape(1, -1)
        found[rows] += product.view(-1, places, m, places).sum((1, 3), dtype=torch.float64)
    return found
