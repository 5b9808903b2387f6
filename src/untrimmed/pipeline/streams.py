"""Two streams: what models of appearance and of motion say of the same windows is averaged before it is decoded.

The paper of the two-stream network (Simonyan and Zisserman, NeurIPS 2014) trains a network on frames and another on
optical flow, of one architecture, and averages their outputs. So do the detectors that build on it: proposals, anchors
or curves are the same in both streams, and their scores and offsets are averaged as they leave the network; there is
one decoding and one suppression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from untrimmed.errors import InputError
from untrimmed.formats.features import Features
from untrimmed.methods.protocol import Raw

if TYPE_CHECKING:
    from untrimmed.pipeline.model_file import TrainedModel

_ROUNDING = 1e-6
"""Steps whose lengths differ by less than this share are as long."""


@dataclass(frozen=True)
class Stream:
    """A model, the features it looks at, and how much what it says counts.

    Args:
        model: whose network, statistics and device.
        features: hold the videos.
        weight: of its raw in the average, above 0.
    """

    model: TrainedModel
    features: Features
    weight: float = 1.0


def mean_raw(raws: Sequence[Raw], weights: Sequence[float], method: str) -> Raw:
    """The weighted mean of what several networks said of the same windows, name by name.

    Args:
        raws: at least one.
        weights: of each, above 0.
        method: name, for messages.

    Returns:
        On the device of the first. What is no floating-point number, such as which segments the rows stand for, is that
        of all.

    Raises:
        InputError: if the networks do not say the same things, as those of other settings; if what is no number to
            average differs.
    """
    first, *others = raws
    if not others:
        return first
    total = float(sum(weights))
    mixed: Raw = {}
    for other in others:
        if other.keys() != first.keys():
            odd = ", ".join(sorted(other.keys() ^ first.keys()))
            raise InputError(
                f"the two models cannot be averaged: only one of them gives {odd}; train both by one config"
            )
    for name, value in first.items():
        theirs = [other[name].to(value.device) for other in others]
        if not value.is_floating_point():
            if not all(torch.equal(value, each) for each in theirs):
                raise InputError(
                    f"two models of method {method} cannot be averaged: each chooses for itself what it scores ({name})"
                )
            mixed[name] = value
            continue
        for each in theirs:
            if each.shape != value.shape:
                raise InputError(
                    f"the two models cannot be averaged: {name} is {tuple(value.shape)} in one and {tuple(each.shape)} "
                    "in the other; expected models of one config, with features of as many channels if it keeps these"
                )
        shares = zip((value, *theirs), weights, strict=True)
        mixed[name] = torch.stack([each * (weight / total) for each, weight in shares]).sum(0)
    return mixed


def check_alike(first: TrainedModel, second: TrainedModel, weights: tuple[float, float]) -> None:
    """Refuse a second stream whose outputs do not mean the same as those of the first.

    Args:
        first: the model that decodes.
        second: the other.
        weights: of both in the average.

    Raises:
        InputError: if the methods, their settings, classes or windows differ; if what the method says cannot be
            averaged; if a weight is not above 0.
    """
    if not all(0 < weight < float("inf") for weight in weights):
        raise InputError(f"weights of two streams are {weights[0]:g} and {weights[1]:g}, expected both above 0")
    name = first.recipe.method["name"]
    if not getattr(first.method, "averageable", True):
        raise InputError(f"two models of method {name} cannot be averaged: each chooses for itself what it scores")
    for what, ours, theirs in (
        ("method", name, second.recipe.method["name"]),
        ("settings of the method", dict(first.recipe.method), dict(second.recipe.method)),
        ("classes", list(first.classes), list(second.classes)),
        ("windows", first.recipe.windows, second.recipe.windows),
    ):
        if ours != theirs:
            raise InputError(
                f"the two streams differ in {what}: {_short(ours)} in the first, {_short(theirs)} in the second; they "
                "must be models of one config, trained on other features"
            )


def common_length(streams: Sequence[Stream], video_id: str) -> int:
    """The number of snippets of a video that all streams have.

    Raises:
        InputError: if a stream lacks the video, or the times of its snippets differ by more than half a step.
    """
    first = streams[0].features.grid(video_id)
    for stream in streams[1:]:
        if video_id not in stream.features:
            raise InputError(f"video '{video_id}': the second stream has no features of it; extract them too")
        other, step = stream.features.grid(video_id), first.seconds_per_step
        late = abs(float(other.steps_to_seconds(0)) - float(first.steps_to_seconds(0)))
        if abs(other.seconds_per_step - step) > _ROUNDING * step or late > step / 2:
            raise InputError(
                f"video '{video_id}': snippets of the two streams lie at other times: every {step:g} s in the first, "
                f"every {other.seconds_per_step:g} s in the second, and the first ones {late:g} s apart; extract both "
                "with one stride and window"
            )
    return min(stream.features.length(video_id) for stream in streams)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
