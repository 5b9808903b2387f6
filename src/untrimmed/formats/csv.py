"""Plain CSV, for truth and results, and the reading of tables that other CSV formats share.

One row an instance or a detection, times in seconds, the columns in any order::

    video,label,start,end,duration,subset           truth; duration and subset may be absent
    video,label,start,end,score                     results; without label they are proposals

A row with nothing but the video (and its duration and subset) names a video in which nothing was found. The column
``score`` makes a file results. Commas, semicolons or tabs separate. The column names of the ActivityNet community
(``video-id``, ``t-start``, ``t-end``) are understood. Other columns of truth are kept as further keys of the
instances, as text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from untrimmed.errors import InputError, nearest
from untrimmed.formats import schema
from untrimmed.formats.collect import Collector, losses
from untrimmed.formats.io import atomic_write, collector_off, read_text, shown
from untrimmed.types import Annotations, Detections

_ALIASES = {
    "video-id": "video",
    "video_id": "video",
    "t-start": "start",
    "t_start": "start",
    "t-end": "end",
    "t_end": "end",
}
_TRUTH = ("video", "label", "start", "end", "duration", "subset")
_RESULTS = ("video", "label", "start", "end", "score")


@dataclass(frozen=True)
class Table:
    """A CSV file with a header.

    Args:
        path: the file.
        header: its column names.
        text: what follows, read row by row.
        delimiter: what separates the fields.
    """

    path: Path
    header: tuple[str, ...]
    text: str
    delimiter: str

    def rows(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        """The place of each row, e.g. ``line 3``, and its fields by column; empty lines are passed over.

        Raises:
            InputError: if a row has more or fewer fields than the header, or quotes do not close.
        """
        for number, fields in _records(self.path, self.text, self.delimiter, skip=1):
            if len(fields) != len(self.header):
                raise InputError(
                    f"{self.path}: line {number}: {len(fields)} fields, but the header has {len(self.header)}"
                )
            yield f"line {number}", dict(zip(self.header, fields, strict=True))

    def need(self, *columns: str) -> None:
        """Raise InputError if one of the columns is missing."""
        for column in columns:
            if column not in self.header:
                raise InputError(f'{self.path}: column "{column}" is missing: {nearest(column, self.header)}')


def read_table(path: str | Path) -> Table:
    """Open a CSV file with a header; the delimiter is told from the header.

    Raises:
        InputError: if it cannot be read, is empty, or its header names a column twice.
    """
    return table_of(read_text(path), path)


def table_of(text: str, path: str | Path) -> Table:
    """The table that a text holds; ``path`` is the file that messages name. Raises as :func:`read_table`."""
    first = text.lstrip().partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    header = next((fields for _, fields in _records(Path(path), text, delimiter, skip=0)), [])
    names = tuple(name.strip() for name in header)
    if not any(names):
        raise InputError(f"{path}: is empty, expected a header and rows")
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{path}: column {shown(name)} occurs twice in the header")
    return Table(Path(path), names, text, delimiter)


def is_results(table: Table) -> bool:
    """Whether a plain table holds results: it has scores."""
    return "score" in table.header


def read_truth(path: str | Path) -> Annotations:
    """Read a plain CSV of truth.

    Raises:
        InputError: if it cannot be read, or a row is malformed; the message names the line.
    """
    return truth_of(read_table(path))


def truth_of(table: Table) -> Annotations:
    """The truth of a plain table. Raises as :func:`read_truth`."""
    table = _plain(table)
    if is_results(table):
        raise InputError(f'{table.path}: holds results (column "score"), expected truth; are the two files swapped?')
    table.need("video", "label", "start", "end")
    others = [name for name in table.header if name not in _TRUTH]
    collector = Collector(table.path)
    for place, row in table.rows():
        length = row.get("duration", "").strip()
        duration = schema.parsed(table.path, f"{place}, duration", length) if length else None
        collector.video(place, row["video"], subset=row.get("subset", ""), duration=duration)
        if _only_names_video(row):
            continue
        if not row["label"]:
            raise schema.wrong(table.path, f"{place}, label", "", "the name of a class")
        extra = {name: row[name] for name in others if row[name]}
        collector.add(row["video"], *_times(table.path, place, row), row["label"], extra)
    return collector.annotations()


def write_truth(annotations: Annotations, path: str | Path) -> tuple[str, ...]:
    """Write truth as plain CSV (separated by tabs if the name ends in ``.tsv``).

    Further keys of instances become columns where all their values are text.

    Returns:
        What is lost: one sentence each.

    Raises:
        InputError: if the file cannot be written.
    """
    extras = [extra for video in annotations for extra in video.instances.extra]
    odd = {key for extra in extras for key, value in extra.items() if not isinstance(value, str) or not value}
    odd |= {key for extra in extras for key in extra if key in (*_TRUTH, *_RESULTS, *_ALIASES) or key != key.strip()}
    others = [key for key in dict.fromkeys(key for extra in extras for key in extra) if key and key not in odd]
    with atomic_write(path) as file:
        table = writer(file, path)
        table.writerow([*_TRUTH, *others])
        for video in annotations:
            about = ["" if video.duration is None else repr(float(video.duration)), video.subset]
            instances = video.instances
            for row, (label, segment) in enumerate(zip(instances.labels, instances.segments.tolist(), strict=True)):
                extra = instances.extra[row] if instances.extra else {}
                table.writerow([video.id, label, *map(repr, segment), *about, *(extra.get(key, "") for key in others)])
            if not len(instances):
                table.writerow([video.id, "", "", "", *about, *("" for _ in others)])
    kept = ("subset", "duration", "empty", *(() if odd else ("instance extra",)))
    return losses(annotations, *kept)


def read_results(path: str | Path) -> Detections:
    """Read a plain CSV of results.

    Raises:
        InputError: if it cannot be read, or a row is malformed; the message names the line.
    """
    return results_of(read_table(path))


def results_of(table: Table) -> Detections:
    """The detections of a plain table. Raises as :func:`read_results`."""
    table = _plain(table)
    if not is_results(table):
        raise InputError(
            f'{table.path}: has no column "score", so it holds truth, expected results; are the two files swapped?'
        )
    table.need("video", "start", "end", "score")
    fast = _fast_results(table)
    if fast is not None:
        return fast
    videos: dict[str, None] = {}
    rows: list[tuple[str, str | None, float, float, float]] = []
    for place, row in table.rows():
        if not row["video"]:
            raise InputError(f"{table.path}: {place}: the video has no name")
        videos[row["video"]] = None
        if _only_names_video(row) and not row["score"].strip():
            continue
        label = row.get("label") or None
        if rows and (rows[0][1] is None) != (label is None):
            raise InputError(
                f"{table.path}: {place}: has {'no' if label is None else 'a'} label, unlike the rows before; "
                "detections all have one, proposals none"
            )
        score = schema.parsed(table.path, f"{place}, score", row["score"])
        rows.append((row["video"], label, *_times(table.path, place, row), score))
    return Detections.of(rows, videos)


def write_results(detections: Detections, path: str | Path) -> tuple[str, ...]:
    """Write results as plain CSV (separated by tabs if the name ends in ``.tsv``); nothing is lost but the order
    of the videos that have no detection, which come last.

    Raises:
        InputError: if the file cannot be written.
    """
    names = (*detections.labels, "")
    columns = (detections.video, detections.label, detections.segments, detections.scores)
    with atomic_write(path) as file:
        table = writer(file, path)
        table.writerow(_RESULTS)
        for video, label, segment, score in zip(*(column.tolist() for column in columns), strict=True):
            table.writerow([detections.video_ids[video], names[label], *map(repr, segment), repr(score)])
        found = set(detections.video.tolist())
        for index, video_id in enumerate(detections.video_ids):
            if index not in found:
                table.writerow([video_id, "", "", "", ""])
    return ()


def _fast_results(table: Table) -> Detections | None:
    """The detections, checked in bulk; None if any row is odd, for the slow pass to name (or to take)."""
    with collector_off():
        rows = [fields for _, fields in _records(table.path, table.text, table.delimiter, skip=1)]
    if set(map(len, rows)) != {len(table.header)}:
        return None
    columns = dict(zip(table.header, zip(*rows, strict=True), strict=True))
    labels = columns.get("label")
    if not all(columns["video"]) or (labels is not None and not all(labels)):
        return None
    numbers = []
    for name in ("start", "end", "score"):
        joined = "".join(columns[name])
        if "_" in joined or not joined.isascii():  # float() takes 1_000 and digits of other scripts
            return None
        try:
            numbers.append(np.fromiter(map(float, columns[name]), dtype=np.float64, count=len(rows)))
        except ValueError:
            return None
        if not np.isfinite(numbers[-1]).all():
            return None
    video_ids = {name: index for index, name in enumerate(dict.fromkeys(columns["video"]))}
    label_ids = {name: index for index, name in enumerate(dict.fromkeys(labels or ()))}
    return Detections(
        video_ids=tuple(video_ids),
        labels=tuple(label_ids),
        video=np.fromiter(map(video_ids.__getitem__, columns["video"]), dtype=np.int64),
        label=np.full(len(rows), -1)
        if labels is None
        else np.fromiter(map(label_ids.__getitem__, labels), dtype=np.int64),
        segments=np.stack(numbers[:2], axis=1),
        scores=numbers[2],
    )


def _plain(table: Table) -> Table:
    """The table with the common names of its columns."""
    names = tuple(
        _ALIASES.get(name.lower(), name.lower() if name.lower() in _TRUTH + _RESULTS else name) for name in table.header
    )
    for name in names:
        if names.count(name) > 1:
            raise InputError(f'{table.path}: two columns mean "{name}": {", ".join(table.header)}')
    return Table(table.path, names, table.text, table.delimiter)


def _only_names_video(row: Mapping[str, str]) -> bool:
    return not (row.get("label") or row["start"].strip() or row["end"].strip())


def _times(path: Path, place: str, row: Mapping[str, str]) -> tuple[float, float]:
    start = schema.parsed(path, f"{place}, start", row["start"])
    return start, schema.parsed(path, f"{place}, end", row["end"])


def _records(path: Path, text: str, delimiter: str, skip: int) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of the records, without empty lines and the first ``skip`` others."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for fields in reader:
            if not any(fields) or (len(fields) == 1 and not fields[0].strip()):
                continue
            if skip:
                skip -= 1
                continue
            yield reader.line_num, fields
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num}: not valid CSV: {error}") from None


def writer(file: IO[str], path: str | Path) -> Any:
    """A writer of rows, as the ``csv`` module has it; tabs separate if the name ends in ``.tsv``."""
    tabs = ".tsv" in Path(path).suffixes
    return csv.writer(_Lines(file), delimiter="\t" if tabs else ",", lineterminator="\r\n")


class _Lines:
    """Ends rows with ``\\n``. The writer itself must be told ``\\r\\n``: only then does it quote a field with
    ``\\r``, which ends a row for the reader."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, row: str) -> None:
        self._file.write(row.removesuffix("\r\n") + "\n")
