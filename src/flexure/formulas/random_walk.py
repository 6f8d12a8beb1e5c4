r"""Where does a random walk end, in the range that it has passed through? What a path is held against.

A walk of steps :math:`s_t\,\xi_t`, :math:`\xi_t \sim N(0, 1)`, from 0 has the path :math:`w_t` and ends at the place
:math:`\mu = (w_T - \min_t w_t) / (\max_t w_t - \min_t w_t)`, which depends on the ratios of the :math:`s_t` alone.
"""

from collections.abc import Iterator

import torch

from flexure import rng

__all__ = ["end_places"]

_BLOCK = 1 << 20  # random numbers at a time


def end_places(scales: torch.Tensor, *, walks: int, seed: int) -> torch.Tensor:
    r"""At which places :math:`\mu` do random walks end, between the lowest and the highest point of their paths?

    Args:
        scales: Standard deviations :math:`s_t \ge 0` of the steps, ``(T,)``, or ``(m, T)`` for m kinds of walks, which
            are made of the same random numbers.
        walks: How many of each kind.
        seed: Same seed, same walks; the first of many are those of few.

    Returns:
        ``(walks,)`` or ``(m, walks)``, float64, in [0, 1]; NaN for walks that never moved.

    Exact cases: 0 or 1 after a single step. After two equal ones 0 or 1 in three of four walks, and elsewhere
        :math:`\mu` or :math:`1-\mu` is :math:`1 - \tan\phi` with :math:`\phi` uniform in :math:`(0, \pi/4)`. In the
        limit of many small steps, of whatever sizes, :math:`d = |2\mu - 1|` has the density
        :math:`2 \int_0^\infty t \cosh(t d) / \cosh^3 t \; dt`, that of Brownian motion: its mean is 0.544, and 0.253 of
        the walks end within a tenth of the range from an end.
    """
    own = scales.detach().to(torch.float64).reshape(-1, scales.shape[-1])
    found = torch.empty(len(own), walks, dtype=torch.float64)
    for first, last in _blocks(walks, max(own.shape[1], 1)):
        index = torch.arange(first, last)
        noise = rng.normal(own.shape[1], seed=seed, purpose="random walk", index=index, dtype=torch.float64)
        for kind, scale in enumerate(own):
            path = (noise * scale).cumsum(1)
            low, high = path.amin(1).clamp(max=0), path.amax(1).clamp(min=0)
            found[kind, first:last] = (path[:, -1] - low) / (high - low)
    return found.reshape(*scales.shape[:-1], walks)


def _blocks(walks: int, steps: int) -> Iterator[tuple[int, int]]:
    height = max(1, _BLOCK // steps)
    yield from ((first, min(first + height, walks)) for first in range(0, walks, height))
