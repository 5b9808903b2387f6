"""What kind of error each false detection is, as DETAD names them, and what each kind costs.

Source: Alwassel, Caba Heilbron, Escorcia, Ghanem: Diagnosing Error in Temporal Action Detectors, ECCV 2018,
section 4. A false positive is judged by the instance of its video, of whatever class, that it overlaps most::

                          same class            another class
    tIoU over threshold   double detection      wrong label
    tIoU over 0.1         localization          confusion
    less                  background            background

Departures from the released tool:

1. A detection in a video without truth is background. (The tool judges all but the first of them by the instances
   of the video it looked at before.)
2. Where instances of two classes overlap the detection equally, the one of its own class counts; the tool takes the
   one that comes first. (THUMOS14 has every ``CliffDiving`` as ``Diving`` too.)
3. Detections that an ``Ambiguous`` segment excuses have no kind and take no rank.
4. Detections are matched before the best ones are picked, so that a pick changes no match. With the rule of
   ActivityNet, which matches by falling score, this makes no difference.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from untrimmed._moved import renamed
from untrimmed.evaluation.ap import average_precision, mean_ap
from untrimmed.evaluation.overlap import Floats, Ints, Matching, Pairs, Table, pairs_in_video

ERROR_TYPES = ("true positive", "double detection", "wrong label", "localization", "confusion", "background")
"""A true positive and the five kinds of error, in the order of all tables of this module."""

BACKGROUND = 0.1
"""Below this tIoU with everything, a false detection is background."""

_TRUE, _DOUBLE, _LABEL, _LOCALIZATION, _CONFUSION, _BACKGROUND = range(6)


def error_types(table: Table, matching: Matching, background: float = BACKGROUND) -> NDArray[np.int8]:
    """The kind of every detection at every threshold.

    Args:
        table, matching: from :mod:`untrimmed.evaluation.overlap`.
        background: smallest tIoU, above 0 and at most 1, that is not yet background.

    Returns:
        ``(T, D)`` index into :data:`ERROR_TYPES`, -1 for a detection that an Ambiguous segment excuses.

    Raises:
        InputError: if ``background`` is out of range.
    """
    pairs = pairs_in_video(table, lowest=min(background, *matching.tious))
    best = _highest(pairs, pairs.tiou)
    own = table.instance_label[pairs.instance] == np.repeat(table.label, np.diff(pairs.start))
    same = _highest(pairs, np.where(own, pairs.tiou, 0.0)) >= best
    strict = table.protocol.rule == "thumos14"
    kinds = np.empty(matching.instance.shape, dtype=np.int8)
    for row, tiou, found, excused in zip(kinds, matching.tious, matching.instance, matching.dropped, strict=True):
        compared = table.protocol.compared(tiou)
        reached = best > compared if strict else best >= compared
        row[:] = np.where(best >= background, np.where(same, _LOCALIZATION, _CONFUSION), _BACKGROUND)
        row[reached] = np.where(same, _DOUBLE, _LABEL)[reached]
        row[found >= 0] = _TRUE
        row[excused] = -1
    return kinds


def ranks(table: Table, kinds: NDArray[np.int8]) -> Ints:
    """Place of every detection among those of its class, best first, counted from 0, excused ones left out.

    Args:
        kinds: ``(T, D)`` from :func:`error_types`.

    Returns:
        ``(T, D)``; -1 for an excused detection.
    """
    rank = np.empty(kinds.shape, dtype=np.int64)
    first = np.repeat(table.class_start[:-1], np.diff(table.class_start))
    for row, counted in zip(rank, kinds[:, table.order] >= 0, strict=True):
        before = np.cumsum(counted) - counted
        row[table.order] = np.where(counted, before - before[first], -1)
    return rank


def profile(table: Table, kinds: NDArray[np.int8], rank: Ints, slices: int) -> Ints:
    """How many detections of each kind there are in the best G, the next G, ... of each class, over all classes.

    Args:
        kinds, rank: ``(T, D)`` from :func:`error_types` and :func:`ranks`.
        slices: how many slices; G is the number of instances of the detection's class.

    Returns:
        ``(T, slices, 6)`` counts, last axis as :data:`ERROR_TYPES`.
    """
    group = rank // _per_class(table)[table.label]
    counts = np.zeros((len(kinds), slices, len(ERROR_TYPES)), dtype=np.int64)
    for one, kind, place in zip(counts, kinds, group, strict=True):
        used = (kind >= 0) & (place < slices)
        np.add.at(one, (place[used], kind[used]), 1)
    return counts


def gains(
    table: Table, matching: Matching, kinds: NDArray[np.int8], rank: Ints, slices: int, normalizer: float
) -> tuple[Floats, Floats]:
    """mAP_N of the best detections of each class, and what it gains if all errors of one kind go.

    Args:
        kinds, rank: ``(T, D)`` from :func:`error_types` and :func:`ranks`.
        slices: the best ``slices`` times G detections of each class are kept.
        normalizer: N of :func:`~untrimmed.evaluation.ap.average_precision`.

    Returns:
        ``(T,)`` mAP_N of the kept, and ``(T, 5)`` gains, last axis as ``ERROR_TYPES[1:]``; both in [0, 1].
    """
    beyond = rank >= slices * _per_class(table)[table.label]

    def score(without: NDArray[np.bool_]) -> Floats:
        return mean_ap(average_precision(table, matching, left_out=without, normalizer=normalizer))

    base = score(beyond)
    gained = [score(beyond | (kinds == kind)) - base for kind in range(1, len(ERROR_TYPES))]
    return base, np.stack(gained, axis=1)


def _highest(pairs: Pairs, values: Floats) -> Floats:
    """``(D,)`` largest value among the pairs of each detection, 0 for one without."""
    highest = np.zeros(len(pairs.start) - 1)
    some = np.flatnonzero(np.diff(pairs.start))
    if len(some):
        highest[some] = np.maximum.reduceat(values, pairs.start[some])
    return highest


def _per_class(table: Table) -> Ints:
    return np.bincount(table.instance_label, minlength=len(table.classes))


__getattr__ = renamed(__name__, {"KINDS": "ERROR_TYPES", "error_kinds": "error_types"})
