"""Recall of the first few detections: average recall at an average number of proposals, and recall at k.

Both ask, for every instance, how far down the ranking the first detection with enough overlap stands. One detection
may recall several instances, as in both published measures.

Average recall at average number (AR@AN; ActivityNet's ``eval_proposal.py``) ignores labels. Every video gives the
same *share* of its proposals, chosen so that the videos give AN on average; recall is averaged over the thresholds.
The area under the curve from AN = 1 to 100 (trapezoids), divided by 100, is what the challenge reports, in percent.
Recall of all asks only whether any detection of the video overlaps enough.

Recall at k (k per instance; ``Recall@kx`` of ActionFormer and Ego4D) looks at the first ``k * n`` detections of a
class in a video that holds ``n`` instances of it; the mean over the classes is reported.

Departures from the official code:

1. Ties of score keep the order of the input; there it depends on the machine.
2. A video without proposals recalls nothing (the official code stops with an error in some versions of pandas).
3. Segments whose label is no class, such as Ambiguous ones, are no instances.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from untrimmed.errors import InputError
from untrimmed.evaluation.overlap import Floats, Ints, Table, compiled_tiou, stable_order
from untrimmed.evaluation.protocols import DENSE, PROTOCOLS, clean_tious, tiou_name
from untrimmed.types import Annotations, Detections


@dataclass(frozen=True, eq=False)
class AverageRecall:
    """Average recall over the average number of proposals per video.

    Args:
        tious: the T thresholds averaged over.
        numbers: ``(A,)`` average numbers of proposals per video, rising to the largest one.
        recall: ``(T, A)`` in [0, 1].
        average: ``(A,)`` mean over the thresholds.
        area: percent of the largest possible area, as ActivityNet reports it.
    """

    tious: tuple[float, ...]
    numbers: Floats
    recall: Floats
    average: Floats
    area: float

    def at(self, number: int) -> float:
        """Average recall at that average number of proposals.

        Raises:
            InputError: if the curve has no such point.
        """
        place = np.flatnonzero(np.isclose(self.numbers, number))
        if not len(place):
            raise InputError(f"no average recall at {number} proposals: the curve goes to {self.numbers[-1]:g}")
        return float(self.average[place[0]])

    def to_dict(self) -> dict[str, Any]:
        """``{"tiou": [...], "at": {"1": ..., "100": ...}, "area": percent}``."""
        shown = [n for n in (1, 5, 10, 50, 100, 200, 500, 1000) if n <= self.numbers[-1] + 1e-9]
        return {"tiou": list(self.tious), "at": {str(n): self.at(n) for n in shown}, "area": self.area}

    def __str__(self) -> str:
        points = "  ".join(f"AR@{n} {100 * value:.2f}" for n, value in self.to_dict()["at"].items())
        return f"{points}  area {self.area:.2f}"


@dataclass(frozen=True, eq=False)
class RecallAtK:
    """Recall of the first ``k`` detections per instance.

    Args:
        tious: the T thresholds.
        ks: the k's.
        per_class: ``(len(ks), T, K)`` in [0, 1].
        mean: ``(len(ks), T)`` mean over the classes.
    """

    tious: tuple[float, ...]
    ks: tuple[int, ...]
    per_class: Floats
    mean: Floats

    def to_dict(self) -> dict[str, dict[str, float]]:
        """``{"1": {"0.5": ...}, ...}``: k, then threshold."""
        return {
            str(k): {tiou_name(t): float(value) for t, value in zip(self.tious, row, strict=True)}
            for k, row in zip(self.ks, self.mean, strict=True)
        }


def average_recall(
    detections: Detections,
    truth: Annotations,
    *,
    tious: Sequence[float] = DENSE,
    largest: int = 100,
    ignored: Collection[str] = (),
) -> AverageRecall:
    """AR@AN for AN = 1 .. ``largest``; labels are ignored.

    Args:
        detections: proposals or detections.
        truth: the videos of the subset; those without instances do not count.
        tious: thresholds averaged over.
        largest: the largest average number of proposals, at least 1.
        ignored: labels of segments that are no instances.

    Raises:
        InputError: if the truth has no instance, or ``largest`` is below 1.
    """
    if largest < 1:
        raise InputError(f"largest average number of proposals is {largest}, expected at least 1")
    clean = clean_tious(tious)
    videos, low, high, rank = _ranked(detections, truth, clean, ignored)
    counted, first = np.unique(videos, return_index=True)
    available = (high - low)[first]
    share = largest * len(counted) / max(len(detections), 1)
    given = np.minimum((available * share).astype(np.int64), available)
    steps = np.arange(1, largest + 1) / float(largest) * (largest * float(len(counted)) / max(int(given.sum()), 1))
    which = np.searchsorted(counted, videos)
    recall = np.empty((len(clean), largest))
    for step, part in enumerate(steps):
        taken = np.minimum((given * part).astype(np.int64), given)
        recall[:, step] = (rank < taken[which, None]).mean(axis=0)
    average = recall.mean(axis=0)
    numbers = np.arange(1, largest + 1, dtype=np.float64)
    area = float(((average[1:] + average[:-1]) / 2).sum() / largest * 100)
    return AverageRecall(clean, numbers, recall, average, area)


def recall_of_all(
    detections: Detections, truth: Annotations, tious: Sequence[float] = DENSE, *, ignored: Collection[str] = ()
) -> Floats:
    """The share of instances that any detection of their video overlaps at or above each threshold; labels are ignored.

    Args:
        detections: proposals or detections, however many.
        truth: the videos of the subset.
        tious: T thresholds.
        ignored: labels of segments that are no instances.

    Returns:
        ``(T,)`` in [0, 1], for the thresholds in rising order.

    Raises:
        InputError: if the truth has no instance.
    """
    _, low, high, rank = _ranked(detections, truth, clean_tious(tious), ignored)
    found: Floats = (rank < (high - low)[:, None]).mean(axis=0)
    return found


def recall_at_k(table: Table, tious: Sequence[float], ks: Sequence[int] = (1, 5, 10)) -> RecallAtK:
    """The share of instances that the first ``k`` detections per instance find, at or above each threshold.

    Args:
        table: from :func:`~untrimmed.evaluation.overlap.build_table`.
        tious: thresholds.
        ks: detections per instance, each at least 1.

    Raises:
        InputError: if a threshold is out of range or a k is below 1.
    """
    if not ks or min(ks) < 1:
        raise InputError(f"recall at k = {list(ks)}: expected numbers of at least 1")
    clean = clean_tious(tious)
    key = table.label * len(table.videos) + table.video
    wanted = table.instance_label * len(table.videos) + table.instance_video
    low = np.searchsorted(key, wanted, side="left")
    high = np.searchsorted(key, wanted, side="right")
    compared = np.array([table.protocol.compared(tiou) for tiou in clean])
    rank = _first_ranks(table.instance_segments, low, high, table.segments, compared)
    _, group, size = np.unique(wanted, return_inverse=True, return_counts=True)
    instances = np.bincount(table.instance_label, minlength=len(table.classes))
    per_class = np.zeros((len(ks), len(clean), len(table.classes)))
    for i, k in enumerate(ks):
        hit = rank < (k * size[group])[:, None]
        for t in range(len(clean)):
            hits = np.bincount(table.instance_label, weights=hit[:, t], minlength=len(table.classes))
            per_class[i, t] = hits / instances
    return RecallAtK(clean, tuple(ks), per_class, per_class.mean(axis=-1))


def _ranked(
    detections: Detections, truth: Annotations, tious: Sequence[float], ignored: Collection[str]
) -> tuple[Ints, Ints, Ints, NDArray[np.int64]]:
    """Of each of G instances the number of its video, where the detections of that video begin and end when all are
    sorted by video and falling score, and ``(G, T)`` how many of them stand before the first that reaches each
    threshold."""
    videos, segments = _columns(truth, ignored)
    names = {name: index for index, name in enumerate(truth.videos)}
    # Proposals of videos outside the truth share one number at the end: they count, but can recall nothing.
    number = np.array([names.get(name, len(names)) for name in detections.video_ids], dtype=np.int64)
    order = np.argsort(-detections.scores, kind="stable")
    order = order[stable_order(number[detections.video[order]], len(names) + 1)]
    sorted_videos = number[detections.video[order]]
    low = np.searchsorted(sorted_videos, videos, side="left")
    high = np.searchsorted(sorted_videos, videos, side="right")
    compared = np.array([PROTOCOLS["activitynet"].compared(tiou) for tiou in tious])
    return videos, low, high, _first_ranks(segments, low, high, detections.segments[order], compared)


def _columns(truth: Annotations, ignored: Collection[str]) -> tuple[Ints, Floats]:
    """Video number, rising, and segment of every instance."""
    videos, segments = [], []
    for index, video in enumerate(truth):
        rows = [i for i, label in enumerate(video.instances.labels) if label not in ignored]
        videos.append(np.full(len(rows), index, dtype=np.int64))
        segments.append(video.instances.segments[rows])
    if not sum(map(len, videos)):
        raise InputError(f"the truth has {len(truth)} videos but no instances: nothing to recall")
    return np.concatenate(videos), np.concatenate(segments)


def _first_ranks(instances: Floats, low: Ints, high: Ints, segments: Floats, thresholds: Floats) -> NDArray[np.int64]:
    """``(G, T)`` rank, from 0, of the first of ``segments[low:high]`` that reaches each threshold, or a huge one."""
    rank = np.full((len(instances), len(thresholds)), np.iinfo(np.int64).max)
    _rank_into(rank, instances, low, high, segments, thresholds)
    return rank


@njit(cache=True)
def _rank_into(rank: Any, instances: Any, low: Any, high: Any, segments: Any, thresholds: Any) -> None:
    for g in range(len(instances)):
        reached = 0
        for d in range(low[g], high[g]):
            overlap = compiled_tiou(segments[d, 0], segments[d, 1], instances[g, 0], instances[g, 1])
            while reached < len(thresholds) and overlap >= thresholds[reached]:
                rank[g, reached] = d - low[g]
                reached += 1
            if reached == len(thresholds):
                break
