"""The methods there are, and how one is made from a config."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from untrimmed.config import check
from untrimmed.errors import InputError, nearest

if TYPE_CHECKING:
    from torch import nn

METHODS: dict[str, str] = {
    "vsgn": "untrimmed.methods.vsgn:VSGN",
}
"""Name -> ``module:class``. The module also holds the method's ``Config``. Nothing is imported before it is asked
for, so that listing names does not load torch."""


def method_class(name: str) -> type[nn.Module]:
    """The class of a method.

    Raises:
        InputError: if there is no method of that name; the message suggests the nearest one.
    """
    module, class_name = _locate(name)
    found: type[nn.Module] = getattr(module, class_name)
    return found


def method_config(name: str, values: Mapping[str, Any] | BaseModel | None = None) -> BaseModel:
    """The validated config of a method.

    Args:
        name: of the method.
        values: keys and values, those left out at their defaults; or a config already validated.

    Raises:
        InputError: if there is no such method, a key does not exist (the message suggests the nearest one) or a
            value does not fit.
    """
    module, _ = _locate(name)
    config: type[BaseModel] = module.Config
    if isinstance(values, config):
        return values
    given = values.model_dump() if isinstance(values, BaseModel) else dict(values or {})
    return check(config, given, f"method {name}")


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
    return method_class(name)(settings, channels, classes)


def _locate(name: str) -> tuple[Any, str]:
    if name not in METHODS:
        raise InputError(f"there is no method '{name}': {nearest(name, METHODS)}")
    module, class_name = METHODS[name].split(":")
    return importlib.import_module(module), class_name
