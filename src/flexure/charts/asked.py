"""What a picture was asked to show."""

from collections.abc import Collection, Sequence

from flexure.errors import ArgumentError, nearest

__all__ = ["asked"]


def asked(probe: str, y: str | Sequence[str] | None, valid: Collection[str], default: Collection[str]) -> list[str]:
    """The quantities to draw, a panel each: those named by ``y``, or where it is None the default.

    Raises:
        ArgumentError: ``y`` names something that is not valid, or nothing.
    """
    names = list(default) if y is None else [y] if isinstance(y, str) else list(y)
    for name in names or [""]:
        if name not in valid:
            raise ArgumentError(f"chart of {probe}: y={name!r} cannot be drawn. {nearest(name, valid)}")
    return names
