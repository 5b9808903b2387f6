"""One table of overlaps, which every number of this package is computed from.

How to use it::

    protocol = protocol_of("activitynet")
    truth = read_annotations(path).subset("validation")
    table = build_table(read_detections(results), truth, protocol, lowest=0.1)
    matching = match(table, (0.1, 0.5, 0.75))           # all thresholds in one go
    matching.instance[1]                                # (D,) at tIoU 0.5: the instance matched, or -1
    matching.dropped[1]                                 # (D,) neither true nor false positive (Ambiguous)
    across = pairs_in_video(table, lowest=0.1)          # overlaps with instances of any class

Inside the table, detections and instances are *numbered anew*, sorted into groups of one class and one video
(instances in the order of the truth, detections by falling score). ``table.row`` leads from a detection of the
table back to the row of the :class:`Detections` given; ``table.instance_index`` from an instance back to its place
among the instances of its video. Only detections whose label is a class of the truth are in the table;
``table.unknown`` and ``table.unlabelled`` count the others. Detections in videos the truth does not have are in it:
they are false positives.

``table.order`` sorts the detections for precision-recall curves: class by class (``table.class_start``), by falling
score. Ties of score keep the order of the input (``activitynet``), or the order of the videos' names and then of
the input (``thumos14``), as each official scorer does.

Overlaps are kept sparse, as :class:`Pairs`: the instances that overlap detection ``d`` are
``pairs.instance[pairs.start[d]:pairs.start[d + 1]]``, by falling tIoU (ties in the order of the truth). A
zero-length or reversed segment overlaps nothing and so has no pairs.

Departures from the official scorers:

1. ActivityNet sorts scores and overlaps with numpy's unstable default and reverses the result, so that there the
   order of ties depends on the machine; here ties keep the order of the input. Either way, only files with ties.
2. The THUMOS14 kit swaps the ends of a reversed detection; here it is a false positive, as with ActivityNet.
3. ActivityNet's code computes 0 / 0 for a detection without length on an instance without length at the same time, and
   takes the result, which is no number, for an overlap at every threshold; here nothing without length overlaps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from untrimmed.errors import InputError
from untrimmed.evaluation.protocols import Protocol, clean_tious
from untrimmed.segments import tiou_scalar
from untrimmed.types import Annotations, Detections

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_SMALLEST = 5e-324
_EXCUSING, _IGNORED = -1, -2

compiled_tiou = njit(cache=True)(tiou_scalar)
"""The one tIoU, for kernels. (Numba does not see when only ``segments.py`` changes: clear its cache then.)"""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Overlapping detections and instances.

    Args:
        start: ``(D + 1,)``; the pairs of detection ``d`` are ``start[d] : start[d + 1]``.
        instance: ``(P,)`` the instance of each pair; within a detection by falling tIoU, ties by number.
        tiou: ``(P,)`` their tIoU, above 0.
    """

    start: Ints
    instance: Ints
    tiou: Floats


@dataclass(frozen=True, eq=False)
class Table:
    """Detections (D) and instances (G) by class and video, and their overlaps. See the module's docstring.

    Args:
        protocol: whose rule the order of ties and the Ambiguous label follow.
        classes: K class names of the truth, sorted.
        videos: V names, sorted: those of the truth and those that only detections name.
        in_truth: ``(V,)`` whether the truth has the video.
        row: ``(D,)`` row of each detection in the :class:`Detections` given.
        label, video: ``(D,)`` index into ``classes`` and ``videos``.
        segments: ``(D, 2)`` seconds.
        scores: ``(D,)``.
        order: ``(D,)`` the detections by class, then by falling score with the protocol's order of ties.
        class_start: ``(K + 1,)`` class ``k`` is ``order[class_start[k] : class_start[k + 1]]``.
        ambiguous: ``(D,)`` whether the detection shares time with an Ambiguous segment of its video.
        instance_index: ``(G,)`` place of each instance among those of its video.
        instance_label, instance_video: ``(G,)`` index into ``classes`` and ``videos``.
        instance_segments: ``(G, 2)`` seconds.
        lowest: pairs of a smaller tIoU are not in ``pairs``.
        pairs: all pairs of the same class and video at or above ``lowest``.
        unknown: label -> number of detections left out because no instance has their label.
        unlabelled: number of detections left out because they have no label.
        ambiguous_count: number of Ambiguous segments.
        ignored: label -> number of segments of the truth left out because the protocol says that it is no class.
    """

    protocol: Protocol
    classes: tuple[str, ...]
    videos: tuple[str, ...]
    in_truth: Bools
    row: Ints
    label: Ints
    video: Ints
    segments: Floats
    scores: Floats
    order: Ints
    class_start: Ints
    ambiguous: Bools
    instance_index: Ints
    instance_label: Ints
    instance_video: Ints
    instance_segments: Floats
    lowest: float
    pairs: Pairs
    unknown: dict[str, int]
    unlabelled: int
    ambiguous_count: int
    ignored: dict[str, int]

    @property
    def lengths(self) -> Floats:
        """``(G,)`` lengths of the instances in seconds."""
        return lengths_of(self.instance_segments)


@dataclass(frozen=True, eq=False)
class Matching:
    """Which detection found which instance, at T thresholds.

    Args:
        tious: the T thresholds, rising.
        instance: ``(T, D)`` int32, the instance that a detection found (each at most once per threshold), or -1.
        dropped: ``(T, D)`` detections that found none but are excused, because they touch an Ambiguous segment.
    """

    tious: tuple[float, ...]
    instance: NDArray[np.int32]
    dropped: Bools

    @property
    def false_positive(self) -> Bools:
        """``(T, D)`` neither matched nor excused."""
        return (self.instance < 0) & ~self.dropped


def lengths_of(segments: Floats) -> Floats:
    """``(N,)`` lengths of ``(N, 2)`` segments in seconds, without the noise of the subtraction: 4.4 - 1.4 is 3, not a
    rounding above, which would be another group of lengths. A tenth of a nanosecond stays."""
    with np.errstate(over="ignore"):
        lengths: Floats = np.round(segments[:, 1] - segments[:, 0], 10)
    return lengths


def build_table(detections: Detections, truth: Annotations, protocol: Protocol, *, lowest: float) -> Table:
    """Group detections and truth by class and video and find all overlaps.

    Args:
        detections: what is to be scored.
        truth: the videos of the subset that is scored.
        protocol: decides the order of ties and which label is Ambiguous.
        lowest: the smallest tIoU of interest, above 0: the lowest threshold that will be matched.

    Raises:
        InputError: if the truth has no instance, or ``lowest`` is not above 0 and at most 1.
    """
    lowest = protocol.compared(clean_tious([lowest])[0])
    classes = tuple(label for label in truth.labels if label not in protocol.no_classes)
    if not classes:
        raise InputError(f"the truth has {len(truth)} videos but no instances: nothing to score against")
    label, unknown, unlabelled = _labels(detections, classes)
    used = np.flatnonzero(label >= 0)
    seen = np.unique(detections.video[used])
    videos = tuple(sorted(truth.videos.keys() | {detections.video_ids[i] for i in seen}))
    number = {name: index for index, name in enumerate(videos)}

    renumbered = np.array([number.get(name, -1) for name in detections.video_ids], dtype=np.int64)
    by_score = used[np.argsort(-detections.scores[used], kind="stable")]
    row = by_score[stable_order(renumbered[detections.video[by_score]], len(videos))]
    row = row[stable_order(label[row], len(classes))]
    label, video = label[row], renumbered[detections.video[row]]
    segments, scores = detections.segments[row], detections.scores[row]

    truth_table, excuses = _instances(truth, protocol, classes, number)
    key = label * len(videos) + video
    instance_key = truth_table.label * len(videos) + truth_table.video
    low = np.searchsorted(instance_key, key, side="left")
    high = np.searchsorted(instance_key, key, side="right")
    return Table(
        protocol=protocol,
        classes=classes,
        videos=videos,
        in_truth=np.array([name in truth.videos for name in videos], dtype=bool),
        row=row,
        label=label,
        video=video,
        segments=segments,
        scores=scores,
        order=_order(label, scores, row, len(classes), by_score if protocol.rule == "activitynet" else None),
        class_start=np.searchsorted(label, np.arange(len(classes) + 1)).astype(np.int64),
        ambiguous=_touched(segments, video, excuses),
        instance_index=truth_table.index,
        instance_label=truth_table.label,
        instance_video=truth_table.video,
        instance_segments=truth_table.segments,
        lowest=lowest,
        pairs=_pairs(segments, low, high, truth_table.segments, lowest),
        unknown=unknown,
        unlabelled=unlabelled,
        ambiguous_count=len(excuses.label),
        ignored=_ignored(truth, protocol),
    )


def pairs_in_video(table: Table, *, lowest: float) -> Pairs:
    """All pairs of a detection and an instance of the same video, whatever their classes, at or above ``lowest``.

    Raises:
        InputError: if ``lowest`` is not above 0 and at most 1.
    """
    (lowest,) = clean_tious([lowest])
    by_video = np.argsort(table.instance_video, kind="stable")
    videos = table.instance_video[by_video]
    low = np.searchsorted(videos, table.video, side="left")
    high = np.searchsorted(videos, table.video, side="right")
    pairs = _pairs(table.segments, low, high, table.instance_segments[by_video], lowest)
    return Pairs(pairs.start, by_video[pairs.instance], pairs.tiou)


def match(table: Table, tious: Sequence[float]) -> Matching:
    """Give every detection the instance it finds, by the rule of the table's protocol, at all thresholds.

    Args:
        table: from :func:`build_table`.
        tious: thresholds, at or above ``table.lowest``.

    Raises:
        InputError: if a threshold is out of range or below what the table holds.
    """
    clean = clean_tious(tious)
    compared = np.array([table.protocol.compared(tiou) for tiou in clean])
    if compared[0] < table.lowest:
        raise InputError(f"tIoU threshold {clean[0]:g} is below the {table.lowest:g} that the table was built for")
    pairs, count = table.pairs, len(table.instance_label)
    if table.protocol.rule == "activitynet":
        instance = _detections_claim(pairs.start, pairs.instance, pairs.tiou, compared, count)
    else:
        start, detection, tiou = _transposed(pairs, count, len(table.row))
        instance = _instances_claim(start, detection, tiou, compared, len(table.row))
    return Matching(clean, instance, (instance < 0) & table.ambiguous)


def stable_order(values: Ints, count: int) -> Ints:
    """What sorts whole numbers below ``count``, ties in their order."""
    # numpy sorts 16-bit numbers by radix, several times faster than wider ones by merging.
    narrow = values.astype(np.uint16) if count <= 2**16 else values
    order: Ints = np.argsort(narrow, kind="stable")
    return order


@dataclass(frozen=True, eq=False)
class _Truth:
    """Columns of instances, sorted by class and video, in file order within."""

    index: Ints
    label: Ints
    video: Ints
    segments: Floats


def _labels(detections: Detections, classes: tuple[str, ...]) -> tuple[Ints, dict[str, int], int]:
    """Per detection the number of its class in the truth or -1, and how many have which unknown label or none."""
    number = {name: index for index, name in enumerate(classes)}
    # One more entry than there are labels: index -1, no label, ends there.
    renumbered = np.array([number.get(name, -1) for name in detections.labels] + [-1], dtype=np.int64)
    counts = np.bincount(detections.label + 1, minlength=len(detections.labels) + 1)
    unknown = {name: int(n) for name, n in zip(detections.labels, counts[1:], strict=True) if n and name not in number}
    return renumbered[detections.label], unknown, int(counts[0])


def _instances(
    truth: Annotations, protocol: Protocol, classes: tuple[str, ...], number: dict[str, int]
) -> tuple[_Truth, _Truth]:
    """The instances of all classes, and the Ambiguous segments (as if of class 0); not those of ignored labels."""
    label_number = {name: index for index, name in enumerate(classes)}
    if protocol.ambiguous is not None:
        label_number[protocol.ambiguous] = _EXCUSING
    index, label, video, segments = [], [], [], []
    for item in truth:
        count = len(item.instances)
        if count:
            index.append(np.arange(count))
            label.append(np.array([label_number.get(name, _IGNORED) for name in item.instances.labels]))
            video.append(np.full(count, number[item.id]))
            segments.append(item.instances.segments)
    labels, videos = np.concatenate(label).astype(np.int64), np.concatenate(video).astype(np.int64)
    order = np.argsort(labels * len(number) + videos, kind="stable")
    rows, places = np.concatenate(index).astype(np.int64), np.concatenate(segments)
    excused, real = order[labels[order] == _EXCUSING], order[labels[order] >= 0]
    return (
        _Truth(rows[real], labels[real], videos[real], places[real]),
        _Truth(rows[excused], labels[excused], videos[excused], places[excused]),
    )


def _ignored(truth: Annotations, protocol: Protocol) -> dict[str, int]:
    """Label -> number of segments that are neither instances nor excuses."""
    labels = protocol.no_classes - {protocol.ambiguous}
    counts = Counter(name for video in truth for name in video.instances.labels if name in labels)
    return dict(sorted(counts.items()))


def _order(label: Ints, scores: Floats, row: Ints, classes: int, by_score: Ints | None) -> Ints:
    """Positions by class and falling score; ties as in ``by_score``, rows of the input, else as in the table."""
    if by_score is None:
        order = np.argsort(-scores, kind="stable")
    else:
        position = np.empty(int(row.max(initial=-1)) + 1, dtype=np.int64)
        position[row] = np.arange(len(row))
        order = position[by_score]
    return order[stable_order(label[order], classes)]


def _touched(segments: Floats, video: Ints, excuses: _Truth) -> Bools:
    low = np.searchsorted(excuses.video, video, side="left")
    high = np.searchsorted(excuses.video, video, side="right")
    touched: Bools = _count(segments, low, high, excuses.segments, _SMALLEST) > 0
    return touched


def _pairs(segments: Floats, low: Ints, high: Ints, others: Floats, lowest: float) -> Pairs:
    """The pairs of each segment with ``others[low:high]`` that overlap by at least ``lowest``."""
    start = np.zeros(len(segments) + 1, dtype=np.int64)
    np.cumsum(_count(segments, low, high, others, lowest), out=start[1:])
    instance = np.empty(start[-1], dtype=np.int64)
    tiou = np.empty(start[-1])
    _fill(segments, low, high, others, lowest, start, instance, tiou)
    return Pairs(start, instance, tiou)


def _transposed(pairs: Pairs, instances: int, detections: int) -> tuple[Ints, Ints, Floats]:
    """The same pairs by instance: where each instance's begin, its detections in rising order, their tIoU."""
    by_instance = np.argsort(pairs.instance, kind="stable")
    start = np.zeros(instances + 1, dtype=np.int64)
    np.cumsum(np.bincount(pairs.instance, minlength=instances), out=start[1:])
    detection = np.repeat(np.arange(detections), np.diff(pairs.start))
    return start, detection[by_instance], pairs.tiou[by_instance]


@njit(cache=True)
def _count(segments: Any, low: Any, high: Any, others: Any, floor: float) -> Any:
    counts = np.zeros(len(segments), dtype=np.int64)
    for d in range(len(segments)):
        for g in range(low[d], high[d]):
            if compiled_tiou(segments[d, 0], segments[d, 1], others[g, 0], others[g, 1]) >= floor:
                counts[d] += 1
    return counts


@njit(cache=True)
def _fill(segments: Any, low: Any, high: Any, others: Any, floor: float, start: Any, instance: Any, tiou: Any) -> None:
    for d in range(len(segments)):
        count = 0
        first = start[d]
        for g in range(low[d], high[d]):
            overlap = compiled_tiou(segments[d, 0], segments[d, 1], others[g, 0], others[g, 1])
            if overlap >= floor:
                # Insertion sort: a detection overlaps few instances, and equal tIoUs must keep their order.
                place = first + count
                while place > first and tiou[place - 1] < overlap:
                    tiou[place] = tiou[place - 1]
                    instance[place] = instance[place - 1]
                    place -= 1
                tiou[place] = overlap
                instance[place] = g
                count += 1


@njit(cache=True)
def _detections_claim(start: Any, instance: Any, tiou: Any, thresholds: Any, instances: int) -> Any:
    found = np.full((len(thresholds), len(start) - 1), -1, dtype=np.int32)
    for t in range(len(thresholds)):
        taken = np.zeros(instances, dtype=np.bool_)
        for d in range(len(start) - 1):
            for p in range(start[d], start[d + 1]):
                if tiou[p] < thresholds[t]:
                    break
                if not taken[instance[p]]:
                    taken[instance[p]] = True
                    found[t, d] = instance[p]
                    break
    return found


@njit(cache=True)
def _instances_claim(start: Any, detection: Any, tiou: Any, thresholds: Any, detections: int) -> Any:
    found = np.full((len(thresholds), detections), -1, dtype=np.int32)
    for t in range(len(thresholds)):
        for g in range(len(start) - 1):
            best, highest = -1, thresholds[t]
            for p in range(start[g], start[g + 1]):
                if tiou[p] > highest and found[t, detection[p]] < 0:
                    best, highest = detection[p], tiou[p]
            if best >= 0:
                found[t, best] = g
    return found
