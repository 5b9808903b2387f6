"""Proposals that look at nothing: windows of several lengths that slide over a video, a given number of each.

The windows have lengths between two bounds, each longer than the one before by a ratio, and are spread evenly, in
proportion to their number: of each length as many as its share of the video asks for. Bounds and ratio are those with
the best average recall on the training videos, so this is as good as sliding windows get.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from untrimmed.evaluation.recall import average_recall
from untrimmed.types import Annotations, Detections

RATIOS = (1.3, 1.6, 2.0, 2.5, 3.0, 4.0)
SHORTEST = (0.0, 5.0, 10.0, 20.0, 30.0, 40.0)
LONGEST = (70.0, 80.0, 90.0, 95.0)
"""Bounds that are tried: percentiles of the lengths of instances."""


def windows(duration: float, lengths: Sequence[float], count: int) -> NDArray[np.float64]:
    """Exactly ``count`` windows of some lengths in a video.

    Args:
        duration: of the video in seconds.
        lengths: of the windows, in seconds; those longer than the video are as long as it.
        count: at least 1.

    Returns:
        (count, 2) seconds: of each length a number in proportion to ``1 / length``, so that neighbours overlap alike,
        rounded to the largest remainders; evenly spread, the first at the start, the last at the end.
    """
    cut = np.minimum(np.asarray(lengths, dtype=np.float64), duration)
    wanted = count * (1 / cut) / (1 / cut).sum()
    numbers = np.floor(wanted).astype(np.int64)
    rest = np.argsort(numbers - wanted, kind="stable")[: count - numbers.sum()]
    numbers[rest] += 1
    found = [np.empty((0, 2))]
    for length, number in zip(cut.tolist(), numbers.tolist(), strict=True):
        room = duration - length
        starts = np.linspace(0.0, room, number) if number != 1 else np.array([room / 2])
        found.append(np.stack((starts, starts + length), axis=1))
    return np.concatenate(found)


def proposals(durations: Mapping[str, float], lengths: Sequence[float], count: int) -> Detections:
    """``count`` windows in each of some videos; all with the same score, as there is nothing to tell them apart by."""
    segments = [windows(duration, lengths, count) for duration in durations.values()]
    total = count * len(segments)
    return Detections(
        tuple(durations),
        (),
        np.repeat(np.arange(len(segments)), count),
        np.full(total, -1),
        np.concatenate(segments) if segments else np.empty((0, 2)),
        np.ones(total),
    )


def best_lengths(training: Annotations, count: int) -> tuple[float, ...]:
    """The lengths with which ``count`` windows a video have the best average recall on these videos."""
    sizes = np.concatenate([np.diff(video.instances.segments, axis=1)[:, 0] for video in training])
    durations = durations_of(training)
    tried = {
        ladder(float(np.percentile(sizes, low)), float(np.percentile(sizes, high)), ratio)
        for low, high, ratio in itertools.product(SHORTEST, LONGEST, RATIOS)
    }

    def recall(lengths: tuple[float, ...]) -> float:
        return average_recall(proposals(durations, lengths, count), training, largest=count).at(count)

    return max(sorted(tried), key=recall)


def ladder(shortest: float, longest: float, ratio: float) -> tuple[float, ...]:
    """Lengths from the shortest to the longest, each about ``ratio`` times the one before."""
    steps = max(1, round(np.log(longest / shortest) / np.log(ratio)))
    return tuple(np.geomspace(shortest, longest, steps + 1).round(3).tolist())


def durations_of(videos: Iterable) -> dict[str, float]:
    """The duration of each video, or where its last instance ends."""
    return {video.id: float(video.duration or video.instances.segments[:, 1].max()) for video in videos}
