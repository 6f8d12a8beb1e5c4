"""Options in the name of a data set that is made: ``scale-detection-1d:side=64,scale=16``."""

from collections.abc import Collection, Iterator

from flexure.errors import ArgumentError, nearest

__all__ = ["options_behind"]


def options_behind(name: str, known: Collection[str]) -> Iterator[tuple[str, str]]:
    """Options and values behind a name's colon, as they stand there.

    >>> list(options_behind("torus-curves:distance=authors", ["distance", "draw"]))
    [('distance', 'authors')]

    Raises:
        ArgumentError: One of them is unknown, or not of the form NAME=VALUE.
    """
    for part in filter(None, name.partition(":")[2].split(",")):
        option, equals, value = (text.strip() for text in part.partition("="))
        if option not in known:
            raise ArgumentError(f"data {name!r}: no option {option!r}. {nearest(option, known)}")
        if not equals or not value:
            raise ArgumentError(f"data {name!r}: expected {option}=VALUE; got {part!r}.")
        yield option, value
