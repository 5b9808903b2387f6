"""The methods there are, and how one is made from a config."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from untrimmed.config import check
from untrimmed.errors import InputError, nearest

if TYPE_CHECKING:
    from torch import nn

METHODS: dict[str, str] = {
    "basnet": "untrimmed.methods.weak.basnet:BaSNet",
    "dgam": "untrimmed.methods.weak.dgam:DGAM",
    "segtad": "untrimmed.methods.dense.segtad:SegTAD",
    "um": "untrimmed.methods.weak.um:UM",
    "vsgn": "untrimmed.methods.dense.vsgn:VSGN",
}
"""Name -> ``module:class``. The module also holds the method's ``Config``. Nothing is imported before it is asked
for, so that listing names does not load torch."""

WEAK = frozenset({"basnet", "dgam", "um"})
"""Those that learn from video-level labels; all others need to be told when instances are."""

ENHANCERS: dict[str, str] = {
    "acgnet": "untrimmed.methods.plugins.acgnet:ACGNet",
}
"""Likewise the enhancers of features that a method with the setting ``enhance`` may be given."""


def method_title(settings: Mapping[str, Any]) -> str:
    """How people call a method: the section ``method`` of a config -> e.g. ``"UM + ACGNet"``."""
    parts = [METHODS[settings["name"]]]
    if settings.get("enhance"):
        parts.append(ENHANCERS[settings["enhance"]["name"]])
    return " + ".join(part.partition(":")[2] for part in parts)


def method_class(name: str) -> type[nn.Module]:
    """The class of a method.

    Raises:
        InputError: if there is no method of that name; the message suggests the nearest one.
    """
    module, class_name = _locate(name, METHODS, "method")
    found: type[nn.Module] = getattr(module, class_name)
    return found


def method_config(name: str, values: Mapping[str, Any] | BaseModel | None = None) -> BaseModel:
    """The validated config of a method, its enhancer's settings filled in.

    Args:
        name: of the method.
        values: keys and values, those left out at their defaults; or a config already validated.

    Raises:
        InputError: if there is no such method, a key does not exist (the message suggests the nearest one) or a
            value does not fit.
    """
    module, _ = _locate(name, METHODS, "method")
    config: type[BaseModel] = module.Config
    if not isinstance(values, config):
        given = values.model_dump() if isinstance(values, BaseModel) else dict(values or {})
        values = check(config, given, f"method {name}")
    chosen = getattr(values, "enhance", None)
    if chosen is None:
        return values
    enhancer, settings = _enhancer(chosen, f"method {name}: enhance")
    return values.model_copy(update={"enhance": {"name": enhancer, **settings.model_dump(mode="json")}})


def make_method(name: str, config: Mapping[str, Any] | BaseModel | None, channels: int, classes: int) -> nn.Module:
    """A method with fresh weights, drawn from torch's global random numbers.

    Args:
        name: of the method.
        config: its settings, see :func:`method_config`.
        channels: of the features, at least 1.
        classes: number of labels, at least 1; a class-agnostic method does not use it.

    Returns:
        A module that satisfies :class:`untrimmed.methods.protocol.Method`.

    Raises:
        InputError: if anything does not fit.
    """
    settings = method_config(name, config)
    for what, value in (("channels", channels), ("classes", classes)):
        if value < 1:
            raise InputError(f"method {name}: {what} is {value}, expected at least 1")
    chosen = getattr(settings, "enhance", None)
    if chosen is None:
        return method_class(name)(settings, channels, classes)
    enhancer, options = _enhancer(chosen, f"method {name}: enhance")
    module, class_name = _locate(enhancer, ENHANCERS, "enhancer")
    return method_class(name)(settings, channels, classes, enhance=partial(getattr(module, class_name), options))


def _enhancer(values: Mapping[str, Any], source: str) -> tuple[str, BaseModel]:
    """The name and the validated settings of an enhancer: ``{name: ..., **settings}``."""
    given = dict(values)
    name = given.pop("name", None)
    if not isinstance(name, str):
        raise InputError(f"{source}: name is {name!r}, expected the name of an enhancer: {nearest('', ENHANCERS)}")
    module, _ = _locate(name, ENHANCERS, "enhancer")
    return name, check(module.Config, given, f"{source} {name}")


def _locate(name: str, table: Mapping[str, str], what: str) -> tuple[Any, str]:
    if name not in table:
        raise InputError(f"there is no {what} '{name}': {nearest(name, table)}")
    module, class_name = table[name].split(":")
    return importlib.import_module(module), class_name
