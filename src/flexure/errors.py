"""What can go wrong, said in words a user can act on: where, what was found, what was expected, what to try."""

import difflib
from collections.abc import Iterable

__all__ = [
    "ArgumentError",
    "DataError",
    "FlexureError",
    "MissingPackageError",
    "RunError",
    "SpecimenError",
    "nearest",
]


class FlexureError(Exception):
    """Anything Flexure refuses to do; every error it raises on purpose is one of these."""


class ArgumentError(FlexureError, ValueError):
    """An argument, option or name is wrong; nothing was computed."""


class SpecimenError(FlexureError):
    """The network cannot be measured as it stands."""


class DataError(FlexureError):
    """The data cannot be read, or are not what the network expects."""


class RunError(FlexureError):
    """A run folder cannot be written, read or continued."""


class MissingPackageError(FlexureError, ImportError):
    """An optional package is needed for what was asked; the message says how to get it."""


def nearest(name: object, valid: Iterable[str]) -> str:
    """A sentence that lists the valid names and, where one is close, asks whether it was meant.

    >>> nearest("sensitivty", ["sensitivity", "filters"])
    "Did you mean 'sensitivity'? Valid: filters, sensitivity."
    """
    names = sorted(valid)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"Did you mean '{close[0]}'? " if close else ""
    return f"{hint}Valid: {', '.join(names)}."
