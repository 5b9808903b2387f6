"""What is wrong with a folder of features: the part of :mod:`untrimmed.formats.check` that reads arrays."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from untrimmed.errors import InputError
from untrimmed.formats.features import INDEX, FeatureStore
from untrimmed.formats.finding import Finding
from untrimmed.formats.io import read_json, shown
from untrimmed.grid import SnippetGrid
from untrimmed.types import Annotations, Video

_CHUNK = 4096
_NEAR = 0.05


@dataclass(frozen=True)
class _Folder:
    """Where the features of each video should be, and what is said of them beside the files."""

    path: Path
    files: Mapping[str, Path]
    store: FeatureStore | None
    grid: SnippetGrid | None
    width: int | None
    lengths: Mapping[str, int] = field(default_factory=dict)

    def grid_of(self, video_id: str) -> SnippetGrid | None:
        return self.grid if self.store is None else self.store.grid(video_id)

    def duration_of(self, video: Video) -> float | None:
        known = None if self.store is None else self.store.duration(video.id)
        return known if video.duration is None else video.duration


def check_features(
    annotations: Annotations,
    folder: str | Path,
    grid: SnippetGrid | None = None,
    each: Callable[[Iterable[Video]], Iterable[Video]] = iter,
) -> list[Finding]:
    """The problems of the features of a data set. Every value of every file is looked at.

    Args:
        annotations: the truth.
        folder: of ``.npy`` files of shape (T, C), with the index that ``untrimmed extract`` writes or without.
        grid: of a folder without index. If None, the key ``snippets`` of the truth is used (``fps``, ``stride``,
            ``window``, ``offset``); without that either, lengths are not compared with durations.
        each: wraps the videos while their features are read, for a progress bar.

    Raises:
        InputError: if the folder is missing or holds no features, or its index or the grid cannot be used.
    """
    source = _open(annotations, Path(folder), grid)
    findings = list(_check_names(annotations, source))
    widths: dict[str, int] = {}
    for video in each(annotations):
        if video.id in source.files:
            findings += _check_file(video, source, widths)
    findings += _check_widths(widths, source.width)
    return findings


def _open(annotations: Annotations, folder: Path, grid: SnippetGrid | None) -> _Folder:
    snippets = annotations.extra.get("snippets")
    said = snippets if isinstance(snippets, Mapping) else {}
    width = said.get("channels")
    width = width if isinstance(width, int) else None
    if os.path.isfile(folder / INDEX):
        store = FeatureStore.open(folder, grid)
        videos = read_json(folder / INDEX)["videos"]
        files = {video_id: folder / videos[video_id]["file"] for video_id in store.ids}
        lengths = {video_id: videos[video_id]["length"] for video_id in store.ids}
        return _Folder(folder, files, store, None, store.channels, lengths)
    if not os.path.isdir(folder):
        raise InputError(f"feature folder {folder}: there is no such folder")
    files = {unquote(path.stem): path for path in sorted(folder.glob("*.npy"))}
    if not files:
        raise InputError(f"feature folder {folder}: no .npy file in it; expected one of shape (T, C) per video")
    if grid is None and {"fps", "stride", "window"} <= set(said):
        grid = SnippetGrid.from_dict({key: said[key] for key in ("fps", "stride", "window", "offset") if key in said})
    return _Folder(folder, files, None, grid, width)


def _check_names(annotations: Annotations, source: _Folder) -> Iterator[Finding]:
    alike = {_plain(video_id): video_id for video_id in source.files}
    missing = [video.id for video in annotations if video.id not in source.files]
    for video_id in missing:
        other = alike.get(_plain(video_id))
        value = f"but there are features of {shown(other)}" if other else f"none in {source.path}"
        fix = "rename the file or the video" if other else "extract them, or leave out the video"
        yield Finding("error", "no features", video_id, value, fix)
    extra = [video_id for video_id in source.files if video_id not in annotations.videos]
    if extra:
        value = f"{len(extra)}: {', '.join(map(shown, extra[:3]))}{', ...' if len(extra) > 3 else ''}"
        yield Finding("note", "features of videos that the truth does not have", "", value, "none needed")


def _check_file(video: Video, source: _Folder, widths: dict[str, int]) -> Iterator[Finding]:
    path = source.files[video.id]
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        value = f"{path.name}: {error.strerror if isinstance(error, OSError) and error.strerror else error}"
        yield Finding("error", "features cannot be read", video.id, value, "extract them again")
        return
    if array.ndim != 2 or array.dtype.kind not in "fiu" or 0 in array.shape:
        value = f"{path.name}: shape {array.shape} of {array.dtype}"
        yield Finding("error", "features are not (T, C) numbers", video.id, value, "extract them again")
        return
    widths[video.id] = array.shape[1]
    if array.shape[1] == (source.width or array.shape[1]):
        yield from _check_values(video, array)
        yield from _check_length(video, source, len(array))


def _check_values(video: Video, array: NDArray[Any]) -> Iterator[Finding]:
    first = np.array(array[0])
    constant, zero_rows = True, 0
    for start in range(0, len(array), _CHUNK):
        rows = np.asarray(array[start : start + _CHUNK])
        if not np.isfinite(rows).all():
            bad = np.argwhere(~np.isfinite(rows))
            value = f"row {start + bad[0, 0]}, channel {bad[0, 1]}: {rows[tuple(bad[0])]}"
            fix = "extract the video again; in float16, values above 65504 overflow"
            yield Finding("error", "features with NaN or infinity", video.id, value, fix)
            return
        constant = constant and bool((rows == first).all())
        zero_rows += int((~rows.any(axis=1)).sum())
    if zero_rows == len(array):
        fix = "extract the video again: decoding has failed"
        yield Finding("error", "features are all zero", video.id, f"{len(array)} rows", fix)
    elif constant and len(array) > 1:
        fix = "extract the video again: every snippet looks the same"
        yield Finding("error", "features are constant", video.id, f"{len(array)} equal rows", fix)
    elif zero_rows:
        fix = "cut padding off; else extract the video again"
        yield Finding("warning", "rows of zeros", video.id, f"{zero_rows} of {len(array)} rows", fix)


def _check_length(video: Video, source: _Folder, length: int) -> Iterator[Finding]:
    listed = source.lengths.get(video.id, length)
    if listed != length:
        value = f"{length} rows, the index says {listed}"
        yield Finding("error", "features do not fit their index", video.id, value, "extract the video again")
    known = None if source.store is None else source.store.duration(video.id)
    if known and video.duration and abs(known - video.duration) > max(1.0, 0.01 * video.duration):
        value = f"{video.duration:g} s in the truth, {known:g} s in the index of the features"
        fix = "find out which video was annotated: the two differ"
        yield Finding("warning", "durations differ", video.id, value, fix)
    grid, duration = source.grid_of(video.id), source.duration_of(video)
    if grid is None:
        return
    if duration:
        yield from _compare(video.id, length, grid, duration)
    elif len(video.instances):
        covered, last = grid.steps_to_seconds(length), float(video.instances.segments.max())
        if last > covered + 1.0 + grid.window * grid.seconds_per_step / grid.stride:
            value = f"the last instance ends at {last:g} s, the features at {covered:g} s"
            fix = "correct fps or stride, or the times of the truth"
            yield Finding("error", "instances beyond the features", video.id, value, fix)


def _compare(video_id: str, length: int, grid: SnippetGrid, duration: float) -> Iterator[Finding]:
    """Extractors pad or drop at the ends: anything from whole snippets only to one a stride is right."""
    whole = grid.expected_count(duration)
    padded = grid.frame_at(duration, "ceil") // grid.stride + 1
    if whole - 1 <= length <= padded + 1:
        return
    apart = (length - whole) / max(whole, 1)
    value = f"{length} rows, expected {whole} for {duration:g} s"
    fix = (
        f"rows are {duration / length:.4g} s apart, the grid says {grid.seconds_per_step:.4g}: "
        "correct fps, stride or the duration"
    )
    severity: Any = "warning" if abs(apart) <= _NEAR else "error"
    what = "length does not fit the duration" + (" exactly" if severity == "warning" else "")
    yield Finding(severity, what, video_id, value, fix)


def _check_widths(widths: dict[str, int], expected: int | None) -> Iterator[Finding]:
    if not widths:
        return
    usual = expected or Counter(widths.values()).most_common(1)[0][0]
    for video_id, width in widths.items():
        if width != usual:
            value = f"{width} channels, expected {usual}"
            fix = "extract all videos with one backbone; is the file transposed?"
            yield Finding("error", "unequal widths", video_id, value, fix)


def _plain(video_id: str) -> str:
    return video_id.casefold().removeprefix("v_")
