"""What is wrong with a list of proposals, given the truth: the part of :mod:`untrimmed.formats.check` about them.

There may be millions, so each kind of problem is one finding a video, with the number of proposals and the first.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from untrimmed.errors import nearest
from untrimmed.formats.collect import counted
from untrimmed.formats.finding import Finding, Severity
from untrimmed.types import Annotations, Detections, Video

SLACK_SECONDS = 1.0
"""A proposal may end this much beyond its video: rates and durations are rounded."""

MANY = 10_000
"""Proposals of a video that are more than any published detector judges."""

_LAST_FRACTION = 1.5
"""A list in fractions of the videos has no time above this."""


def check_proposals(proposals: Detections, truth: Annotations) -> Iterator[Finding]:
    """The problems of proposals.

    Args:
        proposals: in seconds.
        truth: of all videos they may be of.
    """
    rows_of = rows_by_video(proposals)
    filled = [name for name, rows in rows_of.items() if len(rows)]
    known = [name for name in filled if name in truth.videos]
    if not known:
        fix = "give the proposals of this data set"
        value = f"none of {counted(len(filled), 'video')} with proposals is in the truth"
        if filled:
            value += f", e.g. {filled[0]}: {nearest(filled[0], truth.videos, limit=3)}"
        yield Finding("error", "proposals of another data set", "", value, fix)
        return
    yield from _check_videos(filled, rows_of, truth)
    if (proposals.label >= 0).any():
        value = f"{int((proposals.label >= 0).sum())} of {len(proposals)} have one"
        yield Finding("note", "proposals with labels", "", value, "none needed: labels of proposals are not looked at")
    for name in known:
        yield from _check_one(truth.videos[name], proposals.segments[rows_of[name]])


def rows_by_video(proposals: Detections) -> dict[str, NDArray[np.int64]]:
    """The rows of each video, in their order."""
    order = np.argsort(proposals.video, kind="stable")
    edges = np.searchsorted(proposals.video[order], np.arange(len(proposals.video_ids) + 1))
    return {name: order[edges[index] : edges[index + 1]] for index, name in enumerate(proposals.video_ids)}


def beyond(segments: NDArray[np.float64], duration: float | None) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which of ``(N, 2)`` proposals lie wholly outside a video, and which reach out of it by more than
    :data:`SLACK_SECONDS`."""
    last = duration if duration else np.inf
    outside = (segments[:, 0] >= last) | (segments[:, 1] <= 0)
    return outside, ~outside & ((segments[:, 1] > last + SLACK_SECONDS) | (segments[:, 0] < -SLACK_SECONDS))


def _check_videos(filled: list[str], rows_of: dict[str, NDArray[np.int64]], truth: Annotations) -> Iterator[Finding]:
    for name in filled:
        if name not in truth.videos:
            value = counted(len(rows_of[name]), "proposal")
            yield Finding("warning", "proposals of a video that the truth lacks", name, value, "none are looked at")
    some = {truth.videos[name].subset for name in filled if name in truth.videos}
    for video in truth:
        if len(rows_of.get(video.id, ())):
            continue
        if video.subset in some:
            fix = "make them: nothing can be detected in it without"
            yield Finding("warning", "no proposals", video.id, f"subset {video.subset!r}", fix)
    for subset in sorted({video.subset for video in truth} - some):
        value = f"none of the videos of subset {subset!r} has any"
        yield Finding("note", "subset without proposals", "", value, "make them if it is trained on or tested with")


def _check_one(video: Video, segments: NDArray[np.float64]) -> Iterator[Finding]:
    start, end = segments.T
    outside, over = beyond(segments, video.duration)
    fraction = bool(video.duration and video.duration > 2 * _LAST_FRACTION and end.max() <= _LAST_FRACTION)
    many = np.full(len(segments), len(segments) > MANY)
    # Sorted rows that equal the one before; the first of each is no repetition.
    order = np.lexsort((end, start))
    repeated = np.zeros(len(segments), dtype=bool)
    repeated[order[1:]] = (segments[order[1:]] == segments[order[:-1]]).all(axis=1)
    length = f", video ends at {video.duration:g}" if video.duration else ""
    kinds: tuple[tuple[Severity, str, NDArray[np.bool_], str], ...] = (
        ("error", "proposals that end before they start", end < start, "swap the two, or remove them"),
        ("error", "proposals outside the video", outside & (end >= start), "are they seconds, of this video?"),
        (
            "error",
            f"proposals that reach more than {SLACK_SECONDS:g} s out of the video",
            over & (end >= start),
            "correct them, or the duration: is the frame rate that of this video?",
        ),
        (
            "warning",
            "proposals that look like fractions of the video",
            np.full(len(segments), fraction),
            "multiply them by the duration",
        ),
        ("warning", "proposals of no length", end == start, "remove them: they cover nothing"),
        ("warning", "proposals that repeat another", repeated, "remove them: each is judged"),
        ("warning", f"more than {MANY} proposals", many, "keep the best: data.proposals_per_video"),
    )
    for severity, what, rows, fix in kinds:
        if rows.any():
            first = segments[np.flatnonzero(rows)[0]]
            value = f"{int(rows.sum())} of {len(segments)}, e.g. [{first[0]:g}, {first[1]:g}]{length}"
            yield Finding(severity, what, video.id, value, fix)
