"""Non-maximum suppression, hard and soft, and segment voting, on arrays.

The definition, for all methods (Bodla et al., "Soft-NMS", ICCV 2017, for the soft ones): pick the candidate with the
highest current score; multiply the score of every other live candidate by the factor for its tIoU *o* with the one
picked; drop those that fall below the floor; repeat until nothing is left or enough are picked. The factor is

========  ==================================================
hard      0 (dropped) where o > threshold, 1 elsewhere
linear    1 - o where o > threshold, 1 elsewhere
gaussian  exp(-o^2 / sigma) where o > threshold, 1 elsewhere
========  ==================================================

Ties go to the candidate that comes first in the input. Lengths are ``end - start`` and nothing is rounded: there is
no epsilon, and no "+1" unless ``extend`` asks for it. Gaussian suppression has the threshold 0 unless it is given one,
which may be another for each candidate and is that of the one picked (BSN's rises with its length). A segment without
length or reversed overlaps nothing, so it neither suppresses nor is suppressed. Scores are the given ones times factors
of at most 1, so the picks come out by falling score.

How the kernel does it: one pass a pick over the live candidates, which stand side by side and are moved together
when some are dropped; no pass after the last pick. The exponentials are the costly part of Gaussian soft-NMS, and
almost all are avoided: the pass keeps ``log(score) - sum(o^2) / sigma``, and only the candidates whose value is
within rounding of the highest get their score computed, by the definition, factor by factor in the order of the
picks. So picks, ties and scores are those of the definition, not of the logarithms.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from untrimmed.errors import InputError
from untrimmed.postprocess.checks import (
    Method,
    check_count,
    check_cuts,
    check_extend,
    check_floor,
    check_method,
    check_tiou,
)
from untrimmed.segments import tiou_scalar

_ROUNDING = 1e-6
"""Logarithms closer than this may belong to equal scores. Their error is below 1e-8 for 100,000 picks."""
_UNDERFLOW = -690.0
"""Below this logarithm, scores lose digits and become 0: there the logarithm says nothing about their order."""
_SPARSE = 0.75
"""Share of live candidates among those stored below which they are moved together."""

# With numpy's error model a division needs no check for zero, so that the loops run on whole vectors. Not cached by
# itself: the cache does not tell error models apart, and other modules compile the same function.
_tiou = njit(error_model="numpy")(tiou_scalar)
_compiled = njit(cache=True, nogil=True, error_model="numpy")


class Picks(NamedTuple):
    """What suppression keeps, by falling score, ties by row.

    Attributes:
        rows: (M,) int64, rows of the candidates.
        scores: (M,) float64, their scores after all decays.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float64]


def nms(
    segments: ArrayLike,
    scores: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    method: Method = "hard",
    threshold: ArrayLike | None = None,
    sigma: float | None = None,
    floor: float | None = None,
    keep: int | None = None,
    extend: float | None = None,
) -> Picks:
    """Suppress candidates that overlap better ones; the module's docstring has the definition.

    Args:
        segments: (N, 2) ``[start, end)``, finite, in any one unit.
        scores: (N,) finite; at least 0 for the soft methods, which would raise a negative score.
        groups: (N,) whole numbers: only candidates of the same group suppress one another. For class-wise
            suppression pass the classes, for several videos at once a number per video (and class). One group if None.
        method: ``"hard"``, ``"linear"`` or ``"gaussian"``.
        threshold: tIoU in [0, 1], of ``hard`` and ``linear``, which need it; ``gaussian`` may have one, or (N,).
        sigma: above 0, of ``gaussian``, which needs it. It has the unit of a squared tIoU.
        floor: candidates are dropped when their score is below it, at first or after a decay; None drops none.
        keep: the most that are kept of each group; None for all.
        extend: what is added to lengths and intersections, in the unit of the segments, at least 0. 1 is the "+1" of
            pixel coordinates, which released code of weakly supervised methods applies to seconds: short segments
            overlap more, and those less than this apart overlap too.

    Returns:
        :class:`Picks` over all groups.

    Raises:
        InputError: for shapes that differ, values that are not finite, negative scores with a soft method, or an
            option outside its range or without use for the method.
    """
    table, values, group = candidates(segments, scores, groups)
    cuts = np.zeros(len(values))
    if method == "gaussian" and np.ndim(threshold):  # type: ignore[arg-type]
        cuts, threshold = check_cuts(threshold, len(values)), None
    option = check_method(method, threshold, sigma)
    cuts = cuts if threshold is None else np.full(len(values), float(threshold))  # type: ignore[arg-type]
    if method != "hard" and len(values) and values.min() < 0:
        raise InputError(
            f"{method} soft-NMS: score of row {int(values.argmin())} is {values.min()}, expected at least 0: "
            "a decay would raise it; use scores such as probabilities"
        )
    check_count("keep", keep)
    check_floor(floor)
    check_extend(extend)
    floor = -math.inf if floor is None else float(floor)
    limit = len(values) if keep is None else keep
    order, bounds = grouped(group)
    # min(ends) + e - max(starts) is the intersection of segments that end e later, and so are the lengths.
    starts, ends, current = table[order, 0], table[order, 1] + (extend or 0.0), values[order]
    if method == "gaussian":
        # The logarithm of 0 is put where the order is not left to logarithms anyway.
        logs = np.log(np.maximum(current, 1e-323))
        low = math.log(floor) - _ROUNDING if floor > 0 else -math.inf
        low = low if low > _UNDERFLOW else -math.inf
        rows, kept = _pick_gaussian(starts, ends, logs, order, bounds, values.copy(), cuts, option, floor, low, limit)
    else:
        rows, kept = _pick(starts, ends, current, order, bounds, method == "hard", option, floor, limit)
    ranked = np.lexsort((rows, -kept))
    return Picks(rows[ranked], kept[ranked])


def vote(
    rows: ArrayLike, segments: ArrayLike, scores: ArrayLike, groups: ArrayLike | None = None, *, threshold: float
) -> NDArray[np.float64]:
    """Segment voting: move each kept segment to the weighted mean of the candidates that overlap it.

    Start and end become ``sum(w * start) / sum(w)`` and ``sum(w * end) / sum(w)`` over all candidates of the same
    group whose tIoU *o* with the kept segment is at least ``threshold`` (itself among them), with w = score * o, the
    scores as given, before any decay: the bounding-box voting of Gidaris and Komodakis (ICCV 2015) in one dimension,
    as ActionFormer does it.

    Args:
        rows: (M,) the candidates that were kept.
        segments: (N, 2) all candidates.
        scores: (N,) their scores, at least 0.
        groups: (N,) as for :func:`nms`.
        threshold: tIoU in (0, 1].

    Returns:
        (M, 2) float64. A segment without length, or with no weight around it, stays where it is.

    Raises:
        InputError: as :func:`nms`.
    """
    table, values, group = candidates(segments, scores, groups)
    check_tiou("voting threshold", threshold, above_zero=True)
    if len(values) and values.min() < 0:
        raise InputError(
            f"segment voting: score of row {int(values.argmin())} is {values.min()}, expected at least 0: "
            "it is a weight"
        )
    order, bounds = grouped(group)
    owner = np.empty(len(group), dtype=np.int64)
    owner[order] = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    kept = np.asarray(rows, dtype=np.int64)
    if len(kept) and not 0 <= kept.min() <= kept.max() < len(values):
        raise InputError(f"segment voting: rows are {kept.min()}..{kept.max()}, expected 0..{len(values) - 1}")
    return np.asarray(_vote(kept, table, values, order, bounds, owner, float(threshold)))


def candidates(
    segments: ArrayLike, scores: ArrayLike, groups: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """The arrays of one call, checked: (N, 2) and (N,) float64, (N,) int64; zeros where ``groups`` is None."""
    table = np.ascontiguousarray(segments, dtype=np.float64)
    values = np.ascontiguousarray(scores, dtype=np.float64)
    table = table.reshape(0, 2) if table.size == 0 else table
    if table.ndim != 2 or table.shape[1] != 2 or values.shape != table.shape[:1]:
        raise InputError(f"segments {table.shape} and scores {values.shape}: expected (N, 2) and (N,)")
    for name, array in (("segments", table), ("scores", values)):
        if not np.isfinite(array).all():
            row = int(np.argwhere(~np.isfinite(array))[0, 0])
            raise InputError(f"{name}: row {row} is {array[row].tolist()}, expected finite numbers")
    group = np.zeros(len(values), dtype=np.int64) if groups is None else np.ascontiguousarray(groups)
    group = group.astype(np.int64) if group.size == 0 else group
    if group.shape != values.shape or not np.issubdtype(group.dtype, np.integer):
        raise InputError(f"groups {group.shape} {group.dtype}: expected ({len(values)},) whole numbers")
    return table, values, group.astype(np.int64, copy=False)


def grouped(groups: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows sorted by group, within a group as given, and the (G + 1,) bounds of the groups among them."""
    if len(groups) == 0:
        return np.empty(0, dtype=np.int64), np.zeros(1, dtype=np.int64)
    low, high = int(groups.min()), int(groups.max())
    # numpy sorts 16-bit numbers by radix, ten times faster than wider ones.
    keys = (groups - low).astype(np.uint16) if high - low < 2**16 else groups
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order])) + 1
    return order, np.concatenate(([0], starts, [len(groups)]))


@_compiled
def _pick(
    starts: Any, ends: Any, scores: Any, rows: Any, bounds: Any, hard: bool, threshold: float, floor: float, keep: int
) -> Any:
    """Rows and scores picked by hard or linear suppression, group by group. Changes all arrays but ``bounds``."""
    picked, kept = np.empty(len(rows), dtype=np.int64), np.empty(len(rows))
    total = 0
    for g in range(len(bounds) - 1):
        group = slice(bounds[g], bounds[g + 1])
        start, end, score, row = starts[group], ends[group], scores[group], rows[group]
        stored, stop = len(row), total + min(keep, len(row))
        while total < stop:
            stored, best, _ = _search(start, end, score, row, stored, floor)
            if best < 0:
                break
            picked[total], kept[total] = row[best], score[best]
            score[best] = math.nan
            total += 1
            if total < stop:
                _decay(start, end, score, stored, best, hard, threshold)
    return picked[:total], kept[:total]


@_compiled
def _decay(starts: Any, ends: Any, scores: Any, stored: int, best: int, hard: bool, threshold: float) -> None:
    """Apply the factors of the candidate ``best`` to all; what is dropped becomes NaN."""
    start, end = starts[best], ends[best]
    if hard:
        for i in range(stored):
            overlap = _tiou(start, end, starts[i], ends[i])
            scores[i] = math.nan if overlap > threshold else scores[i]
    else:
        for i in range(stored):
            overlap = _tiou(start, end, starts[i], ends[i])
            scores[i] = scores[i] * (1.0 - overlap) if overlap > threshold else scores[i]


@_compiled
def _pick_gaussian(
    starts: Any,
    ends: Any,
    logs: Any,
    rows: Any,
    bounds: Any,
    scores: Any,
    cuts: Any,
    sigma: float,
    floor: float,
    low: float,
    keep: int,
) -> Any:
    """Rows and scores picked by Gaussian suppression, group by group. Changes all arrays but ``bounds``.

    ``logs`` are the logarithms of the scores, sorted by group like ``starts``; ``scores`` and ``cuts``, the thresholds,
    are sorted by row, the former brought up to date only where the logarithms leave a choice. Logarithms below ``low``
    are surely below the floor.
    """
    picked, kept, decays = np.empty(len(rows), dtype=np.int64), np.empty(len(rows)), np.zeros(len(rows), dtype=np.int64)
    spans = np.empty((min(keep, len(rows)), 3))
    scale = min(1.0 / sigma, 1e300)
    total = 0
    for g in range(len(bounds) - 1):
        group = slice(bounds[g], bounds[g + 1])
        start, end, log, row = starts[group], ends[group], logs[group], rows[group]
        stored, count, stop = len(row), 0, min(keep, len(row))
        while count < stop:
            stored, best, second = _search(start, end, log, row, stored, low)
            if best < 0:
                break
            best = _settle(start, end, log, row, stored, best, second, scores, decays, spans[:count], sigma)
            if scores[row[best]] < floor:
                # Those whose logarithm is not as close to the highest score less still.
                break
            picked[total], kept[total] = row[best], scores[row[best]]
            spans[count, 0], spans[count, 1], spans[count, 2] = start[best], end[best], cuts[row[best]]
            log[best] = math.nan
            total, count = total + 1, count + 1
            if count < stop:
                for i in range(stored):
                    overlap = _tiou(start[best], end[best], start[i], end[i])
                    log[i] -= overlap * overlap * scale if overlap > spans[count - 1, 2] else 0.0
    return picked[:total], kept[:total]


@_compiled
def _search(starts: Any, ends: Any, values: Any, rows: Any, stored: int, floor: float) -> Any:
    """How many candidates are stored, the first with the highest value (-1 if none is at the floor), and the highest
    value of the others.

    Those below the floor and NaN are dropped from the store once they are many.
    """
    live = 0
    for i in range(stored):
        live += values[i] >= floor
    if live < _SPARSE * stored:
        stored = _gather(starts, ends, values, rows, stored, floor)
    best, highest, second = -1, -math.inf, -math.inf
    for i in range(stored):
        if values[i] > second:
            if values[i] > highest:
                best, second, highest = i, highest, values[i]
            else:
                second = values[i]
    return stored, best if live > 0 else -1, second


@_compiled
def _gather(starts: Any, ends: Any, values: Any, rows: Any, stored: int, floor: float) -> int:
    """Move the candidates at the floor or above together, in order; how many they are."""
    live = 0
    for i in range(stored):
        if values[i] >= floor:
            starts[live], ends[live], values[live], rows[live] = starts[i], ends[i], values[i], rows[i]
            live += 1
    return live


@_compiled
def _settle(
    starts: Any,
    ends: Any,
    logs: Any,
    rows: Any,
    stored: int,
    best: int,
    second: float,
    scores: Any,
    decays: Any,
    spans: Any,
    sigma: float,
) -> int:
    """The first candidate with the highest score, given the one with the highest logarithm and the next logarithm.

    Brings ``scores`` up to date for those that may be it: ``decays`` says how many of the picked ``spans`` each has
    seen.
    """
    close = logs[best] - _ROUNDING if logs[best] > _UNDERFLOW else -math.inf
    first, last = (0, stored) if second >= close else (best, best + 1)
    highest = -1.0
    for i in range(first, last):
        if logs[i] >= close:
            row = rows[i]
            for k in range(decays[row], len(spans)):
                overlap = _tiou(spans[k, 0], spans[k, 1], starts[i], ends[i])
                if overlap > spans[k, 2]:
                    scores[row] *= math.exp(-overlap * overlap / sigma)
            decays[row] = len(spans)
            if scores[row] > highest:
                best, highest = i, scores[row]
    return best


@_compiled
def _vote(kept: Any, segments: Any, scores: Any, order: Any, bounds: Any, owner: Any, threshold: float) -> Any:
    voted = np.empty((len(kept), 2))
    for k in range(len(kept)):
        start, end = segments[kept[k], 0], segments[kept[k], 1]
        group = owner[kept[k]]
        total = moved_start = moved_end = 0.0
        for i in order[bounds[group] : bounds[group + 1]]:
            overlap = _tiou(start, end, segments[i, 0], segments[i, 1])
            if overlap >= threshold:
                weight = scores[i] * overlap
                total += weight
                # As offsets from the kept segment: exact where all agree, and no digits lost late in a long video.
                moved_start += weight * (segments[i, 0] - start)
                moved_end += weight * (segments[i, 1] - end)
        voted[k, 0] = start + (moved_start / total if total > 0 else 0.0)
        voted[k, 1] = end + (moved_end / total if total > 0 else 0.0)
    return voted
