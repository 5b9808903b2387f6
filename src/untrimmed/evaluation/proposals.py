"""How well proposals cover the instances, whatever they are called: :func:`evaluate_proposals`.

Two questions. *Recall*: the share of instances that any proposal of their video overlaps enough, at each threshold; it
is what a detector that judges them could reach. *Average recall* (AR@AN): the same of the best proposals only, when
videos give AN on average, see :mod:`untrimmed.evaluation.recall`; it says how well they are ranked too.

The curve goes to 1,000 proposals a video, as papers on THUMOS14 report. Up to 100 its points, and the area under it,
are those of ActivityNet's proposal task, which cuts the list of each video to its share of 100 a video first. It is a
mean over tIoU 0.5:0.05:0.95; by the protocol ``thumos14`` over 0.5:0.05:1, as papers have it there (BSN, section 4.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from untrimmed.errors import InputError, nearest
from untrimmed.evaluation.overlap import Floats
from untrimmed.evaluation.protocols import DENSE, Protocol, clean_tious, protocol_of, tiou_name
from untrimmed.evaluation.recall import AverageRecall, average_recall, recall_of_all
from untrimmed.evaluation.subsets import scope_of
from untrimmed.evaluation.text import aligned, counted, percent
from untrimmed.types import Annotations, Detections

POINTS = (1, 5, 10, 50, 100, 200, 500, 1000)
"""The average numbers of proposals that are printed."""

LARGEST = POINTS[-1]
_OFFICIAL = 100
"""How far ActivityNet's curve goes."""

_AVERAGED = {"thumos14": (*DENSE, 1.0)}
"""Protocol -> thresholds that average recall is a mean over, where they are not :data:`DENSE`."""


@dataclass(frozen=True, eq=False)
class ProposalScores:
    """The scores of one list of proposals against one truth; ``str()`` is the table, ``to_dict()`` what ``--json``
    prints.

    Args:
        protocol, subset: what was scored.
        version: what the truth calls itself.
        tious: the T thresholds of the recall.
        recall: ``(T,)`` of all proposals, in [0, 1].
        at: average number of proposals -> average recall.
        area: percent, under the curve from 1 to 100, or to the largest number if that is smaller.
        curve: average recall up to the largest number.
        counts: of videos, instances and proposals.
        odd: what is strange and counts all the same.
        notes: a sentence for each of these.
    """

    protocol: str
    subset: str
    version: str
    tious: tuple[float, ...]
    recall: Floats
    at: Mapping[int, float]
    area: float
    curve: AverageRecall
    counts: Mapping[str, int]
    odd: Mapping[str, int]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; scores are fractions, the area percent."""
        return {
            "protocol": self.protocol,
            "subset": self.subset,
            "truth": self.version,
            "tiou": list(self.tious),
            "recall": {tiou_name(t): float(value) for t, value in zip(self.tious, self.recall, strict=True)},
            "average_recall": {
                "tiou": list(self.curve.tious),
                "at": {str(number): value for number, value in self.at.items()},
                "area": self.area,
            },
            "counts": dict(self.counts),
            "odd": dict(self.odd),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        counts = self.counts
        head = [
            ["protocol", self.protocol],
            ["subset", self.subset + (f" of {self.version}" if self.version else "")],
            ["videos", f"{counts['videos']}, {counts['videos_with_instances']} with instances"],
            ["instances", str(counts["instances"])],
            ["proposals", f"{counts['proposals']}, {counts['proposals'] / max(counts['videos'], 1):.1f} a video"],
        ]
        names = [tiou_name(tiou) for tiou in self.tious]
        recall = [["percent at tIoU", *names], ["recall of all", *map(percent, self.recall)]]
        points = [["AN", *map(str, self.at)], ["AR@AN, percent", *(f"{100 * value:.2f}" for value in self.at.values())]]
        averaged = f"{self.curve.tious[0]:g} .. {self.curve.tious[-1]:g}, {len(self.curve.tious)} thresholds"
        area = f"area under the curve to {min(_OFFICIAL, int(self.curve.numbers[-1]))}: {self.area:.2f}"
        parts = [aligned(head, left=2), aligned(recall), f"{aligned(points)}\n{area}; mean over tIoU {averaged}"]
        parts += ["notes\n" + "\n".join(f"- {note}" for note in self.notes)] if self.notes else []
        return "\n\n".join(parts)


def evaluate_proposals(
    proposals: Detections,
    truth: Annotations,
    protocol: str | Protocol | None = None,
    *,
    subset: str | None = None,
    tious: Sequence[float] = DENSE,
    averaged: Sequence[float] | None = None,
    largest: int = LARGEST,
) -> ProposalScores:
    """Score proposals; labels, if there are any, are not looked at.

    Args:
        proposals: in seconds.
        truth: all annotations; only one subset is scored.
        protocol: says which subset, and which segments are no instances; None: ``thumos14`` if the truth has Ambiguous
            segments, else ``activitynet``.
        subset: default: that of the protocol; ``"all"`` for every video. Videos that the model was trained on are left
            out, where the proposals know them.
        tious: thresholds of the recall, in (0, 1].
        averaged: thresholds that average recall is a mean over; None: those of the protocol.
        largest: the largest average number of proposals of the curve, at least 1.

    Raises:
        InputError: if none of the proposals is of a video of the subset, the subset has no instance, or a number is out
            of range.
    """
    rules = protocol_of(protocol, truth)
    scope = scope_of(truth, rules, subset, proposals)
    name, part, given = scope.name, scope.part, proposals
    clean = clean_tious(tious)
    _expect_videos(proposals, scope.whole, name)
    proposals = scope.tested(proposals)
    mean = _AVERAGED.get(rules.name, DENSE) if averaged is None else averaged
    curve = average_recall(proposals, part, tious=mean, largest=largest, ignored=rules.no_classes)
    official = curve
    if largest > _OFFICIAL:
        official = average_recall(proposals, part, tious=mean, largest=_OFFICIAL, ignored=rules.no_classes)
    points = [number for number in POINTS if number <= largest]
    odd = _odd(proposals, part)
    with_instances = [video for video in part if set(video.instances.labels) - rules.no_classes]
    return ProposalScores(
        protocol=rules.name,
        subset=name,
        version=truth.version,
        tious=clean,
        recall=recall_of_all(proposals, part, clean, ignored=rules.no_classes),
        at={number: (official if number <= _OFFICIAL else curve).at(number) for number in points},
        area=official.area,
        curve=curve,
        counts={
            "videos": len(part),
            "videos_with_instances": len(with_instances),
            "instances": sum(label not in rules.no_classes for video in part for label in video.instances.labels),
            "proposals": len(proposals),
        },
        odd=odd,
        notes=(*scope.notes(given), *_notes(odd, proposals, part)),
    )


def _expect_videos(proposals: Detections, part: Annotations, subset: str) -> None:
    if not len(proposals):
        raise InputError("there are no proposals, nothing to score")
    used = [proposals.video_ids[index] for index in np.unique(proposals.video)]
    if not any(video_id in part.videos for video_id in used):
        raise InputError(
            f"none of the {counted(len(used), 'video')} with proposals is in subset '{subset}' of the truth, e.g. "
            f"'{used[0]}': {nearest(used[0], part.videos, limit=4)}; are these proposals of another data set?"
        )


def _odd(proposals: Detections, part: Annotations) -> dict[str, int]:
    """What is strange and counts all the same."""
    start, end = proposals.segments.T
    known = np.array([video_id in part.videos for video_id in proposals.video_ids], dtype=bool)
    per_video = np.bincount(proposals.video, minlength=len(known))
    filled = {name for name, count in zip(proposals.video_ids, per_video, strict=True) if count}
    durations = np.array(
        [
            np.inf if (video := part.videos.get(name)) is None or video.duration is None else video.duration
            for name in proposals.video_ids
        ]
    )
    return {
        "videos_without_proposals": len(part.videos.keys() - filled),
        "proposals_in_videos_without_truth": int(per_video[~known].sum()),
        "reversed_proposals": int((end < start).sum()),
        "zero_length_proposals": int((end == start).sum()),
        "proposals_beyond_the_video": int((start >= durations[proposals.video]).sum()),
    }


_SENTENCES = {
    "reversed_proposals": "whose end lies before its start: cover nothing, and count",
    "zero_length_proposals": "of no length: cover nothing, and count",
    "proposals_beyond_the_video": "that begins after its video ends: are they seconds?",
}


def _notes(odd: Mapping[str, int], proposals: Detections, part: Annotations) -> tuple[str, ...]:
    notes = []
    if count := odd["videos_without_proposals"]:
        used = {proposals.video_ids[index] for index in np.unique(proposals.video)}
        first = next(video_id for video_id in part.videos if video_id not in used)
        notes.append(f"{counted(count, 'video')} of the subset without any proposal, e.g. {first}: recall nothing")
    if count := odd["proposals_in_videos_without_truth"]:
        used_ids = [proposals.video_ids[index] for index in np.unique(proposals.video)]
        first = next(video_id for video_id in used_ids if video_id not in part.videos)
        notes.append(
            f"{counted(count, 'proposal')} in videos that the subset lacks, e.g. {first}: can cover nothing, but count "
            "towards the average number"
        )
    notes += [f"{counted(odd[key], 'proposal')} {rest}" for key, rest in _SENTENCES.items() if odd[key]]
    return tuple(notes)
