"""What each single detection and each single instance comes to at one tIoU: the numbers a viewer needs.

How to use it::

    judged = judge(read_detections(results), truth, "activitynet", tiou=0.5)
    judged.kinds[row]                    # index into ERROR_TYPES, or -1: not scored
    judged.found["v1"][3]                # score of the detection that found instance 3 of v1, or None: missed
    judged.at(0.2)                       # precision and recall of the detections scored 0.2 or more

Kinds and matching are those of :mod:`untrimmed.evaluation.false_positives` and
:mod:`untrimmed.evaluation.overlap`. With the rule of ActivityNet a detection's match does not depend on those of
lower score, so that precision and recall at every score threshold follow from one matching; with the rule of
THUMOS14, where instances choose, they are those of the full result cut at the threshold. Detections in videos that the
truth does not have are not scored here, because nothing is known of them (``evaluate`` counts them as wrong).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from untrimmed.evaluation.false_positives import BACKGROUND, error_types
from untrimmed.evaluation.overlap import Bools, Floats, Ints, build_table, match
from untrimmed.evaluation.protocols import Protocol, protocol_of
from untrimmed.evaluation.subsets import scope_of
from untrimmed.types import Annotations, Detections

STEPS = 100
"""Score thresholds are tried at this many steps, and at 0."""


@dataclass(frozen=True, eq=False)
class ErrorAnalysis:
    """What detections come to; see :func:`analyse_errors`.

    Args:
        tiou: the threshold of overlap.
        kinds: ``(N,)`` index into :data:`~untrimmed.evaluation.false_positives.ERROR_TYPES` of each row of the
            detections; -1 for one that is not scored.
        found: video id -> for each of its instances, in order, the score of the detection that found it; None for
            one that no detection found. Segments of labels that are no classes, which nobody has to find, have
            infinity.
        classes: the K classes of the truth.
        instances: ``(K,)`` how many instances each has.
        cuts: ``(STEPS + 1,)`` rising score thresholds.
        right, wrong: ``(K, STEPS + 1)`` how many detections of each class, scored at each cut or above, are true
            and false positives.
        only_training: whether the model was trained on all of the videos; if only on some, these count neither in
            ``instances`` nor in ``right`` and ``wrong``.
        ap: video id -> average precision of its detections, classes ranked together; None without instances.
    """

    tiou: float
    kinds: NDArray[np.int8]
    found: Mapping[str, list[float | None]]
    classes: tuple[str, ...]
    instances: Ints
    cuts: Floats
    right: Ints
    wrong: Ints
    ap: Mapping[str, float | None]
    only_training: bool = False

    def at(self, threshold: float) -> tuple[float, float]:
        """Precision (1 if there is no detection) and recall, over all classes, at the largest cut not above a
        threshold."""
        place = max(int(np.searchsorted(self.cuts, threshold + slack(self.cuts), side="right")) - 1, 0)
        right, wrong = int(self.right[:, place].sum()), int(self.wrong[:, place].sum())
        return right / (right + wrong) if right + wrong else 1.0, right / max(int(self.instances.sum()), 1)

    @property
    def best(self) -> float:
        """The cut with the highest F1 over all classes, the lowest of several."""
        right, wrong = self.right.sum(axis=0), self.wrong.sum(axis=0)
        f1 = 2 * right / np.maximum(right + wrong + self.instances.sum(), 1)
        return float(self.cuts[int(np.argmax(f1))])


def score_cuts(scores: Floats) -> Floats:
    """``(STEPS + 1,)`` even score thresholds from 0, or below, to a round number at or above the highest score."""
    lowest, highest = (float(scores.min()), float(scores.max())) if len(scores) else (0.0, 1.0)
    top, bottom = _round_up(highest), -_round_up(-lowest) if lowest < 0 else 0.0
    return np.round(np.linspace(bottom, top, STEPS + 1), 12)


def slack(cuts: Floats) -> float:
    """What a score may lie below a cut and still reach it: a page holds rounded scores."""
    return 1e-4 * float(cuts[1] - cuts[0])


def analyse_errors(
    detections: Detections,
    truth: Annotations,
    protocol: str | Protocol | None = None,
    *,
    tiou: float = 0.5,
    cuts: Floats | None = None,
) -> ErrorAnalysis:
    """Judge every detection and every instance.

    Args:
        detections: what a method found.
        truth: of the videos that are looked at.
        protocol: as for :func:`~untrimmed.evaluation.scoring.evaluate`.
        tiou: overlap from which a detection finds an instance, in (0, 1].
        cuts: rising score thresholds; those of :func:`score_cuts` if None.

    Raises:
        InputError: if the truth has no instance, or ``tiou`` is out of range.
    """
    rules = protocol_of(protocol, truth)
    cuts = score_cuts(detections.scores) if cuts is None else cuts
    known = np.array([name in truth.videos for name in detections.video_ids], dtype=bool)
    rows = np.flatnonzero(known[detections.video])
    table = build_table(detections.select(rows), truth, rules, lowest=min(tiou, BACKGROUND))
    matching = match(table, (tiou,))
    kinds = np.full(len(detections), -1, dtype=np.int8)
    kinds[rows[table.row]] = error_types(table, matching)[0]
    hits, matched = matching.instance[0] >= 0, matching.instance[0]
    found: dict[str, list[float | None]] = {
        video.id: [float("inf") if label in rules.no_classes else None for label in video.instances.labels]
        for video in truth
    }
    for instance, score in zip(matched[hits].tolist(), table.scores[hits].tolist(), strict=True):
        found[table.videos[table.instance_video[instance]]][table.instance_index[instance]] = score
    wrong = matching.false_positive[0]
    scope = scope_of(truth, rules, "all", detections)
    counts = np.array([name in scope.part.videos for name in table.videos], dtype=bool)
    tested = counts[table.video]
    return ErrorAnalysis(
        tiou=tiou,
        kinds=kinds,
        found=found,
        classes=table.classes,
        instances=np.bincount(table.instance_label[counts[table.instance_video]], minlength=len(table.classes)),
        cuts=cuts,
        right=_sweep(table.label, table.scores, hits & tested, cuts, len(table.classes)),
        wrong=_sweep(table.label, table.scores, wrong & tested, cuts, len(table.classes)),
        ap=_video_precision(found, table.videos, table.video, table.scores, hits, wrong),
        only_training=scope.only_training,
    )


def _sweep(label: Ints, scores: Floats, chosen: Bools, cuts: Floats, classes: int) -> Ints:
    """``(K, cuts)`` how many of the chosen have each cut as their score or more."""
    reached = np.searchsorted(cuts, scores[chosen] + slack(cuts), side="right") - 1
    counts = np.zeros((classes, len(cuts)), dtype=np.int64)
    np.add.at(counts, (label[chosen][reached >= 0], reached[reached >= 0]), 1)
    return np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]


def _video_precision(
    found: Mapping[str, list[float | None]],
    videos: tuple[str, ...],
    video: Ints,
    scores: Floats,
    hits: Bools,
    wrong: Bools,
) -> dict[str, float | None]:
    order = np.lexsort((-scores, video))
    order = order[(hits | wrong)[order]]
    bounds = np.searchsorted(video[order], np.arange(len(videos) + 1))
    result: dict[str, float | None] = {}
    for index, name in enumerate(videos):
        wanted = sum(score is None or np.isfinite(score) for score in found[name])
        right = hits[order[bounds[index] : bounds[index + 1]]]
        precision = np.cumsum(right) / np.arange(1, len(right) + 1)
        result[name] = float(precision[right].sum() / wanted) if wanted else None
    return result


def _round_up(value: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is at least ``value``; 1 for nothing above 0."""
    if value <= 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(power * step for step in (1, 2, 5, 10) if power * step >= value - 1e-12))
