"""What to call, in titles and sentences, what was done to the images."""

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["SMOOTH", "bend_of", "bent_of"]

SMOOTH = "a smooth deformation"
_OTHER = "the transform"
_KNOWN = {"Diffeomorphism": SMOOTH, "LocalTranslation": "a local translation"}


def bend_of(settings: Sequence[Mapping[str, Any]]) -> str:
    """What bent the images of all these measurements, as a subject.

    >>> bend_of([{}]), bend_of([{"transform": "LocalTranslation(periodic=True)"}]), bend_of([{"transform": "Mine()"}])
    ('a smooth deformation', 'a local translation', 'the transform')
    """
    transforms = [one.get("transform") for one in settings]
    found = {SMOOTH if one is None else _KNOWN.get(str(one).partition("(")[0], _OTHER) for one in transforms}
    return found.pop() if len(found) == 1 else _OTHER


def bent_of(settings: Sequence[Mapping[str, Any]]) -> str:
    """What images are after that, as a participle."""
    return "deformed" if bend_of(settings) == SMOOTH else "transformed"
