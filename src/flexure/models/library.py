"""Architectures of timm and torchvision, with the normalization and image size they were made for."""

import difflib
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from torch import nn

from flexure import ecosystem
from flexure.errors import ArgumentError, FlexureError, SpecimenError
from flexure.models.normalization import NORMALIZATIONS
from flexure.specimen import Specimen

__all__ = ["LIBRARIES", "PRETRAINED", "Library"]

PRETRAINED = "pretrained"
"""What ``weights`` says to ask for a library's own trained weights, which it fetches where they are not cached."""


class Library:
    """timm or torchvision, as far as naming and building networks goes."""

    def __init__(self, name: str, names: Callable[[], Iterable[str]], build: Callable[..., Specimen]) -> None:
        self.name, self._names, self._build = name, names, build

    def check(self, model: str) -> None:
        """Raise an ``ArgumentError`` that names the nearest if the library has no such architecture."""
        valid = set(self._names())
        if model.partition(".")[0] not in valid:
            begun = sorted(name for name in valid if model and name.startswith(model))
            close = (begun or difflib.get_close_matches(model, valid, cutoff=0.5))[:3]
            hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
            raise ArgumentError(f"{self.name} has no model {model!r}.{hint} It names {len(valid)}.")

    def specimen(self, model: str, *, pretrained: bool, num_classes: int | None) -> Specimen:
        """The network, with its normalization, image size and a factory for fresh weights."""
        try:
            return self._build(model, pretrained, num_classes)
        except FlexureError:
            raise
        except Exception as wrong:
            first = (str(wrong).splitlines() or [""])[0]
            raise SpecimenError(f"{self.name}:{model} cannot be built: {type(wrong).__name__}: {first}") from wrong


def _timm_names() -> Iterable[str]:
    return ecosystem.timm().list_models()


def _timm_specimen(name: str, pretrained: bool, num_classes: int | None) -> Specimen:
    timm = ecosystem.timm()
    options: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    model = timm.create_model(name, pretrained=pretrained, **options)
    config = timm.data.resolve_model_data_config(model)
    return Specimen(
        model,
        normalize=(tuple(config["mean"]), tuple(config["std"])),
        bounds=(0, 1),
        factory=partial(timm.create_model, name, pretrained=False, **options),
        name=f"timm:{name}",
        image_size=tuple(config["input_size"][-2:]),
    )


def _torchvision_names() -> Iterable[str]:
    models = ecosystem.torchvision().models
    return models.list_models(module=models)


def _torchvision_specimen(name: str, pretrained: bool, num_classes: int | None) -> Specimen:
    models = ecosystem.torchvision().models
    if pretrained and num_classes is not None:
        raise ArgumentError(f"torchvision:{name}: its trained weights have their own classes; leave num_classes out.")
    options: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    fresh = partial(_quietly, models.get_model, name, weights=None, **options)
    trained = models.get_model_weights(name).DEFAULT
    config = trained.transforms()
    return Specimen(
        models.get_model(name, weights=trained) if pretrained else fresh(),
        normalize=(tuple(config.mean), tuple(config.std)) if hasattr(config, "mean") else NORMALIZATIONS["imagenet"],
        bounds=(0, 1),
        factory=fresh,
        name=f"torchvision:{name}",
        image_size=tuple(config.crop_size) * 2 if hasattr(config, "crop_size") else (224, 224),
    )


def _quietly(build: Callable[..., nn.Module], *args: Any, **options: Any) -> nn.Module:
    """Without the announcements torchvision makes about the future of its own defaults."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return build(*args, **options)


LIBRARIES: Mapping[str, Library] = MappingProxyType(
    {
        "timm": Library("timm", _timm_names, _timm_specimen),
        "torchvision": Library("torchvision", _torchvision_names, _torchvision_specimen),
    }
)
