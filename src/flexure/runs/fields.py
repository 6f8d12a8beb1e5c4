"""Settings in a file: checked, hashed, and the same in YAML, in Python and on the command line."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from flexure.errors import ArgumentError, FlexureError, nearest

__all__ = ["HASHES", "Fields", "check_kind", "expectations", "located", "read_fields"]

HASHES = ("weights_hash", "data_hash")
_KINDS = (
    ("training from Python", {"recipe"}, "flexure.train(…, out=…, resume=True) goes on with it"),
    ("sweep", {"base", "grid", "runs"}, "flexure sweep takes it"),
    ("study", {"study"}, "flexure study goes on with it"),
    ("training", {"net"}, "flexure train takes it"),
    ("measurement", {"model"}, "flexure examine takes it"),
)
"""Kinds of file, by fields that those below do not have, and what is to be done with each."""


class _Loader(yaml.SafeLoader):
    """YAML in which a field stands once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a name is expected here", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"{key.value!r} stands here for a second time", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class Fields(BaseModel):
    """Everything that decides what a run does, by name; extra fields are refused. Each kind of run has its own.

    Attributes:
        subject: The field that tells such a file from those of other kinds.
        kind: What such a run is called.
        incidental: Fields that decide no number.
        probes: Options by probe.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    subject: ClassVar[str]
    kind: ClassVar[str]
    incidental: ClassVar[frozenset[str]] = frozenset({"trust", "download"})
    if TYPE_CHECKING:
        probes: dict[str, dict[str, Any]]  # each kind declares it where it belongs in the file

    @classmethod
    def of(
        cls,
        fields: Mapping[str, Any],
        *,
        source: str = "",
        text: str = "",
        line_of: Callable[[Sequence[Any]], int | None] | None = None,
    ) -> Self:
        """A spec from plain values.

        Args:
            fields: Values by field name.
            source: Where they come from, for errors.
            text: The YAML they were read from, so that errors can name the line.
            line_of: Finds the line of the field at a path, where the text is arranged in another way than the fields.

        Raises:
            ArgumentError: A field is missing, unknown or of the wrong kind; each is named with what was expected.
        """
        find = line_of or partial(_line_of, text)
        try:
            return cls.model_validate(dict(fields))
        except ValidationError as wrong:
            prefix = f"{source}: " if source else ""
            raise ArgumentError(prefix + " ".join(_sentences(cls, wrong.errors(), fields, find))) from None

    @classmethod
    def read(cls, path: str | os.PathLike) -> Self:
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
        return self.model_dump(mode="json", exclude={"probes", *self.incidental})

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 over everything that decides the numbers."""
        plain = json.dumps({**self.settings(), "probes": self.probes}, sort_keys=True)
        return hashlib.sha256(plain.encode()).hexdigest()[:16]


def read_fields(path: str | os.PathLike) -> tuple[dict[str, Any], str]:
    """The fields of a YAML file, unchecked, and its text."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        fields = yaml.load(text, Loader=_Loader)
    except OSError as wrong:
        raise ArgumentError(f"{path}: cannot be read ({wrong.strerror}).") from None
    except yaml.MarkedYAMLError as wrong:
        line = f"line {wrong.problem_mark.line + 1}: " if wrong.problem_mark else ""
        raise ArgumentError(f"{path}: {line}not YAML: {wrong.problem}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as wrong:
        raise ArgumentError(f"{path}: not YAML: {' '.join(str(wrong).split())}") from None
    if not isinstance(fields, dict):
        raise ArgumentError(f"{path}: expected fields such as 'model: resnet20'; got {type(fields).__name__}.")
    return fields, text


def check_kind(fields: Mapping[str, Any], kind: str, source: str) -> None:
    """Refuse the fields of another kind of run; those of none in particular may be of any.

    Raises:
        ArgumentError: They are of another kind; the command that takes them is named.
    """
    found, advice = next(((name, told) for name, own, told in _KINDS if own & fields.keys()), (kind, ""))
    if found != kind:
        raise ArgumentError(f"{source}: describes a {found}, not a {kind}; {advice}.")


@contextmanager
def located(fields: Mapping[str, Any], source: str, text: str) -> Iterator[None]:
    """Errors raised inside begin with the file and line of what they complain of, where that stands in the file.

    Args:
        fields: What the file says.
        source: The file.
        text: Its YAML.
    """
    try:
        yield
    except FlexureError as wrong:
        line = _line_of(text, _culprit(fields, str(wrong)))
        if line is None:
            raise
        raise type(wrong)(f"{source}: line {line}: {wrong}") from wrong


def expectations(errors: Iterable[Any]) -> str:
    """What pydantic would have liked, as the end of a sentence; alternatives of a union are joined."""
    messages = [error["msg"].removeprefix("Input should be ").removeprefix("a valid ") for error in errors]
    return " or ".join(dict.fromkeys(message.split(", unable to parse")[0] for message in messages))


def _sentences(
    cls: type[Fields], errors: Iterable[Any], fields: Mapping[str, Any], line_of: Callable[[Sequence[Any]], int | None]
) -> Iterator[str]:
    """One sentence per wrong field, with its line where it has one."""
    wrong: dict[tuple[Any, ...], list[Any]] = {}
    for error in errors:
        wrong.setdefault(_visible(error["loc"], fields), []).append(error)
    for path, found in wrong.items():
        where, line = ".".join(map(str, path)), line_of(path)
        at = f"line {line}: " if line else ""
        if found[0]["type"] == "extra_forbidden":
            yield f"{at}no field {where!r}. {nearest(where, cls.model_fields)}"
        elif found[0]["type"] == "missing":
            yield f"{at}{where!r} is missing."
        elif found[0]["type"] == "value_error":
            text = str(found[0]["ctx"]["error"])
            line = line or line_of(_culprit(fields, text))
            yield f"line {line}: {text}" if line else text
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


def _culprit(fields: Mapping[str, Any], message: str) -> tuple[Any, ...]:
    """Path of the text that a message quotes first, else of the field or option it opens with; empty for neither."""
    quoted = [(message.find(repr(word)), path) for path, word in _words(fields)]
    found = min((one for one in quoted if one[0] >= 0), key=lambda one: one[0], default=None)
    if found is not None:
        return found[1]
    named = tuple(message.removeprefix("training: ").replace(" ", ":").partition(":")[0].split("."))
    paths = (path for path, _ in _words(fields) if path in (named, ("probes", *named)))
    return next(paths, ())


def _words(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Every text among the fields, keys included, with its path, what lies deeper first."""
    for key, part in value.items() if isinstance(value, Mapping) else ():
        yield from _words(part, (*path, key))
        yield (*path, key), str(key)
    for part in value if isinstance(value, list) else ():
        yield from _words(part, path)
    if isinstance(value, str):
        yield path, value


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
