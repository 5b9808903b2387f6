"""ActivityNet-style JSON: the truth (ActivityNet v1.2 and v1.3, HACS Segments v1.1) and the results.

Truth::

    {"version": "VERSION 1.3",
     "database": {"QOlSCBRmfWY": {"subset": "training", "duration": 82.73,
                                  "annotations": [{"segment": [6.2, 77.7], "label": "Ballet"}]}}}

Results; without ``label`` in the whole file they are proposals::

    {"version": "VERSION 1.3", "external_data": {},
     "results": {"QOlSCBRmfWY": [{"label": "Ballet", "score": 0.64, "segment": [5.9, 78.0]}]}}

A video may also say which classes occur somewhere in it without saying when: ``"labels": ["Ballet"]``.

Which videos a model was trained on stands under ``external_data``, ``{"training_videos": ["QOlSCBRmfWY"]}``, which
other programs ignore.

Labels are names, never ids; numbers are numbers, not text, but for durations, which HACS has in quotes. Keys that
this module does not know are kept on every level and written again, in the results too (:class:`ResultsExtra`).
``subset``, ``duration``, ``fps`` and ``annotations`` of a video may be absent. Segments are kept as they are, reversed
and zero-length ones too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from untrimmed import __version__
from untrimmed.errors import InputError
from untrimmed.formats import schema
from untrimmed.formats.io import read_json, write_json
from untrimmed.grid import exact_fps
from untrimmed.types import Annotations, Detections, Instances, Video

_VIDEO_KEYS = frozenset({"subset", "duration", "fps", "annotations", "labels"})
_INSTANCE_KEYS = frozenset({"segment", "label"})
_DETECTION_KEYS = frozenset({"segment", "label", "score"})
_TRAINED_ON = "training_videos"
_FPS_TEXT = re.compile(r"\d{1,9}(\.\d{1,9}|/\d{1,9})?", re.ASCII)


@dataclass(frozen=True)
class ResultsExtra:
    """What a results file holds beyond the detections.

    Args:
        top: further top-level keys, e.g. ``version`` and ``external_data``.
        rows: further keys of each detection, in the order of the rows; empty if there are none at all.
    """

    top: Mapping[str, Any] = field(default_factory=dict)
    rows: tuple[Mapping[str, Any], ...] = ()


def read_truth(path: str | Path) -> Annotations:
    """Read a truth file (``.json`` or ``.json.gz``).

    Raises:
        InputError: if it is no JSON or not of this form; the message has the path of the key.
    """
    return truth_of(read_json(path), path)


def truth_of(content: object, path: str | Path) -> Annotations:
    """The truth that a JSON value holds; ``path`` is the file that messages name. Raises as :func:`read_truth`."""
    top = schema.mapping(path, "the top level", content)
    if "database" not in top and "results" in top:
        raise InputError(
            f'{path}: holds results (key "results"), expected truth (key "database"); are the two files swapped?'
        )
    database = schema.mapping(path, "database", schema.member(path, "", top, "database"))
    videos = [_video(path, video_id, value) for video_id, value in database.items()]
    version = top.get("version")
    if not isinstance(version, str):
        return Annotations.of(videos, extra=_rest(top, frozenset({"database"})))
    return Annotations.of(videos, version, _rest(top, frozenset({"database", "version"})))


def write_truth(annotations: Annotations, path: str | Path) -> tuple[str, ...]:
    """Write a truth file; everything is kept.

    Raises:
        InputError: if the file cannot be written.
    """
    write_json(path, truth_content(annotations))
    return ()


def truth_content(annotations: Annotations) -> dict[str, Any]:
    """What a truth file holds, as plain values for JSON; :func:`truth_of` reads it back."""
    database = {}
    for video in annotations:
        entry: dict[str, Any] = {}
        if video.subset:
            entry["subset"] = video.subset
        if video.duration is not None:
            entry["duration"] = float(video.duration)
        if video.fps is not None:
            entry["fps"] = int(video.fps) if video.fps.denominator == 1 else float(video.fps)
        if video.video_labels:
            entry["labels"] = list(video.video_labels)
        entry["annotations"] = [
            {**extra, "label": label, "segment": segment}
            for label, segment, extra in zip(
                video.instances.labels,
                video.instances.segments.tolist(),
                video.instances.extra or ({},) * len(video.instances),
                strict=True,
            )
        ]
        database[video.id] = {**video.extra, **entry}
    version = {"version": annotations.version} if annotations.version else {}
    return {**version, **annotations.extra, "database": database}


def read_results(path: str | Path) -> Detections:
    """Read a results file (``.json`` or ``.json.gz``). Rows are in the order of the file, video by video.

    Raises:
        InputError: if it is no JSON or not of this form; the message has the path of the key.
    """
    return results_of(read_json(path), path)[0]


def results_of(content: object, path: str | Path) -> tuple[Detections, ResultsExtra]:
    """The detections that a JSON value holds, and what else it holds; ``path`` is the file that messages name.

    Raises:
        InputError: as :func:`read_results`.
    """
    top = schema.mapping(path, "the top level", content)
    if "results" not in top and "database" in top:
        raise InputError(
            f'{path}: holds truth (key "database"), expected results (key "results"); are the two files swapped?'
        )
    results = schema.mapping(path, "results", schema.member(path, "", top, "results"))
    columns = _fast_columns(results) or _slow_columns(path, results)
    counts = [len(rows) for rows in results.values()]
    label_ids = {name: index for index, name in enumerate(dict.fromkeys(columns.labels))}
    label_ids.pop(None, None)
    detections = Detections(
        video_ids=tuple(results),
        labels=tuple(name for name in label_ids if name is not None),
        video=np.repeat(np.arange(len(counts)), counts),
        label=np.array([label_ids.get(name, -1) for name in columns.labels], dtype=np.int64),
        segments=columns.segments,
        scores=columns.scores,
        trained_on=_trained_on(top),
    )
    return detections, ResultsExtra(_rest(top, frozenset({"results"})), _row_extra(results.values(), bool(label_ids)))


def write_results(detections: Detections, path: str | Path, extra: ResultsExtra | None = None) -> tuple[str, ...]:
    """Write a results file; everything is kept.

    Args:
        detections: what to write; rows without a label are written without the key.
        path: the file, ``.json`` or ``.json.gz``.
        extra: further keys to write; its ``rows`` are one a detection, or none.

    Raises:
        InputError: if the file cannot be written.
    """
    extra = extra or ResultsExtra()
    results: dict[str, list[dict[str, Any]]] = {video_id: [] for video_id in detections.video_ids}
    lists = list(results.values())
    names = (*detections.labels, None)
    for row, (video, label, segment, score) in enumerate(
        zip(
            detections.video.tolist(),
            detections.label.tolist(),
            detections.segments.tolist(),
            detections.scores.tolist(),
            strict=True,
        )
    ):
        entry: dict[str, Any] = {} if label < 0 else {"label": names[label]}
        entry |= {"score": score, "segment": segment}
        if extra.rows:
            entry |= extra.rows[row]
        lists[video].append(entry)
    top = {"version": f"untrimmed {__version__}", "external_data": {}, **extra.top}
    if detections.trained_on is not None and isinstance(top["external_data"], Mapping):
        top["external_data"] = {**top["external_data"], _TRAINED_ON: list(detections.trained_on)}
    write_json(path, {**top, "results": results})
    return ()


def _trained_on(top: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The videos of ``external_data``; None where it, which is anybody's, does not list them."""
    external = top.get("external_data")
    names = external.get(_TRAINED_ON) if isinstance(external, Mapping) else None
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


@dataclass(frozen=True)
class _Columns:
    labels: list[str | None]
    segments: NDArray[np.float64]
    scores: NDArray[np.float64]


def _fast_columns(results: dict[str, Any]) -> _Columns | None:
    """All detections as columns, types checked in bulk; None if anything is odd, for the slow pass to name.

    numpy would take ``"1.5"``, ``true`` and ``null`` for numbers, so the types are looked at before it converts.
    """
    if not set(map(type, results.values())) <= {list}:
        return None
    rows: list[Any] = list(chain.from_iterable(results.values()))
    if not set(map(type, rows)) <= {dict}:
        return None
    try:
        pairs = [row["segment"] for row in rows]
        scores = [row["score"] for row in rows]
    except KeyError:
        return None
    labels = [row.get("label") for row in rows]
    if not (set(map(type, pairs)) <= {list} and set(map(len, pairs)) <= {2}):
        return None
    times = list(chain.from_iterable(pairs))
    if not (set(map(type, times)) | set(map(type, scores))) <= {float, int}:
        return None
    if len(set(map(type, labels))) > 1 or not isinstance(labels[0] if labels else None, str | None):
        return None
    try:
        segments_array = np.array(times, dtype=np.float64).reshape(-1, 2)
        scores_array = np.array(scores, dtype=np.float64)
    except OverflowError:
        return None
    if not (np.isfinite(segments_array).all() and np.isfinite(scores_array).all()):
        return None
    return _Columns(labels, segments_array, scores_array)


def _slow_columns(path: str | Path, results: dict[str, Any]) -> _Columns:
    """The same value by value, to name the place of the first that is wrong."""
    labels: list[str | None] = []
    segments: list[tuple[float, float]] = []
    scores: list[float] = []
    for video_id, rows in results.items():
        video_place = schema.below("results", video_id)
        for index, value in enumerate(schema.sequence(path, video_place, rows)):
            place = f"{video_place}[{index}]"
            row = schema.mapping(path, place, value)
            segments.append(schema.segment(path, f"{place}.segment", schema.member(path, place, row, "segment")))
            scores.append(schema.number(path, f"{place}.score", schema.member(path, place, row, "score")))
            name = row.get("label")
            labels.append(None if name is None else schema.label(path, f"{place}.label", name))
            if (labels[0] is None) != (name is None):
                raise InputError(
                    f"{path}: {place}: has {'no' if name is None else 'a'} label, unlike the rows before; "
                    "detections all have one, proposals none"
                )
    return _Columns(labels, np.array(segments, dtype=np.float64).reshape(-1, 2), np.array(scores, dtype=np.float64))


def _row_extra(results: Iterable[list[dict[str, Any]]], labelled: bool) -> tuple[Mapping[str, Any], ...]:
    """Further keys of each row, or nothing if no row has any; what must be there was checked before."""
    rows = list(chain.from_iterable(results))
    if set(map(len, rows)) <= {3 if labelled else 2}:
        return ()
    extra = tuple(_rest(row, _DETECTION_KEYS) for row in rows)
    return extra if any(extra) else ()


def _video(path: str | Path, video_id: str, value: object) -> Video:
    place = schema.below("database", video_id)
    table = schema.mapping(path, place, value)
    if not video_id:
        raise InputError(f"{path}: database: a video has an empty id; give it a name")
    duration = table.get("duration")
    if duration is not None:
        duration = _duration(path, f"{place}.duration", duration)
        if duration < 0:
            raise schema.wrong(path, f"{place}.duration", duration, "seconds, at least 0")
    return Video(
        id=video_id,
        subset=schema.text(path, f"{place}.subset", table.get("subset", "")),
        duration=duration,
        fps=_fps(path, f"{place}.fps", table.get("fps")),
        instances=_instances(path, f"{place}.annotations", table.get("annotations", [])),
        extra=_rest(table, _VIDEO_KEYS),
        video_labels=_labels(path, f"{place}.labels", table.get("labels", [])),
    )


def _duration(path: str | Path, place: str, value: object) -> float:
    """Seconds; in quotes too, as HACS has them."""
    return schema.parsed(path, place, value) if isinstance(value, str) else schema.number(path, place, value)


def _labels(path: str | Path, place: str, value: object) -> tuple[str, ...]:
    names = schema.sequence(path, place, value)
    return tuple(schema.label(path, f"{place}[{index}]", name) for index, name in enumerate(names))


def _instances(path: str | Path, place: str, value: object) -> Instances:
    rows = schema.sequence(path, place, value)
    segments, labels, extra = [], [], []
    for index, row in enumerate(rows):
        here = f"{place}[{index}]"
        table = schema.mapping(path, here, row)
        segments.append(schema.segment(path, f"{here}.segment", schema.member(path, here, table, "segment")))
        labels.append(schema.label(path, f"{here}.label", schema.member(path, here, table, "label")))
        extra.append(_rest(table, _INSTANCE_KEYS))
    return Instances(np.array(segments).reshape(-1, 2), tuple(labels), tuple(extra) if any(extra) else ())


def _fps(path: str | Path, place: str, value: object) -> Fraction | None:
    if value is None:
        return None
    if not (isinstance(value, str) and _FPS_TEXT.fullmatch(value)):
        value = schema.number(path, place, value)
    try:
        fps = exact_fps(value)
    except InputError:
        raise schema.wrong(path, place, value, "frames a second, above 0") from None
    if not 1 <= 1000 * fps <= 10**9:
        raise schema.wrong(path, place, value, "frames a second, between 0.001 and 1000000")
    return fps


def _rest(table: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key not in known}
