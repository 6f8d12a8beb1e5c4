"""What is chosen from a table: by name, by name with options beneath it as files write them, or the thing itself."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from flexure.errors import ArgumentError, nearest

__all__ = ["chosen"]


def chosen(what: str, choice: Any, table: Mapping[str, Callable[..., Any]]) -> Any:
    """The entry of a table that ``choice`` names, made with the options beneath the name; else ``choice`` itself.

    Args:
        what: What the table holds, for error messages: ``"loss"``.
        choice: ``"name"``, ``{"name": {"option": value}}``, or anything else, which is given back.
        table: From names to what makes an entry from options.

    Raises:
        ArgumentError: There is no such name or option, or the entry refuses a value.

    >>> chosen("number", {"whole": {"real": 2}}, {"whole": complex})
    (2+0j)
    """
    if not isinstance(choice, str | Mapping):
        return choice
    named = {choice: {}} if isinstance(choice, str) else choice
    if len(named) != 1:
        raise ArgumentError(
            f"{what}: expected one name, with its options beneath it; got {', '.join(map(str, named)) or 'none'}."
        )
    ((name, options),) = named.items()
    if name not in table:
        raise ArgumentError(f"no {what} {name!r}. {nearest(str(name), table)}")
    if options is not None and not isinstance(options, Mapping):
        raise ArgumentError(f"{what} {name}: expected its options by name, as in {{option: value}}; got {options!r}.")
    valid = inspect.signature(table[name]).parameters
    for option in options or {}:
        if option not in valid:
            known = nearest(str(option), valid) if valid else "It has none."
            raise ArgumentError(f"{what} {name}: no option {option!r}. {known}")
    return table[name](**(options or {}))
