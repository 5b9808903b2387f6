"""Everything ``untrimmed evaluate`` says, as one pure function: :func:`evaluate`.

What is odd in the input is counted and named, never repaired in silence:

- a detection whose label no instance of the subset has, or without a label, is ignored (and counted);
- a detection in a video that the subset does not have is a false positive;
- a detection of no length, or whose end lies before its start, is a false positive;
- an instance of no length, or reversed, cannot be found and stays in the denominator; a repeated one counts again;
- videos that the model was trained on, where the detections know it, are scored apart.

mAP of a length group: the instances of the group are to be found; a detection that is matched to an instance of
another group is neither right nor wrong; every other detection that found nothing is a false positive in each
group. The matching is that of all instances. Groups are open below and closed above (30 s belongs to XS), as in
DETAD (Alwassel et al., ECCV 2018), whose AP is normalised besides; this one is not. The mean is over the classes
with an instance in the group.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from untrimmed.evaluation.any_label import with_one_label
from untrimmed.evaluation.ap import average_precision, mean_ap
from untrimmed.evaluation.bootstrap import LEVEL, bootstrap_ap, draw_weights, interval, pair
from untrimmed.evaluation.characteristics import divided_by_the_data, said_of, scales
from untrimmed.evaluation.notes import Notes, find_notes
from untrimmed.evaluation.overlap import Bools, Floats, Ints, Matching, Table, build_table, match
from untrimmed.evaluation.protocols import (
    Protocol,
    averages_of,
    clean_lengths,
    clean_tious,
    protocol_of,
    tiou_name,
)
from untrimmed.evaluation.recall import AverageRecall, RecallAtK, average_recall, recall_at_k
from untrimmed.evaluation.subsets import scope_of
from untrimmed.evaluation.text import aligned, counted, number_or_none, percent
from untrimmed.types import Annotations, Detections


@dataclass(frozen=True, eq=False)
class LengthGroup:
    """mAP of the instances within a range of lengths.

    Args:
        name: XS to XL, or ``"length"`` for edges that are not four.
        low, high: seconds, ``low < length <= high``; infinite at the ends.
        instances: how many there are.
        mAP: ``(T,)``; NaN if there are none.
    """

    name: str
    low: float
    high: float
    instances: int
    mAP: Floats


@dataclass(frozen=True, eq=False)
class Intervals:
    """Confidence intervals from a bootstrap over videos.

    Args:
        level: share of the resamples inside, 0.95 unless asked otherwise.
        resamples, seed: of the bootstrap.
        mAP: ``(2, T)`` low and high.
        averages: name -> ``(2,)`` low and high.
    """

    level: float
    resamples: int
    seed: int
    mAP: Floats
    averages: Mapping[str, Floats]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The scores of one result against one truth; ``str()`` is the table, ``to_dict()`` what ``--json`` prints.

    Args:
        protocol, subset: what was scored and how.
        version: what the truth calls itself.
        tious: the T thresholds.
        classes: the K classes.
        ap: ``(T, K)`` in [0, 1].
        mAP: ``(T,)`` mean over the classes.
        averages: name -> mean of mAP over thresholds.
        lengths: mAP by length of instance.
        recall: recall of the first k detections per instance.
        average_recall: of the detections as proposals, labels ignored.
        instances, detections: ``(K,)`` how many each class has.
        counts: of videos, classes, instances and detections, and of those used.
        notes: what was left out, and what is strange.
        intervals: None unless resamples were asked for.
        training: the scores in the videos that the model was trained on, apart; None without such videos.
        only_training: whether the model was trained on all videos that are scored here, so that nothing of it says how
            good the model is.
    """

    protocol: str
    subset: str
    version: str
    tious: tuple[float, ...]
    classes: tuple[str, ...]
    ap: Floats
    mAP: Floats
    averages: Mapping[str, float]
    lengths: tuple[LengthGroup, ...]
    recall: RecallAtK
    average_recall: AverageRecall
    instances: Ints
    detections: Ints
    counts: Mapping[str, int]
    notes: Notes
    intervals: Intervals | None = None
    training: Evaluation | None = None
    only_training: bool = False

    @property
    def of_training(self) -> str:
        """What stands behind the name of a score: nothing, or that it is of training videos."""
        return " on training videos" if self.only_training else ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; scores are fractions, None where there is no score."""
        names = [tiou_name(tiou) for tiou in self.tious]
        result: dict[str, Any] = {
            "protocol": self.protocol,
            "subset": self.subset,
            "truth": self.version,
            "tiou": list(self.tious),
            "mAP": _scores(names, self.mAP),
            "averages": dict(self.averages),
            "per_class": {label: _scores(names, self.ap[:, k]) for k, label in enumerate(self.classes)},
            "counts": dict(self.counts)
            | {
                "per_class": {
                    label: {"instances": int(self.instances[k]), "detections": int(self.detections[k])}
                    for k, label in enumerate(self.classes)
                }
            },
            **self.notes.to_dict(),
            "lengths": [
                {
                    "name": group.name,
                    "above": group.low if np.isfinite(group.low) else None,
                    "up_to": group.high if np.isfinite(group.high) else None,
                    "instances": group.instances,
                    "mAP": _scores(names, group.mAP),
                }
                for group in self.lengths
            ],
            "recall_at_k": self.recall.to_dict(),
            "average_recall": self.average_recall.to_dict(),
        }
        if self.intervals:
            result["intervals"] = {
                "level": self.intervals.level,
                "resamples": self.intervals.resamples,
                "seed": self.intervals.seed,
                "mAP": {name: pair(ends) for name, ends in zip(names, self.intervals.mAP.T, strict=True)},
                "averages": {name: pair(ends) for name, ends in self.intervals.averages.items()},
            }
        result["only_training_videos"] = self.only_training
        result["training_videos"] = self.training and {
            "counts": dict(self.training.counts),
            "mAP": _scores(names, self.training.mAP),
            "averages": dict(self.training.averages),
        }
        return result

    def __str__(self) -> str:
        names = [tiou_name(tiou) for tiou in self.tious]
        counts = self.counts
        used = f"{counts['detections_used']} of {counts['detections']} used"
        head = [
            ["protocol", self.protocol],
            ["subset", self.subset + (f" of {self.version}" if self.version else "")],
            ["videos", f"{counts['videos']}, {counts['videos_with_instances']} with instances"],
            ["instances", f"{counts['instances']} in {len(self.classes)} classes"],
            ["detections", used],
        ]
        main = [["percent at tIoU", "", *names], [f"mAP{self.of_training}", "", *map(percent, self.mAP)]]
        if self.intervals:
            title = f"  {100 * self.intervals.level:g} % interval"
            main += [
                [f"{title}, low", "", *map(percent, self.intervals.mAP[0])],
                [f"{title}, high", "", *map(percent, self.intervals.mAP[1])],
            ]
        main += [
            [f"mAP, {group.name}", f"{_range(group)} s, {group.instances} instances", *map(percent, group.mAP)]
            for group in self.lengths
        ]
        main += [
            [f"recall at {k}", "per instance", *map(percent, row)]
            for k, row in zip(self.recall.ks, self.recall.mean, strict=True)
        ]
        spans = [[f"average mAP{self.of_training} {name}", percent(value)] for name, value in self.averages.items()]
        if self.intervals:
            for row, ends in zip(spans, self.intervals.averages.values(), strict=True):
                row.append(f"{percent(ends[0])} .. {percent(ends[1])}")
        classes = [["class", "instances", "detections", *names]]
        classes += [
            [label, str(self.instances[k]), str(self.detections[k]), *map(percent, self.ap[:, k])]
            for k, label in enumerate(self.classes)
        ]
        if self.only_training:
            head.append(["no test", "the model was trained on these videos"])
        parts = [aligned(head, left=2), aligned(main, left=2)]
        parts += [aligned(spans)] if spans else []
        parts += [f"average recall at tIoU 0.5:0.05:0.95, percent\n{self.average_recall}", aligned(classes)]
        parts += [f"apart: {self.training.apart()}"] if self.training else []
        parts += [f"notes\n{self.notes}"] if self.notes.sentences else []
        return "\n\n".join(parts)

    def apart(self) -> str:
        """The scores of training videos as a short table."""
        rows = [["percent at tIoU", *map(tiou_name, self.tious)], ["mAP on training videos", *map(percent, self.mAP)]]
        spans = [f"average {name} {percent(value)}" for name, value in self.averages.items()]
        count = f"{counted(self.counts['videos'], 'video')} that the model was trained on, which test nothing"
        return "\n".join([count, aligned(rows), *spans])


def evaluate(
    detections: Detections,
    truth: Annotations,
    protocol: str | Protocol | None = None,
    *,
    subset: str | None = None,
    tious: Sequence[float] | None = None,
    lengths: Sequence[float] | None = None,
    resamples: int = 0,
    seed: int = 0,
    level: float = LEVEL,
    any_label: bool = False,
    ignore: Collection[str] = (),
) -> Evaluation:
    """Score detections.

    Args:
        detections: what a method found, in seconds.
        truth: all annotations; only one subset is scored.
        protocol: a name in :data:`~untrimmed.evaluation.protocols.PROTOCOLS`, or a protocol of your own; None:
            ``thumos14`` if the truth has Ambiguous segments, else ``activitynet``.
        subset: ``"all"`` for every video; default: that of the protocol, or else what
            :func:`~untrimmed.evaluation.subsets.pick_subset` finds.
        tious: thresholds in (0, 1]; default: those of the protocol.
        lengths: rising edges in seconds of the length groups; default: those of the protocol, or, where these hold
            nearly all instances in one, from the data.
        resamples: of the bootstrap for confidence intervals; 0 for none. 1,000 are usual.
        seed: of the bootstrap.
        level: of the intervals.
        any_label: all labels are taken for one, also where a detection has none: how well segments are found, whatever
            is said of them.
        ignore: labels of the truth that are no classes, besides those of the protocol (``Ambiguous``).

    Raises:
        InputError: for an unknown protocol or subset, a subset without instances, or a number out of range.
    """
    rules = protocol_of(protocol, truth, ignore)
    if any_label:
        detections, truth = with_one_label(detections, truth, rules.no_classes)
    scope = scope_of(truth, rules, subset, detections)
    clean = clean_tious(rules.tious if tious is None else tious)
    edges = None if lengths is None else clean_lengths(lengths)
    bootstrap = (resamples, seed, level)
    tested = scope.tested(detections)
    scores = _evaluated(tested, scope.part, truth, rules, scope.name, clean, edges, bootstrap)
    trained = None
    if len(scope.training):
        trained = _evaluated(
            scope.trained(detections), scope.training, truth, rules, scope.name, clean, edges, (0, 0, level)
        )
    notes = replace(scores.notes, sentences=(*scope.notes(detections), *scores.notes.sentences))
    counts = {**scores.counts, "detections": len(detections), "detections_apart": len(detections) - len(tested)}
    return replace(scores, counts=counts, notes=notes, training=trained, only_training=scope.only_training)


def _evaluated(
    detections: Detections,
    part: Annotations,
    truth: Annotations,
    rules: Protocol,
    name: str,
    tious: tuple[float, ...],
    lengths: tuple[float, ...] | None,
    bootstrap: tuple[int, int, float],
) -> Evaluation:
    """All scores in one part of the truth; ``bootstrap`` has the resamples, the seed and the level."""
    table = build_table(detections, part, rules, lowest=tious[0])
    matching = match(table, tious)
    ap = average_precision(table, matching)
    spans, scores = averages_of(tious), mean_ap(ap)
    notes = find_notes(table, matching, detections, part, truth)
    if lengths is None:
        lengths, words = _default_lengths(table, rules)
        notes = replace(notes, sentences=(*notes.sentences, *words))
    return Evaluation(
        protocol=rules.name,
        subset=name,
        version=truth.version,
        tious=tious,
        classes=table.classes,
        ap=ap,
        mAP=scores,
        averages={span: float(scores[places].mean()) for span, places in spans.items()},
        lengths=_length_groups(table, matching, lengths),
        recall=recall_at_k(table, tious),
        average_recall=average_recall(detections, part, ignored=rules.no_classes),
        instances=np.bincount(table.instance_label, minlength=len(table.classes)),
        detections=np.bincount(table.label, minlength=len(table.classes)),
        counts={
            "videos": len(part),
            "videos_with_instances": len(np.unique(table.instance_video)),
            "classes": len(table.classes),
            "instances": len(table.instance_label),
            "detections": len(detections),
            "detections_used": len(table.row),
        },
        notes=notes,
        intervals=_intervals(table, matching, spans, *bootstrap) if bootstrap[0] else None,
    )


def _scores(names: list[str], values: Floats) -> dict[str, float | None]:
    return {name: number_or_none(value) for name, value in zip(names, values, strict=True)}


def _range(group: LengthGroup) -> str:
    if np.isinf(group.low):
        return f"<= {group.high:g}"
    return f"> {group.low:g}" if np.isinf(group.high) else f"{group.low:g}-{group.high:g}"


def _default_lengths(table: Table, rules: Protocol) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Edges of the length groups, and a sentence where they are not the protocol's."""
    axis = next(axis for axis in scales(rules) if axis.key == "length")
    used = divided_by_the_data(axis, table.lengths)
    return used.edges, () if used is axis else (said_of(used, rules),)


def _length_groups(table: Table, matching: Matching, edges: tuple[float, ...]) -> tuple[LengthGroup, ...]:
    bounds = [-np.inf, *edges, np.inf]
    groups = []
    for place, (low, high) in enumerate(itertools.pairwise(bounds)):
        inside: Bools = (table.lengths > low) & (table.lengths <= high)
        name = ("XS", "S", "M", "L", "XL")[place] if len(edges) == 4 else "length"
        scores = mean_ap(average_precision(table, matching, positive=inside))
        groups.append(LengthGroup(name, low, high, int(inside.sum()), scores))
    return tuple(groups)


def _intervals(
    table: Table, matching: Matching, spans: dict[str, list[int]], resamples: int, seed: int, level: float
) -> Intervals:
    samples = mean_ap(bootstrap_ap(table, matching, draw_weights(len(table.videos), resamples, seed)))
    ends = {name: interval(samples[:, places].mean(axis=1), level) for name, places in spans.items()}
    return Intervals(level, resamples, seed, interval(samples, level), ends)
