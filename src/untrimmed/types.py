"""The data types everything else speaks: frozen, checked when built, without any input or output.

``Annotations`` (truth) keep one :class:`Video` each with its :class:`Instances`, and whatever extra keys the file
had. ``Detections`` are columns (one row a detection, in the order of the file), because there may be millions.
All times are seconds, all segments half-open ``[start, end)``.

A segment may be reversed or have no length: files in the field contain such, and an evaluator must count them and
``untrimmed check`` must list them, so the types hold them. What is refused is what has no meaning at all: values
that are no finite numbers, shapes that do not fit, a negative duration.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from functools import cached_property
from html import escape
from itertools import islice
from numbers import Real
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from untrimmed import notebook
from untrimmed.errors import InputError, nearest
from untrimmed.grid import exact_fps

_NO_EXTRA: Mapping[str, Any] = MappingProxyType({})


class _Rebuilt:
    """Pickles and copies by calling the constructor again: worker processes get what was checked, and read-only
    (a mapping proxy cannot be pickled, and an unpickled array would be writable)."""

    def __reduce__(self) -> tuple[Any, ...]:
        values = (getattr(self, each.name) for each in fields(self))  # type: ignore[arg-type]  # only dataclasses
        return type(self), tuple(dict(value) if isinstance(value, MappingProxyType) else value for value in values)


@dataclass(frozen=True, eq=False)
class Instances(_Rebuilt):
    """The labelled segments of one video.

    Args:
        segments: ``(N, 2)`` float64, seconds, finite.
        labels: N class names.
        extra: N mappings with further keys of each instance, or empty for none.

    Raises:
        InputError: if the lengths differ or a time is not finite.
    """

    segments: NDArray[np.float64]
    labels: tuple[str, ...]
    extra: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "segments", _segments("Instances", self.segments))
        object.__setattr__(self, "labels", tuple(self.labels))
        object.__setattr__(self, "extra", tuple(self.extra))
        if len(self.labels) != len(self.segments):
            raise InputError(f"Instances: {len(self.labels)} labels for {self.segments.shape = }")
        if self.extra and len(self.extra) != len(self.segments):
            raise InputError(f"Instances: {len(self.extra)} extra mappings for {self.segments.shape = }")
        for label in self.labels:
            if not isinstance(label, str):
                raise InputError(f"Instances: label {label!r} is a {type(label).__name__}, expected text")

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, rows: ArrayLike) -> Instances:
        """The instances of the given row numbers or boolean mask, in that order."""
        index = _row_numbers(rows, len(self))
        return Instances(
            self.segments[index],
            tuple(self.labels[i] for i in index),
            tuple(self.extra[i] for i in index) if self.extra else (),
        )

    @classmethod
    def empty(cls) -> Instances:
        return cls(np.empty((0, 2)), ())


@dataclass(frozen=True)
class Video(_Rebuilt):
    """One video of a data set.

    Args:
        id: its name, not empty.
        subset: the split it belongs to, e.g. ``"validation"``.
        duration: seconds, finite and at least 0; None if unknown.
        fps: frames a second as an exact fraction; None if unknown.
        instances: its labelled segments.
        extra: further keys of the file.
        video_labels: classes known to occur somewhere in it, besides those of its instances: a weak label.
    """

    id: str
    subset: str = ""
    duration: float | None = None
    fps: Fraction | None = None
    instances: Instances = field(default_factory=Instances.empty)
    extra: Mapping[str, Any] = field(default_factory=lambda: _NO_EXTRA)
    video_labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id:
            raise InputError(f"Video: id is {self.id!r}, expected a text that is not empty")
        if not isinstance(self.subset, str):
            raise InputError(f"video {self.id}: subset is {self.subset!r}, expected text")
        if self.duration is not None and not _is_duration(self.duration):
            raise InputError(f"video {self.id}: duration is {self.duration!r}, expected seconds, at least 0")
        if self.fps is not None:
            object.__setattr__(self, "fps", exact_fps(self.fps))
        object.__setattr__(self, "video_labels", tuple(self.video_labels))
        for label in self.video_labels:
            if not isinstance(label, str):
                raise InputError(f"video {self.id}: label {label!r} is a {type(label).__name__}, expected text")

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes that occur in the video, sorted: those of its instances and its ``video_labels``."""
        return tuple(sorted({*self.instances.labels, *self.video_labels}))


@dataclass(frozen=True)
class Annotations(_Rebuilt):
    """The truth of a data set.

    Args:
        videos: id -> :class:`Video`, in the order of the file.
        version: what the file calls itself.
        extra: further top-level keys of the file.
    """

    videos: Mapping[str, Video]
    version: str = ""
    extra: Mapping[str, Any] = field(default_factory=lambda: _NO_EXTRA)

    def __post_init__(self) -> None:
        object.__setattr__(self, "videos", MappingProxyType(dict(self.videos)))
        for key, video in self.videos.items():
            if key != video.id:
                raise InputError(f"Annotations: video {video.id!r} is filed under {key!r}")

    def __len__(self) -> int:
        return len(self.videos)

    def __iter__(self) -> Iterator[Video]:
        return iter(self.videos.values())

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """All class names of instances, sorted."""
        return tuple(sorted({label for video in self for label in video.instances.labels}))

    @cached_property
    def video_labels(self) -> tuple[str, ...]:
        """All class names of videos, sorted: those of instances, and those that only whole videos have."""
        return tuple(sorted({label for video in self for label in video.labels}))

    @cached_property
    def subsets(self) -> tuple[str, ...]:
        """All subset names that occur, sorted."""
        return tuple(sorted({video.subset for video in self}))

    @property
    def instance_count(self) -> int:
        return sum(len(video.instances) for video in self)

    def _repr_html_(self) -> str:
        """The first videos with their instances on a line of time, for notebooks."""
        colours = {label: number for number, label in enumerate(self.labels)}
        rows = []
        for video in islice(self, notebook.ROWS):
            segments = video.instances.segments.tolist()
            spans = [
                (*each, label, colours[label]) for each, label in zip(segments, video.instances.labels, strict=True)
            ]
            end = video.duration or max((stop for _, stop in segments), default=0.0)
            length = "" if video.duration is None else f"{video.duration:.1f} s"
            cells = (escape(video.id), escape(video.subset), length, str(len(spans)), notebook.timeline(spans, end))
            rows.append(cells)
        counts = ((len(self), "video"), (self.instance_count, "instance"), (len(self.labels), "label"))
        caption = ", ".join(notebook.counted(*count) for count in counts)
        if len(self) > notebook.ROWS:
            caption += f"; the first {notebook.ROWS} videos"
        return notebook.table(caption, ("video", "subset", "duration", "instances", ""), rows)

    def subset(self, name: str) -> Annotations:
        """The videos of one subset.

        Raises:
            InputError: if no video has it; the message suggests the nearest name.
        """
        if name not in self.subsets:
            known = [each for each in self.subsets if each]
            why = nearest(name, known) if known else f"no video names one; give them the subset '{name}'"
            raise InputError(f"no video is in subset '{name}': {why}")
        return replace(self, videos={video.id: video for video in self if video.subset == name})

    @classmethod
    def of(cls, videos: Iterable[Video], version: str = "", extra: Mapping[str, Any] = _NO_EXTRA) -> Annotations:
        """From videos in order.

        Raises:
            InputError: if two have the same id.
        """
        table: dict[str, Video] = {}
        for video in videos:
            if video.id in table:
                raise InputError(f"video {video.id} occurs twice")
            table[video.id] = video
        return cls(table, version, extra)


@dataclass(frozen=True, eq=False)
class Detections(_Rebuilt):
    """Scored segments, usually labelled: one row each, in the order they were given.

    Args:
        video_ids: the videos that were looked at, also those without any detection; no name twice.
        labels: the class names that ``label`` points into; no name twice.
        video: ``(N,)`` row -> index into ``video_ids``.
        label: ``(N,)`` row -> index into ``labels``, or -1 for a proposal, which has no label.
        segments: ``(N, 2)`` float64, seconds, finite.
        scores: ``(N,)`` float64, finite, higher is surer.
        trained_on: ids of the videos that the model which found them was trained on; None if that is not known.

    Raises:
        InputError: if shapes differ, an index points nowhere or a number is not finite.
    """

    video_ids: tuple[str, ...]
    labels: tuple[str, ...]
    video: NDArray[np.int64]
    label: NDArray[np.int64]
    segments: NDArray[np.float64]
    scores: NDArray[np.float64]
    trained_on: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("video_ids", "labels"):
            names = tuple(getattr(self, name))
            object.__setattr__(self, name, names)
            if len(set(names)) != len(names):
                raise InputError(f"Detections: {name} holds a name twice")
        object.__setattr__(self, "segments", _segments("Detections", self.segments))
        count = len(self.segments)
        scores = np.ascontiguousarray(self.scores, dtype=np.float64)
        if scores.shape != (count,):
            raise InputError(f"Detections: {scores.shape = } for {self.segments.shape = }")
        if not np.isfinite(scores).all():
            row = int(np.flatnonzero(~np.isfinite(scores))[0])
            raise InputError(f"Detections: score of row {row} is {scores[row]}, expected a finite number")
        object.__setattr__(self, "scores", _frozen(scores, self.scores))
        for name, low, high in (("video", 0, len(self.video_ids)), ("label", -1, len(self.labels))):
            given = getattr(self, name)
            index = np.ascontiguousarray(given, dtype=np.int64)
            if index.shape != (count,):
                raise InputError(f"Detections: {name} has shape {index.shape} for {self.segments.shape = }")
            if count and not (index.min() >= low and index.max() < high):
                raise InputError(f"Detections: {name} holds {index.min()}..{index.max()}, expected {low}..{high - 1}")
            object.__setattr__(self, name, _frozen(index, given))
        if self.trained_on is not None:
            object.__setattr__(self, "trained_on", tuple(self.trained_on))

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, rows: ArrayLike) -> Detections:
        """The rows of the given row numbers or boolean mask, in that order; all names are kept."""
        index = _row_numbers(rows, len(self))
        return replace(
            self,
            video=self.video[index],
            label=self.label[index],
            segments=self.segments[index],
            scores=self.scores[index],
        )

    def _repr_html_(self) -> str:
        """The surest detections, each on the line of time of its video, for notebooks."""
        best = np.argsort(-self.scores, kind="stable")[: notebook.ROWS]
        ends = np.zeros(len(self.video_ids))
        np.maximum.at(ends, self.video, self.segments[:, 1])
        rows = []
        for number, (video_id, label, start, end, score) in zip(best, self.select(best).rows(), strict=True):
            name = "(proposal)" if label is None else label
            line = notebook.timeline([(start, end, name, int(self.label[number]))], ends[self.video[number]])
            rows.append((escape(video_id), escape(name), f"{start:.2f} s", f"{end:.2f} s", f"{score:.3f}", line))
        caption = f"{notebook.counted(len(self), 'detection')} in {notebook.counted(len(self.video_ids), 'video')}"
        if len(self) > notebook.ROWS:
            caption += f"; the {notebook.ROWS} surest"
        return notebook.table(caption, ("video", "label", "start", "end", "score", ""), rows)

    def of_video(self, video_id: str) -> Detections:
        """The rows of one video.

        Raises:
            InputError: if the video was not looked at.
        """
        if video_id not in self._video_index:
            raise InputError(f"no detections for video '{video_id}': {nearest(video_id, self.video_ids)}")
        return self.select(np.flatnonzero(self.video == self._video_index[video_id]))

    def rows(self) -> Iterator[tuple[str, str | None, float, float, float]]:
        """``(video id, label or None, start, end, score)`` of each row: what :meth:`of` takes."""
        names = (*self.labels, None)
        columns = (self.video.tolist(), self.label.tolist(), self.segments.tolist(), self.scores.tolist())
        for video, label, (start, end), score in zip(*columns, strict=True):
            yield self.video_ids[video], names[label], start, end, score

    @cached_property
    def _video_index(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.video_ids)}

    @classmethod
    def empty(cls, video_ids: Iterable[str] = (), labels: Iterable[str] = ()) -> Detections:
        """No detections in the given videos."""
        none = np.empty(0)
        return cls(tuple(video_ids), tuple(labels), none.astype(int), none.astype(int), np.empty((0, 2)), none)

    @classmethod
    def of(
        cls, rows: Iterable[tuple[str, str | None, float, float, float]], video_ids: Iterable[str] = ()
    ) -> Detections:
        """From rows ``(video id, label or None, start, end, score)``; names are numbered as they first occur,
        after the given ``video_ids``."""
        videos = {name: index for index, name in enumerate(video_ids)}
        labels: dict[str, int] = {}
        video, label, segments, scores = [], [], [], []
        for video_id, name, start, end, score in rows:
            video.append(videos.setdefault(video_id, len(videos)))
            label.append(-1 if name is None else labels.setdefault(name, len(labels)))
            segments.append((start, end))
            scores.append(score)
        return cls(
            tuple(videos),
            tuple(labels),
            np.asarray(video, dtype=np.int64),
            np.asarray(label, dtype=np.int64),
            np.asarray(segments, dtype=np.float64),
            np.asarray(scores, dtype=np.float64),
        )


def _is_duration(value: object) -> bool:
    return isinstance(value, Real) and bool(np.isfinite(float(value))) and float(value) >= 0


def _row_numbers(rows: ArrayLike, count: int) -> NDArray[np.int64]:
    """Row numbers from row numbers, negative ones too, or a boolean mask; an empty list selects nothing."""
    index = np.asarray(rows)
    if index.size == 0 and index.dtype != bool:
        index = index.astype(np.int64)
    numbers: NDArray[np.int64] = np.arange(count, dtype=np.int64)[index]
    return numbers


def _segments(owner: str, values: ArrayLike) -> NDArray[np.float64]:
    try:
        table = np.ascontiguousarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{owner}: segments are {values!r:.200}, expected pairs of numbers") from None
    if table.size == 0:
        table = table.reshape(0, 2)
    if table.ndim != 2 or table.shape[1] != 2:
        raise InputError(f"{owner}: {table.shape = }, expected (N, 2)")
    if not np.isfinite(table).all():
        row = int(np.flatnonzero(~np.isfinite(table).all(axis=1))[0])
        raise InputError(f"{owner}: segment {row} is {table[row].tolist()}, expected two finite numbers")
    return _frozen(table, values)


def _frozen(array: NDArray[Any], given: object) -> NDArray[Any]:
    """A read-only array that the caller cannot change behind our back: copied if it is the caller's own."""
    if array is given or (isinstance(given, np.ndarray) and np.shares_memory(array, given)):
        if not array.flags.writeable:
            return array
        array = array.copy()
    array.flags.writeable = False
    return array
