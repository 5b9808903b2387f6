"""TURN's lists of proposals (Gao et al., ICCV 2017), which CBR and CTAP take: one a line, in frames, without scores::

    video_test_0000896 882 1062

The order within a video, which begins with the best, becomes a score: the k-th of n gets ``1 - k / n``, k from 0.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from untrimmed.errors import InputError
from untrimmed.formats import schema
from untrimmed.formats.collect import counted
from untrimmed.formats.io import atomic_write, read_text, shown
from untrimmed.formats.ssn import ranked
from untrimmed.formats.timing import UNTIMED, Timing
from untrimmed.types import Detections

_ROW = re.compile(r"\S+\s+[-+]?[\d.]+\s+[-+]?[\d.]+")
_WHOLE = re.compile(r"\S+\s+\d+\s+\d+")


def is_list(text: str, whole: bool = False) -> bool:
    """Whether the first line of a text looks like one of a list; ``whole``: and its times are whole numbers."""
    first = text.lstrip().partition("\n")[0].strip()
    return (_WHOLE if whole else _ROW).fullmatch(first) is not None


def read_results(path: str | Path, timing: Timing = UNTIMED) -> Detections:
    """Read a list, into seconds.

    Args:
        path: the file.
        timing: the frames a second of every video.

    Raises:
        InputError: if a line is malformed, which is named, or the frame rate of a video is not known.
    """
    return proposals_of(read_text(path), path, timing)


def proposals_of(text: str, path: str | Path, timing: Timing = UNTIMED) -> Detections:
    """The proposals that a text holds; ``path`` is the file that messages name. Raises as :func:`read_results`."""
    rows: dict[str, list[list[str]]] = {}
    places: dict[str, list[int]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if fields := line.split():
            if len(fields) != 3:
                raise InputError(
                    f"{path}: line {number}: {len(fields)} fields, expected 3: video start end (in frames); "
                    "is the list cut short?"
                )
            rows.setdefault(fields[0], []).append(fields[1:])
            places.setdefault(fields[0], []).append(number)
    if not rows:
        raise InputError(f"{path}: is empty, expected lines of video start end")
    names, tables = [], []
    for video, own in rows.items():
        name = timing.named(video)
        names.append(name)
        tables.append(schema.parsed_rows(path, own, places[video]) / float(timing.rate(path, name)))
    return ranked(names, tables)


def write_results(detections: Detections, path: str | Path, timing: Timing) -> tuple[str, ...]:
    """Write a list: whole frames, the best of each video first.

    Args:
        detections: the proposals; labels are not looked at.
        path: the file.
        timing: the frames a second of every video.

    Returns:
        What is lost: one phrase each.

    Raises:
        InputError: if the frame rate of a video is not known, its name has a space, or the file cannot be written.
    """
    order = np.argsort(-detections.scores, kind="stable")
    order = order[np.argsort(detections.video[order], kind="stable")]
    used = sorted(set(detections.video.tolist()))
    for index in used:
        name = detections.video_ids[index]
        if name.split() != [name]:
            raise InputError(f"{path}: video {shown(name)} has a space in its name, which separates the fields here")
    rates = {index: float(timing.rate(path, timing.named(detections.video_ids[index]))) for index in used}
    with atomic_write(path) as file:
        for index, (start, end) in zip(
            detections.video[order].tolist(), detections.segments[order].tolist(), strict=True
        ):
            rate = rates[index]
            file.write(f"{detections.video_ids[index]} {start * rate:.0f} {end * rate:.0f}\n")
    lost = ["scores, but for the order they give", "times between whole frames"]
    if empty := len(detections.video_ids) - len(used):
        lost.append(f"{counted(empty, 'video')} without a proposal")
    return (*lost, "labels") if (detections.label >= 0).any() else tuple(lost)
