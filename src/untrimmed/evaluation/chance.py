"""How far buckets of instances differ by luck: the scores of buckets of the same sizes that are drawn at random.

A characteristic is shuffled among the instances, or among the videos where all instances of a video share it, and every
bucket is scored again: what comes out hangs on nothing but luck, and on what the score does to any bucket. The range of
a bucket is the mean of these scores plus and minus ``c`` of their standard deviations, with ``c`` such that, of all
buckets that are looked at together, any lies outside of its range in at most :data:`ERROR` of the shuffles (the
maximum of a studentised statistic under permutation: Westfall and Young, *Resampling-Based Multiple Testing*, 1993;
Bonferroni over the characteristics).

It tells a difference from luck, not why there is one: long instances may be of easy classes.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from untrimmed.evaluation.ap import mean_ap
from untrimmed.evaluation.bootstrap import workers
from untrimmed.evaluation.overlap import Bools, Floats, Ints, Matching, Table

SHUFFLES = 400
ERROR = 0.05
"""How often a page of characteristics that mean nothing may say that something stands out."""


@dataclass(frozen=True, eq=False)
class Chances:
    """Draws buckets at random, for one table and matching; see :func:`chances_of`.

    Args:
        found: scores ``(G,)`` buckets of the instances, of a number of buckets, as ``(B,)``.
        missed: ``(G,)`` share of the thresholds at which each instance is missed.
        video: ``(G,)`` video of each instance.
        error: of one characteristic.
        shuffles, seed: of the drawing.
    """

    found: Callable[[Ints, int], Floats]
    missed: Floats
    video: Ints
    error: float
    shuffles: int = SHUFFLES
    seed: int = 0

    def of(self, bucket: Ints, count: int) -> tuple[Floats, Floats]:
        """The ranges of the score and of the missed share.

        Args:
            bucket: ``(G,)`` bucket of each instance, from 0; -1 for none, which stays none.
            count: B, how many buckets there are.

        Returns:
            Twice ``(B, 2)`` low and high in [0, 1]; NaN for an empty bucket, and where there is but one.
        """
        none = np.full((count, 2), np.nan)
        filled = np.unique(bucket[bucket >= 0])
        if len(filled) < 2:
            return none, none
        rng = np.random.default_rng(self.seed)
        draw = _drawer(bucket, self.video)
        drawn = [draw(rng) for _ in range(self.shuffles)]
        with ThreadPoolExecutor(workers()) as pool:
            scores = np.array(list(pool.map(lambda one: self.found(one, count), drawn)))
        shares = np.array([self._missed(one, count) for one in drawn])
        return _ranges(scores, filled, self.error, count), _ranges(shares, filled, self.error, count)

    def _missed(self, bucket: Ints, count: int) -> Floats:
        """``(B,)`` the mean missed share of each bucket."""
        inside = bucket >= 0
        sizes = np.bincount(bucket[inside], minlength=count)
        total = np.bincount(bucket[inside], weights=self.missed[inside], minlength=count)
        return np.where(sizes > 0, total / np.maximum(sizes, 1), np.nan)


def chances_of(
    table: Table, matching: Matching, missed: Bools, *, normalizer: float, characteristics: int, seed: int = 0
) -> Chances:
    """Everything that drawing needs.

    Args:
        table, matching: from :mod:`untrimmed.evaluation.overlap`.
        missed: ``(T, G)`` whether each instance is missed.
        normalizer: N of :func:`~untrimmed.evaluation.ap.average_precision`.
        characteristics: how many are looked at together, at least 1.
        seed: of the drawing.
    """
    found_any: Bools = np.any(matching.instance >= 0, axis=0)
    marked = found_any[table.order]
    places = np.flatnonzero(marked)
    rows = table.order[places]
    ambiguous = table.ambiguous[table.order]
    # False positives at every threshold that stand before each of the others, in its class.
    never = np.concatenate([[0], np.cumsum(~marked & ~ambiguous)])
    start = np.searchsorted(places, table.class_start).astype(np.int64)
    first = np.repeat(table.class_start[:-1], np.diff(start))
    free = never[places] - never[first]
    instance = np.ascontiguousarray(matching.instance[:, rows], dtype=np.int64)
    interpolated = table.protocol.rule == "activitynet"

    def found(bucket: Ints, count: int) -> Floats:
        area = _bucket_areas(
            start, free, instance, table.ambiguous[rows], bucket, table.instance_label, count, normalizer, interpolated
        )
        scores: Floats = mean_ap(area).mean(axis=0)
        return scores

    return Chances(found, missed.mean(axis=0), table.instance_video, ERROR / characteristics, seed=seed)


def _drawer(bucket: Ints, video: Ints) -> Callable[[np.random.Generator], Ints]:
    """Shuffles the buckets of the instances that have one: as whole videos if all instances of each share theirs."""
    known = np.flatnonzero(bucket >= 0)
    values = bucket[known]
    videos, which = np.unique(video[known], return_inverse=True)
    of_video = np.full(len(videos), -1, dtype=np.int64)
    of_video[which] = values
    together = bool((of_video[which] == values).all())

    def draw(rng: np.random.Generator) -> Ints:
        drawn = bucket.copy()
        drawn[known] = rng.permutation(of_video)[which] if together else rng.permutation(values)
        return drawn

    return draw


def _ranges(samples: Floats, filled: Ints, error: float, count: int) -> Floats:
    """``(R, B)`` samples -> ``(B, 2)`` ranges of the filled buckets."""
    result = np.full((count, 2), np.nan)
    used = samples[:, filled]
    middle, spread = used.mean(axis=0), used.std(axis=0)
    # Without any spread every sample is the middle, up to rounding.
    away = np.abs(used - middle) / np.maximum(spread, 1e-12)
    width = float(np.quantile(away.max(axis=1), 1 - error, method="higher"))
    reach = width * np.maximum(spread, 1e-12)
    result[filled] = np.clip(np.stack([middle - reach, middle + reach], axis=1), 0.0, 1.0)
    return result


@njit(cache=True, nogil=True)
def _bucket_areas(
    start: Any,
    free: Any,
    instance: Any,
    ambiguous: Any,
    bucket: Any,
    label: Any,
    count: Any,
    normalizer: Any,
    interpolated: Any,
) -> Any:
    """``(T, B, K)`` AP_N of every bucket in one pass, detections left out at all thresholds if any of them matches
    them to another bucket."""
    thresholds, rows = instance.shape
    classes = len(start) - 1
    positives = np.zeros((classes, count), dtype=np.int64)
    for g in range(len(bucket)):
        if bucket[g] >= 0:
            positives[label[g], bucket[g]] += 1
    # The only bucket that a detection is matched to, over all thresholds, or -1.
    sole = np.full(rows, -1, dtype=np.int64)
    for d in range(rows):
        several = False
        for t in range(thresholds):
            if instance[t, d] >= 0:
                b = bucket[instance[t, d]]
                several = several or b < 0 or (sole[d] >= 0 and sole[d] != b)
                sole[d] = b
        if several:
            sole[d] = -1
    areas = np.full((thresholds, count, classes), np.nan)
    precision = np.empty(rows)
    for t in range(thresholds):
        for k in range(classes):
            right = np.zeros(count, dtype=np.int64)
            wrong = np.zeros(count, dtype=np.int64)
            total = np.zeros(count)
            for d in range(start[k], start[k + 1]):
                b = sole[d]
                precision[d] = -1.0
                if b < 0:
                    continue
                if instance[t, d] >= 0:
                    right[b] += 1
                    scaled = right[b] * normalizer / positives[k, b]
                    precision[d] = scaled / (scaled + free[d] + wrong[b])
                    if not interpolated:
                        total[b] += precision[d]
                elif not ambiguous[d]:
                    wrong[b] += 1
            if interpolated:
                highest = np.zeros(count)
                for d in range(start[k + 1] - 1, start[k] - 1, -1):
                    b = sole[d]
                    if b >= 0 and precision[d] >= 0:
                        highest[b] = max(highest[b], precision[d])
                        total[b] += highest[b]
            for b in range(count):
                if positives[k, b] > 0:
                    areas[t, b, k] = total[b] / positives[k, b]
    return areas
