"""Typed configs: read from YAML, changed by ``key.sub=value``, refused with a hint where they are wrong.

A config is one YAML file. The shipped ones are package data (``untrimmed configs`` lists them) and are named by
their place, ``thumos14/vsgn``; any path works as well.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from importlib import resources
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from untrimmed.errors import InputError, nearest
from untrimmed.formats.io import read_text

Settings = TypeVar("Settings", bound=BaseModel)


def shipped() -> dict[str, Path]:
    """The configs of the package: name (``thumos14/vsgn``) -> file, sorted."""
    root = Path(str(resources.files("untrimmed"))) / "configs"
    return {str(file.relative_to(root).with_suffix("")): file for file in sorted(root.rglob("*.yaml"))}


def header(file: Path) -> dict[str, str]:
    """What the comment above a config says: ``Paper``, ``Command``, ``Published``, ... and, under ``""``, the title.

    A sentence that goes on in the next lines is one line here.
    """
    parts: dict[str, list[str]] = {"": []}
    for line in itertools.takewhile(lambda line: line.startswith("#"), read_text(file).splitlines()):
        key = re.match(r"# ([A-Z][a-z]+):", line)
        if key:
            parts[key[1]] = []
        parts[list(parts)[-1]].append(line[key.end() if key else 1 :].strip())
    return {key: " ".join(lines) for key, lines in parts.items()}


def find(name: str | Path) -> Path:
    """The file of a config: a path, or the name of a shipped one.

    Raises:
        InputError: if it is neither; the message suggests the nearest shipped name.
    """
    path = Path(name)
    if path.is_file():
        return path
    names = shipped()
    if str(name) in names:
        return names[str(name)]
    raise InputError(f"{name}: neither a file nor a shipped config; {nearest(str(name), names)}")


def read(name: str | Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """The mapping of a config, with ``key.sub=value`` overrides applied; not yet checked against a type.

    Raises:
        InputError: if the file is no YAML mapping (with line and column), or an override is malformed.
    """
    path = find(name)
    values = parse_yaml(read_text(path), str(path))
    if not isinstance(values, dict):
        raise InputError(f"{path}: holds a {type(values).__name__}, expected a mapping of sections")
    return changed(values, overrides)


def changed(values: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """A copy of a config's values with ``key.sub=value`` overrides applied.

    Raises:
        InputError: if an override is malformed.
    """
    copied = deepcopy(dict(values))
    for override in overrides:
        _override(copied, override)
    return copied


def parse_yaml(text: str, source: str) -> Any:
    """A YAML value; unlike YAML 1.1 numbers such as ``1e-4`` are numbers.

    Raises:
        InputError: with line and column, or naming a key that occurs twice.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1} column {mark.column + 1}: " if mark else ""
        raise InputError(f"{source}: {place}{error.problem}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{source}: no YAML text ({' '.join(str(error).split())})") from None


def check(kind: type[Settings], values: Any, source: str) -> Settings:
    """Values as the frozen settings they describe.

    Raises:
        InputError: naming the key and what was expected; for an unknown key the nearest known one.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        every = error.errors(include_url=False)
        # A key that is not known is often why another is missing, or why no form of a section fits.
        first = next((each for each in every if each["type"] == "extra_forbidden"), every[0])
        parts, options = _follow(kind, first["loc"])
        place = ".".join(parts)
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        if first["type"] == "extra_forbidden":
            known = [name for option in options for name in _fields(option)]
            hint = f": {nearest(parts[-1], known)}" if known else ""
            raise InputError(f"{source}: no key '{place}' is known{hint}{more}") from None
        given = "" if first["type"] == "missing" else f" is {_shown(first['input'])}:"
        raise InputError(f"{source}: {place or 'the config'}{given} {_lowered(first['msg'])}{more}") from None


def _override(values: dict[str, Any], text: str) -> None:
    key, separator, value = text.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        raise InputError(f"{text!r} is no override: expected key.sub=value, such as train.epochs=5")
    section = values
    for part in parts[:-1]:
        inner = section.setdefault(part, {})
        if inner is None:
            inner = section[part] = {}
        if not isinstance(inner, dict):
            raise InputError(f"{text!r}: '{part}' is a value ({inner!r}), not a section")
        section = inner
    section[parts[-1]] = parse_yaml(value, f"override {text!r}")


def _follow(kind: type, place: Sequence[int | str]) -> tuple[list[str], list[type]]:
    """The place of an error as the config has it, without the names of the forms that a value may have there; and the
    forms that the section may have in which the place lies."""
    shown: list[str] = []
    inside = options = [kind]
    for part in place:
        field = next((_fields(option)[part] for option in options if part in _fields(option)), None)
        chosen = [option for option in options if part in _tags(option)]
        if field is None and chosen:
            options = chosen
            continue
        shown.append(str(part))
        inside, options = options, [] if field is None else _options(field.annotation)
    return shown, inside


def _fields(option: type) -> Mapping[Any, FieldInfo]:
    return option.model_fields if issubclass(option, BaseModel) else {}


def _tags(option: type) -> set[Any]:
    """What pydantic calls a form of a value: by its type, or by the value of the key that tells the forms apart."""
    keys = [field.annotation for field in _fields(option).values() if get_origin(field.annotation) is Literal]
    return {option.__name__, *(value for key in keys for value in get_args(key))}


def _options(annotation: Any) -> list[type]:
    """The types that a value may have."""
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return [option for part in get_args(annotation) for option in _options(part)]
    return [annotation] if isinstance(annotation, type) else []


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _lowered(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice and reads ``1e-4`` as a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Mapping | list) or key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} occurs twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)$|^[-+]?(\d[\d_]*\.[\d_]*|\.\d[\d_]*)$|^[-+]?\.(inf|Inf)$"
    ),
    list("-+0123456789."),
)
