"""Truth put together from rows that name their video, as text and table formats have it."""

from __future__ import annotations

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
            known = getattr(row, name) or None
            if value is not None and known is not None and known != value:
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
