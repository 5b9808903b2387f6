"""Truth put together from rows that name their video, as text and table formats have it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from untrimmed.errors import InputError
from untrimmed.formats.io import shown
from untrimmed.types import Annotations, Instances, Video

NOTHING: Mapping[str, Any] = {}


@dataclass
class _Row:
    subset: str = ""
    duration: float | None = None
    fps: Fraction | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    segments: list[tuple[float, float]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    instance_extra: list[Mapping[str, Any]] = field(default_factory=list)


class Collector:
    """Videos in the order in which they are first named, with what the rows say of them.

    Args:
        path: the file that messages name.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path
        self._rows: dict[str, _Row] = {}

    def video(
        self,
        place: str,
        video_id: str,
        *,
        subset: str = "",
        duration: float | None = None,
        fps: Fraction | None = None,
        extra: Mapping[str, Any] = NOTHING,
    ) -> None:
        """Name a video; what is empty or None is not known here.

        Raises:
            InputError: if the id is empty, the duration negative, or another row says otherwise.
        """
        if not video_id:
            raise InputError(f"{self._path}: {place}: the video has no name")
        if duration is not None and duration < 0:
            raise InputError(
                f"{self._path}: {place}: the duration of video {shown(video_id)} is {duration}, "
                "expected seconds, at least 0"
            )
        row = self._rows.setdefault(video_id, _Row())
        for name, value in (("subset", subset or None), ("duration", duration), ("fps", fps)):
            known = getattr(row, name)
            if value is not None and known not in (None, "", value):
                raise InputError(
                    f"{self._path}: {place}: the {name} of video {shown(video_id)} is {value}, "
                    f"but was {known} before; keep one of them"
                )
            if value is not None:
                setattr(row, name, value)
        row.extra = {**row.extra, **extra}

    def add(self, video_id: str, start: float, end: float, label: str, extra: Mapping[str, Any] = NOTHING) -> None:
        """Add an instance to a video that was named before."""
        row = self._rows[video_id]
        row.segments.append((start, end))
        row.labels.append(label)
        row.instance_extra.append(extra)

    def annotations(self, version: str = "") -> Annotations:
        """Everything that was given."""
        return Annotations.of(
            (
                Video(
                    id=video_id,
                    subset=row.subset,
                    duration=row.duration,
                    fps=row.fps,
                    instances=Instances(
                        np.array(row.segments, dtype=np.float64).reshape(-1, 2),
                        tuple(row.labels),
                        tuple(row.instance_extra) if any(row.instance_extra) else (),
                    ),
                    extra=row.extra,
                )
                for video_id, row in self._rows.items()
            ),
            version,
        )


def losses(annotations: Annotations, *kept: str) -> tuple[str, ...]:
    """What a truth has that a format does not keep, one phrase each.

    Args:
        annotations: the truth that was written.
        kept: what the format does keep: ``subset``, ``duration``, ``fps``, ``empty`` (videos without instances),
            ``version``, ``instance extra``.
    """
    videos = list(annotations)
    counts = {
        "subset": ("the subset", sum(bool(video.subset) for video in videos)),
        "duration": ("the duration", sum(video.duration is not None for video in videos)),
        "fps": ("the frame rate", sum(video.fps is not None for video in videos)),
        "instance extra": ("further keys of instances", sum(any(video.instances.extra) for video in videos)),
        "video extra": ("further keys", sum(bool(video.extra) for video in videos)),
        "video labels": ("labels without segment", sum(bool(video.video_labels) for video in videos)),
    }
    lost = [
        f"{what} of {counted(count, 'video')}" for key, (what, count) in counts.items() if count and key not in kept
    ]
    empty = sum(not len(video.instances) for video in videos)
    if empty and "empty" not in kept:
        lost.insert(0, f"{counted(empty, 'video')} without instances")
    if annotations.version and "version" not in kept:
        lost.append(f"the name of the truth, {shown(annotations.version)}")
    if annotations.extra:
        lost.append(f"the keys {', '.join(shown(key) for key in annotations.extra)} of the whole file")
    return tuple(lost)


def subset_of(path: str | Path) -> str:
    """The subset that the name of a data set's file says, e.g. ``training`` for ``Charades_v1_train.csv``; else
    empty."""
    match = re.search(r"(?<![a-z])(train|val|test)", Path(path).name.lower())
    return {"train": "training", "val": "validation", "test": "testing"}[match[1]] if match else ""


def tells_subset(annotations: Annotations, path: str | Path) -> tuple[str, ...]:
    """``("subset",)``, for :func:`losses`, if the name of the file says the subset of all videos."""
    return ("subset",) if annotations.subsets in ((), (subset_of(path),)) else ()


def counted(count: int, noun: str) -> str:
    """``1 video``, ``2 videos``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
