"""Combining what several sources say: video-level class scores with detections, and several sets of detections.

Class scores come from a classifier of whole videos, which is often far better at naming an action than the detector
that finds when it happens. They are kept in a JSON file in one of two forms::

    {"results": {"video_1": {"Long jump": 0.91, "High jump": 0.04}, ...}}
    {"class": ["Long jump", "High jump"], "results": {"video_1": [0.91, 0.04], ...}}

The first is the project's own; a label that is not named has score 0. The second, an array for each video in the
order of a class list, is what the classifiers that the field shares for ActivityNet (CUHK) and THUMOS14
(UntrimmedNet) were published in; the list may be called ``class``, ``classes`` or ``labels``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from untrimmed.errors import InputError, nearest
from untrimmed.formats.io import read_json
from untrimmed.postprocess.checks import check_count, is_number
from untrimmed.postprocess.nms import grouped
from untrimmed.types import Detections

ClassScores = Mapping[str, Mapping[str, float]]
"""Video id -> label -> score, at least 0."""

Rule = Literal["product", "geometric"]

_CLASS_KEYS = ("class", "classes", "labels")


def read_class_scores(path: str | Path) -> dict[str, dict[str, float]]:
    """Read video-level class scores; the module's docstring has the two forms (``.json`` or ``.json.gz``).

    Raises:
        InputError: if the file is not of that form, or a score is no finite number.
    """
    content = read_json(path)
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict):
        raise InputError(f'{path}: expected an object with the key "results", which maps each video to its scores')
    names = next((content[key] for key in _CLASS_KEYS if key in content), None)
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise InputError(f"{path}: the class list is {str(names)[:60]}, expected a list of names")
    if names is not None and len(set(names)) < len(names):
        raise InputError(f"{path}: the class list holds a name twice")
    return {video: _scores_of(video, scores, names, path) for video, scores in results.items()}


def _scores_of(video: str, scores: Any, names: list[str] | None, path: str | Path) -> dict[str, float]:
    if isinstance(scores, list):
        if names is None:
            raise InputError(f'{path}: video {video}: scores are a list, but the file has no "class" list of names')
        if len(scores) != len(names):
            raise InputError(f"{path}: video {video}: {len(scores)} scores for {len(names)} classes")
        scores = dict(zip(names, scores, strict=True))
    if not isinstance(scores, dict):
        raise InputError(f"{path}: video {video}: scores are {str(scores)[:60]}, expected label -> score")
    for label, score in scores.items():
        if not is_number(score):
            raise InputError(f"{path}: video {video}: score of '{label}' is {score!r}, expected a finite number")
    return {label: float(score) for label, score in scores.items()}


def fuse_class_scores(
    detections: Detections,
    class_scores: ClassScores,
    *,
    top_k: int | None = 2,
    rule: Rule = "product",
    weight: float = 0.5,
) -> Detections:
    """Combine each detection's score *s* with the score *c* of a class in its whole video.

    Only the ``top_k`` classes of a video with the highest scores occur in it. A proposal (without label) becomes one
    detection for each of them; a labelled detection keeps its label, and is dropped if that is not among them. The new
    score is

    * ``product``: s * c (BSN, BMN, G-TAD, VSGN on ActivityNet),
    * ``geometric``: s^(1 - weight) * c^weight.

    Args:
        detections: with scores of at least 0.
        class_scores: for every video that has detections; scores of at least 0 (probabilities, not logits).
        top_k: classes of a video that count, ties by name; None for all.
        rule: ``"product"`` or ``"geometric"``.
        weight: of the class score in the geometric mean, in [0, 1].

    Returns:
        In the order of ``detections``; what one proposal became, by falling class score. The labels are those of
        ``detections``, then the new ones.

    Raises:
        InputError: if a video has detections but no class scores, a score is negative, or an option is out of range.
    """
    check_count("top_k", top_k)
    if rule not in get_args(Rule):
        raise InputError(f"fusion rule is {rule!r}: {nearest(str(rule), get_args(Rule))}")
    if not (is_number(weight) and 0 <= weight <= 1):
        raise InputError(f"weight is {weight!r}, expected a number in [0, 1], the weight of the class score")
    if len(detections) and detections.scores.min() < 0:
        row = int(detections.scores.argmin())
        raise InputError(
            f"video {detections.video_ids[detections.video[row]]}: a detection has score {detections.scores[row]}, "
            "expected at least 0 for fusion with class scores"
        )
    order, bounds = grouped(detections.video)
    groups = np.split(order, bounds[1:-1]) if len(order) else []
    tops = [_top_classes(detections.video_ids[detections.video[rows[0]]], class_scores, top_k) for rows in groups]
    labels = tuple(dict.fromkeys((*detections.labels, *(name for top in tops for name, _ in top))))
    index = {name: number for number, name in enumerate(labels)}

    # One line for each new detection: its row, its rank among the classes of the video, class and class score.
    table = [np.empty((4, 0))]
    for rows, top in zip(groups, tops, strict=True):
        given = detections.label[rows]
        for rank, (name, score) in enumerate(top):
            chosen = rows[(given == -1) | (given == index[name])]
            table.append(np.array(np.broadcast_arrays(chosen, rank, index[name], score), dtype=np.float64))
    row, rank, label, class_score = np.concatenate(table, axis=1)
    order = np.lexsort((rank, row))
    row = row[order].astype(np.int64)
    score, class_score = detections.scores[row], class_score[order]
    return Detections(
        detections.video_ids,
        labels,
        detections.video[row],
        label[order].astype(np.int64),
        detections.segments[row],
        score * class_score if rule == "product" else score ** (1 - weight) * class_score**weight,
        detections.trained_on,
    )


def _top_classes(video_id: str, class_scores: ClassScores, top_k: int | None) -> list[tuple[str, float]]:
    """The classes of a video and their scores, by falling score, ties by name."""
    if video_id not in class_scores:
        raise InputError(
            f"video {video_id} has detections but no class scores: {nearest(video_id, class_scores, limit=3)}"
        )
    scores = class_scores[video_id]
    for label, score in scores.items():
        if not (is_number(score) and score >= 0):
            raise InputError(
                f"video {video_id}: class score of '{label}' is {score!r}, expected a number of at least 0; "
                "if these are logits, apply a softmax first"
            )
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:top_k]


def fuse(parts: Sequence[Detections], weights: Sequence[float] | None = None) -> Detections:
    """Combine several sets of detections, of two streams or of several models, into one.

    The score of a detection becomes ``sum_k weight_k * score_k``, where score_k is its score in set k, 0 if it is not
    there, and the weights are scaled to sum 1. It is the same detection if video, label, start and end are equal: two
    streams that score the same proposals are thereby averaged, while sets without common segments are weighted and
    put together, and what overlaps is left to suppression (:func:`untrimmed.postprocess.apply`). A detection that
    occurs twice in one set counts there with the higher score.

    Args:
        parts: at least one; videos and labels are matched by name.
        weights: one for each, at least 0, not all 0; equal if None.

    Returns:
        Each different detection once, in the order of first occurrence through the sets; trained on are the videos
        that any of the sets names.

    Raises:
        InputError: if the number or the range of the weights is wrong.
    """
    if not parts:
        raise InputError("fusion: there are no detections to fuse")
    shares = _shares(weights, len(parts))
    video_ids = tuple(dict.fromkeys(name for part in parts for name in part.video_ids))
    labels = tuple(dict.fromkeys(name for part in parts for name in part.labels))
    video = np.concatenate([_renumbered(part.video, part.video_ids, video_ids) for part in parts])
    label = np.concatenate([_renumbered(part.label, part.labels, labels) for part in parts])
    segments = np.concatenate([part.segments for part in parts])
    scores = np.concatenate([part.scores for part in parts])
    source = np.repeat(np.arange(len(parts)), [len(part) for part in parts])

    # -0.0 and 0.0 are the same time, but not the same bits: adding 0.0 makes them so.
    key = np.stack((video, label, *(segments + 0.0).T.view(np.int64)), axis=1)
    _, first, which = np.unique(key, axis=0, return_index=True, return_inverse=True)
    table = np.full((len(first), len(parts)), -np.inf)
    np.maximum.at(table, (which.reshape(-1), source), scores)
    fused = np.where(np.isfinite(table), table, 0.0) @ shares
    order = np.argsort(first)
    rows = first[order]
    known = [part.trained_on for part in parts if part.trained_on is not None]
    trained_on = tuple(sorted({name for names in known for name in names})) if known else None
    return Detections(video_ids, labels, video[rows], label[rows], segments[rows], fused[order], trained_on)


def _shares(weights: Sequence[float] | None, count: int) -> NDArray[np.float64]:
    if weights is None:
        return np.full(count, 1 / count)
    if len(weights) != count:
        raise InputError(f"fusion: {len(weights)} weights for {count} sets of detections, expected one for each")
    for weight in weights:
        if not (is_number(weight) and weight >= 0):
            raise InputError(f"fusion: weight {weight!r}, expected a number of at least 0")
    total = sum(weights)
    if total == 0:
        raise InputError("fusion: all weights are 0, expected at least one above 0")
    return np.asarray(weights, dtype=np.float64) / total


def _renumbered(index: NDArray[np.int64], names: tuple[str, ...], all_names: tuple[str, ...]) -> NDArray[np.int64]:
    """The index into ``names`` as one into ``all_names``; -1 stays."""
    place = {name: number for number, name in enumerate(all_names)}
    # The last entry is where -1 points to.
    return np.array([*(place[name] for name in names), -1], dtype=np.int64)[index]
