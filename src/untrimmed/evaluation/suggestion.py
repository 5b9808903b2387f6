"""Where a human's correction would teach the most: :func:`suggest` orders videos and segments for annotation.

Four signs that a segment is worth a look, each from 0 to 1:

uncertain
    Its score is near the operating point, where the detector cannot tell yes from no: ``1 - |2 p - 1|`` with
    ``p = s^a``, and ``a`` such that the operating point becomes 1/2. (Uncertainty sampling: Lewis and Gale, 1994.)
disagreeing
    Two answers for one place: the score of the best detection of another class at the same place (tIoU >= 0.5) over its
    own, or, with a second result file, how little the two files overlap there. (Query by committee: Seung, Opper
    and Sompolinsky, 1992.)
conflict
    Detector and truth contradict each other: a detection above the operating point where the truth has no instance of
    its class, or an instance that no detection above it overlaps. Often the label is wrong, not the detector. What
    lies on an Ambiguous segment contradicts nothing.
rare
    Few instances of the class are known: ``1 - n / n of the most frequent class``.

The value of a segment is ``(uncertain + disagreeing + conflict) (1 + rare) / 6``; that of a video the sum over its
:data:`COUNTED` best segments, because an annotator who opens a video can correct several. Segments at one place count
once, by the one of the highest score. The signs are heuristics: they order, they promise no gain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from untrimmed.errors import InputError
from untrimmed.evaluation.error_analysis import analyse_errors
from untrimmed.evaluation.protocols import AMBIGUOUS, protocol_of
from untrimmed.evaluation.text import aligned
from untrimmed.segments import tiou
from untrimmed.types import Annotations, Detections, Video

COUNTED = 5
SAME_PLACE = 0.5
_LEAST = 0.1

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Suggestion:
    """A segment to look at.

    Args:
        video, label, start, end: what and where; label None for a proposal.
        score: of the detection; None for an instance of the truth that no detection overlaps.
        value: what a correction is worth, 0 to 1.
        uncertain, disagreeing, conflict, rare: the signs, each 0 to 1.
        reason: the strongest sign, in words.
    """

    video: str
    label: str | None
    start: float
    end: float
    score: float | None
    value: float
    uncertain: float
    disagreeing: float
    conflict: float
    rare: float
    reason: str


@dataclass(frozen=True)
class Suggestions:
    """What to correct first; ``str()`` is a table.

    Args:
        videos: video id -> value, highest first; every video of the results.
        segments: highest value first.
        threshold: the operating point that was used.
    """

    videos: Mapping[str, float]
    segments: tuple[Suggestion, ...]
    threshold: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "threshold": self.threshold,
            "videos": [{"video": name, "value": value} for name, value in self.videos.items()],
            "segments": [asdict(one) for one in self.segments],
        }

    def table(self, videos: int = 10, segments: int = 20) -> str:
        """The first of both as text."""
        head = [["video", "value"], *([name, f"{value:.3f}"] for name, value in list(self.videos.items())[:videos])]
        rows = [["video", "label", "why", "start", "end", "score", "value"]]
        rows += [
            [
                one.video,
                one.label or "-",
                one.reason,
                f"{one.start:.2f}",
                f"{one.end:.2f}",
                "-" if one.score is None else f"{one.score:.3f}",
                f"{one.value:.3f}",
            ]
            for one in self.segments[:segments]
        ]
        return f"{aligned(head)}\n\n{aligned(rows, left=3)}"

    def __str__(self) -> str:
        return self.table()


def suggest(
    detections: Detections,
    truth: Annotations | None = None,
    other: Detections | None = None,
    *,
    threshold: float | None = None,
) -> Suggestions:
    """Order videos and segments by how much a correction would teach.

    Args:
        detections: what a method found, scores at least 0.
        truth: what is known; it adds conflicts, and tells which classes are rare.
        other: results of another method or seed for the same videos; adds disagreement.
        threshold: the operating point; None: the score of the highest F1 if the truth has instances in these videos,
            else half the mean, over videos, of the highest score.

    Raises:
        InputError: if a score is negative, or the threshold is not above 0.
    """
    if len(detections) and detections.scores.min() < 0:
        raise InputError(
            f"score {detections.scores.min():g}: suggestions need scores from 0 up; convert logits to probabilities"
        )
    point = _operating_point(detections, truth) if threshold is None else threshold
    if not point > 0:
        raise InputError(f"threshold {point:g}: expected a score above 0")
    rare = _rarity(detections, truth, point)
    found: list[Suggestion] = []
    values: dict[str, float] = {}
    rows_of, others = rows_by_video(detections), rows_by_video(other) if other is not None else {}
    for video_id in detections.video_ids:
        mine = detections.select(rows_of[video_id])
        theirs = None
        if other is not None:
            theirs = other.select(others.get(video_id, np.empty(0, dtype=np.int64)))
            theirs = theirs.select(theirs.scores >= _LEAST * point)
        known = truth.videos.get(video_id) if truth is not None else None
        here = _of_video(video_id, mine, theirs, point, rare)
        if known is not None:
            here = _with_truth(here, known, mine, point, rare)
        here.sort(key=lambda one: -one.value)
        values[video_id] = sum(one.value for one in here[:COUNTED])
        found += here
    order = sorted(values, key=lambda name: -values[name])
    return Suggestions({name: values[name] for name in order}, tuple(sorted(found, key=lambda one: -one.value)), point)


def rows_by_video(detections: Detections) -> dict[str, NDArray[np.int64]]:
    """Video id -> its rows, rising; of every video that the detections name."""
    order = np.argsort(detections.video, kind="stable")
    bounds = np.searchsorted(detections.video[order], np.arange(len(detections.video_ids) + 1))
    return {name: order[bounds[i] : bounds[i + 1]] for i, name in enumerate(detections.video_ids)}


def _operating_point(detections: Detections, truth: Annotations | None) -> float:
    if not len(detections):
        return 0.5
    if truth is not None:
        part = Annotations.of(truth.videos[name] for name in detections.video_ids if name in truth.videos)
        rules = protocol_of(None, part)
        if not rules.no_classes.issuperset(part.labels):
            judged = analyse_errors(detections, part, rules)
            return max(judged.best, float(judged.cuts[1]))
    highest = np.zeros(len(detections.video_ids))
    np.maximum.at(highest, detections.video, detections.scores)
    return max(float(highest[np.unique(detections.video)].mean() / 2), 1e-6)


def _rarity(detections: Detections, truth: Annotations | None, point: float) -> dict[str | None, float]:
    """Class -> 1 - its share of the most frequent class; counted in the truth, else among sure detections."""
    counts: dict[str | None, int] = dict.fromkeys(detections.labels, 0)
    if truth is not None and truth.instance_count:
        names: Sequence[str | None] = [
            label for video in truth for label in video.instances.labels if label != AMBIGUOUS
        ]
    else:
        sure = detections.label[(detections.scores >= point) & (detections.label >= 0)]
        names = [detections.labels[index] for index in sure.tolist()]
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    most = max(counts.values(), default=0)
    return {name: 1 - count / most if most else 0.0 for name, count in counts.items()}


def _of_video(
    video_id: str, mine: Detections, theirs: Detections | None, point: float, rare: Mapping[str | None, float]
) -> list[Suggestion]:
    """One suggestion a place: the best-scored detection there, with what the others say of it."""
    kept = np.flatnonzero(mine.scores >= _LEAST * point)
    order = kept[np.argsort(-mine.scores[kept], kind="stable")]
    mine = mine.select(order)
    if not len(mine):
        return []
    overlap = tiou(mine.segments[:, None], mine.segments[None])
    free = np.ones(len(mine), dtype=bool)
    result = []
    for row in range(len(mine)):
        if not free[row]:
            continue
        here = overlap[row] >= SAME_PLACE
        free &= ~here
        rivals = here & (mine.label != mine.label[row])
        disagreeing = float(mine.scores[rivals].max() / mine.scores[row]) if rivals.any() else 0.0
        label = None if mine.label[row] < 0 else mine.labels[mine.label[row]]
        if theirs is not None:
            disagreeing = max(disagreeing, 1 - _best_overlap(theirs, label, mine.segments[row]))
        score = float(mine.scores[row])
        start, end = mine.segments[row].tolist()
        result.append(
            _suggestion(
                (video_id, label, start, end, score), _uncertain(score, point), disagreeing, 0.0, rare.get(label, 0.0)
            )
        )
    return result


def _with_truth(
    found: list[Suggestion], video: Video, mine: Detections, point: float, rare: Mapping[str | None, float]
) -> list[Suggestion]:
    """The suggestions with conflicts added, and one more for each instance that no sure detection overlaps."""
    segments, labels = video.instances.segments, video.instances.labels
    names = np.array([None if index < 0 else mine.labels[index] for index in mine.label.tolist()], dtype=object)
    excused = segments[np.array([label == AMBIGUOUS for label in labels], dtype=bool)]
    result = []
    for one in found:
        same = np.array([label == one.label for label in labels], dtype=bool)
        here = tiou(np.array([one.start, one.end]), segments[same]) if same.any() else np.zeros(0)
        missing = 1 - float(here.max(initial=0.0))
        sure = one.score is not None and one.score >= point
        open_to_doubt = len(excused) and tiou(np.array([one.start, one.end]), excused).max() > 0
        conflict = missing if sure and not open_to_doubt else 0.0
        place = (one.video, one.label, one.start, one.end, one.score)
        result.append(_suggestion(place, one.uncertain, one.disagreeing, conflict, one.rare))
    for segment, label in zip(segments, labels, strict=True):
        near = tiou(segment, mine.segments[(mine.scores >= point) & (names == label)])
        if len(near) and near.max() > 0:
            continue
        start, end = segment.tolist()
        if end > start and label != AMBIGUOUS:
            result.append(_suggestion((video.id, label, start, end, None), 0.0, 0.0, 1.0, rare.get(label, 0.0)))
    return result


def _suggestion(
    place: tuple[str, str | None, float, float, float | None],
    uncertain: float,
    disagreeing: float,
    conflict: float,
    rare: float,
) -> Suggestion:
    video, label, start, end, score = place
    disagreeing = min(max(disagreeing, 0.0), 1.0)
    value = (uncertain + disagreeing + conflict) * (1 + rare) / 6
    signs = {
        "not in the truth" if score is not None else "not detected": conflict,
        "disagreeing": disagreeing,
        "uncertain": uncertain,
    }
    reason = max(signs, key=lambda name: signs[name])
    return Suggestion(video, label, start, end, score, value, uncertain, disagreeing, conflict, rare, reason)


def _uncertain(score: float, point: float) -> float:
    if not 0 < score <= 1 or not point < 1:
        # Scores beyond 1 are no probabilities: nearness to the operating point as a ratio.
        return float(min(score, point) / max(score, point)) if score > 0 else 0.0
    return float(1 - abs(2 * score ** (np.log(0.5) / np.log(point)) - 1))


def _best_overlap(theirs: Detections, label: str | None, segment: Floats) -> float:
    index = -1 if label is None else theirs.labels.index(label) if label in theirs.labels else -2
    rows = theirs.label == index
    return float(tiou(segment, theirs.segments[rows]).max()) if rows.any() else 0.0
