"""From the string a user types to a specimen."""

import dataclasses
import os
from collections.abc import Mapping
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Any

from flexure import rng
from flexure.data.pictures import Size, as_size
from flexure.errors import ArgumentError, SpecimenError, nearest
from flexure.models.exported import exported_specimen
from flexure.models.library import LIBRARIES, PRETRAINED
from flexure.models.nets import NETS
from flexure.models.normalization import Normalization, as_normalization
from flexure.models.program import check_program, program_specimen
from flexure.models.weights import check_weights, load_weights
from flexure.specimen import Specimen

__all__ = ["check_model_name", "resolve"]

_FORMS = "timm:NAME, torchvision:NAME, file.py:factory, package.module:factory, an exported .pt2 file"
_WEIGHTS_FILES = (".safetensors", ".pt", ".pth", ".ckpt")


def check_model_name(model: str, *, weights: str | os.PathLike | None = None, trust: bool = False) -> None:
    """Is this a model :func:`resolve` would accept? Reads no weights and runs no code of the user's.

    Raises:
        ArgumentError: No such name (the nearest is suggested), a ``.pt2`` without ``trust``, or weights that cannot go
            with it.
        SpecimenError: A file is missing.
        MissingPackageError: timm or torchvision is needed and not installed.
    """
    _CHECKS[_form(model)](model, trust)
    if weights is None:
        return
    if _form(model) == "exported":
        raise ArgumentError(f"model {model!r}: an exported program holds its weights; leave weights out.")
    if weights == PRETRAINED:
        if _form(model) != "library":
            raise ArgumentError(f"model {model!r}: only timm: and torchvision: models come {PRETRAINED}; give a file.")
        return
    check_weights(weights)


def resolve(
    model: str,
    *,
    weights: str | os.PathLike | None = None,
    normalize: str | Normalization | None = None,
    image_size: int | Size | None = None,
    num_classes: int | None = None,
    channels: int | None = None,
    width: float | None = None,
    trust: bool = False,
    seed: int = 0,
) -> Specimen:
    """Which network is meant, and what are its inputs?

    Args:
        model: ``timm:NAME`` or ``torchvision:NAME``; ``file.py:factory`` or ``package.module:factory``, called without
            arguments, giving a module or a :class:`Specimen`; an exported ``.pt2``; or one of our own networks in any
            case (``resnet20``, ``VGG11bn``, ``LeNet``, ``DenseNetL4``, ``small_cnn``, …).
        weights: A ``.safetensors``, ``.pt``, ``.pth`` or ``.ckpt`` file; ``"pretrained"`` for the trained weights of
            timm or torchvision, which they fetch where they are not cached; None: fresh weights, or what the factory
            gives.
        normalize: ``"cifar10"``, ``"imagenet"``, ``"none"``, ``"MEAN/STD"`` or ``(mean, std)``; None: the network's
            own, or none for images of other channels than it is known for.
        image_size: Side, or ``(height, width)``, of the images it is to be shown; None: the network's own.
            The fully connected ones are built for it.
        num_classes: Outputs of our own networks, timm's and torchvision's; None: theirs.
        channels: Channels of the images, for our own networks; None: those they are known for (1 or 3).
        width: Factor on the channels of each layer of our own networks, for narrow ones that train quickly; None: as
            published.
        trust: Whether a ``.pt2`` may be opened, which can run code that is in it.
        seed: Seed of fresh weights. Global generators are left as they were.

    Returns:
        A specimen in evaluation mode. Raw images are expected in [0, 1] where a normalization is known.

    Raises:
        ArgumentError: A name or option is wrong; found before weights are read.
        SpecimenError: The network cannot be built, or the weights do not fit it.
        MissingPackageError: timm or torchvision is needed and not installed.

    >>> resolve("resnet20").image_size
    (32, 32)
    """
    check_model_name(model, weights=weights, trust=trust)
    size, form = as_size(image_size), _form(model)
    wanted = None if normalize is None else as_normalization(normalize)
    shape = {"num_classes": num_classes, "channels": channels, "width": width}
    shape = {name: value for name, value in shape.items() if value is not None}
    _check_shape(model, form, shape)
    with rng.seeded(seed):
        specimen = _BUILDERS[form](model, shape, size, weights == PRETRAINED)
    if weights is not None and weights != PRETRAINED:
        load_weights(specimen.model, weights)
    specimen.model.eval()
    if normalize is not None:
        specimen = dataclasses.replace(specimen, normalize=wanted, bounds=specimen.bounds or (0.0, 1.0))
    return specimen if size is None else dataclasses.replace(specimen, image_size=size)


def _form(model: str) -> str:
    head, colon, _ = model.partition(":")
    if colon and head in LIBRARIES:
        return "library"
    if model.lower().endswith(".pt2"):
        return "exported"
    return "program" if colon else "net"


def _check_library(model: str, trust: bool) -> None:
    library, _, name = model.partition(":")
    LIBRARIES[library].check(name)


def _check_program(model: str, trust: bool) -> None:
    check_program(model)


def _check_exported(model: str, trust: bool) -> None:
    if not Path(model).expanduser().is_file():
        raise SpecimenError(f"model {model!r}: no such file.")
    if not trust:
        raise ArgumentError(
            f"model {model!r}: a .pt2 is a program, and opening it may run code that is in it. If you trust where it "
            "comes from, say so: trust=True (--trust)."
        )


def _check_net(model: str, trust: bool) -> None:
    if model.lower() in NETS:
        return
    hint = ""
    if model.endswith(_WEIGHTS_FILES):
        hint = f" {model} holds weights: name the network, and give the file as weights (--weights)."
    elif model.endswith(".py"):
        hint = f" Say which function of the file builds it: {model}:factory."
    raise ArgumentError(f"no model {model!r}. {nearest(model.lower(), NETS)} Or {_FORMS}.{hint}")


def _check_shape(model: str, form: str, shape: Mapping[str, Any]) -> None:
    """Refuse what this form of model cannot be built with, and what no network can."""
    if "num_classes" in shape and form in ("program", "exported"):
        raise ArgumentError(f"model {model!r}: it says itself how many classes it has; leave num_classes out.")
    if form != "net" and (foreign := [name for name in ("channels", "width") if name in shape]):
        raise ArgumentError(f"model {model!r}: {foreign[0]} is for our own networks alone; leave it out.")
    for name in ("num_classes", "channels"):
        if not isinstance(found := shape.get(name, 1), Integral) or found < 1:
            raise ArgumentError(f"model {model!r}: {name} must be a whole number, at least 1; got {found!r}.")


def _build_library(model: str, shape: Mapping[str, Any], size: Size | None, pretrained: bool) -> Specimen:
    library, _, name = model.partition(":")
    return LIBRARIES[library].specimen(name, pretrained=pretrained, num_classes=shape.get("num_classes"))


def _build_program(model: str, shape: Mapping[str, Any], size: Size | None, pretrained: bool) -> Specimen:
    return program_specimen(model)


def _build_exported(model: str, shape: Mapping[str, Any], size: Size | None, pretrained: bool) -> Specimen:
    return exported_specimen(model)


def _build_net(model: str, shape: Mapping[str, Any], size: Size | None, pretrained: bool) -> Specimen:
    name = model.lower()
    net = NETS[name]
    options = {"num_classes": 10, "channels": net.channels, **shape}
    if net.is_sized:
        options["image_size"] = size or net.image_size
    factory = partial(net.factory, **options)
    normalize = net.normalize if options["channels"] == net.channels else None
    return Specimen(
        factory(), normalize=normalize, bounds=(0, 1), factory=factory, name=name, image_size=net.image_size
    )


_CHECKS = {
    "library": _check_library,
    "program": _check_program,
    "exported": _check_exported,
    "net": _check_net,
}
_BUILDERS = {
    "library": _build_library,
    "program": _build_program,
    "exported": _build_exported,
    "net": _build_net,
}
