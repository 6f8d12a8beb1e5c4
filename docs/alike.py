"""Whether two printed texts say the same, where their numbers come out of a training."""

import re

__all__ = ["alike"]

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w.]\d)")
_WITHIN = 0.35


def alike(one: str, other: str) -> bool:
    """Whether two texts agree but for spaces, and for numbers with a point, which may differ by a third.

    Rounding differs from one kind of processor to another, and a training makes much of it: measured numbers then
    differ as they do from seed to seed. Whole numbers have to be equal.

    >>> alike("R = 0.17 at 539 images", "R =  0.19 at 539 images")
    True
    >>> alike("R = 0.17 at 539 images", "R = 0.17 at 540 images"), alike("R = 0.17", "R = 0.31")
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
