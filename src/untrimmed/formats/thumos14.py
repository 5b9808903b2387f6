"""The THUMOS14 text files: the official truth, one file per class, and results, one file in all.

Truth, a folder with ``<Class>_val.txt`` and ``<Class>_test.txt`` (and ``Ambiguous_val.txt``,
``Ambiguous_test.txt``: segments that are neither right nor wrong), in it or in folders below::

    video_test_0000004  0.2 1.1

Results, one line a detection: video, start, end, number of the class (1 to 101, as in UCF101), score::

    video_test_0000004 0.2 1.1 23 0.4288

The kit's rule depends on the order of the instances: within a class it is kept. Videos are sorted by name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from untrimmed.errors import InputError
from untrimmed.formats import schema
from untrimmed.formats.collect import Collector, counted, losses
from untrimmed.formats.io import atomic_folder, read_text, shown, write_text
from untrimmed.types import Annotations, Detections

CLASS_IDS = {
    "BaseballPitch": 7,
    "BasketballDunk": 9,
    "Billiards": 12,
    "CleanAndJerk": 21,
    "CliffDiving": 22,
    "CricketBowling": 23,
    "CricketShot": 24,
    "Diving": 26,
    "FrisbeeCatch": 31,
    "GolfSwing": 33,
    "HammerThrow": 36,
    "HighJump": 40,
    "JavelinThrow": 45,
    "LongJump": 51,
    "PoleVault": 68,
    "Shotput": 79,
    "SoccerPenalty": 85,
    "TennisSwing": 92,
    "ThrowDiscus": 93,
    "VolleyballSpiking": 97,
}
"""The 20 classes of the detection task and their numbers in the class list of UCF101 (``detclasslist.txt``)."""

AMBIGUOUS = "Ambiguous"
"""The label of segments that are neither right nor wrong."""

_CLASS_FILE = re.compile(r"(?P<label>.+)_(?P<split>val|test)\.txt(\.gz)?")
_SUBSETS = {"val": "validation", "test": "test"}
_SPLITS = {subset: split for split, subset in _SUBSETS.items()}


def is_class_file(path: Path) -> bool:
    """Whether a name is that of a file of truth, ``<Class>_val.txt`` or ``<Class>_test.txt``."""
    return _CLASS_FILE.fullmatch(path.name) is not None


def names_known_class(path: Path) -> bool:
    """Whether a name is that of the truth of one of the 20 classes, or of the ambiguous segments."""
    match = _CLASS_FILE.fullmatch(path.name)
    return match is not None and (match["label"] in CLASS_IDS or match["label"] == AMBIGUOUS)


def class_files(folder: Path) -> list[Path]:
    """The files of truth in a folder and below, sorted by name."""
    return sorted((path for path in folder.rglob("*_*.txt*") if is_class_file(path)), key=lambda path: path.name)


def read_truth(path: str | Path) -> Annotations:
    """Read the folder of the official files, or a single one of them. Subsets: ``validation``, ``test``.

    The files know no durations, and no videos without instances.

    Raises:
        InputError: if there is no such file, a line is malformed (its number is named), a class occurs in two
            files, or a video in both subsets.
    """
    path = Path(path)
    files = class_files(path) if os.path.isdir(path) else [path]
    if not files:
        raise InputError(f"{path}: no file named <Class>_val.txt or <Class>_test.txt in it or below")
    seen: dict[str, Path] = {}
    rows: list[tuple[str, str, str, float, float]] = []
    for file in files:
        match = _CLASS_FILE.fullmatch(file.name)
        if match is None:
            raise InputError(f"{file}: is not named <Class>_val.txt or <Class>_test.txt")
        name = f"{match['label']}_{match['split']}"
        if name in seen:
            raise InputError(f"{file}: the same class and subset are in {seen[name]}; give one of the folders")
        seen[name] = file
        for place, fields in _lines(file):
            if len(fields) != 3:
                raise InputError(f"{file}: {place}: {len(fields)} fields, expected 3: video start end")
            start, end = (schema.parsed(file, place, field) for field in fields[1:])
            rows.append((fields[0], _SUBSETS[match["split"]], match["label"], start, end))
    collector = Collector(path)
    for video_id, subset, label, start, end in sorted(rows, key=lambda row: row[0]):
        collector.video(f"class {label}", video_id, subset=subset)
        collector.add(video_id, start, end, label)
    return collector.annotations("THUMOS14")


def write_truth(annotations: Annotations, path: str | Path) -> tuple[str, ...]:
    """Write the official files into a new folder; times as exact as they are.

    Returns:
        What is lost: one sentence each.

    Raises:
        InputError: if a subset is neither ``validation`` nor ``test``, or a name cannot stand in these files.
    """
    tables: dict[str, list[str]] = {}
    for video in annotations:
        if video.subset not in _SPLITS:
            raise InputError(
                f"{path}: video {shown(video.id)} is in subset {shown(video.subset)}, but THUMOS14 files hold "
                "only 'validation' and 'test'; rename the subset, or choose one"
            )
        _check_name(path, "video", video.id)
        for label, (start, end) in zip(video.instances.labels, video.instances.segments.tolist(), strict=True):
            if not label or "/" in label or "\\" in label or "\0" in label or len(label.encode()) > 200:
                raise InputError(f"{path}: label {shown(label)} cannot be the name of a file")
            tables.setdefault(f"{label}_{_SPLITS[video.subset]}.txt", []).append(f"{video.id}  {start!r} {end!r}\n")
    _check_distinct(path, tables)
    with atomic_folder(path) as folder:
        for name, lines in tables.items():
            write_text(folder / name, "".join(lines))
    return losses(annotations, "subset", "version")


def read_results(path: str | Path) -> Detections:
    """Read a file of detections. The numbers of the classes become names (:data:`CLASS_IDS`).

    Raises:
        InputError: if a line is malformed or has the number of another class; its number is named.
    """
    names = {str(number): name for name, number in CLASS_IDS.items()}
    rows = []
    for place, fields in _lines(Path(path)):
        if len(fields) != 5:
            raise InputError(f"{path}: {place}: {len(fields)} fields, expected 5: video start end class score")
        if fields[3] not in names:
            raise schema.wrong(
                path, f"{place}, class", fields[3], "the number of one of the 20 detection classes, e.g. 7"
            )
        start, end, score = (schema.parsed(path, place, fields[index]) for index in (1, 2, 4))
        rows.append((fields[0], names[fields[3]], start, end, score))
    return Detections.of(rows)


def write_results(detections: Detections, path: str | Path) -> tuple[str, ...]:
    """Write a file of detections; numbers as exact as they are.

    Returns:
        What is lost: one sentence each.

    Raises:
        InputError: if a detection has no label, or one that is not among the 20 classes.
    """
    if (detections.label < 0).any():
        raise InputError(f"{path}: proposals have no label, which a line of THUMOS14 results needs")
    for label in detections.labels:
        if label not in CLASS_IDS:
            raise InputError(
                f"{path}: label {shown(label)} is not one of the 20 THUMOS14 classes, which alone have a number; "
                "write JSON or CSV"
            )
    numbers = [CLASS_IDS[label] for label in detections.labels]
    for video_id in detections.video_ids:
        _check_name(path, "video", video_id)
    columns = (detections.video, detections.label, detections.segments, detections.scores)
    lines = [
        f"{detections.video_ids[video]} {segment[0]!r} {segment[1]!r} {numbers[label]} {score!r}\n"
        for video, label, segment, score in zip(*(column.tolist() for column in columns), strict=True)
    ]
    write_text(path, "".join(lines))
    empty = len(detections.video_ids) - len(set(detections.video.tolist()))
    return (f"{counted(empty, 'video')} without a detection",) if empty else ()


def _lines(file: Path) -> Iterator[tuple[str, list[str]]]:
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if fields := line.split():
            yield f"line {number}", fields


def _check_name(path: str | Path, kind: str, name: str) -> None:
    if name.split() != [name]:
        raise InputError(f"{path}: {kind} {shown(name)} has a space in its name, which separates the fields here")


def _check_distinct(path: str | Path, tables: dict[str, list[str]]) -> None:
    """Two labels that differ only by case would be one file on some file systems."""
    seen: dict[str, str] = {}
    for name in tables:
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise InputError(f"{path}: the files {other} and {name} differ only by case; rename a label")
