"""The program's root, which every command hangs on, and the flags that several of them have."""

from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.text import Text

import flexure

__all__ = ["MODEL", "Classes", "Names", "Normalization", "Size", "Trust", "Weights", "app", "flag"]

Names = list[str] | None

app = App(
    name="flexure",
    version=flexure.__version__,
    help="A test bench for trained neural networks: how far does each layer move, with an error bar on every number.",
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


MODEL = flag("timm:NAME, torchvision:NAME, FILE.py:FACTORY, FILE.pt2, or one of our nets (resnet20).")
Weights = Annotated[str | None, flag("A .safetensors, or a .pt, .pth, .ckpt without pickled code; or pretrained.")]
Size = Annotated[str | None, flag("Bring images to N×N (224) or H×W (224x320).", "what the network was made for")]
Normalization = Annotated[str | None, flag("cifar10, imagenet, none, or MEAN/STD.", "what the network brings")]
Classes = Annotated[int | None, flag("Outputs of the network, where that can be chosen.")]
Trust = Annotated[bool, flag("Open an exported program (.pt2), which may run code that is in it.")]
