"""Long recordings cut into shorter videos: annotations, and features with them.

Weak labels say which classes occur in a video. Of recordings in which nearly every class occurs they say nothing; of
pieces of a minute they do::

    recording  |-- walk --|-sit-|---- walk ----|lie|-- sit --|          labels: lie, sit, walk
    pieces     |____________|____________|________________|_..          labels: sit, walk | walk | lie, walk | ...

At fixed lengths the cuts know nothing of the truth, as test videos must be cut. At background they are moved to the
nearest moment within a quarter of a length at which no instance is under way, where there is one, so that training
videos hold whole instances.

With features, cuts are whole snippet strides, and a piece has those snippets whose frames lie inside it: what the
extractor would have given of the piece itself (if it does not pad). The grid stays as it is. At background the nearest
stride is taken at which no instance is under way. Where one instance follows another without a gap there may be none:
the cut is then the stride nearest to that moment, and what it cuts off an instance, less than a stride, is left out of
the piece it falls to (unless it is half of the instance), since its label would rest on less than one snippet.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from untrimmed.errors import InputError, nearest
from untrimmed.formats.feature_writer import FeatureWriter
from untrimmed.formats.features import Features
from untrimmed.grid import SnippetGrid
from untrimmed.types import Annotations, Instances, Video

_REACH = 0.25
"""Share of a length by which a cut is moved to reach background, at most."""
_ROUNDING = 1e-9
"""Seconds, or strides, that are no difference."""

_MOST = 100_000
"""Pieces of a recording."""


class Piece(NamedTuple):
    """A part of a recording as a video of its own: ``[start, end)`` in seconds of the recording."""

    video: Video
    source: str
    start: float
    end: float


def cut(
    annotations: Annotations,
    length: float,
    *,
    at_background: Collection[str] = (),
    features: Features | None = None,
) -> list[Piece]:
    """Cut every recording into pieces.

    Args:
        annotations: recordings of known duration.
        length: seconds of a piece, above 0. The last one of a recording has what is left; less than half a length is
            given to the one before.
        at_background: subsets whose recordings are cut at background, see the module; others at fixed lengths.
        features: of the recordings; cuts are then whole snippet strides.

    Returns:
        Pieces in order, named ``<recording>_00`` and so on. Instances are clipped, their further keys kept, and those
        of a recording too (its subject); ``recording`` and ``recording_start`` are added to them.

    Raises:
        InputError: if a duration is unknown, a recording has labels without segments or would make more than 100,000
            pieces, a subset does not exist, or a piece would have the name of another.
    """
    if not 0 < length < np.inf:
        raise InputError(f"length of a piece is {length}, expected finite seconds above 0")
    for name in at_background:
        if name not in annotations.subsets:
            raise InputError(f"no video is in subset '{name}': {nearest(name, annotations.subsets)}")
    pieces: list[Piece] = []
    for video in annotations:
        if video.duration is None:
            raise InputError(f"video {video.id}: its duration is not known, so it cannot be cut; add it")
        if video.duration / length > _MOST:
            raise InputError(
                f"video {video.id}: its {video.duration} s would make more than {_MOST:,} pieces of {length} s; "
                "cut longer ones"
            )
        if video.video_labels:
            raise InputError(
                f"video {video.id}: has labels without segments ({', '.join(video.video_labels)}), and nobody knows "
                "which of its pieces they belong to"
            )
        marks = _marks(video.duration, length)
        stride = 0.0 if features is None else features.grid(video.id).seconds_per_step
        background = video.subset in at_background
        if background:
            marks = _at_background(marks, video.instances.segments, _REACH * length, stride)
        elif stride:
            marks[1:-1] = np.floor(marks[1:-1] / stride + _ROUNDING) * stride
        least = stride if background else 0.0
        pieces += [_piece(video, number, *ends, least) for number, ends in enumerate(itertools.pairwise(marks))]
    return pieces


def _marks(duration: float, length: float) -> NDArray[np.float64]:
    """Start, cuts and end of a recording."""
    count = max(1, int(duration / length + 0.5))
    return np.append(np.arange(count) * length, duration)


def _at_background(
    marks: NDArray[np.float64], segments: NDArray[np.float64], reach: float, stride: float
) -> NDArray[np.float64]:
    """Inner marks moved to the nearest moment, at most ``reach`` away, at which no instance is under way; if ``stride``
    is above 0, to a multiple of it."""
    moved = marks.copy()
    edges = np.unique(segments)
    for index in range(1, len(marks) - 1):
        here = marks[index]
        # The mark itself, or edges: where it lies in an instance no other free moment is nearer than some free edge.
        moments = np.append(here, edges)
        moments = moments[(np.abs(moments - here) <= reach) & ~_under_way(moments, segments)]
        if stride:
            strides = np.arange(np.ceil((here - reach) / stride), np.floor((here + reach) / stride) + 1) * stride
            free = strides[~_under_way(strides, segments)]
            moments = free if len(free) else moments
        if len(moments):
            moved[index] = moments[np.abs(moments - here).argmin()]
        if stride:
            moved[index] = np.round(moved[index] / stride) * stride
    return moved


def _under_way(moments: NDArray[np.float64], segments: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(M,) whether some instance has begun and not ended; at its edges none has."""
    begun, going = segments[:, :1] + _ROUNDING < moments, moments < segments[:, 1:] - _ROUNDING
    return np.logical_or.reduce(begun & going, axis=0)  # type: ignore[no-any-return]


def _piece(video: Video, number: int, start: float, end: float, least: float) -> Piece:
    """The piece, without instances of which it shows less than ``least`` seconds and less than half."""
    segments = video.instances.segments
    clipped = np.clip(segments, start, end) - start
    shown = clipped[:, 1] - clipped[:, 0]
    enough = np.minimum(least, (segments[:, 1] - segments[:, 0]) / 2)
    rows = np.flatnonzero((shown > 0) & (shown >= enough - _ROUNDING))
    kept = video.instances.select(rows)
    extra: dict[str, Any] = {**video.extra, "recording": video.id, "recording_start": float(start)}
    piece = replace(
        video,
        id=f"{video.id}_{number:02d}",
        duration=float(end - start),
        instances=Instances(clipped[rows], kept.labels, kept.extra),
        extra=extra,
    )
    return Piece(piece, video.id, float(start), float(end))


def cut_annotations(annotations: Annotations, pieces: list[Piece]) -> Annotations:
    """The pieces as the truth of a data set, with the version and further keys of that of the recordings."""
    return Annotations.of((piece.video for piece in pieces), annotations.version, annotations.extra)


def cut_features(pieces: list[Piece], features: Features, folder: str | Path) -> None:
    """Write the features of the pieces, with an index.

    Raises:
        InputError: if a recording has no features, or a piece is so short that it has no snippet.
    """
    with FeatureWriter(folder, backbone=dict(features.backbone or {"name": "unknown"})) as writer:
        for piece in pieces:
            grid = features.grid(piece.source)
            first, stop = _snippets(piece, grid, features.length(piece.source))
            if first >= stop:
                raise InputError(
                    f"video {piece.video.id}: [{piece.start}, {piece.end}) s of {piece.source} hold no whole snippet "
                    f"of {features.length(piece.source)}; cut longer pieces, or compare the features with the truth"
                )
            writer.add(piece.video.id, features.window(piece.source, first, stop), grid, piece.video.duration)


def _snippets(piece: Piece, grid: SnippetGrid, length: int) -> tuple[int, int]:
    """Snippets ``[first, stop)`` of the recording that a piece has; its own snippet 0 is ``first``."""
    first = round(piece.start / grid.seconds_per_step)
    frames = grid.frame_at(piece.end - piece.start, "nearest")
    return first, min(first + grid.count(frames), length)
