"""Scoring segments whatever is said of them: all labels taken for one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from untrimmed.types import Annotations, Detections

ANY = "any label"
"""The one class that is left."""


def without_labels(detections: Detections) -> bool:
    """There are detections, and none says what it is: proposals, or those of a class-agnostic method."""
    return len(detections) > 0 and not (detections.label >= 0).any()


def with_one_label(
    detections: Detections, truth: Annotations, no_classes: Collection[str] = ()
) -> tuple[Detections, Annotations]:
    """Both with all labels alike, :data:`ANY`, also where a detection has none.

    Args:
        no_classes: labels of the truth that are no classes, and stay.
    """
    videos = {}
    for video in truth:
        labels = tuple(label if label in no_classes else ANY for label in video.instances.labels)
        videos[video.id] = replace(video, instances=replace(video.instances, labels=labels))
    one = replace(detections, labels=(ANY,), label=np.zeros_like(detections.label))
    return one, replace(truth, videos=videos)
