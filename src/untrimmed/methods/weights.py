"""Which weights on disk still fit a method.

A network may change while the names and shapes of its weights stay as they were: old weights would then load, and mean
something else. So what is written says its format, and what was written before a method changed is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from untrimmed.errors import InputError

FORMAT = 2
"""Of the weights that are written now; 1 more whenever the network of a method that was released changes."""

_SINCE = {"segtad": 2, "vsgn": 2}
"""Method -> the first format that holds the weights of its network as it is now; 1 for a method that is not here."""


_RETIRED: dict[int, tuple[tuple[str, ...], ...]] = {
    1: (("method", "max_detections"), ("method", "proposals", "keep"), ("method", "scoring", "keep")),
}
"""Format -> settings of a recipe that were known then and are no longer, as nothing they would do is done."""


def without_retired(recipe: Mapping[str, Any], written: int) -> dict[str, Any]:
    """The values of a recipe, without settings that a model's format had and that are gone: limits before suppression,
    up to format 1."""
    values = deepcopy(dict(recipe))
    for path in (path for since, paths in _RETIRED.items() if written <= since for path in paths):
        section: Any = values
        for key in path[:-1]:
            section = section.get(key) if isinstance(section, dict) else None
        if isinstance(section, dict):
            section.pop(path[-1], None)
    return values


def check_format(method: str, written: int, source: str | Path, way_on: str) -> None:
    """Refuse weights that were written for another network.

    Args:
        method: name of the method.
        written: format of the weights.
        source: the file that holds them.
        way_on: what to do about weights that are too old, for the message.

    Raises:
        InputError: if the network changed since, or the format is of a later version of this program.
    """
    if written > FORMAT:
        raise InputError(
            f"{source}: was written by a later version of untrimmed (format {written}, this one reads up to {FORMAT}); "
            "update untrimmed"
        )
    since = _SINCE.get(method, 1)
    if written < since:
        raise InputError(
            f"{source}: holds weights of method {method} from before its network changed (format {written}, expected "
            f"{since} or later), which mean nothing to the network of today: {way_on}"
        )
