"""Proposals as an input: the segments of each video that a two-stage method judges, and those that a window shows.

A :class:`ProposalSet` is what a file of proposals or a proposal model said, made fit for use: labels dropped, equal
segments of a video once (with their highest score), the best first, cut off at the ends of the video. What cannot be
meant is refused (:func:`checked`), what is left out is said.

Which of them a window has, :func:`in_window` says::

    proposal     |---------|               half of it at least lies in the window: it is kept, cut to the window
    proposal   |-------------------------| it fills half of the window at least: likewise
    window          |------------|
    proposal                   |----------------|       neither: another window shows more of it

Windows without gaps between them leave out no proposal by this rule: of one that only two windows show, one shows half;
where there are more, those between its ends are filled. Windows that show the same seconds twice, at two speeds, have
a proposal twice, as they have targets twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from untrimmed.data.batch import Proposals
from untrimmed.errors import InputError, nearest
from untrimmed.formats.check_proposals import SLACK_SECONDS, beyond, rows_by_video
from untrimmed.formats.collect import counted
from untrimmed.formats.features import Features
from untrimmed.timemap import TimeMap
from untrimmed.types import Annotations, Detections

MOST = 100_000
"""More proposals of one video than this are refused: no method judges them in one piece, and no published one has a
hundredth."""

_HALF = 0.5 * (1 - 1e-6)
_SHOWN = 3


@dataclass(frozen=True, eq=False)
class VideoProposals:
    """The proposals of one video, the best first.

    Args:
        segments: (N, 2) float64, seconds, of a length above 0.
        scores: (N,) float64, what their source thinks of them.
    """

    segments: NDArray[np.float64]
    scores: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def none(cls) -> VideoProposals:
        return cls(np.empty((0, 2)), np.empty(0))


@dataclass(frozen=True, eq=False)
class ProposalSet:
    """The proposals of many videos.

    Args:
        videos: video id -> its proposals; also those without any.
        source: the file or model they are from, for messages.
        notes: what was left out, a sentence each.
        compared: they were compared with the durations of the annotations, from which those of features may differ.
    """

    videos: Mapping[str, VideoProposals]
    source: str
    notes: tuple[str, ...] = ()
    compared: bool = False

    def of_video(self, video_id: str, duration: float | None = None) -> VideoProposals:
        """The proposals of one video.

        Args:
            video_id: the video.
            duration: seconds, if known: the proposals are cut off there.

        Raises:
            InputError: if nothing is said of the video; if they were not compared before, and lie outside it.
        """
        if video_id not in self.videos:
            raise InputError(
                f"{self.source}: no proposals of video '{video_id}': {nearest(video_id, self.videos, limit=4)}; make "
                "them for this video too"
            )
        if not self.compared:
            _expect_inside(self.source, video_id, self.videos[video_id], duration)
        return _cut(self.videos[video_id], duration)

    @classmethod
    def of(cls, detections: Detections, source: str, *, most: int | None = None) -> ProposalSet:
        """From a result: without labels, each segment of a video once, the best first.

        Args:
            detections: the proposals; equal scores keep their order.
            source: for messages.
            most: that are kept of each video; None for all.

        Raises:
            InputError: for a proposal that ends before it starts, or more than :data:`MOST` of a video.
        """
        start, end = detections.segments.T
        if (wrong := np.flatnonzero(end < start)).size:
            row, video_id = wrong[0], detections.video_ids[detections.video[wrong[0]]]
            raise InputError(
                f"{source}: video '{video_id}': a proposal ends before it starts, [{start[row]:g}, {end[row]:g}] "
                f"({wrong.size} of {len(detections)} do); swap the two (`untrimmed check TRUTH --proposals FILE` lists "
                "them)"
            )
        if (detections.label >= 0).any():
            detections = replace(detections, labels=(), label=np.full(len(detections), -1))
        videos, empty, equal = {}, 0, 0
        for video_id, rows in rows_by_video(detections).items():
            long = rows[end[rows] > start[rows]]
            kept = _each_once(detections.segments, detections.scores, long)
            empty, equal = empty + len(rows) - len(long), equal + len(long) - len(kept)
            kept = kept if most is None else kept[:most]
            if len(kept) > MOST:
                raise InputError(
                    f"{source}: video '{video_id}': {len(kept)} proposals, more than the {MOST} that can be judged; "
                    "keep the best, such as data.proposals_per_video=1000"
                )
            videos[video_id] = VideoProposals(detections.segments[kept], detections.scores[kept])
        notes = [f"{counted(empty, 'proposal')} of no length left out"] if empty else []
        notes += [f"{counted(equal, 'proposal')} that repeat another left out"] if equal else []
        return cls(videos, source, tuple(notes))


def checked(
    detections: Detections, parts: Mapping[str, Annotations], source: str, *, most: int | None = None
) -> ProposalSet:
    """The proposals of the videos of a data set, compared with what is known of these.

    Args:
        detections: the proposals; those of other videos are not looked at.
        parts: name of a part, such as ``"training"``, -> its videos.
        source: for messages.
        most: that are kept of each video; None for all.

    Returns:
        The proposals of every video of the parts, none where there are none; the notes name these videos.

    Raises:
        InputError: as :meth:`ProposalSet.of`; if fewer than half of the videos of a part have proposals; if a proposal
            lies outside its video, or reaches out of it by more than a second.
    """
    wanted = {video.id: video for part in parts.values() for video in part}
    rows = np.isin(detections.video, [i for i, name in enumerate(detections.video_ids) if name in wanted])
    found = ProposalSet.of(detections.select(rows), source, most=most)
    notes = list(found.notes)
    for name, part in parts.items():
        bare = [video.id for video in part if not len(found.videos.get(video.id, ()))]
        if 2 * len(bare) > len(part):
            theirs = detections.video_ids[0] if detections.video_ids else ""
            raise InputError(
                f"{source}: {len(bare)} of the {len(part)} videos of data.{name} have no proposals, such as "
                f"'{bare[0]}'; it holds {counted(len(detections.video_ids), 'video')}"
                f"{f', such as {theirs!r}' if theirs else ''}: are these proposals of this data set, and of all its "
                "subsets?"
            )
        if bare:
            more = f", ... ({len(bare)} in all)" if len(bare) > _SHOWN else ""
            notes.append(f"no proposals, so no detections, in {', '.join(bare[:_SHOWN])}{more} of data.{name}")
    videos = {}
    for video_id, video in wanted.items():
        own = found.videos.get(video_id, VideoProposals.none())
        _expect_inside(source, video_id, own, video.duration)
        videos[video_id] = _cut(own, video.duration)
    return ProposalSet(videos, source, tuple(notes), compared=True)


def in_window(proposals: VideoProposals, time_map: TimeMap, seen: tuple[float, float]) -> Proposals:
    """The proposals that a window has, see the module.

    Args:
        proposals: of its video.
        time_map: where its steps lie in the video.
        seen: seconds between which the video has features; what lies outside does not count as missing.

    Returns:
        In steps, piece by piece of the map, the best first in each.
    """
    clipped = np.clip(proposals.segments, *seen)
    steps, rows, owners = time_map.segments_to_steps(clipped)
    pieces = np.array([(piece.last - piece.first, piece.seconds_per_step) for piece in time_map.pieces])[owners]
    shown = steps[:, 1] - steps[:, 0]
    length = (clipped[rows, 1] - clipped[rows, 0]) / pieces[:, 1]
    keep = (shown >= _HALF * length) | (shown >= _HALF * pieces[:, 0])
    return Proposals(
        torch.from_numpy(steps[keep].astype(np.float32)),
        torch.from_numpy(proposals.scores[rows[keep]].astype(np.float32)),
        torch.from_numpy(rows[keep]),
    )


def seen_seconds(features: Features, video_id: str) -> tuple[float, float]:
    """Between which times a video has features."""
    grid = features.grid(video_id)
    return float(grid.steps_to_seconds(0)), float(grid.steps_to_seconds(features.length(video_id)))


def outside_features(proposals: ProposalSet, features: Features) -> int:
    """How many proposals share no time with the features of their video, so that no window can show them."""
    count = 0
    for video_id, each in proposals.videos.items():
        low, high = seen_seconds(features, video_id)
        count += int(((each.segments[:, 1] <= low) | (each.segments[:, 0] >= high)).sum())
    return count


def _each_once(
    segments: NDArray[np.float64], scores: NDArray[np.float64], rows: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Those of the rows whose segment no better one has, by falling score, ties in their order."""
    ranked = rows[np.argsort(-scores[rows], kind="stable")]
    table = segments[ranked]
    order = np.lexsort((np.arange(len(ranked)), table[:, 1], table[:, 0]))
    again = (table[order[1:]] == table[order[:-1]]).all(axis=1)
    keep = np.ones(len(ranked), dtype=bool)
    keep[order[1:][again]] = False
    return ranked[keep]


def _expect_inside(source: str, video_id: str, proposals: VideoProposals, duration: float | None) -> None:
    """Refuse proposals that reach out of their video by more than rounding."""
    outside, over = beyond(proposals.segments, duration)
    if (outside | over).any():
        row = int(np.flatnonzero(outside | over)[0])
        start, end = proposals.segments[row]
        lasts = "" if duration is None else f", but the video lasts {duration:g} s"
        raise InputError(
            f"{source}: video '{video_id}': a proposal is [{start:g}, {end:g}]{lasts} "
            f"({int((outside | over).sum())} of {len(proposals)} lie outside, or reach out by more than "
            f"{SLACK_SECONDS:g} s): are these seconds, of this video? (`untrimmed check TRUTH --proposals FILE` lists "
            "them)"
        )


def _cut(proposals: VideoProposals, duration: float | None) -> VideoProposals:
    """Cut off at the ends of the video."""
    return replace(proposals, segments=np.clip(proposals.segments, 0.0, duration if duration else np.inf))
