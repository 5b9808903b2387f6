"""The proposals of BSN (Lin et al., ECCV 2018) and BMN (Lin et al., ICCV 2019): a folder with one CSV a video::

    xmin,xmax,xmin_score,xmax_score,clr_score,reg_score,score

``xmin`` and ``xmax`` (``tmin``, ``tmax`` in mmaction2) are fractions of the video. The score is ``score`` where there
is that column (BMN), else the product of ``xmin_score``, ``xmax_score`` and, as far as they are there, ``iou_score``
(BSN's evaluation module), ``clr_score`` and ``reg_score``. Columns ``match_iou`` and ``match_ioa`` come from the truth,
and are not looked at. The name of the file is that of the video, with or without ActivityNet's ``v_``.

Fractions are taken of the whole duration. The authors of BSN take them of the whole snippets of 16 frames, which end up
to 15 frames earlier: whoever wants that gives those durations as the truth's.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from untrimmed.errors import InputError
from untrimmed.formats import csv, schema
from untrimmed.formats.io import atomic_folder, file_name, read_text, write_text
from untrimmed.formats.timing import UNTIMED, Timing
from untrimmed.types import Detections

_TIMES = (("xmin", "xmax"), ("tmin", "tmax"))
_FACTORS = ("iou_score", "clr_score", "reg_score")


def is_table(header: Iterable[str]) -> bool:
    """Whether a CSV file with these columns is one of these."""
    return any(set(pair) <= set(header) for pair in _TIMES)


def files_of(folder: Path) -> list[Path]:
    """The CSV files of a folder, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.suffix == ".csv" and path.is_file())


def read_results(path: str | Path, timing: Timing = UNTIMED) -> Detections:
    """Read a folder, or the file of one video, into seconds.

    Args:
        path: the folder or file.
        timing: the duration of every video.

    Raises:
        InputError: if there is no file, a row is malformed (file and line are named), or a duration is not known.
    """
    path = Path(path)
    files = files_of(path) if os.path.isdir(path) else [path]
    if not files:
        raise InputError(f"{path}: no .csv file in this folder, expected one a video")
    names: dict[str, Path] = {}
    tables, scores = [], []
    for file in files:
        name = timing.named(unquote(file.stem))
        if name in names:
            raise InputError(f"{file}: video {name} is in {names[name]} too; keep one of them")
        names[name] = file
        rows = _rows(file)
        tables.append(rows[:, :2] * timing.duration(file, name))
        scores.append(rows[:, 2])
    counts = [len(each) for each in scores]
    return Detections(
        tuple(names),
        (),
        np.repeat(np.arange(len(counts)), counts),
        np.full(sum(counts), -1),
        np.concatenate(tables),
        np.concatenate(scores),
    )


def write_results(detections: Detections, path: str | Path, timing: Timing) -> tuple[str, ...]:
    """Write a new folder of files with ``xmin``, ``xmax`` and ``score``, in the order of the rows.

    Args:
        detections: the proposals; labels are not looked at.
        path: the folder.
        timing: the duration of every video.

    Returns:
        What is lost: one phrase each.

    Raises:
        InputError: if a duration is not known, or the folder holds something or cannot be written.
    """
    durations = [timing.duration(path, timing.named(video_id)) for video_id in detections.video_ids]
    with atomic_folder(path) as folder:
        for index, (video_id, duration) in enumerate(zip(detections.video_ids, durations, strict=True)):
            rows = np.flatnonzero(detections.video == index)
            columns = np.column_stack([detections.segments[rows] / duration, detections.scores[rows]])
            lines = [",".join(map(repr, row)) for row in columns.tolist()]
            write_text(folder / file_name(video_id, ".csv"), "\n".join(["xmin,xmax,score", *lines]) + "\n")
    return ("labels",) if (detections.label >= 0).any() else ()


def _rows(file: Path) -> NDArray[np.float64]:
    """(N, 3) start and end as fractions of the video, and score."""
    table = csv.table_of(read_text(file), file)
    times = next((pair for pair in _TIMES if set(pair) <= set(table.header)), _TIMES[0])
    table.need(*times)
    factors = _score_columns(table, times[0][0])
    columns = (*times, *factors)
    read = [(int(place.removeprefix("line ")), [row[name] for name in columns]) for place, row in table.rows()]
    values = schema.parsed_rows(file, [row for _, row in read], [line for line, _ in read]).reshape(-1, len(columns))
    if np.abs(values[:, :2]).max(initial=0) > 2:
        row = int(np.abs(values[:, :2]).max(axis=1).argmax())
        raise InputError(
            f"{file}: proposal {row + 1}: {times[0]} {values[row, 0]:g}, {times[1]} {values[row, 1]:g}; expected "
            "fractions of the video, from 0 to 1: are these seconds or frames?"
        )
    return np.column_stack([values[:, :2], values[:, 2:].prod(axis=1)])


def _score_columns(table: csv.Table, letter: str) -> tuple[str, ...]:
    """The columns whose product is the score."""
    if "score" in table.header:
        return ("score",)
    ends = (f"{letter}min_score", f"{letter}max_score")
    table.need(*ends)
    return (*ends, *(name for name in _FACTORS if name in table.header))
