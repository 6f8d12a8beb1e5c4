"""Whether two printed texts say the same, where their numbers come out of a training."""

import re

__all__ = ["alike"]

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w.]\d)")
_WITHIN = 0.5


def alike(one: str, other: str) -> bool:
    """Whether two texts agree but for spaces, and for numbers with a point, which may differ by a factor of two.

    Rounding differs from one kind of processor to another and from one thread to two, and a training makes as much of
    it as of another seed. Whole numbers have to be equal.

    >>> alike("R = 0.17 at 539 images", "R =  0.19 at 539 images")
    True
    >>> alike("R = 0.17 at 539 images", "R = 0.17 at 540 images"), alike("R = 0.17", "R = 0.41")
    (False, False)
    """
    words, others = _NUMBER.sub("#", one).split(), _NUMBER.sub("#", other).split()
    numbers, further = _NUMBER.findall(one), _NUMBER.findall(other)
    return words == others and all(map(_close, numbers, further))


def _close(one: str, other: str) -> bool:
    if "." not in one and "." not in other:
        return one == other
    a, b = float(one), float(other)
    return abs(a - b) <= _WITHIN * max(abs(a), abs(b)) + 0.011
