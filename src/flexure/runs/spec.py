"""What was asked for: a run's settings, checked, hashed, and the same in YAML, in Python and on the command line."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError

from flexure.errors import ArgumentError, nearest

__all__ = ["HASHES", "Spec", "check_names", "expectations", "read_fields", "schema"]

HASHES = ("weights_hash", "data_hash")

Number = float | list[float] | tuple[float, ...]


class Spec(BaseModel):
    """Everything that decides what a run measures; extra fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="Flexure run")

    model: str = Field(description="MODEL: a name of ours, timm:NAME, torchvision:NAME, FILE.py:FACTORY or FILE.pt2.")
    weights: str | None = Field(None, description="Weights file: .safetensors, or .pt/.pth/.ckpt without pickled code.")
    initial: str | None = Field(None, description="Weights file of the same network before training, to compare with.")
    normalize: str | tuple[Number, Number] | None = Field(
        None, description="Name of a normalization, or mean and standard deviation; by default what the model brings."
    )
    num_classes: PositiveInt | None = Field(None, description="Number of outputs, where the model lets one choose.")
    data: str = Field(description="DATA: digits, mnist, cifar10, folder:PATH, hub:NAME, …")
    root: str | None = Field(None, description="Folder in which data sets lie.")
    split: str = Field("test", description="Part of the data set, where it has parts.")
    hold_out: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Measure only this share of the images, which a training with this seed leaves out.",
    )
    limit: PositiveInt | None = Field(
        None, description="Size of a seeded, class-balanced sample; by default all images."
    )
    image_size: PositiveInt | tuple[PositiveInt, PositiveInt] | None = Field(
        None, description="Images are brought to this size (one number, or height and width)."
    )
    probes: dict[str, dict[str, Any]] = Field(default_factory=dict, description="Options by probe.")
    seed: NonNegativeInt = Field(0, description="Every random number follows from it.")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, …")
    dtype: Literal["float32", "float64", "bfloat16", "float16"] = Field(
        "float32", description="Numbers of the network."
    )
    batch_size: PositiveInt = Field(64, description="Images per forward pass.")
    threads: PositiveInt | None = Field(None, description="CPU threads of a process; by default what torch chooses.")
    trust: bool = Field(False, description="Run an exported program (.pt2), which may execute code.")
    download: bool = Field(False, description="Fetch the data set if it is not under root.")
    weights_hash: str | None = Field(None, description="Written by a run: hash of the network's weights.")
    data_hash: str | None = Field(None, description="Written by a run: hash of the images' identity.")

    @classmethod
    def of(cls, fields: Mapping[str, Any], *, source: str = "", text: str = "") -> "Spec":
        """A spec from plain values.

        Args:
            fields: Values by field name.
            source: Where they come from, for errors.
            text: The YAML they were read from, so that errors can name the line.

        Raises:
            ArgumentError: A field is missing, unknown or of the wrong kind; each is named with what was expected.
        """
        try:
            return cls.model_validate(dict(fields))
        except ValidationError as wrong:
            prefix = f"{source}: " if source else ""
            raise ArgumentError(prefix + " ".join(_sentences(wrong.errors(), fields, text))) from None

    @classmethod
    def read(cls, path: str | os.PathLike) -> "Spec":
        """A spec from a YAML file, such as a run folder's ``spec.yaml``.

        Raises:
            ArgumentError: The file is missing or not YAML, or a field is wrong; the line is named.
        """
        fields, text = read_fields(path)
        return cls.of(fields, source=str(path), text=text)

    def to_yaml(self) -> str:
        """YAML that :meth:`read` takes back; fields without a value are left out."""
        fields = self.model_dump(mode="json", exclude_none=True)
        return yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=120)

    def settings(self) -> dict[str, Any]:
        """The fields that decide the numbers, the probes apart, as plain JSON values."""
        return self.model_dump(mode="json", exclude={"probes", "trust", "download"})

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 over everything that decides the numbers.

        >>> Spec(model="resnet20", data="digits").hash == Spec(model="resnet20", data="digits", trust=True).hash
        True
        """
        plain = json.dumps({**self.settings(), "probes": self.probes}, sort_keys=True)
        return hashlib.sha256(plain.encode()).hexdigest()[:16]


def read_fields(path: str | os.PathLike) -> tuple[dict[str, Any], str]:
    """The fields of a YAML file, unchecked, and its text."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        fields = yaml.safe_load(text)
    except OSError as wrong:
        raise ArgumentError(f"{path}: cannot be read ({wrong.strerror}).") from None
    except (yaml.YAMLError, UnicodeDecodeError) as wrong:
        raise ArgumentError(f"{path}: not YAML: {' '.join(str(wrong).split())}") from None
    if not isinstance(fields, dict):
        raise ArgumentError(f"{path}: expected fields such as 'model: resnet20'; got {type(fields).__name__}.")
    return fields, text


def check_names(spec: Spec, *, trained: bool = True) -> None:
    """Look at every name and option before weights or data are read.

    Args:
        spec: What is asked for.
        trained: Whether the weights' files have to be there already.

    Raises:
        ArgumentError: A model, data set, device, probe or option is unknown; the nearest name is given.
        FlexureError: A file or folder that is named does not exist, or a package is missing.
    """
    from flexure.bench import choose_device
    from flexure.data import check_name
    from flexure.models import as_normalization, check_model_name
    from flexure.runs.options import check_options

    for weights in (spec.weights, spec.initial) if trained else (None,):
        check_model_name(spec.model, weights=weights, trust=spec.trust)
    check_name(spec.data, split=spec.split)
    if spec.normalize is not None:
        as_normalization(spec.normalize)
    choose_device(spec.device)
    check_options(spec.probes)


def schema() -> dict[str, Any]:
    """The JSON schema of a spec, which editors use to complete and check a YAML file as it is written."""
    return Spec.model_json_schema()


def expectations(errors: Iterable[Any]) -> str:
    """What pydantic would have liked, as the end of a sentence; alternatives of a union are joined."""
    messages = [error["msg"].removeprefix("Input should be ").removeprefix("a valid ") for error in errors]
    return " or ".join(dict.fromkeys(message.split(", unable to parse")[0] for message in messages))


def _sentences(errors: Iterable[Any], fields: Mapping[str, Any], text: str) -> Iterator[str]:
    """One sentence per wrong field, with its line where there is a text."""
    wrong: dict[tuple[Any, ...], list[Any]] = {}
    for error in errors:
        wrong.setdefault(_visible(error["loc"], fields), []).append(error)
    for path, found in wrong.items():
        where, line = ".".join(map(str, path)), _line_of(text, path)
        at = f"line {line}: " if line else ""
        if found[0]["type"] == "extra_forbidden":
            yield f"{at}no field {where!r}. {nearest(where, Spec.model_fields)}"
        elif found[0]["type"] == "missing":
            yield f"{at}{where!r} is missing."
        else:
            yield f"{at}{where}: expected {expectations(found)}; got {found[0]['input']!r}."


def _visible(path: Sequence[Any], value: Any) -> tuple[Any, ...]:
    """The part of pydantic's path that a user wrote; the rest names alternatives of a union."""
    kept = []
    for part in path:
        if kept and not (isinstance(value, Mapping | list | tuple) and _holds(value, part)):
            break
        kept.append(part)
        value = value[part] if value is not None and _holds(value, part) else None
    return tuple(kept)


def _holds(value: Any, part: Any) -> bool:
    return part in value if isinstance(value, Mapping) else isinstance(part, int) and part < len(value or ())


def _line_of(text: str, path: Sequence[Any]) -> int | None:
    """Line of the YAML at which the value at ``path`` starts, as far down as the path can be followed."""
    node, line = yaml.compose(text, Loader=yaml.SafeLoader) if text else None, None
    for part in path:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        found = next(((key, value) for key, value in pairs if key.value == str(part)), None)
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line
