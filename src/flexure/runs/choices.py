"""Things that a file chooses by name, with options: ``cosine``, or ``{epoch_cosine: {share: 0.8}}``."""

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_type_hints

from pydantic import BeforeValidator, ValidationInfo

from flexure.errors import ArgumentError, nearest
from flexure.runs.options import converted

__all__ = ["Choice", "chosen", "made"]


def _in_form(value: Any, field: ValidationInfo) -> Any:
    """The value, if a choice can be written like that."""
    options = value.values() if isinstance(value, Mapping) else ()
    if value is None or isinstance(value, str) or (options and all(isinstance(one, Mapping) for one in options)):
        return value
    raise ValueError(f"{field.field_name}: expected a name, or one with its options beneath it; got {value!r}.")


Choice = Annotated[str | dict[str, dict[str, Any]], BeforeValidator(_in_form)]


def chosen(kind: str, choice: Choice, table: Mapping[str, Callable[..., Any]]) -> Any:
    """The object of a table that a choice names.

    Raises:
        ArgumentError: The table has no such name, or its entry no such option; the nearest is given.

    >>> from flexure.training import SCHEDULES
    >>> chosen("schedule", {"epoch_cosine": {"share": 0.5}}, SCHEDULES)
    EpochCosine(share=0.5)
    """
    named = {choice: {}} if isinstance(choice, str) else choice
    if len(named) != 1:
        raise ArgumentError(
            f"{kind}: expected one name, with its options beneath it; got {', '.join(named) or 'none'}."
        )
    ((name, options),) = named.items()
    if name not in table:
        raise ArgumentError(f"{kind}: no {name!r}. {nearest(name, table)}")
    return made(f"{kind}.{name}", table[name], options)


def made(where: str, factory: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    """What the factory makes of these options, each converted to what its signature declares.

    Raises:
        ArgumentError: It has no such option, or refuses a value.
    """
    valid, hints = list(inspect.signature(factory).parameters), get_type_hints(factory)
    for option in options:
        if option not in valid:
            raise ArgumentError(f"{where}: no option {option!r}. {nearest(option, valid)}")
    return factory(
        **{name: converted(f"{where}.{name}", hints.get(name, Any), value) for name, value in options.items()}
    )
