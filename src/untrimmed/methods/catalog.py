"""The methods there are, and how one is made from a config.

A method of somebody else's joins by :func:`register`, or, in an installed package, by an entry point of the group
``untrimmed.methods``: its name is the method's, its object ``module:Class``.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from functools import partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from pydantic import BaseModel

from untrimmed.config import check
from untrimmed.errors import InputError, nearest

if TYPE_CHECKING:
    from torch import nn

Family = Literal["dense", "weak", "proposals", "two_stage"]
"""``dense``: looks at every step, and learns from segments; ``weak``: learns from the labels of whole videos;
``proposals``: gives segments without labels, for others to judge; ``two_stage``: judges them. Each is a folder of
:mod:`untrimmed.methods`, which says what its methods have in common."""


class Entry(NamedTuple):
    """A method: ``module:Class``, and its family. The settings are the class's ``Config`` or, without one, the
    module's."""

    place: str
    family: Family


METHODS: dict[str, Entry] = {
    "basnet": Entry("untrimmed.methods.weak.basnet:BaSNet", "weak"),
    "bmn": Entry("untrimmed.methods.proposals.bmn:BMN", "proposals"),
    "bsn": Entry("untrimmed.methods.proposals.bsn:BSN", "proposals"),
    "cbr": Entry("untrimmed.methods.two_stage.cbr:CBR", "two_stage"),
    "dgam": Entry("untrimmed.methods.weak.dgam:DGAM", "weak"),
    "dssad": Entry("untrimmed.methods.dense.dssad:DSSAD", "dense"),
    "segtad": Entry("untrimmed.methods.dense.segtad:SegTAD", "dense"),
    "ssn": Entry("untrimmed.methods.two_stage.ssn:SSN", "two_stage"),
    "tag": Entry("untrimmed.methods.proposals.tag:TAG", "proposals"),
    "um": Entry("untrimmed.methods.weak.um:UM", "weak"),
    "vsgn": Entry("untrimmed.methods.dense.vsgn:VSGN", "dense"),
}
"""By name. Nothing is imported before it is asked for, so that listing names does not load torch."""

PLUGINS: dict[str, dict[str, str]] = {
    "enhance": {"acgnet": "untrimmed.methods.plugins.acgnet:ACGNet"},
    "context": {"gcm": "untrimmed.methods.plugins.gcm:GCM"},
    "context_extended": {"gcm": "untrimmed.methods.plugins.gcm:GCM"},
}
"""Setting of a method -> likewise what it may be given there by its config, ``{name: ..., **settings}``: enhancers of
the features of steps (:mod:`untrimmed.methods.plugins.enhancer`), or of segments
(:mod:`untrimmed.methods.plugins.context`)."""


def register(name: str, method: type[nn.Module], family: Family = "dense") -> None:
    """Let configs, commands and model files of this process name a method of one's own.

    Args:
        name: as in ``method: {name: ...}``; a name that is taken is given to this method from now on.
        method: a class that satisfies :class:`untrimmed.methods.protocol.Method`, made as ``method(settings, channels,
            classes)``, with its settings, a pydantic model, as its attribute ``Config``.
        family: what it learns from.

    Raises:
        InputError: if there is no such family, or the class has no ``Config``.
    """
    if family not in get_args(Family):
        raise InputError(f"method {name}: family is {family!r}: {nearest(str(family), get_args(Family))}")
    if not isinstance(getattr(method, "Config", None), type):
        raise InputError(f"method {name}: {method.__qualname__} has no `Config`, a pydantic model of its settings")
    _own[name] = method
    METHODS[name] = Entry(f"{method.__module__}:{method.__qualname__}", family)


_own: dict[str, type[nn.Module]] = {}
"""Classes that were registered: that of a script cannot be imported by its place."""


def family_of(name: str) -> Family:
    """The family of a method.

    Raises:
        InputError: if there is no such method.
    """
    return _entry(name).family


def of_family(family: Family) -> list[str]:
    """The names of the methods of a family, sorted."""
    return sorted(name for name, entry in METHODS.items() if entry.family == family)


def method_title(settings: Mapping[str, Any]) -> str:
    """How people call a method: the section ``method`` of a config -> e.g. ``"UM + ACGNet"``."""
    parts = [_entry(settings["name"]).place]
    chosen = ((known, settings.get(slot)) for slot, known in PLUGINS.items())
    parts += dict.fromkeys(known[plugin["name"]] for known, plugin in chosen if isinstance(plugin, Mapping) and plugin)
    return " + ".join(part.partition(":")[2] for part in parts)


def method_class(name: str) -> type[nn.Module]:
    """The class of a method.

    Raises:
        InputError: if there is no method of that name; the message suggests the nearest one.
    """
    if name in _own:
        return _own[name]
    module, class_name = _entry(name).place.split(":")
    found: type[nn.Module] = getattr(importlib.import_module(module), class_name)
    return found


def method_config(name: str, values: Mapping[str, Any] | BaseModel | None = None) -> BaseModel:
    """The validated config of a method, the settings of its plugins filled in.

    Args:
        name: of the method.
        values: keys and values, those left out at their defaults; or a config already validated.

    Raises:
        InputError: if there is no such method, a key does not exist (the message suggests the nearest one) or a
            value does not fit.
    """
    found = method_class(name)
    config: type[BaseModel] = getattr(found, "Config", None) or sys.modules[found.__module__].Config
    if not isinstance(values, config):
        given = values.model_dump() if isinstance(values, BaseModel) else dict(values or {})
        values = check(config, given, f"method {name}")
    filled = {
        slot: {"name": plugin, **settings.model_dump(mode="json")}
        for slot, (plugin, settings) in _plugins(name, values).items()
    }
    return values.model_copy(update=filled) if filled else values


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
    plugins = {}
    for slot, (plugin, options) in _plugins(name, settings).items():
        module, class_name = _locate(plugin, slot)
        plugins[slot] = partial(getattr(module, class_name), options)
    return method_class(name)(settings, channels, classes, **plugins)


def _entry(name: str) -> Entry:
    if name not in METHODS:
        for point in entry_points(group="untrimmed.methods"):
            METHODS.setdefault(point.name, Entry(point.value, getattr(point.load(), "family", "dense")))
    if name not in METHODS:
        raise InputError(f"there is no method '{name}': {nearest(name, METHODS)}")
    return METHODS[name]


def _plugins(method: str, settings: BaseModel) -> dict[str, tuple[str, BaseModel]]:
    """Of each plugin that a method's settings ask for: the setting -> its name and its validated settings."""
    found = {}
    for slot, known in PLUGINS.items():
        chosen = getattr(settings, slot, None)
        if not chosen or not isinstance(chosen, Mapping):  # some methods have a number of that name
            continue
        given, source = dict(chosen), f"method {method}: {slot}"
        name = given.pop("name", None)
        if not isinstance(name, str):
            raise InputError(f"{source}: name is {name!r}, expected the name of a plugin: {nearest('', known)}")
        module, _ = _locate(name, slot)
        found[slot] = name, check(module.Config, given, f"{source} {name}")
    return found


def _locate(name: str, slot: str) -> tuple[Any, str]:
    if name not in PLUGINS[slot]:
        raise InputError(f"{slot}: there is no plugin '{name}': {nearest(name, PLUGINS[slot])}")
    module, class_name = PLUGINS[slot][name].split(":")
    return importlib.import_module(module), class_name
