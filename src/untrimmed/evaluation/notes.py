"""What is strange in the input, and what was done with it: nothing is repaired or left out in silence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from untrimmed.errors import nearest
from untrimmed.evaluation.ap import ap_range, mean_ap, tied
from untrimmed.evaluation.overlap import Matching, Table
from untrimmed.evaluation.protocols import tiou_name
from untrimmed.evaluation.text import counted
from untrimmed.types import Annotations, Detections


@dataclass(frozen=True)
class Ties:
    """Detections that share their score with another of their class, and what their order decides.

    Args:
        detections: how many there are.
        mAP: threshold -> mAP with the true positives last and first among equal scores. No order in which the same
            detections are true positives lies outside. (Within a video, by ActivityNet's rule, the order of equals
            also decides which detection takes an instance, and so whether another one finds a second: that is held as
            the input has it, and another order can lie a little outside.)
    """

    detections: int
    mAP: Mapping[str, tuple[float, float]]

    def to_dict(self) -> dict[str, Any]:
        """``{"detections": 2, "mAP": {"0.5": [low, high]}}``."""
        return {"detections": self.detections, "mAP": {name: list(ends) for name, ends in self.mAP.items()}}

    def notes(self, used: int) -> tuple[str, ...]:
        """A sentence, if there are any."""
        if not self.detections:
            return ()
        low, high = (100 * sum(ends) / len(self.mAP) for ends in zip(*self.mAP.values(), strict=True))
        mean = "mAP" if len(self.mAP) == 1 else "mAP, the mean over the thresholds,"
        does = (
            f"by order alone, {mean} can lie from {low:.2f} to {high:.2f}"
            if high > low
            else "the order changes no score"
        )
        return (
            f"{counted(self.detections, 'detection')} of {used} share their score with another of their class: {does}",
        )


@dataclass(frozen=True)
class Notes:
    """Counts, and the same as sentences; ``str()`` is a list of them.

    Args:
        ignored: detections that neither help nor harm: with an unknown label, without one, on Ambiguous segments.
        odd: what is strange and is counted all the same.
        ties: what the order of equal scores within a class can make.
        sentences: one for each that occurs.
    """

    ignored: Mapping[str, Any]
    odd: Mapping[str, int]
    ties: Ties
    sentences: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """``{"ignored": {...}, "odd": {...}, "ties": {...}, "notes": [...]}``."""
        return {
            "ignored": dict(self.ignored),
            "odd": dict(self.odd),
            "ties": self.ties.to_dict(),
            "notes": list(self.sentences),
        }

    def __str__(self) -> str:
        return "\n".join(f"- {note}" for note in self.sentences)


def find_notes(
    table: Table, matching: Matching, detections: Detections, part: Annotations, truth: Annotations
) -> Notes:
    """Look for everything that a reader of the scores should know.

    Args:
        table, matching: of the detections and ``part``.
        detections: all that were given.
        part: the subset that is scored.
        truth: all annotations.
    """
    ignored, odd, ties = _ignored(table, matching), _odd(table, detections, part, truth), find_ties(table, matching)
    return Notes(ignored, odd, ties, (*_notes(table, ignored, odd), *ties.notes(len(table.row))))


def find_ties(table: Table, matching: Matching) -> Ties:
    """Count equal scores, and score with the order that is best and worst."""
    number = int(tied(table).sum())
    if not number:
        return Ties(0, {})
    ends = [mean_ap(ap) for ap in ap_range(table, matching)]
    return Ties(number, {tiou_name(t): (float(a), float(b)) for t, a, b in zip(matching.tious, *ends, strict=True)})


def _ignored(table: Table, matching: Matching) -> dict[str, Any]:
    """Detections that neither help nor harm."""
    dropped = {tiou_name(t): int(n) for t, n in zip(matching.tious, matching.dropped.sum(axis=1), strict=True)}
    return {
        "detections_with_unknown_label": sum(table.unknown.values()),
        "unknown_labels": dict(table.unknown),
        "detections_without_label": table.unlabelled,
        "detections_on_ambiguous": dropped if table.ambiguous_count else {},
        "ambiguous_segments": table.ambiguous_count,
        "segments_of_ignored_labels": dict(table.ignored),
    }


def _odd(table: Table, detections: Detections, part: Annotations, truth: Annotations) -> dict[str, int]:
    """What is strange and is counted all the same."""
    start, end = table.segments.T
    instance_start, instance_end = table.instance_segments.T
    outside = np.bincount(table.video, minlength=len(table.videos)) * ~table.in_truth
    elsewhere = sum(int(n) for name, n in zip(table.videos, outside, strict=True) if n and name in truth.videos)
    columns = (table.instance_label, table.instance_video, instance_start, instance_end)
    some = set(np.unique(detections.video).tolist())
    with_detections = {name for index, name in enumerate(detections.video_ids) if index in some}
    return {
        "detections_in_videos_without_truth": int(outside.sum()),
        "of_these_in_other_subsets": elsewhere,
        "zero_length_detections": int((end == start).sum()),
        "reversed_detections": int((end < start).sum()),
        "zero_length_instances": int((instance_end == instance_start).sum()),
        "reversed_instances": int((instance_end < instance_start).sum()),
        "repeated_instances": len(instance_start) - len(np.unique(np.column_stack(columns), axis=0)),
        "videos_without_detections": len(part.videos.keys() - with_detections),
        "classes_without_detections": int((np.bincount(table.label, minlength=len(table.classes)) == 0).sum()),
    }


_SENTENCES = {
    "zero_length_detections": ("detection", "of no length: false positives"),
    "reversed_detections": ("detection", "whose end lies before its start: false positives"),
    "zero_length_instances": ("instance", "of no length: cannot be found, count as missed"),
    "reversed_instances": ("instance", "whose end lies before its start: cannot be found, count as missed"),
    "repeated_instances": ("instance", "that repeat another of the same class and video: each counts"),
    "videos_without_detections": ("video", "of the subset without any detection"),
    "classes_without_detections": ("class", "without any detection: AP 0"),
}


def _notes(table: Table, ignored: Mapping[str, Any], odd: Mapping[str, int]) -> tuple[str, ...]:
    notes = []
    unknown = {label: number for label, number in table.unknown.items() if label not in table.protocol.no_classes}
    if named := sum(table.unknown.values()) - sum(unknown.values()):
        notes.append(f"{counted(named, 'detection')} with a label that is no class: ignored")
    if unknown:
        first = max(unknown, key=lambda label: unknown[label])
        notes.append(
            f"{counted(sum(unknown.values()), 'detection')} with a label that no instance has "
            f"({counted(len(unknown), 'label')}): ignored; most often '{first}', "
            f"{nearest(first, table.classes, limit=4)}"
        )
    if table.unlabelled:
        notes.append(f"{counted(table.unlabelled, 'detection')} without label: ignored, but for average recall")
    if table.ambiguous_count:
        dropped = ", ".join(f"{n} at {tiou}" for tiou, n in ignored["detections_on_ambiguous"].items())
        notes.append(
            f"{counted(table.ambiguous_count, 'segment')} labelled {table.protocol.ambiguous}: unmatched detections "
            f"that touch one are dropped ({dropped})"
        )
    if table.ignored:
        names = ", ".join(f"{counted(number, 'segment')} labelled {label}" for label, number in table.ignored.items())
        notes.append(f"{names}: no class, as if not there")
    if outside := odd["detections_in_videos_without_truth"]:
        where = f" ({odd['of_these_in_other_subsets']} in other subsets)" if odd["of_these_in_other_subsets"] else ""
        example = table.videos[int(table.video[~table.in_truth[table.video]][0])]
        notes.append(
            f"{counted(outside, 'detection')} in videos that the subset lacks{where}, e.g. {example}: false positives"
        )
    notes += [f"{counted(odd[key], noun)} {rest}" for key, (noun, rest) in _SENTENCES.items() if odd[key]]
    return tuple(notes)
