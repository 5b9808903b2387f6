"""How far a score would move with other videos of the same kind: the bootstrap over videos.

A resample draws as many videos as there are, with replacement. Detections are matched to instances within their
video, so a resample changes no match: it only says how many copies of each video there are, and AP follows from
integer weights (:mod:`untrimmed.evaluation.ap`). Videos are the unit because detections of one video depend on
each other.

The videos drawn from are those of the truth, and those that only detections name (their detections are false
positives). In a resample that holds no instance of a class, the class has no AP, and the mean is over the others.
Intervals are percentile intervals.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from untrimmed.errors import InputError
from untrimmed.evaluation.ap import weighted_average_precision
from untrimmed.evaluation.overlap import Floats, Matching, Table

RESAMPLES = 1000
LEVEL = 0.95


def draw_weights(videos: int, resamples: int = RESAMPLES, seed: int = 0) -> NDArray[np.int32]:
    """How often each video occurs in each resample.

    Args:
        videos: V, at least 1.
        resamples: R, at least 1.
        seed: the same seed gives the same draws.

    Returns:
        ``(R, V)`` int32; every row sums to V.

    Raises:
        InputError: if a number is below 1.
    """
    if videos < 1 or resamples < 1:
        raise InputError(f"bootstrap of {videos} videos with {resamples} resamples: expected at least 1 of each")
    generator = np.random.default_rng(seed)
    weights = np.empty((resamples, videos), dtype=np.int32)
    for row in weights:
        row[:] = np.bincount(generator.integers(0, videos, size=videos), minlength=videos)
    return weights


def workers() -> int:
    """How many threads share the work: one for each core that this process may use, at most 32."""
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 32)


def bootstrap_ap(table: Table, matching: Matching, weights: NDArray[np.int32]) -> Floats:
    """AP of every class and threshold in every resample, on all cores; the result does not depend on their number.

    Args:
        table, matching: from :mod:`untrimmed.evaluation.overlap`.
        weights: ``(R, V)`` int32 for ``table.videos``, e.g. from :func:`draw_weights`.

    Returns:
        ``(R, T, K)``; NaN where a resample holds no instance of the class.
    """
    with ThreadPoolExecutor(workers()) as pool:
        parts = pool.map(
            lambda part: weighted_average_precision(table, matching, part), np.array_split(weights, workers())
        )
        return np.concatenate(list(parts))


def interval(samples: Floats, level: float = LEVEL) -> Floats:
    """Percentile interval along the first axis.

    Args:
        samples: ``(R, ...)`` values of the resamples; NaN are left out.
        level: share of the resamples inside, in (0, 1).

    Returns:
        ``(2, ...)`` low and high; NaN where no resample has a value.

    Raises:
        InputError: if the level is not in (0, 1).
    """
    if not 0.0 < level < 1.0:
        raise InputError(f"confidence level {level:g}: expected a number between 0 and 1, e.g. 0.95")
    # NaN sorts to the end, so a quantile of the first `there` values is one of the values that are there.
    ranked = np.sort(samples, axis=0)
    there = (~np.isnan(samples)).sum(axis=0)
    ends = []
    for share in ((1 - level) / 2, (1 + level) / 2):
        place = np.maximum(there - 1, 0) * share
        below = np.floor(place).astype(np.int64)
        above = np.minimum(below + 1, np.maximum(there - 1, 0))
        low, high = (np.take_along_axis(ranked, rows[None], axis=0)[0] for rows in (below, above))
        ends.append(low + (high - low) * (place - below))
    return np.stack(ends)


def pair(ends: Floats) -> list[float | None]:
    """``[low, high]`` for JSON; None for NaN."""
    return [None if np.isnan(end) else float(end) for end in ends]
