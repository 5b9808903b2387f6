"""Where one result gained over another: which instances B finds and A misses, and the other way round.

How to use it::

    changes = find_changes(read_detections(a), read_detections(b), truth, "thumos14", tiou=0.5)
    changes.counts                       # {"instances": 3358, "found_a": ..., "gained": ..., "lost": ..., ...}
    changes.gained[0]                    # where B gained most: the instance, what A has there, what B has

Zeng et al., Graph Convolutional Module for Temporal Action Localization in Videos (TPAMI), Fig. 5 and 6, show such
instances by hand: the truth, what SSN found, what SSN with GCM found. Here all of them are found and counted, so that
examples can be drawn without picking.

An instance is *found* if the rule of the protocol gives it a detection among those that are *shown*: scored at or
above a threshold, by default that of the result's best F1, as in the viewer. Detections are cut before they are
matched; by the rule of THUMOS14, where instances choose, one that nobody is shown takes no instance from one that is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from untrimmed.errors import InputError
from untrimmed.evaluation.error_analysis import analyse_errors, slack
from untrimmed.evaluation.false_positives import BACKGROUND
from untrimmed.evaluation.overlap import Bools, Ints, build_table, match
from untrimmed.evaluation.protocols import Protocol, clean_tious, protocol_of
from untrimmed.evaluation.subsets import scope_of, with_common_training
from untrimmed.evaluation.suggestion import rows_by_video
from untrimmed.segments import intersection
from untrimmed.segments import tiou as tiou_of
from untrimmed.types import Annotations, Detections

Reason = Literal["found", "wrong label", "too little overlap", "found another", "low score", "confusion", "nothing"]
REASONS: tuple[Reason, ...] = (
    "wrong label",
    "too little overlap",
    "found another",
    "low score",
    "confusion",
    "nothing",
)
"""Why an instance is missed; the first that holds:

a shown detection of another label overlaps it enough; one of its label overlaps it, but not enough; one of its label
overlaps it, but found another instance; one of its label overlaps it enough, but is scored below the threshold; a shown
one of another label overlaps it, but not enough; none of these. Detections that found an instance are none of another
label, and overlaps below 0.1 are none, as in :mod:`~untrimmed.evaluation.false_positives`."""

ALIKE = 0.01
"""Two detections are placed alike if their tIoU with the instance differs by less."""

COUNTS = ("instances", "found_a", "found_b", "gained", "lost", "better", "worse")
"""What is counted, of each class and of all."""


@dataclass(frozen=True)
class Candidate:
    """A detection beside an instance.

    Args:
        label: its label, or None.
        start, end: seconds.
        score: as given.
        tiou: overlap with the instance, in [0, 1].
        shown: whether its score reaches the threshold.
    """

    label: str | None
    start: float
    end: float
    score: float
    tiou: float
    shown: bool


@dataclass(frozen=True)
class Answer:
    """What one result has at an instance.

    Args:
        reason: ``"found"``, or one of :data:`REASONS`.
        tiou: overlap of the detection that found it; else of the shown detection of its label that overlaps it most, at
            least 0.1; 0 without.
        detections: the detection that found it; else, each if there is one, the shown detection of its label and that
            of another label which overlap it most (the latter if it found nothing), and, of those of its label that
            overlap it enough but are not shown, the one of the highest score.
    """

    reason: Reason
    tiou: float
    detections: tuple[Candidate, ...]


@dataclass(frozen=True)
class Change:
    """An instance at which A and B differ.

    Args:
        video: its id.
        place: of the instance among those of the video, from 0.
        label: of the instance.
        start, end: seconds.
        a, b: what each has there.
        others: label, start and end of the other segments of the video's truth, whatever their label, that share time
            with the instance or with one of these detections.
    """

    video: str
    place: int
    label: str
    start: float
    end: float
    a: Answer
    b: Answer
    others: tuple[tuple[str, float, float], ...]

    @property
    def difference(self) -> float:
        """``b.tiou - a.tiou``, in [-1, 1]."""
        return self.b.tiou - self.a.tiou


@dataclass(frozen=True)
class Shown:
    """What a result shows in the videos of the truth.

    Args:
        threshold: of the score.
        detections: how many of a class of the truth reach it.
        right, wrong: how many of these find an instance, and how many are false positives.
        instances: how many there are to find.
    """

    threshold: float
    detections: int
    right: int
    wrong: int
    instances: int

    @property
    def precision(self) -> float:
        """1 if nothing is shown that counts."""
        return self.right / (self.right + self.wrong) if self.right + self.wrong else 1.0

    @property
    def recall(self) -> float:
        """The share of the instances that are found."""
        return self.right / self.instances

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 if nothing is found."""
        return 2 * self.right / (self.right + self.wrong + self.instances)


@dataclass(frozen=True)
class Changes:
    """All instances at which A and B differ; each kind by falling difference of tIoU, then by falling score.

    Args:
        protocol, subset: what was looked at, and by which rule.
        tiou: overlap from which a detection finds an instance.
        shown: of A and of B.
        gained, lost: instances that B finds and A misses, and that A finds and B misses.
        better, worse: instances that both find, where the tIoU of B, and of A, is higher by :data:`ALIKE` or more.
        per_class: label -> :data:`COUNTS`.
        only_training: whether A or B was trained on all videos that are looked at.
    """

    protocol: str
    subset: str
    tiou: float
    shown: tuple[Shown, Shown]
    gained: tuple[Change, ...]
    lost: tuple[Change, ...]
    better: tuple[Change, ...]
    worse: tuple[Change, ...]
    per_class: Mapping[str, Mapping[str, int]]
    only_training: bool = False

    @property
    def counts(self) -> dict[str, int]:
        """:data:`COUNTS` of all classes together, and ``found_both``, ``missed_both`` and ``alike`` (of the first)."""
        total = {name: sum(row[name] for row in self.per_class.values()) for name in COUNTS}
        both = total["found_a"] - total["lost"]
        missed = total["instances"] - both - total["gained"] - total["lost"]
        alike = both - total["better"] - total["worse"]
        return {**total, "found_both": both, "missed_both": missed, "alike": alike}

    @property
    def reasons(self) -> tuple[dict[Reason, int], dict[Reason, int]]:
        """Why A missed what B gained, and why B missed what was lost: how many of each of :data:`REASONS`."""
        a, b = Counter(one.a.reason for one in self.gained), Counter(one.b.reason for one in self.lost)
        return {name: a[name] for name in REASONS}, {name: b[name] for name in REASONS}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, all instances included."""
        kinds = {"gained": self.gained, "lost": self.lost, "better": self.better, "worse": self.worse}
        return {
            "protocol": self.protocol,
            "subset": self.subset,
            "tiou": self.tiou,
            "only_training_videos": self.only_training,
            "shown": {
                side: {**asdict(one), "precision": one.precision, "recall": one.recall, "f1": one.f1}
                for side, one in zip("ab", self.shown, strict=True)
            },
            "counts": self.counts,
            "missed_because": dict(zip("ab", self.reasons, strict=True)),
            "per_class": {label: dict(row) for label, row in self.per_class.items()},
            **{name: [asdict(one) for one in every] for name, every in kinds.items()},
        }


def find_changes(
    a: Detections,
    b: Detections,
    truth: Annotations,
    protocol: str | Protocol | None = None,
    *,
    subset: str | None = None,
    tiou: float = 0.5,
    thresholds: tuple[float, float] | None = None,
    ignore: Collection[str] = (),
) -> Changes:
    """Find the instances at which A and B differ, in the videos that :func:`~untrimmed.evaluation.compare` scores.

    Detections without label find nothing; detections in videos that the truth does not have are not looked at.

    Args:
        a, b, truth, protocol, subset, ignore: as for ``compare``.
        tiou: overlap from which a detection finds an instance, in (0, 1].
        thresholds: of the score, of A and of B; None: those of the best F1, see
            :attr:`~untrimmed.evaluation.error_analysis.ErrorAnalysis.best`.

    Raises:
        InputError: as ``compare``, or if ``tiou`` is out of range or a threshold not finite.
    """
    (tiou,) = clean_tious([tiou])
    rules = protocol_of(protocol, truth, ignore)
    a, b = with_common_training((a, b))
    scope = scope_of(truth, rules, subset, a, b)
    cuts = (None, None) if thresholds is None else thresholds
    both = [_Result(scope.tested(each), scope.part, rules, tiou, cut) for each, cut in zip((a, b), cuts, strict=True)]
    per_class = {label: dict.fromkeys(COUNTS, 0) for label in scope.part.labels if label not in rules.no_classes}
    kinds: dict[str, list[Change]] = {"gained": [], "lost": [], "better": [], "worse": []}
    for video in scope.part:
        for place, label in enumerate(video.instances.labels):
            if label not in per_class:
                continue
            row = per_class[label]
            found = [(video.id, place) in one.finder for one in both]
            for name, holds in zip(COUNTS, (True, *found), strict=False):
                row[name] += holds
            if not any(found):
                continue
            one = _change(video.id, place, scope.part, both)
            kind = _kind(found, one.difference)
            if kind:
                row[kind] += 1
                kinds[kind].append(one)
    return Changes(
        protocol=rules.name,
        subset=scope.name,
        tiou=tiou,
        shown=(both[0].shown, both[1].shown),
        gained=_ranked(kinds["gained"], ahead="b"),
        lost=_ranked(kinds["lost"], ahead="a"),
        better=_ranked(kinds["better"], ahead="b"),
        worse=_ranked(kinds["worse"], ahead="a"),
        per_class=per_class,
        only_training=scope.only_training,
    )


class _Result:
    """One result: what it shows, and which detection found which instance."""

    def __init__(
        self, detections: Detections, part: Annotations, rules: Protocol, tiou: float, threshold: float | None
    ) -> None:
        known = np.array([name in part.videos for name in detections.video_ids], dtype=bool)
        self.detections = detections.select(np.flatnonzero(known[detections.video]))
        if threshold is None:
            judged = analyse_errors(self.detections, part, rules, tiou=tiou)
            threshold, reached = judged.best, judged.best - slack(judged.cuts)
        else:
            reached = threshold
        if not np.isfinite(threshold):
            raise InputError(f"threshold {threshold}: expected a score")
        self.kept: Bools = self.detections.scores >= reached
        rows = np.flatnonzero(self.kept)
        table = build_table(self.detections.select(rows), part, rules, lowest=tiou)
        matching = match(table, (tiou,))
        instance, row = matching.instance[0], rows[table.row]
        hits = np.flatnonzero(instance >= 0)
        names = [table.videos[video] for video in table.instance_video.tolist()]
        places = table.instance_index.tolist()
        self.finder = {(names[instance[hit]], places[instance[hit]]): int(row[hit]) for hit in hits.tolist()}
        self.busy: Bools = np.zeros(len(self.detections), dtype=bool)
        self.busy[row[hits]] = True
        wrong = int(matching.false_positive[0].sum())
        self.shown = Shown(threshold, len(row), len(hits), wrong, len(table.instance_label))
        self.rules, self.tiou = rules, tiou
        self.by_video = rows_by_video(self.detections)

    def answer(self, video: str, place: int, label: str, segment: Any) -> Answer:
        """What it has at an instance; see :class:`Answer`."""
        mine = self.detections
        rows = self.by_video.get(video, np.empty(0, dtype=np.int64))
        overlap = tiou_of(mine.segments[rows], segment)
        if (video, place) in self.finder:
            at = int(np.flatnonzero(rows == self.finder[video, place])[0])
            return Answer("found", float(overlap[at]), (self._candidate(int(rows[at]), float(overlap[at])),))
        known = mine.labels.index(label) if label in mine.labels else -2
        own, kept, busy = mine.label[rows] == known, self.kept[rows], self.busy[rows]
        compared = self.rules.compared(self.tiou)
        enough = overlap > compared if self.rules.rule == "thumos14" else overlap >= compared
        there = overlap >= min(BACKGROUND, self.tiou)
        scores = mine.scores[rows]
        near = _best(kept & own & there & ~busy, overlap, scores)
        near = _best(kept & own & there, overlap, scores) if near is None else near
        other = _best(kept & ~own & there & ~busy, overlap, scores)
        low = _best(~kept & own & enough, scores, overlap)
        picked = [self._candidate(int(rows[at]), float(overlap[at])) for at in (near, other, low) if at is not None]
        reason: Reason = "nothing"
        if other is not None and enough[other]:
            reason = "wrong label"
        elif near is not None:
            reason = "found another" if busy[near] else "too little overlap"
        elif low is not None:
            reason = "low score"
        elif other is not None:
            reason = "confusion"
        return Answer(reason, 0.0 if near is None else float(overlap[near]), tuple(picked))

    def _candidate(self, row: int, overlap: float) -> Candidate:
        mine = self.detections
        label = None if mine.label[row] < 0 else mine.labels[mine.label[row]]
        start, end = mine.segments[row].tolist()
        return Candidate(label, start, end, float(mine.scores[row]), overlap, bool(self.kept[row]))


def _best(allowed: Bools, values: Any, then: Any) -> int | None:
    """Place of the highest value that is allowed; of equal ones that with the highest of the others, then the first."""
    places: Ints = np.flatnonzero(allowed)
    if not len(places):
        return None
    return int(places[np.lexsort((-then[places], -values[places]))[0]])


def _kind(found: list[bool], difference: float) -> str:
    """The kind of a change; empty for none."""
    if found[0] and found[1]:
        return "" if abs(difference) < ALIKE else "better" if difference > 0 else "worse"
    return "lost" if found[0] else "gained"


def _change(video: str, place: int, part: Annotations, both: list[_Result]) -> Change:
    truth = part.videos[video].instances
    label, segment = truth.labels[place], truth.segments[place]
    a, b = (one.answer(video, place, label, segment) for one in both)
    drawn = np.array([segment.tolist(), *([one.start, one.end] for one in (*a.detections, *b.detections))])
    shared = (intersection(truth.segments[:, None], drawn[None]) > 0).any(axis=1)
    others = tuple(
        (truth.labels[other], float(truth.segments[other, 0]), float(truth.segments[other, 1]))
        for other in np.flatnonzero(shared).tolist()
        if other != place
    )
    return Change(video, place, label, float(segment[0]), float(segment[1]), a, b, others)


def _ranked(changes: list[Change], *, ahead: Literal["a", "b"]) -> tuple[Change, ...]:
    """Those where the side that is ahead is so by most come first."""
    sign = -1 if ahead == "a" else 1

    def rank(one: Change) -> tuple[float, float, str, int]:
        finder = (one.a if ahead == "a" else one.b).detections[0]
        return -sign * one.difference, -finder.score, one.video, one.place

    return tuple(sorted(changes, key=rank))
