"""The program's root, which every command hangs on, and what its flags are made with."""

from typing import Any

from cyclopts import App, Parameter
from rich.text import Text

import flexure

__all__ = ["Names", "app", "flag"]

Names = list[str] | None

app = App(
    name="flexure",
    version=flexure.__version__,
    help="A test bench for trained neural networks: bend, shake and attack them, with an error bar on every number.",
    help_epilogue="FLEXURE_DEBUG=1 in the environment shows where an error comes from.",
    help_format="plaintext",
    error_formatter=lambda wrong: Text(f"flexure: {wrong}"),
    suppress_keyboard_interrupt=False,
    result_action="return_value",
    default_parameter=Parameter(negative=(), show_choices=False),
)


def flag(help: str, default: str = "", **more: Any) -> Parameter:
    """A flag that is None where it is not given; ``default`` is what the help says happens then."""
    return Parameter(help=help, show_default=(lambda _: default) if default else False, **more)
