"""From the candidates of a detector to the detections of a video: limits, suppression, voting, in that order.

:class:`PostProcess` says what is done; :func:`process` does it to the arrays of one video, :func:`apply` to all
videos of a :class:`~untrimmed.types.Detections`. Both give the same, row for row.

Published settings::

    PostProcess(nms=(Nms("gaussian", sigma=0.85, class_wise=False),), keep=100)             # ActivityNet, one class
    PostProcess(nms=(Nms("hard", threshold=0.4, per="window"), Nms("gaussian", sigma=0.46, class_wise=False)),
                max_length=50.0, keep=200)                                                 # VSGN on THUMOS14
    PostProcess(nms=(Nms("gaussian", sigma=0.75, threshold=0.65, rise=0.25),), keep=100)   # BSN on ActivityNet

A detector looks at a long video in windows that overlap. Suppressions ``per="window"`` are done by
:func:`process_window` on what was found in each, before the windows are put together.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from untrimmed.errors import InputError
from untrimmed.postprocess.nms import candidates, nms, vote
from untrimmed.postprocess.settings import PostProcess
from untrimmed.types import Detections


class Kept(NamedTuple):
    """What is left of one video, by falling score, ties by row.

    Attributes:
        rows: (M,) int64, the candidates these were.
        segments: (M, 2) float64, moved if there was voting.
        scores: (M,) float64, decayed if suppression was soft.
        labels: (M,) int64.
    """

    rows: NDArray[np.int64]
    segments: NDArray[np.float64]
    scores: NDArray[np.float64]
    labels: NDArray[np.int64]


def process(
    segments: ArrayLike,
    scores: ArrayLike,
    labels: ArrayLike | None,
    settings: PostProcess,
    duration: float | None = None,
) -> Kept:
    """Post-process the candidates of one video.

    Args:
        segments: (N, 2) seconds, finite.
        scores: (N,) finite; at least 0 for soft suppression and voting.
        labels: (N,) whole numbers, one a class (-1 for candidates without label is as good as any); None for one.
        settings: what to do.
        duration: of the video in seconds; a suppression with ``rise`` needs it.

    Raises:
        InputError: for shapes that differ, values outside these ranges, or a duration that is needed and not above 0;
            if a suppression is per window.
    """
    _expect_merged(settings)
    table, values, label = candidates(segments, scores, labels)
    lasting = _durations(settings, ("the video",), {} if duration is None else {"the video": duration})
    rows, kept, moved = _process(np.zeros(len(values), dtype=np.int64), label, table, values, settings, lasting)
    return Kept(rows, moved, kept, label[rows])


def process_window(
    segments: ArrayLike,
    scores: ArrayLike,
    labels: ArrayLike | None,
    settings: PostProcess,
    duration: float | None = None,
) -> Kept:
    """The suppressions per window, on the candidates of one window: step 0. What it leaves of all windows of a video is
    then for :func:`process` with ``settings.merged``.

    Args:
        segments, scores, labels, duration: as of :func:`process`.
        settings: what to do; of the rest the ``floor`` alone is looked at, which what decays below it does not pass.

    Raises:
        InputError: as :func:`process`.
    """
    steps = tuple(replace(step, per="video") for step in settings.per_window)
    return process(segments, scores, labels, PostProcess(floor=settings.floor, nms=steps, keep=None), duration)


class CandidatesWarning(UserWarning):
    """``candidates`` kept some of a video from suppression."""


def say_left_out(text: str) -> None:
    """Warn of candidates that were left out."""
    warnings.warn(text, CandidatesWarning, stacklevel=3)


def left_out(video_ids: Sequence[str], counts: ArrayLike, settings: PostProcess) -> list[str]:
    """What there is to say of candidates that do not go into suppression, a phrase for each video of which some do not.

    Args:
        video_ids: of the videos.
        counts: (V,) candidates of each that neither ``floor`` nor ``max_length`` drops.
        settings: with or without a limit of candidates.
    """
    most = settings.candidates
    if most is None:
        return []
    return [
        f"{video_id}: {count - most:,} of {count:,} candidates left out before suppression (the limit is {most:,})"
        for video_id, count in zip(video_ids, np.asarray(counts).tolist(), strict=True)
        if count > most
    ]


def apply(
    detections: Detections,
    settings: PostProcess,
    durations: Mapping[str, float | None] | None = None,
    *,
    note: Callable[[str], None] = say_left_out,
) -> Detections:
    """Post-process all videos.

    Args:
        detections: of any number of videos.
        settings: what to do.
        durations: of the videos in seconds, by id; a suppression with ``rise`` needs them.
        note: is told if ``candidates`` leaves some out; a warning by default.

    Returns:
        What is left, video by video in the order of ``detections.video_ids`` (all of which are kept, also those left
        without detection), within a video by falling score.

    Raises:
        InputError: as :func:`process`.
    """
    _expect_merged(settings)
    entered = detections.video[entering(detections.segments, detections.scores, settings)]
    counts = np.bincount(entered, minlength=len(detections.video_ids))
    if said := left_out(detections.video_ids, counts, settings):
        note("; ".join(said[:5]) + (f"; and likewise in {len(said) - 5:,} more videos" if said[5:] else ""))
    lasting = _durations(settings, detections.video_ids, durations or {})
    rows, scores, segments = _process(
        detections.video, detections.label, detections.segments, detections.scores, settings, lasting
    )
    return replace(
        detections, video=detections.video[rows], label=detections.label[rows], segments=segments, scores=scores
    )


def _expect_merged(settings: PostProcess) -> None:
    if settings.per_window:
        raise InputError(
            "nms has a suppression per window, but it is not known which window these candidates were found in; use "
            "process_window while it is, then PostProcess.merged"
        )


def entering(segments: NDArray[np.float64], scores: NDArray[np.float64], settings: PostProcess) -> NDArray[np.bool_]:
    """Which candidates are looked at at all: (N,), those not below ``floor`` and shorter than ``max_length``."""
    inside = np.ones(len(scores), dtype=bool)
    if settings.floor is not None:
        inside &= scores >= settings.floor
    if settings.max_length is not None:
        inside &= segments[:, 1] - segments[:, 0] < settings.max_length
    return inside


def _durations(
    settings: PostProcess, video_ids: Sequence[str], durations: Mapping[str, float | None]
) -> NDArray[np.float64]:
    """(V,) seconds, if they are needed at all."""
    if not any(step.rise for step in settings.nms):
        return np.ones(len(video_ids))
    for video_id in video_ids:
        value = durations.get(video_id)
        if value is None or not value > 0:
            raise InputError(
                f"{video_id}: its duration is {'not known' if value is None else value}, but NMS whose threshold rises "
                "with length needs to know how long each video lasts"
            )
    return np.array([durations[video_id] for video_id in video_ids], dtype=np.float64)


def _process(
    video: NDArray[np.int64],
    label: NDArray[np.int64],
    segments: NDArray[np.float64],
    scores: NDArray[np.float64],
    settings: PostProcess,
    durations: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Rows kept, their scores and segments; by video, then score, then row."""
    entered = np.flatnonzero(entering(segments, scores, settings))
    if settings.candidates is not None:
        entered = np.sort(_best(entered, video, scores, settings.candidates))
    classes = _pairs(video, label)

    rows, current = entered, scores
    for number, step in enumerate(settings.nms):
        last = number == len(settings.nms) - 1
        # More of a class than are kept of the video cannot be kept, so the last suppression may stop there.
        keep = min((limit for limit in (step.keep, settings.keep if last else None) if limit), default=None)
        threshold: ArrayLike | None = step.threshold
        if step.rise is not None and step.threshold is not None:
            share = (segments[rows, 1] - segments[rows, 0]) / durations[video[rows]]
            threshold = step.threshold + step.rise * share.clip(0, 1)
        picks = nms(
            segments[rows],
            current[rows],
            (classes if step.class_wise else video)[rows],
            method=step.method,
            threshold=threshold,
            sigma=step.sigma,
            floor=settings.floor,
            keep=keep,
            extend=step.extend,
        )
        kept = rows[picks.rows]
        current = current.copy()
        current[kept] = picks.scores
        rows = np.sort(kept)
    rows = _best(rows, video, current, settings.keep)

    moved = segments[rows]
    if settings.voting is not None:
        moved = vote(
            np.searchsorted(entered, rows),
            segments[entered],
            scores[entered],
            classes[entered],
            threshold=settings.voting,
        )
    return rows, current[rows], moved


def _best(
    rows: NDArray[np.int64], video: NDArray[np.int64], scores: NDArray[np.float64], count: int | None
) -> NDArray[np.int64]:
    """The ``count`` rows of each video with the highest scores, by video, falling score and row."""
    ranked = rows[np.lexsort((rows, -scores[rows], video[rows]))]
    if count is None or len(ranked) == 0:
        return ranked
    owner = video[ranked]
    first = np.flatnonzero(np.diff(owner, prepend=owner[0] - 1))
    rank = np.arange(len(ranked)) - np.repeat(first, np.diff(np.append(first, len(ranked))))
    return ranked[rank < count]


def _pairs(video: NDArray[np.int64], label: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number for each pair of video and label."""
    if len(label) == 0:
        return label
    low = int(label.min())
    return video * (int(label.max()) - low + 1) + (label - low)
