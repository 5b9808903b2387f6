"""WebVTT, for results, writing only: detections as subtitles that any player shows over the video.

A cue is ``label score``, from start to end. Give the file the name of the video, ``run.vtt`` beside ``run.mp4``:
most players load it then. Subtitles are for looking at; scores are rounded, so keep the results as JSON too.
"""

from __future__ import annotations

import html
import re
from pathlib import Path

import numpy as np

from untrimmed.errors import InputError
from untrimmed.formats.io import atomic_folder, check_file, check_new_folder, file_name, write_text
from untrimmed.types import Detections

_FOREVER = 1e9
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")


def write_results(detections: Detections, path: str | Path) -> tuple[str, ...]:
    """Write a ``.vtt`` file (if the name ends so; for one video) or a new folder of them, one a video.

    A cue cannot be empty or begin before 0: detections without length are left out, and starts below 0 are moved
    to it.

    Returns:
        What is lost: one sentence each.

    Raises:
        InputError: if a file is named and there are several videos, or it cannot be written.
    """
    milliseconds = np.rint(detections.segments.clip(min=0, max=_FOREVER) * 1000).astype(np.int64)
    visible = milliseconds[:, 1] > milliseconds[:, 0]
    rows: dict[int, list[int]] = {index: [] for index in range(len(detections.video_ids))}
    for row in np.lexsort((milliseconds[:, 1], milliseconds[:, 0])).tolist():
        if visible[row]:
            rows[int(detections.video[row])].append(row)
    check_target(path, len(detections.video_ids))
    if Path(path).suffix == ".vtt":
        write_text(path, _document(detections, milliseconds, rows[0]))
    else:
        with atomic_folder(path) as folder:
            for index, video_id in enumerate(detections.video_ids):
                write_text(folder / file_name(video_id, ".vtt"), _document(detections, milliseconds, rows[index]))
    lost = ["digits of scores beyond three, and of times beyond the millisecond"]
    if hidden := int((~visible).sum()):
        lost.append(f"{hidden} detections that are reversed or have no length after 0 s")
    return tuple(lost)


def check_target(path: str | Path, videos: int) -> None:
    """Refuse where :func:`write_results` could not write that many videos.

    Raises:
        InputError: as :func:`write_results`.
    """
    if Path(path).suffix != ".vtt":
        check_new_folder(path)
    elif videos != 1:
        raise InputError(f"{path}: a .vtt file holds 1 video, not {videos}; name a folder")
    else:
        check_file(path)


def _document(detections: Detections, milliseconds: np.ndarray, rows: list[int]) -> str:
    cues = ["WEBVTT\n"]
    for number, row in enumerate(rows, start=1):
        start, end = (_timestamp(int(value)) for value in milliseconds[row])
        label = detections.labels[detections.label[row]] if detections.label[row] >= 0 else ""
        text = f"{_CONTROL.sub(' ', label)} {detections.scores[row]:.3g}".strip()
        cues.append(f"{number}\n{start} --> {end}\n{html.escape(text, quote=False)}\n")
    return "\n".join(cues)


def _timestamp(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{rest:03d}"
