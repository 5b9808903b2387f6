"""Why a detector fails: the analysis of DETAD, as one pure function, :func:`diagnose`.

Source: Alwassel, Caba Heilbron, Escorcia, Ghanem: Diagnosing Error in Temporal Action Detectors, ECCV 2018, and for
the accumulated mAP by length Zhao, Thabet, Ghanem: Video Self-Stitching Graph Network, ICCV 2021, section 4.2.

- *False positives*: what the best G, the next G, ... detections of each class are (G instances of the class), and
  what mAP_N gains if all errors of one kind go: :mod:`untrimmed.evaluation.false_positives`.
- *Sensitivity*: mAP_N of the instances in each bucket of a characteristic
  (:mod:`untrimmed.evaluation.characteristics`, :mod:`untrimmed.evaluation.buckets`), and what buckets of the same sizes
  reach that are drawn at random (:mod:`untrimmed.evaluation.chance`).
- *False negatives*: the share of instances in each bucket that no detection finds where precision is above 5 %.
- *Accumulated mAP*: ``sum_i mAP_N,i N_i / sum_i N_i`` over the length groups.

mAP_N is mAP with the precision ``r N / (r N + false positives)`` at recall r, where N is the mean number of instances
of a class: it makes classes and buckets of different sizes comparable. Everything is computed at each threshold and,
where one number is wanted, averaged over the thresholds.

Departures from the released tool, besides those of the two modules named above:

1. Matching and the area under the curve follow the protocol, so that the diagnosis explains the mAP that
   ``untrimmed evaluate`` prints. (The tool applies the rule of ActivityNet to THUMOS14 as well; to get its numbers
   there, diagnose with ``activitynet`` and give ``edges``.)
2. Instances of no length stay in the denominators.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from untrimmed.errors import InputError
from untrimmed.evaluation.ap import average_precision, mean_ap
from untrimmed.evaluation.buckets import Characteristic, by_tiou, characteristic
from untrimmed.evaluation.chance import chances_of
from untrimmed.evaluation.characteristics import ANNOTATED, Scale, divided_by_the_data, measure, said_of, scales
from untrimmed.evaluation.false_positives import BACKGROUND, ERROR_TYPES, error_types, gains, profile, ranks
from untrimmed.evaluation.overlap import Bools, Floats, Ints, Matching, Table, build_table, match
from untrimmed.evaluation.protocols import Protocol, clean_tious, protocol_of, tiou_name
from untrimmed.evaluation.scoring import Evaluation, evaluate
from untrimmed.evaluation.subsets import scope_of
from untrimmed.evaluation.text import aligned, number_or_none, percent
from untrimmed.types import Annotations, Detections

SLICES = 10
"""The best 10 G detections of a class are looked at."""

FLOOR = 0.05
"""An instance found only where normalised precision is at or below this counts as missed."""


@dataclass(frozen=True, eq=False)
class FalsePositives:
    """What the best detections are.

    Args:
        counts: ``(T, S, 6)`` detections by threshold, slice of G and kind; last axis as
            :data:`~untrimmed.evaluation.false_positives.ERROR_TYPES`.
        mAP_N: ``(T,)`` of the detections in all S slices.
        gains: ``(T, 5)`` what it gains without the errors of each kind; last axis as ``ERROR_TYPES[1:]``.
    """

    counts: Ints
    mAP_N: Floats
    gains: Floats

    def shares(self, place: int | None = None) -> Floats:
        """``(S, 6)`` share of each kind in each slice, NaN for an empty slice: at the threshold of that place, or
        the mean over all thresholds."""
        counts = self.counts.mean(axis=0) if place is None else self.counts[place]
        total = counts.sum(axis=1, keepdims=True)
        return np.where(total > 0, counts / np.maximum(total, 1e-9), np.nan)


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What :func:`diagnose` found; ``str()`` is a summary, ``to_dict()`` all numbers.

    Args:
        evaluation: the scores without normalisation, the counts, what was odd.
        tious: the T thresholds.
        at: place in ``tious`` of the one that is shown besides the mean.
        normalizer: N, the mean number of instances of a class.
        background: below this tIoU with everything, a false detection is background.
        floor: precision at or below which a found instance counts as missed.
        mAP_N: ``(T,)`` overall.
        missed: ``(T,)`` share of all instances that is missed.
        false_positives: profile and gains.
        characteristics: those the truth tells, in the order of
            :func:`~untrimmed.evaluation.characteristics.scales`; length is always among them.
        notes: what could not be computed, as sentences.
    """

    evaluation: Evaluation
    tious: tuple[float, ...]
    at: int
    normalizer: float
    background: float
    floor: float
    mAP_N: Floats
    missed: Floats
    false_positives: FalsePositives
    characteristics: tuple[Characteristic, ...]
    notes: tuple[str, ...]

    @property
    def span(self) -> str:
        """The thresholds in short: ``"0.5:0.95"``, or the only one."""
        names = [tiou_name(tiou) for tiou in self.tious]
        return names[0] if len(names) == 1 else f"{names[0]}:{names[-1]}"

    @property
    def lengths(self) -> Characteristic:
        return next(one for one in self.characteristics if one.key == "length")

    @property
    def contributions(self) -> Floats:
        """``(B,)`` what each length group adds to the accumulated mAP: ``mAP_N,i N_i / sum_i N_i``."""
        count = np.array([bucket.instances for bucket in self.lengths.buckets], dtype=np.float64)
        score = np.array([bucket.average for bucket in self.lengths.buckets])
        parts: Floats = np.where(count > 0, np.nan_to_num(score), 0.0) * count / count.sum()
        return parts

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; scores and shares are fractions, None where there is none."""
        return {
            "protocol": self.evaluation.protocol,
            "subset": self.evaluation.subset,
            "tiou": list(self.tious),
            "shown_tiou": self.tious[self.at],
            "background_tiou": self.background,
            "missed_at_precision": self.floor,
            "normalizer": self.normalizer,
            "mAP_N": by_tiou(self.tious, self.mAP_N),
            "average_mAP_N": float(self.mAP_N.mean()),
            "missed": by_tiou(self.tious, self.missed),
            "false_positives": self._false_positives(),
            "characteristics": [one.to_dict(self.tious) for one in self.characteristics],
            "accumulated_mAP": self._accumulated(),
            "evaluation": self.evaluation.to_dict(),
            "notes": list(self.notes),
        }

    def _false_positives(self) -> dict[str, Any]:
        found, names = self.false_positives, [tiou_name(tiou) for tiou in self.tious]
        slices = range(found.counts.shape[1])
        return {
            "kinds": list(ERROR_TYPES),
            "slices": [f"{number + 1}G" for number in slices],
            "counts": {name: found.counts[t].tolist() for t, name in enumerate(names)},
            "average_shares": [[number_or_none(value) for value in row] for row in found.shares()],
            "mAP_N": by_tiou(self.tious, found.mAP_N),
            "gains": {
                name: dict(zip(ERROR_TYPES[1:], found.gains[t].tolist(), strict=True)) for t, name in enumerate(names)
            },
            "average_gains": dict(zip(ERROR_TYPES[1:], found.gains.mean(axis=0).tolist(), strict=True)),
        }

    def _accumulated(self) -> dict[str, Any]:
        parts = self.contributions
        return {
            "value": float(parts.sum()),
            "groups": [
                {"name": bucket.name, "range": bucket.range, "contribution": float(part), "accumulated": float(total)}
                for bucket, part, total in zip(self.lengths.buckets, parts, np.cumsum(parts), strict=True)
            ],
        }

    def __str__(self) -> str:
        shown, found = tiou_name(self.tious[self.at]), self.false_positives
        columns = ["percent", f"at tIoU {shown}", f"mean {self.span}"]
        scores = [
            [name, percent(values[self.at]), percent(values.mean())]
            for name, values in (("mAP", self.evaluation.mAP), ("mAP_N", self.mAP_N), ("missed", self.missed))
        ]
        errors = [
            [kind, percent(found.gains[self.at, k]), percent(found.gains[:, k].mean())]
            for k, kind in enumerate(ERROR_TYPES[1:])
        ]
        shares = [
            [f"{number + 1}G", *map(percent, row)] for number, row in enumerate(found.shares()) if not np.isnan(row[0])
        ]
        groups = [
            [one.key, bucket.name, str(bucket.instances), percent(bucket.average), percent(bucket.missed.mean())]
            for one in self.characteristics
            for bucket in one.buckets
        ]
        spread = [
            [
                one.key,
                one.worst.name,
                one.best.name,
                percent(one.sensitivity),
                percent(one.impact),
                "yes" if one.matters else "no",
            ]
            for one in self.characteristics
        ]
        lengths = [
            [bucket.name, percent(part), percent(total)]
            for bucket, part, total in zip(
                self.lengths.buckets, self.contributions, np.cumsum(self.contributions), strict=True
            )
        ]
        parts = [
            f"{self.evaluation.protocol}, subset {self.evaluation.subset}: "
            f"{self.evaluation.counts['videos']} videos, {self.evaluation.counts['instances']} instances, "
            f"{self.evaluation.counts['detections_used']} of {self.evaluation.counts['detections']} detections",
            aligned([columns, *scores]),
            aligned([["mAP_N gained without", *columns[1:]], *errors]),
            aligned([[f"percent of slice, mean {self.span}", *ERROR_TYPES], *shares]),
            aligned([["characteristic", "worst", "best", "sensitivity", "impact", "beyond luck"], *spread], left=3),
            aligned([["characteristic", "bucket", "instances", "mAP_N", "missed"], *groups], left=2),
            aligned([["accumulated mAP by length", "contribution", "sum"], *lengths]),
        ]
        notes = (*self.evaluation.notes.sentences, *self.notes)
        parts += ["notes\n" + "\n".join(f"- {note}" for note in notes)] if notes else []
        return "\n\n".join(parts)


def diagnose(
    detections: Detections,
    truth: Annotations,
    protocol: str | Protocol | None = None,
    *,
    subset: str | None = None,
    tious: Sequence[float] | None = None,
    at: float | None = None,
    edges: Mapping[str, Sequence[float]] | None = None,
    slices: int = SLICES,
    background: float = BACKGROUND,
    floor: float = FLOOR,
    ignore: Collection[str] = (),
) -> Diagnosis:
    """Find out why detections score as they do.

    Args:
        detections: what a method found, in seconds.
        truth: all annotations; only one subset is looked at.
        protocol: as for :func:`~untrimmed.evaluation.scoring.evaluate`.
        subset: default: that of the protocol; ``"all"`` for every video.
        tious: thresholds in (0, 1]; default: those of the protocol.
        at: the threshold shown besides the mean over all; default: 0.5, or the first if 0.5 is not among them.
        edges: characteristic -> inner edges of its buckets, e.g. ``{"length": (5, 10)}``; default: those of DETAD
            for the data set of the protocol, or, where these hold nearly all instances in one, from the data.
        slices: how many times G detections of each class the false positive profile looks at, at least 1.
        background: tIoU in (0, 1] below which a false detection is background.
        floor: normalised precision in [0, 1) at or below which a found instance counts as missed.
        ignore: as for ``evaluate``.

    Raises:
        InputError: for what ``evaluate`` refuses, ``at`` not among the thresholds, unknown characteristics, or a
            number out of range.
    """
    rules = protocol_of(protocol, truth, ignore)
    clean = clean_tious(rules.tious if tious is None else tious)
    place = _place(clean, at)
    if slices < 1 or not 0.0 <= floor < 1.0:
        raise InputError(f"{slices = }, {floor = }: expected at least 1 slice and a floor from 0 to below 1")
    scope = scope_of(truth, rules, subset, detections)
    part = scope.part
    table = build_table(scope.tested(detections), part, rules, lowest=clean[0])
    matching = match(table, clean)
    normalizer = len(table.instance_label) / len(table.classes)
    overall = mean_ap(average_precision(table, matching, normalizer=normalizer))
    missed = ~_found(table, matching, normalizer, floor)
    measured, changed = [], []
    for axis in scales(rules, edges):
        values = _measured(table, part, axis)
        used = axis if axis.key in (edges or ()) else divided_by_the_data(axis, values)
        measured.append((used, values))
        changed += [said_of(used, rules)] if used is not axis else []
    lengths = next(axis.edges for axis, _ in measured if axis.key == "length")
    evaluation = evaluate(detections, truth, rules, subset=subset, tious=clean, lengths=lengths)
    known = [(axis, values) for axis, values in measured if not np.isnan(values).all()]
    several = sum(len(np.unique(axis.bucket(values[~np.isnan(values)]))) > 1 for axis, values in known)
    chances = chances_of(table, matching, missed, normalizer=normalizer, characteristics=max(several, 1))
    return Diagnosis(
        evaluation=evaluation,
        tious=clean,
        at=place,
        normalizer=normalizer,
        background=background,
        floor=floor,
        mAP_N=overall,
        missed=missed.mean(axis=1),
        false_positives=_false_positives(table, matching, slices, background, normalizer),
        characteristics=tuple(
            characteristic(
                table,
                matching,
                missed,
                axis,
                values,
                normalizer=normalizer,
                overall=float(overall.mean()),
                chances=chances,
            )
            for axis, values in known
        ),
        notes=(*changed, *_notes(measured)),
    )


def _place(tious: tuple[float, ...], at: float | None) -> int:
    if at is None:
        return tious.index(0.5) if 0.5 in tious else 0
    (wanted,) = clean_tious([at])
    if wanted not in tious:
        raise InputError(f"tIoU {wanted:g} is not among the thresholds: {', '.join(map(tiou_name, tious))}")
    return tious.index(wanted)


def _false_positives(
    table: Table, matching: Matching, slices: int, background: float, normalizer: float
) -> FalsePositives:
    kinds = error_types(table, matching, background)
    rank = ranks(table, kinds)
    base, gained = gains(table, matching, kinds, rank, slices, normalizer)
    return FalsePositives(profile(table, kinds, rank, slices), base, gained)


def _found(table: Table, matching: Matching, normalizer: float, floor: float) -> Bools:
    """``(T, G)`` whether a detection found the instance, at a normalised precision above ``floor``."""
    count = np.bincount(table.instance_label, minlength=len(table.classes))
    first = np.repeat(table.class_start[:-1], np.diff(table.class_start))
    scale = (normalizer / count)[table.label[table.order]]
    found = np.zeros((len(matching.tious), len(table.instance_label)), dtype=bool)
    for row, instance, false in zip(
        found, matching.instance[:, table.order], matching.false_positive[:, table.order], strict=True
    ):
        right, wrong = (_running(flags, first) for flags in (instance >= 0, false))
        good = (instance >= 0) & (right * scale > floor * (right * scale + wrong))
        row[instance[good]] = True
    return found


def _running(flags: Bools, first: Ints) -> Ints:
    """How many are set so far, counted anew from each class's first place."""
    before = np.zeros(len(flags) + 1, dtype=np.int64)
    np.cumsum(flags, out=before[1:])
    return before[1:] - before[first]


def _measured(table: Table, part: Annotations, axis: Scale) -> Floats:
    """``(G,)`` the characteristic of every instance of the table, NaN where not known."""
    values = np.full(len(table.instance_label), np.nan)
    by_video = np.argsort(table.instance_video, kind="stable")
    starts = np.flatnonzero(np.diff(table.instance_video[by_video], prepend=-1))
    for places in np.split(by_video, starts[1:]):
        video = part.videos[table.videos[table.instance_video[places[0]]]]
        values[places] = measure(axis.key, video, table.instance_index[places])
    return values


def _notes(measured: Sequence[tuple[Scale, Floats]]) -> tuple[str, ...]:
    notes = []
    for axis, values in measured:
        unknown = int(np.isnan(values).sum())
        why = "no such key" if axis.key in ANNOTATED else "their videos have no duration"
        if unknown == len(values) and axis.key not in ANNOTATED:
            notes.append(f"{axis.key} of the instances is not known ({why}): left out")
        elif 0 < unknown < len(values):
            notes.append(f"{axis.key} of {unknown} instances is not known ({why}): they are in none of its buckets")
    return tuple(notes)
