"""Checks on values that came out of a file, with errors that say where in the file the value stands."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from untrimmed.errors import InputError, nearest
from untrimmed.formats.io import shown

_PLAIN_KEY = re.compile(r"[\w-]+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def below(place: str, key: str) -> str:
    """The path of a key inside ``place``: ``database.v_abc``; an odd key is quoted: ``database["a b"]``."""
    if not _PLAIN_KEY.fullmatch(key):
        return f"{place}[{shown(key)}]"
    return f"{place}.{key}" if place else key


def wrong(path: str | Path, place: str, value: object, expected: str) -> InputError:
    """The error for a value that is not what was expected at ``place``."""
    return InputError(f"{path}: {place}: is {shown(value)}, expected {expected}")


def number(path: str | Path, place: str, value: object) -> float:
    """A JSON value that must be a finite number; text that looks like one is refused too.

    Raises:
        InputError: naming file and place.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        quoted = isinstance(value, str) and _NUMBER.fullmatch(value.strip())
        raise wrong(path, place, value, "a number without quotes" if quoted else "a number")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise wrong(path, place, value, "a finite number")
    return result


def text(path: str | Path, place: str, value: object) -> str:
    """A JSON value that must be text.

    Raises:
        InputError: naming file and place.
    """
    if not isinstance(value, str):
        raise wrong(path, place, value, "text")
    return value


def label(path: str | Path, place: str, value: object) -> str:
    """A JSON value that must be the name of a class; ids are refused, since nobody else knows what they mean.

    Raises:
        InputError: naming file and place.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise wrong(path, place, value, "the name of a class as text; replace class ids by names")
    return text(path, place, value)


def mapping(path: str | Path, place: str, value: object) -> dict[str, Any]:
    """A JSON value that must be an object.

    Raises:
        InputError: naming file and place.
    """
    if not isinstance(value, dict):
        raise wrong(path, place, value, "an object {...}")
    return value


def sequence(path: str | Path, place: str, value: object) -> list[Any]:
    """A JSON value that must be a list.

    Raises:
        InputError: naming file and place.
    """
    if not isinstance(value, list):
        raise wrong(path, place, value, "a list [...]")
    return value


def member(path: str | Path, place: str, table: dict[str, Any], key: str) -> Any:
    """The value of a key that must be there.

    Raises:
        InputError: naming file and place; it lists the keys that are there.
    """
    if key not in table:
        raise InputError(f'{path}: {place or "the top level"}: key "{key}" is missing; {nearest(key, table)}')
    return table[key]


def segment(path: str | Path, place: str, value: object) -> tuple[float, float]:
    """A JSON value that must be ``[start, end]`` in seconds, in whatever order.

    Raises:
        InputError: naming file and place.
    """
    pair = sequence(path, place, value)
    if len(pair) != 2:
        raise wrong(path, place, value, "[start, end] in seconds")
    return number(path, f"{place}[0]", pair[0]), number(path, f"{place}[1]", pair[1])


def parsed(path: str | Path, place: str, value: str) -> float:
    """A number in a text file: decimal digits, finite.

    Raises:
        InputError: naming file and place.
    """
    value = value.strip()
    if not _NUMBER.fullmatch(value):
        raise wrong(path, place, value, "a number")
    return number(path, place, float(value))


def parsed_rows(path: str | Path, rows: Sequence[Sequence[str]], lines: Sequence[int]) -> NDArray[np.float64]:
    """The numbers of a text file that stand in the same columns of many lines, (N, columns).

    Args:
        path: of the file.
        rows: the fields of each line, as many in all; at least one field.
        lines: the number of each line.

    Raises:
        InputError: naming file and line of the first that is no finite number.
    """
    # numpy, too, takes 1_000 and digits of other scripts.
    if all("_" not in (joined := "".join(row)) and joined.isascii() for row in rows):
        try:
            table = np.array(rows, dtype=np.float64)
        except ValueError:
            table = np.array(np.nan)
        if np.isfinite(table).all():
            return table
    checked = [[parsed(path, f"line {line}", field) for field in row] for row, line in zip(rows, lines, strict=True)]
    return np.array(checked, dtype=np.float64)


def choice(name: str, value: str, options: Iterable[str]) -> str:
    """One of some names.

    Raises:
        InputError: naming the nearest.
    """
    options = tuple(options)
    if value not in options:
        raise InputError(f"{name} '{value}' is unknown: {nearest(value, options)}")
    return value
