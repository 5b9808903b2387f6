"""Backbones turn frames into snippet features; they are made from a *spec*, which an index of features also holds.

A spec is ``{"name": "motion", "options": {...}, "weights_sha256": None}`` in plain values. The same spec always makes
a backbone that computes the same features, so features, models and videos can be matched by comparing specs.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from untrimmed.errors import InputError, nearest
from untrimmed.grid import SnippetGrid

BACKBONES = {
    "c3d": "untrimmed.backbones.c3d:C3DBackbone",
    "hub": "untrimmed.backbones.hub:HubBackbone",
    "i3d": "untrimmed.backbones.i3d:I3DBackbone",
    "motion": "untrimmed.backbones.motion:Motion",
}
"""Name -> where its class is."""

WITHOUT_WEIGHTS = ("motion",)
"""The backbones that are no networks."""

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


def make_backbone(
    spec: Mapping[str, Any] | str,
    *,
    weights: Sequence[str | Path] = (),
    device: str = "auto",
    batch: int | None = None,
) -> Backbone:
    """Make a backbone.

    Args:
        spec: ``{"name": ..., "options": {...}}``, or just the name for the default options. ``weights_sha256``, if
            there, must be that of the weights the backbone is made with.
        weights: files of a network's weights, one for each of its streams, or the folder or name of a model for
            ``hub``. Without any they are looked for in the weights folder, see :mod:`untrimmed.backbones.weights`.
        device: that a network computes on; ``"auto"`` is CUDA where there is one, else the CPU.
        batch: snippets that a network is given at once; None: as many as suit it and the device. Where memory does
            not suffice, fewer are tried.

    Raises:
        InputError: for an unknown name, an unknown option, or a value out of its range; if weights are missing.
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
    if batch is not None and batch < 1:
        raise InputError(f"a batch of {batch} snippets was asked for, expected at least 1")
    name, options = wanted["name"], wanted.get("options") or {}
    if name == "imported":
        raise InputError(
            f"the features were imported ({options.get('from', 'of an unknown extractor')}), so videos cannot be read; "
            "give features of the same extractor"
        )
    if name not in BACKBONES:
        raise InputError(f"backbone '{name}' is not known: {nearest(name, BACKBONES)}")
    module, _, factory = BACKBONES[name].partition(":")
    kind = getattr(import_module(module), factory)
    expected = wanted.get("weights_sha256")
    if name in WITHOUT_WEIGHTS:
        if weights:
            raise InputError(f"backbone '{name}' takes no weights, but {weights[0]} was given")
        made: Backbone = kind.from_options(options)
    else:
        made = kind.from_options(options, weights, device, expected, batch)
    actual = made.spec()["weights_sha256"]
    if expected is not None and expected != actual:
        raise InputError(f"backbone '{name}': its weights have the checksum {actual}, expected {expected}")
    return made


def recipe_of(backbone: Backbone) -> dict[str, Any]:
    """That from which :func:`from_recipe` makes the same backbone in another process.

    Of one of :data:`BACKBONES` it is the spec with the paths of its weights; another is handed over whole.

    Raises:
        InputError: if it is another and cannot be pickled.
    """
    spec = backbone.spec()
    if spec["name"] in BACKBONES:
        return {
            "spec": spec,
            "weights": tuple(getattr(backbone, "weights", ())),
            "device": str(getattr(backbone, "device", "cpu")),
            "batch": getattr(backbone, "batch", None),
        }
    try:
        return {"whole": pickle.dumps(backbone)}
    except Exception as error:  # what pickling raises depends on the object
        raise InputError(
            f"backbone '{spec['name']}': cannot be sent to other processes ({error}); use one process, or give it "
            "attributes that can be pickled"
        ) from None


def from_recipe(recipe: Mapping[str, Any]) -> Backbone:
    """The backbone of :func:`recipe_of`, which alone may have made the recipe.

    Raises:
        InputError: as :func:`make_backbone`.
    """
    if "whole" in recipe:
        made: Backbone = pickle.loads(recipe["whole"])
        return made
    return make_backbone(**recipe)
