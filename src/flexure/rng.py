"""Random numbers that depend on (seed, purpose, image index, draw) and on nothing else.

A counter-based generator (Philox 4x32-10; Salmon et al., *Parallel random numbers: as easy as 1, 2, 3*, 2011) is asked
for the numbers of one image and one draw, whatever else is in the batch, on whatever device and in whatever order.
The integers are the same everywhere; floating-point numbers are equal to rounding.
"""

import hashlib
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["integers", "key", "normal", "seeded", "undisturbed", "uniform"]

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_CHUNK = 1 << 15  # blocks worked on at a time: their buffers stay in the cache of one core


def key(seed: int, purpose: str) -> tuple[int, int]:
    """The two 32-bit words of the generator's key for a seed and a purpose.

    >>> key(0, "diffeomorphism") == key(0, "noise")
    False
    """
    digest = hashlib.blake2b(f"{int(seed)}:{purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def philox(counter: torch.Tensor, words: tuple[int, int]) -> torch.Tensor:
    """Encrypt counters: ``(4, blocks)`` 32-bit words in int64 to as many random words, in place.

    The function of the published generator, so that its known answers apply; ten rounds.
    """
    c0, c1, c2, c3 = start = counter.unbind(0)
    k0, k1 = words
    p0, p1 = torch.empty_like(c0), torch.empty_like(c0)
    for _ in range(_ROUNDS):
        torch.mul(c0, _MULTIPLIERS[0], out=p0)
        torch.mul(c2, _MULTIPLIERS[1], out=p1)
        torch.bitwise_right_shift(p1, 32, out=c0).bitwise_xor_(c1).bitwise_xor_(k0).bitwise_and_(_MASK)
        torch.bitwise_right_shift(p0, 32, out=c2).bitwise_xor_(c3).bitwise_xor_(k1).bitwise_and_(_MASK)
        # the low halves of the products are the new words; their high halves fall to a mask one round later
        c1, p1, c3, p0 = p1, c1, p0, c3
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    for word, place in ((c1, start[1]), (c3, start[3])):  # after an even number of rounds they are the same
        torch.bitwise_and(word, _MASK, out=place)
    return counter


def integers(count: int, *, seed: int, purpose: str, index: torch.Tensor, draw: int | torch.Tensor = 0) -> torch.Tensor:
    """Uniform integers in [0, 2³²) for each image.

    Args:
        count: How many per image.
        seed: The run's seed.
        purpose: What they are for; different purposes give independent numbers.
        index: Image indices ``(b,)``, int64, in [0, 2⁶³); the result lies on the same device.
        draw: Number of the draw in [0, 2³²), one for all or ``(b,)``.

    Returns:
        ``(b, count)``, int64. Row ``i`` depends on ``(seed, purpose, index[i], draw)`` alone, and its first numbers do
        not depend on ``count``.
    """
    blocks = -(-count // 4)
    out = torch.empty(len(index), blocks * 4, dtype=torch.int64, device=index.device)
    words = key(seed, purpose)
    draws = torch.as_tensor(draw, dtype=torch.int64, device=index.device).expand(len(index))
    for first, last, lo, hi in _chunks(len(index), blocks):
        counter = torch.empty(4, last - first, hi - lo, dtype=torch.int64, device=index.device)
        counter[0] = torch.arange(lo, hi, device=index.device)
        counter[1] = draws[first:last, None]
        counter[2] = index[first:last, None] & _MASK
        counter[3] = (index[first:last, None] >> 32) & _MASK
        philox(counter.view(4, -1), words)
        out[first:last, 4 * lo : 4 * hi] = counter.permute(1, 2, 0).reshape(last - first, -1)
    return out[:, :count]


def uniform(
    count: int,
    *,
    seed: int,
    purpose: str,
    index: torch.Tensor,
    draw: int | torch.Tensor = 0,
    dtype: torch.dtype = torch.float64,
) -> torch.Tensor:
    """Uniform numbers in (0, 1), ``(b, count)``; arguments as for :func:`integers`."""
    words = integers(count, seed=seed, purpose=purpose, index=index, draw=draw)
    return words.to(torch.float64).add_(0.5).mul_(2.0**-32).to(dtype)


def normal(
    count: int,
    *,
    seed: int,
    purpose: str,
    index: torch.Tensor,
    draw: int | torch.Tensor = 0,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Standard normal numbers, ``(b, count)``, by Box and Muller's transform; arguments as for :func:`integers`.

    Two 32-bit integers make two normals, computed in float64; the largest possible magnitude is 6.76.
    """
    pairs = -(-count // 2)
    u = uniform(2 * pairs, seed=seed, purpose=purpose, index=index, draw=draw).view(len(index), pairs, 2)
    radius = u[..., 0].log().mul_(-2).sqrt_()
    angle = u[..., 1] * (2 * math.pi)
    out = torch.empty(len(index), pairs, 2, dtype=dtype, device=index.device)
    torch.mul(radius, angle.cos(), out=u[..., 0])
    torch.mul(radius, angle.sin_(), out=u[..., 1])
    out.copy_(u)
    return out.view(len(index), 2 * pairs)[:, :count]


@contextmanager
def undisturbed() -> Iterator[None]:
    """Leave the global generators of Python, NumPy and torch as they were, whatever is drawn from them inside.

    CUDA's generators are included once CUDA is in use.
    """
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the same generators inside, and leave them as they were outside.

    For code that draws from them and cannot be told otherwise: the initialization of layers, dropout.
    """
    with undisturbed():
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        torch.default_generator.manual_seed(seed)
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(seed)
        yield


def _chunks(rows: int, blocks: int):
    """Cut a table of ``rows`` by ``blocks`` into pieces of about ``_CHUNK`` entries: (first, last, low, high)."""
    height = max(1, _CHUNK // max(blocks, 1))
    width = min(blocks, _CHUNK)
    for first in range(0, rows, height):
        for low in range(0, blocks, max(width, 1)):
            yield first, min(first + height, rows), low, min(low + width, blocks)
