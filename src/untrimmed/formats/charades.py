"""Charades CSV, truth only.

One row a video: ``id``, ``actions`` as ``c092 11.90 21.20;c147 0.00 12.60``, ``length`` in seconds, and more
(subject, scene, script, ...), which are kept as further keys of the video. Labels are the codes, ``c092``. The
subset is told from the name of the file: ``train`` is ``training``, ``test`` is ``testing``.
"""

from __future__ import annotations

from pathlib import Path

from untrimmed.errors import InputError
from untrimmed.formats import csv, schema
from untrimmed.formats.collect import Collector, losses, subset_of, tells_subset
from untrimmed.formats.io import atomic_write, shown
from untrimmed.types import Annotations

_COLUMNS = ("id", "actions", "length")


def read_truth(path: str | Path) -> Annotations:
    """Read a CSV of Charades.

    Raises:
        InputError: if it cannot be read, a row is malformed or a video occurs twice; the message names the line.
    """
    return truth_of(csv.read_table(path))


def truth_of(table: csv.Table) -> Annotations:
    """The truth of a table of Charades. Raises as :func:`read_truth`."""
    table.need(*_COLUMNS)
    collector = Collector(table.path)
    seen: set[str] = set()
    for place, row in table.rows():
        if row["id"] in seen:
            raise InputError(f"{table.path}: {place}: video {shown(row['id'])} occurs twice")
        seen.add(row["id"])
        length = row["length"].strip()
        collector.video(
            place,
            row["id"],
            subset=subset_of(table.path),
            duration=schema.parsed(table.path, f"{place}, length", length) if length else None,
            extra={name: value for name, value in row.items() if name not in _COLUMNS},
        )
        for action in filter(str.strip, row["actions"].split(";")):
            fields = action.split()
            if len(fields) != 3:
                raise schema.wrong(table.path, f"{place}, actions", action, '"class start end"')
            start, end = (schema.parsed(table.path, f"{place}, actions", field) for field in fields[1:])
            collector.add(row["id"], start, end, fields[0])
    return collector.annotations("Charades")


def write_truth(annotations: Annotations, path: str | Path) -> tuple[str, ...]:
    """Write a CSV of Charades.

    Returns:
        What is lost: one sentence each.

    Raises:
        InputError: if a label holds a space or a semicolon, which separate the fields here.
    """
    extras = [video.extra for video in annotations]
    keys = dict.fromkeys(key for extra in extras for key in extra if key not in _COLUMNS)
    others = [key for key in keys if key and all(isinstance(extra.get(key, ""), str) for extra in extras)]
    for label in annotations.labels:
        if label.split() != [label] or ";" in label:
            raise InputError(f"{path}: label {shown(label)} holds a space or semicolon, or is empty")
    with atomic_write(path) as file:
        writer = csv.writer(file, path)
        writer.writerow(["id", *others, "actions", "length"])
        for video in annotations:
            rows = zip(video.instances.labels, video.instances.segments.tolist(), strict=True)
            actions = ";".join(f"{label} {start!r} {end!r}" for label, (start, end) in rows)
            length = "" if video.duration is None else repr(float(video.duration))
            writer.writerow([video.id, *(video.extra.get(key, "") for key in others), actions, length])
    kept = ["duration", "empty", "version", *tells_subset(annotations, path)]
    kept += ["video extra"] if len(others) == len(keys) else []
    return losses(annotations, *kept)
