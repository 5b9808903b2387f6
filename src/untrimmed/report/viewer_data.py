"""What the viewer's page holds: an index of all videos, and a block for each that is read when it is opened.

Index::

    {"labels": [class names], "sets": [names of the result files], "kinds": [names], "threshold": 0.2,
     "cuts": [score thresholds], "tiou": 0.5, "has_truth": true, "scored": true, "unscored": how many detections,
     "annotate": false, "key": "...", "apart": whether the sweeps leave out videos that the model was trained on,
     "sweeps": [{"labels": [..], "instances": [..], "right": [[..]], "wrong": [[..]]}],       one a result file
     "videos": [{"id", "duration", "sure", "source", "subset", "instances", "training", "sets": [[ap, missed, false]],
     "teach"}]}

Block of a video::

    {"truth": [[label, start, end, [score of the finder, or null, a result file each]]],
     "sets": [[[label, start, end, score, kind]]],                                      kind -1: not scored
     "rest": [[[label, kind, place, count]]],          what is left out: how many, place of the highest cut they reach
     "curves": [{"start", "step", "curves": {name: [values in thousandths]}}]}          null where there are none

Labels are numbers into the index's list; times are seconds, rounded to milliseconds.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from untrimmed.errors import InputError
from untrimmed.evaluation.error_analysis import ErrorAnalysis, analyse_errors, score_cuts, slack
from untrimmed.evaluation.false_positives import ERROR_TYPES
from untrimmed.evaluation.protocols import Protocol, clean_tious, protocol_of
from untrimmed.evaluation.subsets import scope_of
from untrimmed.evaluation.suggestion import suggest
from untrimmed.evaluation.text import counted
from untrimmed.formats.activitynet import truth_content
from untrimmed.formats.curves import Curves
from untrimmed.types import Annotations, Detections, Video

NO_LABEL = "(no label)"
CURVES = 16
"""Curves kept a video: those with names of their own, then those of the classes that occur in it."""
CURVE_STEPS = 2000
FALLBACK = 0.2


@dataclass(frozen=True)
class ResultSet:
    """One result file in the page.

    Args:
        detections: what was found.
        name: how the page calls it.
        curves: those of the run, by video, or None.
    """

    detections: Detections
    name: str = "detections"
    curves: Mapping[str, Curves] | None = None


@dataclass(frozen=True, kw_only=True)
class View:
    """How results are shown.

    Args:
        part: the part of the truth that is judged; all its videos are shown, whether the results have them or not, see
            :func:`scored_part`. None: its videos among those of the results.
        sources: video id -> URL of its file, see :func:`untrimmed.report.media.video_sources`.
        durations: video id -> seconds, for videos whose truth does not say it.
        threshold: score at which the slider starts; None: that of the highest F1 at ``tiou``, or 0.2 without truth.
        tiou: overlap from which a detection has found an instance, for kinds of error, precision and recall.
        protocol: as for :func:`untrimmed.evaluation.evaluate`.
        most: detections kept a video and result file, those of the highest scores; a note says so where some are
            left out.
        annotate: show all videos of the annotations, and every class in every video.
        new_subset: subset that videos which the truth lacks are exported in.
        key: under which the browser keeps corrections; None: that of :func:`work_key`, which only the truth decides.
    """

    part: Annotations | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    durations: Mapping[str, float] = field(default_factory=dict)
    threshold: float | None = None
    tiou: float = 0.5
    protocol: str | Protocol | None = None
    most: int = 300
    annotate: bool = False
    new_subset: str = "training"
    key: str | None = None


@dataclass(frozen=True)
class Content:
    """What :func:`collect` gathers: the index, a block a video, the annotations to correct, and sentences to show."""

    index: Mapping[str, Any]
    blocks: Sequence[Mapping[str, Any]]
    annotations: Mapping[str, Any]
    notes: Sequence[str]


def scored_part(
    truth: Annotations,
    results: Sequence[Detections],
    protocol: str | Protocol | None = None,
    subset: str | None = None,
) -> Annotations:
    """The part of the truth that results are judged against: what :func:`untrimmed.evaluation.evaluate` scores, videos
    without any detection included, and what it scores apart because the model was trained on it.

    Args:
        truth: all annotations.
        results: the detections of each result file.
        protocol: as for :func:`untrimmed.evaluation.evaluate`.
        subset: as for :func:`untrimmed.evaluation.evaluate`. Where the videos meant have no instance to find, they are
            the part all the same.

    Raises:
        InputError: for an unknown protocol or subset.
    """
    rules = protocol_of(protocol, truth)
    every = subset == "all" and "all" not in truth.subsets
    if subset is None:
        names = {name for one in results for name in one.video_ids if name in truth.videos}
        touched = {truth.videos[name].subset for name in names}
        if not touched:
            return truth.subset(rules.subset) if rules.subset in truth.subsets else truth
        shown = Annotations.of((video for video in truth if video.subset in touched), truth.version)
    else:
        shown = truth if every else truth.subset(subset)
    return shown if rules.no_classes.issuperset(shown.labels) else scope_of(truth, rules, subset, *results).whole


def collect(results: Sequence[ResultSet], annotations: Annotations | None, view: View) -> Content:
    """Everything the page holds; arguments and errors as for :func:`untrimmed.report.viewer.render`."""
    (tiou,) = clean_tious([view.tiou])
    rules = protocol_of(view.protocol, annotations)
    part, threshold = view.part, view.threshold
    if threshold is not None and not math.isfinite(threshold):
        raise InputError(f"threshold {threshold}: expected a score")
    ids = _ids(results, annotations if view.annotate else part)
    if part is None and annotations is not None:
        part = Annotations.of(annotations.videos[name] for name in ids if name in annotations.videos)
    labels = _labels(results, annotations)
    number = {name: index for index, name in enumerate(labels)}
    every = np.concatenate([one.detections.scores for one in results]) if results else np.empty(0)
    cuts = score_cuts(every)
    judged = _judged(results, part, rules, tiou, cuts)
    if threshold is None:
        threshold = judged[0].best if judged else FALLBACK
    teach = _worth(results, annotations)
    blocks, videos = [], []
    trained_on = {name for one in results for name in one.detections.trained_on or ()}
    by_video = [_rows_by_video(one.detections) for one in results]
    for video_id in ids:
        known = annotations.videos.get(video_id) if annotations else None
        rows = [each.get(video_id, np.empty(0, dtype=np.int64)) for each in by_video]
        block = _block(known, video_id, results, judged, rows, view.most, number, cuts)
        blocks.append(block)
        sure = (known.duration if known else None) or view.durations.get(video_id)
        ends = [item[2] for item in (*block["truth"], *(row for found in block["sets"] for row in found))]
        videos.append(
            {
                "id": video_id,
                "duration": float(sure or max([1.0, *ends])),
                "sure": bool(sure),
                "source": view.sources.get(video_id),
                "subset": known.subset if known else view.new_subset,
                "instances": len(block["truth"]),
                "training": video_id in trained_on,
                "sets": [
                    _went(one, results[i].detections, rows[i], video_id, threshold) for i, one in enumerate(judged)
                ],
                "teach": round(teach.get(video_id, 0.0), 4),
            }
        )
    base = truth_content(annotations) if annotations else {"database": {}}
    index = {
        "labels": labels,
        "sets": [one.name for one in results],
        "kinds": ERROR_TYPES,
        "threshold": threshold,
        "cuts": cuts.tolist(),
        "tiou": tiou,
        "has_truth": annotations is not None,
        "scored": bool(judged),
        "apart": bool(judged) and not judged[0].only_training and any(one["training"] for one in videos),
        "unscored": sum(int((one.kinds < 0).sum()) for one in judged),
        "annotate": view.annotate,
        "key": view.key or work_key(annotations, ids),
        "sweeps": [_sweep(one, number) for one in judged],
        "videos": videos,
    }
    return Content(index, blocks, base, _notes(by_video, part, ids, view.most, bool(judged)))


def work_key(truth: Annotations | None, video_ids: Iterable[str], place: str = "") -> str:
    """Under which the browser keeps corrections: equal for equal truth, so that a page written anew finds them.

    Args:
        truth: what is corrected; None if there is none yet.
        video_ids: the videos of the page, which count where there is no truth.
        place: what the corrections belong to besides, such as the folder of the videos.
    """
    content = truth_content(truth) if truth else {"database": {}}
    shown = content if content["database"] else sorted(video_ids)
    return hashlib.sha256(json.dumps([place, shown] if place else shown, sort_keys=True).encode()).hexdigest()[:20]


def to_json(value: object) -> Markup:
    """JSON that may stand in a script element: no ``<`` in it can end the element or begin a comment."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def _ids(results: Sequence[ResultSet], besides: Annotations | None) -> tuple[str, ...]:
    """The videos of the page: those of the results in their order, then the others of the truth."""
    found = (name for one in results for name in one.detections.video_ids)
    return tuple(dict.fromkeys((*found, *(besides.videos if besides else ()))))


def _notes(
    by_video: Sequence[Mapping[str, Any]], part: Annotations | None, ids: Sequence[str], most: int, judged: bool
) -> list[str]:
    notes = []
    cut = sum(max(0, len(rows) - most) for each in by_video for rows in each.values())
    if cut:
        notes.append(f"Only the {most} detections of the highest scores are shown of each video; {cut} are left out.")
    others = sum(name not in part.videos for name in ids) if part and judged else 0
    if others:
        notes.append(f"{counted(others, 'video')} outside the subset that is scored: shown, not judged.")
    return notes


def _block(
    known: Video | None,
    video_id: str,
    results: Sequence[ResultSet],
    judged: Sequence[ErrorAnalysis],
    rows: Sequence[Any],
    most: int,
    number: Mapping[str, int],
    cuts: Any,
) -> dict[str, Any]:
    truth = _truth(known, judged, number)
    found, rest, curves = [], [], []
    for place, one in enumerate(results):
        kinds = judged[place].kinds if judged else None
        found.append(_detections(one.detections, rows[place][:most], kinds, number))
        rest.append(_counted(one.detections, rows[place][most:], kinds, number, cuts))
        curves.append(_curves(one.curves, video_id, found[place], truth, list(number)))
    return {"truth": truth, "sets": found, "rest": rest, "curves": curves}


def _labels(results: Sequence[ResultSet], annotations: Annotations | None) -> list[str]:
    labels = sorted(
        {*(annotations.labels if annotations else ()), *(n for one in results for n in one.detections.labels)}
    )
    if annotations is not None and isinstance(extra := annotations.extra.get("classes"), list):
        labels = sorted({*labels, *(name for name in extra if isinstance(name, str) and name)})
    if any((one.detections.label < 0).any() for one in results):
        labels.append(NO_LABEL)
    return labels


def _judged(
    results: Sequence[ResultSet], part: Annotations | None, rules: Protocol, tiou: float, cuts: Any
) -> list[ErrorAnalysis]:
    """One judgement a result file; none where the truth has nothing to find."""
    if part is None or rules.no_classes.issuperset(part.labels):
        return []
    return [analyse_errors(one.detections, part, rules, tiou=tiou, cuts=cuts) for one in results]


def _worth(results: Sequence[ResultSet], truth: Annotations | None) -> Mapping[str, float]:
    if not results or any(len(one.detections) and one.detections.scores.min() < 0 for one in results):
        return {}
    return suggest(results[0].detections, truth, results[1].detections if len(results) > 1 else None).videos


def _rows_by_video(detections: Detections) -> dict[str, Any]:
    """Video id -> its rows, best score first."""
    order = np.lexsort((-detections.scores, detections.video))
    bounds = np.searchsorted(detections.video[order], np.arange(len(detections.video_ids) + 1))
    return {name: order[bounds[i] : bounds[i + 1]] for i, name in enumerate(detections.video_ids)}


def _detections(detections: Detections, rows: Any, kinds: Any, number: Mapping[str, int]) -> list[list[Any]]:
    names = [number[name] for name in detections.labels] + [number.get(NO_LABEL, -1)]
    kind = kinds[rows].tolist() if kinds is not None else [-1] * len(rows)
    return [
        [names[label], round(start, 3), round(end, 3), float(f"{score:.6g}"), one]
        for label, (start, end), score, one in zip(
            detections.label[rows].tolist(),
            detections.segments[rows].tolist(),
            detections.scores[rows].tolist(),
            kind,
            strict=True,
        )
    ]


def _counted(detections: Detections, rows: Any, kinds: Any, number: Mapping[str, int], cuts: Any) -> list[list[int]]:
    """Detections that are left out, as counts: precision of the video is exact without them being drawn."""
    if kinds is None or not len(rows):
        return []
    names = np.array([number[name] for name in detections.labels] + [number.get(NO_LABEL, -1)])
    places = np.searchsorted(cuts, detections.scores[rows] + slack(cuts), side="right") - 1
    table = np.stack([names[detections.label[rows]], kinds[rows], places], axis=1)
    groups, counts = np.unique(table, axis=0, return_counts=True)
    result: list[list[int]] = np.column_stack([groups, counts]).tolist()
    return result


def _truth(video: Video | None, judged: Sequence[ErrorAnalysis], number: Mapping[str, int]) -> list[list[Any]]:
    if video is None:
        return []
    rows = []
    for row, (label, (start, end)) in enumerate(
        zip(video.instances.labels, video.instances.segments.tolist(), strict=True)
    ):
        finders = [one.found[video.id][row] for one in judged if video.id in one.found]
        # Nobody has to find an Ambiguous segment: it has no finders, found or not.
        needed = [score for score in finders if score is None or np.isfinite(score)]
        shown = [None if score is None else float(f"{score:.6g}") for score in needed]
        rows.append([number[label], round(start, 3), round(end, 3), shown])
    return rows


def _went(
    judged: ErrorAnalysis, detections: Detections, rows: Any, video_id: str, threshold: float
) -> list[Any] | None:
    """AP, missed instances and false detections at the threshold the page starts with."""
    if video_id not in judged.found:
        return None
    false = int(((judged.kinds[rows] > 0) & (detections.scores[rows] >= threshold)).sum())
    missed = sum(score is None or score < threshold for score in judged.found[video_id])
    ap = judged.ap.get(video_id)
    return [None if ap is None else round(ap, 4), missed, false]


def _sweep(judged: ErrorAnalysis, number: Mapping[str, int]) -> dict[str, Any]:
    return {
        "labels": [number[name] for name in judged.classes],
        "instances": judged.instances.tolist(),
        "right": judged.right.tolist(),
        "wrong": judged.wrong.tolist(),
    }


def _curves(
    curves: Mapping[str, Curves] | None,
    video_id: str,
    found: Sequence[Sequence[Any]],
    truth: Sequence[Sequence[Any]],
    labels: Sequence[str],
) -> dict[str, Any] | None:
    entry = curves.get(video_id) if curves else None
    if entry is None:
        return None
    classes = set(labels)
    occurring = dict.fromkeys(labels[row[0]] for row in (*truth, *found))
    names = [name for name in entry.values if name not in classes]
    names += [name for name in occurring if name in entry.values]
    longest = max((len(values) for values in entry.values.values()), default=0)
    fold = max(1, -(-longest // CURVE_STEPS))
    kept = {name: _folded(entry.values[name], fold) for name in names[:CURVES]}
    return {"start": entry.start, "step": entry.step * fold, "curves": kept}


def _folded(values: NDArray[np.float32], fold: int) -> list[int]:
    """Thousandths; of every ``fold`` values the highest, so that no peak is lost."""
    array = values.astype(np.float64)
    padded = np.pad(array, (0, -len(array) % fold), mode="edge") if len(array) else array
    result: list[int] = np.rint(1000 * padded.reshape(-1, fold).max(axis=1)).astype(int).tolist()
    return result
