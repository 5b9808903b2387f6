"""EPIC-Kitchens CSV (EPIC-KITCHENS-55 and -100), truth only.

One row an instance: ``video_id``, ``start_timestamp`` and ``stop_timestamp`` (``HH:MM:SS.ss``), ``verb_class``,
``noun_class`` and more. A label is the verb, the noun, or the action, which is the pair of both.

The column ``verb`` is what the narrator said; several such words are one class. So the name of a class is the key
of its number in ``EPIC_100_verb_classes.csv`` and ``EPIC_100_noun_classes.csv`` (or ``EPIC_verb_classes.csv`` and
``EPIC_noun_classes.csv``) if they lie beside the file, as they do in the official repository; else it is
``verb_3``, ``noun_12``, which mean the same in every file. An action is ``verb noun``.
``EPIC_100_video_info.csv`` (``EPIC_video_info.csv``) beside it gives durations and frame rates. The subset is told
from the name of the file: ``train`` is ``training``, ``validation``, ``test`` is ``testing``.
All other columns are kept as further keys of the instances, so that the CSV can be written again.
"""

from __future__ import annotations

import os
import re
from fractions import Fraction
from pathlib import Path

from untrimmed.errors import InputError
from untrimmed.formats import csv, schema
from untrimmed.formats.collect import Collector, losses, subset_of, tells_subset
from untrimmed.formats.io import atomic_write, shown
from untrimmed.grid import exact_fps
from untrimmed.types import Annotations

LABELS = ("action", "verb", "noun")
"""What can be taken as the label."""

_PLACES = ("video_id", "start_timestamp", "stop_timestamp")
_TIME = re.compile(r"(\d{1,3}):([0-5]\d):([0-5]\d(?:\.\d*)?)", re.ASCII)


def read_truth(path: str | Path, label: str = "action") -> Annotations:
    """Read a CSV of EPIC-Kitchens.

    Args:
        path: e.g. ``EPIC_100_train.csv``.
        label: what to take as the label: ``action``, ``verb`` or ``noun``.

    Raises:
        InputError: if it cannot be read, or a row is malformed; the message names the line.
    """
    return truth_of(csv.read_table(path), label)


def truth_of(table: csv.Table, label: str = "action") -> Annotations:
    """The truth of a table of EPIC-Kitchens. Raises as :func:`read_truth`."""
    schema.choice("label", label, LABELS)
    parts = ("verb", "noun") if label == "action" else (label,)
    table.need(*_PLACES, *(f"{part}_class" for part in parts))
    names = {part: _class_names(table.path.parent, part) for part in parts}
    info = _video_info(table.path.parent)
    collector = Collector(table.path)
    for place, row in table.rows():
        video_id = row["video_id"]
        duration, fps = info.get(video_id, (None, None))
        collector.video(place, video_id, subset=subset_of(table.path), duration=duration, fps=fps)
        start, end = (_seconds(table.path, place, row[column]) for column in _PLACES[1:])
        words = [_name(table.path, place, part, row[f"{part}_class"], names[part]) for part in parts]
        extra = {name: value for name, value in row.items() if name not in _PLACES}
        collector.add(video_id, start, end, " ".join(words), extra)
    return collector.annotations("EPIC-Kitchens")


def write_truth(annotations: Annotations, path: str | Path) -> tuple[str, ...]:
    """Write a CSV of EPIC-Kitchens, from truth that was read from one (perhaps by way of JSON): the columns that
    are no times stand in the further keys of the instances.

    Returns:
        What is lost: one sentence each.

    Raises:
        InputError: if an instance lacks the columns; plain CSV can be written from any truth.
    """
    extras = [extra for video in annotations for extra in video.instances.extra]
    columns = list(dict.fromkeys(key for extra in extras for key in extra))
    for video in annotations:
        for row in range(len(video.instances)):
            extra = video.instances.extra[row] if video.instances.extra else {}
            missing = [key for key in ("verb_class", "noun_class") if not isinstance(extra.get(key), str)]
            if missing:
                raise InputError(
                    f"{path}: instance {row} of video {shown(video.id)} has no {missing[0]}, which EPIC-Kitchens "
                    "CSV needs; write plain CSV (--to csv)"
                )
    front = [key for key in ("narration_id", "participant_id") if key in columns]
    rest = [key for key in columns if key not in front]
    with atomic_write(path) as file:
        writer = csv.writer(file, path)
        writer.writerow([*front, *_PLACES, *rest])
        for video in annotations:
            instances = video.instances
            for segment, extra in zip(instances.segments.tolist(), instances.extra, strict=False):
                times = [_timestamp(path, video.id, value) for value in segment]
                before, after = ([extra.get(key, "") for key in keys] for keys in (front, rest))
                writer.writerow([*before, video.id, *times, *after])
    return losses(annotations, "instance extra", "version", *tells_subset(annotations, path))


def _name(path: Path, place: str, part: str, number: str, names: dict[str, str]) -> str:
    number = number.strip()
    if not (number.isascii() and number.isdigit()):
        raise schema.wrong(path, f"{place}, {part}_class", number, "the number of a class")
    if not names:
        return f"{part}_{int(number[:9])}"
    if number not in names:
        raise InputError(f"{path}: {place}, {part}_class: {shown(number)} is not in the file of {part} classes")
    return names[number]


def _class_names(folder: Path, part: str) -> dict[str, str]:
    """Number -> key, from the file of classes in the folder; empty if there is none."""
    for name, number, key in (
        (f"EPIC_100_{part}_classes.csv", "id", "key"),
        (f"EPIC_{part}_classes.csv", f"{part}_id", "class_key"),
    ):
        if os.path.isfile(folder / name):
            table = csv.read_table(folder / name)
            table.need(number, key)
            return {row[number].strip(): row[key].strip() for _, row in table.rows()}
    return {}


def _video_info(folder: Path) -> dict[str, tuple[float, Fraction]]:
    for name, key in (("EPIC_100_video_info.csv", "video_id"), ("EPIC_video_info.csv", "video")):
        if os.path.isfile(folder / name):
            table = csv.read_table(folder / name)
            table.need(key, "duration", "fps")
            return {
                row[key]: (
                    schema.parsed(table.path, f"{place}, duration", row["duration"]),
                    exact_fps(schema.parsed(table.path, f"{place}, fps", row["fps"])),
                )
                for place, row in table.rows()
            }
    return {}


def _seconds(path: Path, place: str, value: str) -> float:
    match = _TIME.fullmatch(value.strip())
    if match is None:
        raise schema.wrong(path, place, value, "a time HH:MM:SS.ss")
    hours, minutes, seconds = match.groups()
    # 1 min 2.68 s must be the float 62.68, not a sum that is off in the last digit.
    return round(int(hours) * 3600 + int(minutes) * 60 + float(seconds), 9)


def _timestamp(path: str | Path, video_id: str, seconds: float) -> str:
    if seconds < 0:
        raise InputError(f"{path}: video {shown(video_id)}: a time of {seconds} s cannot be written as HH:MM:SS")
    whole, rest = divmod(round(seconds, 9), 60)
    text = f"{rest:.9f}".rstrip("0")
    text += "0" * max(0, 2 - len(text.partition(".")[2]))
    return f"{int(whole) // 60:02d}:{int(whole) % 60:02d}:{text.zfill(3 + len(text.partition('.')[2]))}"
