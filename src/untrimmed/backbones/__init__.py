"""Backbones turn frames into snippet features; they are made from a *spec*, which an index of features also holds.

A spec is ``{"name": "motion", "options": {...}, "weights_sha256": None}`` in plain values. The same spec always makes
a backbone that computes the same features, so features, models and videos can be matched by comparing specs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from untrimmed.errors import InputError, nearest
from untrimmed.grid import SnippetGrid

BACKBONES = {
    "motion": "untrimmed.backbones.motion:Motion",
}
"""Name -> where its class is."""

Frame = tuple[float, NDArray[np.uint8]]


class Backbone(Protocol):
    """What extraction needs of a backbone.

    Attributes:
        channels: features a snippet, C.
        grid: where the snippets lie on the frames it is given.
        short_side: pixels of the shorter side of the frames it is given.
    """

    @property
    def channels(self) -> int: ...

    @property
    def grid(self) -> SnippetGrid: ...

    @property
    def short_side(self) -> int: ...

    def spec(self) -> dict[str, Any]:
        """The spec that makes this backbone, every option with its value."""
        ...

    def stream(self, frames: Iterable[Frame]) -> Iterator[NDArray[np.float32]]:
        """Features as the frames come: one row ``(C,)`` for each whole snippet, in order.

        Args:
            frames: ``(seconds, rgb)`` of one video at ``grid.fps`` and ``short_side``, as
                :func:`untrimmed.video.read_frames` gives them. A video shorter than one snippet is continued with
                its last frame to fill one.
        """
        ...


def make_backbone(spec: Mapping[str, Any] | str) -> Backbone:
    """Make a backbone.

    Args:
        spec: ``{"name": ..., "options": {...}}``, or just the name for the default options. ``weights_sha256``, if
            there, must be that of the weights the backbone is made with.

    Raises:
        InputError: for an unknown name, an unknown option, or a value out of its range.
    """
    wanted: Mapping[str, Any] = {"name": spec} if isinstance(spec, str) else spec
    if not isinstance(wanted, Mapping) or not isinstance(wanted.get("name"), str):
        raise InputError(f"backbone is {spec!r}, expected a name or {{'name': ..., 'options': {{...}}}}")
    for key in wanted:
        if key not in ("name", "options", "weights_sha256"):
            raise InputError(
                f"backbone '{wanted['name']}': unknown key '{key}': "
                f"{nearest(key, ('name', 'options', 'weights_sha256'))}"
            )
    name, options = wanted["name"], wanted.get("options") or {}
    if name not in BACKBONES:
        raise InputError(f"backbone '{name}' is not known: {nearest(name, BACKBONES)}")
    module, _, factory = BACKBONES[name].partition(":")
    made: Backbone = getattr(import_module(module), factory).from_options(options)
    expected = wanted.get("weights_sha256")
    actual = made.spec()["weights_sha256"]
    if expected is not None and expected != actual:
        raise InputError(f"backbone '{name}': its weights have the checksum {actual}, expected {expected}")
    return made
