"""Average precision from a table of overlaps and a matching, for many weightings of the videos at once.

Both areas are computed at the true positives alone, because recall rises nowhere else::

    interpolated (activitynet)   sum over true positives of  max(precision here and at all later ones)  / positives
    not interpolated (thumos14)  sum over true positives of  precision here                             / positives

Only the true positives and the detections left out are visited for each threshold; how many false positives stand
before one follows from a count over all detections that the thresholds share.

A *weight* says how many copies of a video a bootstrap resample holds; copies of a detection stand next to each
other in the order of scores. Without weights every video is there once.

Detections of one class with equal scores stand in some order, which no rule gives and AP depends on: that of the table.
:func:`ap_range` says what another one could make of it.

Departures from the official scorers are those of :mod:`untrimmed.evaluation.overlap`. A class of the truth without any
detection has an AP of 0 and counts in the mean, as in both.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from untrimmed.errors import InputError
from untrimmed.evaluation.overlap import Bools, Floats, Ints, Matching, Table


def average_precision(
    table: Table,
    matching: Matching,
    *,
    positive: Bools | None = None,
    left_out: Bools | None = None,
    normalizer: float | None = None,
) -> Floats:
    """AP of every class at every threshold.

    Args:
        table, matching: from :func:`~untrimmed.evaluation.overlap.build_table` and ``match``.
        positive: ``(G,)`` the instances to be found; all if None. A detection matched to another one is neither
            right nor wrong.
        left_out: ``(T, D)`` or ``(D,)`` detections to treat as if they were not there, besides the dropped ones.
        normalizer: if given, precision is that of a class with this many instances at the same recall:
            ``r N / (r N + false positives)`` (AP_N of Hoiem et al., ECCV 2012, and DETAD).

    Returns:
        ``(T, K)`` in [0, 1]; NaN for a class without positive instance.

    Raises:
        InputError: if a mask has another shape, or the normalizer is not above 0.
    """
    everyone = np.ones((1, len(table.videos)), dtype=np.int32)
    ap: Floats = weighted_average_precision(
        table, matching, everyone, positive=positive, left_out=left_out, normalizer=normalizer
    )[0]
    return ap


def weighted_average_precision(
    table: Table,
    matching: Matching,
    weights: NDArray[np.int32],
    *,
    positive: Bools | None = None,
    left_out: Bools | None = None,
    normalizer: float | None = None,
) -> Floats:
    """AP of every class at every threshold, for R weightings of the videos: see :func:`average_precision`.

    Releases the interpreter's lock, so that threads can share the rows of ``weights``.

    Args:
        weights: ``(R, V)`` int32, at least 0: how often each video counts.

    Returns:
        ``(R, T, K)``; NaN where no positive instance of the class lies in a video of the resample.
    """
    instances, shape = len(table.instance_label), matching.instance.shape
    if positive is not None and positive.shape != (instances,):
        raise InputError(f"{positive.shape = }, expected {(instances,)}")
    if left_out is not None and left_out.shape not in (shape, shape[1:]):
        raise InputError(f"{left_out.shape = }, expected {shape} or {shape[1:]}")
    if weights.ndim != 2 or weights.shape[1] != len(table.videos):
        raise InputError(f"{weights.shape = }, expected (R, {len(table.videos)})")
    if normalizer is not None and not normalizer > 0:
        raise InputError(f"normalizer is {normalizer}, expected a number above 0")

    wanted = np.ones(instances, dtype=bool) if positive is None else np.asarray(positive, dtype=bool)
    out = matching.dropped if left_out is None else matching.dropped | left_out
    start, place, right = _marked(table, matching, out, wanted)
    weights = np.ascontiguousarray(weights, dtype=np.int32)
    rows = np.flatnonzero(wanted)
    areas: Floats = _areas(
        start,
        place,
        right,
        table.video[table.order],
        table.class_start,
        weights,
        _positives(weights, table.instance_video[rows], table.instance_label[rows], len(table.classes)),
        table.protocol.rule == "activitynet",
        0.0 if normalizer is None else float(normalizer),
    )
    return areas


def ap_range(table: Table, matching: Matching) -> tuple[Floats, Floats]:
    """AP with the true positives of each group of equal scores last, and first, the matching as it is.

    No order in which the same detections are true positives gives a lower, or a higher, AP.

    Returns:
        Twice ``(T, K)`` in [0, 1], the lower first; NaN for a class without instance.
    """
    start, place, right = _marked(table, matching, matching.dropped, np.ones(len(table.instance_label), dtype=bool))
    everyone = np.ones((1, len(table.videos)), dtype=np.int32)
    positives = _positives(everyone, table.instance_video, table.instance_label, len(table.classes))
    ends = []
    for first in (False, True):
        ordered = _reordered(table, start, place, right, first=first)
        interpolated = table.protocol.rule == "activitynet"
        area: Floats = _areas(
            start, *ordered, table.video[table.order], table.class_start, everyone, positives, interpolated, 0.0
        )
        ends.append(area[0])
    return ends[0], ends[1]


def mean_ap(ap: Floats) -> Floats:
    """Mean over the classes, the last axis, of those that have an AP; NaN where none has."""
    there = ~np.isnan(ap)
    total = np.where(there, ap, 0.0).sum(axis=-1)
    count = there.sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _marked(table: Table, matching: Matching, out: Bools, wanted: Bools) -> tuple[Ints, Ints, Bools]:
    """All that is no false positive, by threshold and then in the order of scores.

    Returns:
        ``(T, K + 1)`` where each class begins (and the last one ends), the places in ``table.order``, and whether
        it is a true positive; the others are left out.
    """
    count, classes = len(table.row), len(table.classes)
    threshold, detection = np.divmod(np.flatnonzero((matching.instance >= 0) | out), max(count, 1))
    places = np.empty(count, dtype=np.int64)
    places[table.order] = np.arange(count)
    place = places[detection]
    order = np.argsort(threshold * count + place)
    threshold, detection, place = threshold[order], detection[order], place[order]
    found = matching.instance[threshold, detection]
    right = (found >= 0) & ~out[threshold, detection]
    right[right] = wanted[found[right]]
    first = np.arange(len(matching.tious))[:, None] * classes + np.arange(classes + 1)
    start = np.searchsorted(threshold * classes + table.label[detection], first)
    return start.astype(np.int64), place, right


def tied(table: Table) -> Bools:
    """``(D,)`` whether another detection of the same class has the same score."""
    sizes = np.diff(_groups(table), append=len(table.order))
    alike = np.zeros(len(table.order), dtype=bool)
    alike[table.order] = np.repeat(sizes > 1, sizes)
    return alike


def _groups(table: Table) -> Ints:
    """Where, in ``table.order``, each group of equal class and score begins."""
    scores, label = table.scores[table.order], table.label[table.order]
    new = np.ones(len(scores), dtype=bool)
    new[1:] = (scores[1:] != scores[:-1]) | (label[1:] != label[:-1])
    return np.flatnonzero(new).astype(np.int64)


def _reordered(table: Table, start: Ints, place: Ints, right: Bools, *, first: bool) -> tuple[Ints, Bools]:
    """What :func:`_marked` gives, with the true positives of each group of equal scores first, or last."""
    groups = _groups(table)
    group = np.searchsorted(groups, place, side="right") - 1
    # Of one threshold and group, for the marks lie threshold by threshold and class by class.
    threshold = np.searchsorted(start[:, -1], np.arange(len(place)), side="right")
    run = threshold * len(groups) + group
    order = np.lexsort((right != first, run))
    run, group = run[order], group[order]
    begins = np.searchsorted(run, run, side="left")
    rank, size = np.arange(len(run)) - begins, np.searchsorted(run, run, side="right") - begins
    ends = np.append(groups[1:], len(table.order))
    return groups[group] + rank if first else ends[group] - size + rank, right[order]


@njit(cache=True, nogil=True)
def _positives(weights: Any, video: Any, label: Any, classes: int) -> Any:
    counts = np.zeros((len(weights), classes), dtype=np.int64)
    for r in range(len(weights)):
        for g in range(len(video)):
            counts[r, label[g]] += weights[r, video[g]]
    return counts


@njit(cache=True, nogil=True)
def _areas(
    start: Any,
    place: Any,
    true: Any,
    video: Any,
    class_start: Any,
    weights: Any,
    positives: Any,
    interpolated: Any,
    normalizer: Any,
) -> Any:
    resamples, thresholds, classes = len(weights), len(start), len(class_start) - 1
    areas = np.full((resamples, thresholds, classes), np.nan)
    before = np.empty(len(video), dtype=np.int64)
    most = 0
    for t in range(thresholds):
        for k in range(classes):
            most = max(most, start[t, k + 1] - start[t, k])
    precision = np.empty(most)
    copies = np.empty(most)
    for r in range(resamples):
        for k in range(classes):
            if positives[r, k] == 0:
                continue
            total = 0
            for p in range(class_start[k], class_start[k + 1]):
                before[p] = total
                total += weights[r, video[p]]
            scale = normalizer / positives[r, k] if normalizer > 0 else 1.0
            for t in range(thresholds):
                right, out, area, points = 0, 0, 0.0, 0
                for m in range(start[t, k], start[t, k + 1]):
                    weight = weights[r, video[place[m]]]
                    if weight == 0:
                        continue
                    wrong = before[place[m]] - right - out
                    if not true[m]:
                        out += weight
                    elif interpolated:
                        # Precision rises from copy to copy, so the last one's is what interpolation gives all.
                        right += weight
                        precision[points] = right * scale / (right * scale + wrong)
                        copies[points] = weight
                        points += 1
                    else:
                        for _ in range(weight):
                            right += 1
                            area += right * scale / (right * scale + wrong)
                highest = 0.0
                for p in range(points - 1, -1, -1):
                    highest = max(highest, precision[p])
                    area += highest * copies[p]
                areas[r, t, k] = area / positives[r, k]
    return areas
