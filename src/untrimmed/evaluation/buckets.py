"""The instances in buckets, and the score of each bucket: the part of the diagnosis that DETAD calls sensitivity.

A detection matched to an instance of another bucket is neither right nor wrong; one that found nothing is a false
positive in each bucket. The mean is over the classes that have an instance in the bucket. For the average over several
thresholds, the released tool leaves a detection out at all of them if any of them matches it to another bucket, and so
does :attr:`Bucket.average`, which published figures can be compared with; :attr:`Bucket.mAP_N` is what each threshold
gives alone.

Buckets differ even if they mean nothing: some are best by luck, and leaving detections out lifts all of them a little.
:attr:`Bucket.chance` says how far.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from untrimmed.evaluation.ap import average_precision, mean_ap
from untrimmed.evaluation.chance import Chances
from untrimmed.evaluation.characteristics import Scale
from untrimmed.evaluation.overlap import Bools, Floats, Matching, Table
from untrimmed.evaluation.protocols import tiou_name
from untrimmed.evaluation.text import number_or_none


@dataclass(frozen=True, eq=False)
class Bucket:
    """The instances whose characteristic lies in one range.

    Args:
        name: short name, e.g. ``"XS"``.
        range: what it holds in words, e.g. ``"≤ 30"``; may be empty.
        instances: how many.
        mAP_N: ``(T,)`` of each threshold for itself, in [0, 1]; NaN if there are none.
        average: mAP_N averaged over the thresholds as DETAD does; a little above the mean of ``mAP_N`` where there
            are several: see the module's docstring.
        missed: ``(T,)`` share of them that is missed, in [0, 1]; NaN if there are none.
        chance: low and high of ``average`` for as many instances drawn at random, see
            :mod:`~untrimmed.evaluation.chance`; NaN where there is nothing to draw.
        missed_chance: likewise of the mean of ``missed``.
    """

    name: str
    range: str
    instances: int
    mAP_N: Floats
    average: float
    missed: Floats
    chance: tuple[float, float] = (math.nan, math.nan)
    missed_chance: tuple[float, float] = (math.nan, math.nan)

    @property
    def stands_out(self) -> bool:
        """Whether ``average`` lies outside of what chance makes."""
        return self.average < self.chance[0] or self.average > self.chance[1]


@dataclass(frozen=True, eq=False)
class Characteristic:
    """Scores by one characteristic.

    Args:
        key: its name, e.g. ``"length"``.
        unit: of the ranges; empty if the buckets are named only.
        buckets: in order.
        unknown: number of instances whose value is not known; they are in no bucket.
        overall: mAP_N of all instances, mean over the thresholds.
    """

    key: str
    unit: str
    buckets: tuple[Bucket, ...]
    unknown: int
    overall: float

    @property
    def worst(self) -> Bucket:
        """The bucket with the lowest average mAP_N."""
        return min(self._filled, key=lambda bucket: bucket.average)

    @property
    def best(self) -> Bucket:
        """The bucket with the highest."""
        return max(self._filled, key=lambda bucket: bucket.average)

    @property
    def sensitivity(self) -> float:
        """How much of mAP_N hangs on the characteristic: best minus worst bucket."""
        return self.best.average - self.worst.average

    @property
    def impact(self) -> float:
        """Best bucket minus overall: what DETAD takes for what could be won. Random buckets have one too."""
        return self.best.average - self.overall

    @property
    def matters(self) -> bool:
        """Whether any bucket stands out from what buckets drawn at random reach."""
        return any(bucket.stands_out for bucket in self.buckets)

    @property
    def _filled(self) -> list[Bucket]:
        return [bucket for bucket in self.buckets if bucket.instances]

    def to_dict(self, tious: Sequence[float]) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.key,
            "unit": self.unit,
            "unknown": self.unknown,
            "worst": self.worst.name,
            "best": self.best.name,
            "sensitivity": self.sensitivity,
            "impact": self.impact,
            "relative": [_ratio(bucket.average, self.overall) for bucket in (self.worst, self.best)],
            "stands_out": self.matters,
            "buckets": [
                {
                    "name": bucket.name,
                    "range": bucket.range,
                    "instances": bucket.instances,
                    "mAP_N": by_tiou(tious, bucket.mAP_N),
                    "average_mAP_N": number_or_none(bucket.average),
                    "relative": _ratio(bucket.average, self.overall),
                    "missed": by_tiou(tious, bucket.missed),
                    "average_missed": number_or_none(bucket.missed.mean()),
                    "chance": [number_or_none(end) for end in bucket.chance],
                    "missed_chance": [number_or_none(end) for end in bucket.missed_chance],
                    "stands_out": bucket.stands_out,
                }
                for bucket in self.buckets
            ],
        }


def characteristic(
    table: Table,
    matching: Matching,
    missed: Bools,
    axis: Scale,
    values: Floats,
    *,
    normalizer: float,
    overall: float,
    chances: Chances,
) -> Characteristic:
    """Score every bucket of a characteristic.

    Args:
        table, matching: from :mod:`untrimmed.evaluation.overlap`.
        missed: ``(T, G)`` whether each instance is missed.
        axis: divides the values into buckets.
        values: ``(G,)`` the characteristic of each instance, NaN where it is not known.
        normalizer: N of :func:`~untrimmed.evaluation.ap.average_precision`.
        overall: mAP_N of all instances, mean over the thresholds.
        chances: draws instances at random.
    """
    bucket = axis.bucket(values)
    chance, missed_chance = chances.of(bucket, len(axis.names))
    buckets = []
    for number, (name, words) in enumerate(zip(axis.names, axis.ranges, strict=True)):
        inside = bucket == number
        # At any of the thresholds: the average of DETAD.
        elsewhere = ((matching.instance >= 0) & ~inside[matching.instance]).any(axis=0)
        alone, together = (
            mean_ap(average_precision(table, matching, positive=inside, left_out=others, normalizer=normalizer))
            for others in (None, elsewhere)
        )
        share = missed[:, inside].mean(axis=1) if inside.any() else np.full(len(matching.tious), np.nan)
        ends = [(float(each[number, 0]), float(each[number, 1])) for each in (chance, missed_chance)]
        buckets.append(Bucket(name, words, int(inside.sum()), alone, float(together.mean()), share, *ends))
    return Characteristic(axis.key, axis.unit, tuple(buckets), int((bucket < 0).sum()), overall)


def by_tiou(tious: Sequence[float], values: Floats) -> dict[str, float | None]:
    """Threshold -> value, for JSON."""
    return {tiou_name(tiou): number_or_none(value) for tiou, value in zip(tious, values, strict=True)}


def _ratio(value: float, overall: float) -> float | None:
    return float(value / overall) if overall > 0 and not np.isnan(value) else None
