"""The extraction of one video, and the state of that of many: what is done, and how far the rest is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from untrimmed.backbones import Backbone
from untrimmed.errors import InputError
from untrimmed.formats.feature_writer import FeatureWriter, StorageError
from untrimmed.grid import SnippetGrid
from untrimmed.video.decode import Frames, VideoInfo, read_frames

TICK_SECONDS = 0.5
"""Between two reports of how far a video is."""


class Extraction(NamedTuple):
    """Features of one video: ``(T, C)`` float32, where its rows lie in time, and what is known of the file."""

    features: NDArray[np.float32]
    grid: SnippetGrid
    info: VideoInfo


@dataclass(frozen=True)
class Progress:
    """How far an extraction is.

    Attributes:
        finished: videos that are done, were done before, or failed.
        videos: all of them.
        done: videos extracted since the start.
        share: of the work, by file size, 0 to 1, with the parts of videos that are under way.
        seconds: of video looked at since the start.
        elapsed: seconds since the start.
    """

    finished: int
    videos: int
    done: int
    share: float
    seconds: float
    elapsed: float

    @property
    def rate(self) -> float:
        """Seconds of video a second."""
        return self.seconds / self.elapsed if self.elapsed > 0 else 0.0

    @property
    def left(self) -> float | None:
        """Seconds that are left at this pace; None until there is a pace."""
        return self.elapsed * (1 - self.share) / self.share if self.share > 0.001 and self.elapsed > 1 else None


@dataclass
class Outcome:
    """What became of an extraction's videos, by id.

    Attributes:
        done: extracted now.
        skipped: those that were in the folder already, from the same file.
        failed: why, for each that could not be extracted.
        problems: of those that could be used only in part.
    """

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    problems: dict[str, tuple[str, ...]] = field(default_factory=dict)


def open_frames(path: str | Path, backbone: Backbone, *, threads: int = 1) -> Frames:
    """The frames of a video as a backbone takes them, for ``backbone.stream(frames)``; see
    :func:`untrimmed.video.read_frames`.

    Raises:
        InputError: if it is no readable video.
    """
    return read_frames(path, fps=backbone.grid.fps, short_side=backbone.short_side, threads=threads, warn=False)


def extract_features(
    path: str | Path,
    backbone: Backbone,
    *,
    threads: int = 1,
    progress: Callable[[float, float | None], None] | None = None,
) -> Extraction:
    """Features of one video. Memory holds the features and a few frames, however long the video is.

    Args:
        path: the video.
        backbone: from :func:`untrimmed.backbones.make_backbone`.
        threads: for decoding; the features do not depend on it.
        progress: called now and then with the seconds looked at and, if known, those of the whole video.

    Returns:
        Features, their grid, and the video's info with the measured duration and all problems.

    Raises:
        InputError: if the video cannot be read.
    """
    with open_frames(path, backbone, threads=threads) as frames:
        rows = list(backbone.stream(_watched(frames, progress) if progress else frames))
    features = np.stack(rows) if rows else np.empty((0, backbone.channels), dtype=np.float32)
    return Extraction(features, backbone.grid, frames.info)


def _watched(frames: Frames, progress: Callable[[float, float | None], None]) -> Iterable[Any]:
    told = time.monotonic()
    for seconds, image in frames:
        yield seconds, image
        if time.monotonic() - told >= TICK_SECONDS:
            told = time.monotonic()
            progress(seconds, frames.info.duration)


class Job:
    """The state of an extraction in the process that writes: what is done, and how far the rest is."""

    def __init__(
        self, writer: FeatureWriter, files: Mapping[str, Path], progress: Callable[[Progress], None] | None
    ) -> None:
        self.outcome = Outcome()
        self.files = files
        self._writer, self._progress = writer, progress
        self._sources = {video_id: _source(path) for video_id, path in files.items()}
        self._partly: dict[str, tuple[float, float]] = {}
        self._seconds = 0.0
        self._begun = self._told = time.monotonic()

    def start(self) -> list[str]:
        """Set aside what the folder holds already; the ids of the rest, long ones first, so that none runs alone
        at the end."""
        for video_id, source in self._sources.items():
            if video_id in self._writer.done and self._writer.info(video_id).get("source") == source:
                self.outcome.skipped.append(video_id)
        skipped = set(self.outcome.skipped)
        todo = [video_id for video_id in self.files if video_id not in skipped]
        return sorted(todo, key=lambda video_id: -self._sources[video_id]["bytes"])

    def watch(self, video_id: str) -> Callable[[float, float | None], None]:
        return lambda seconds, whole: self.under_way(video_id, seconds, whole)

    def under_way(self, video_id: str, seconds: float, whole: float | None) -> None:
        """A video has been looked at up to some time, of a whole that may be unknown."""
        share = min(1.0, seconds / whole) if whole else 0.0
        self._partly[video_id] = (seconds, share)
        self._tell()

    def finish(self, video_id: str, result: Extraction | str) -> None:
        """Write what was extracted, or keep the reason why not."""
        self._partly.pop(video_id, None)
        if isinstance(result, str):
            self.outcome.failed[video_id] = result
        else:
            info: dict[str, Any] = {"source": self._sources[video_id]}
            if result.info.problems:
                self.outcome.problems[video_id] = result.info.problems
                info["problems"] = list(result.info.problems)
            try:
                self._writer.add(video_id, result.features, result.grid, result.info.duration, info)
            except StorageError:
                raise
            except InputError as error:
                self.outcome.failed[video_id] = str(error)
            else:
                self.outcome.done.append(video_id)
                self._seconds += result.info.duration or 0.0
        self._tell(always=True)

    def _tell(self, always: bool = False) -> None:
        now = time.monotonic()
        if self._progress is None or (now - self._told < TICK_SECONDS / 2 and not always):
            return
        self._told = now
        ready = [*self.outcome.done, *self.outcome.failed]
        sizes = {video_id: source["bytes"] or 1 for video_id, source in self._sources.items()}
        for video_id in self.outcome.skipped:
            del sizes[video_id]
        worked = sum(sizes[video_id] for video_id in ready)
        worked += sum(sizes[video_id] * share for video_id, (_, share) in self._partly.items())
        self._progress(
            Progress(
                finished=len(ready) + len(self.outcome.skipped),
                videos=len(self._sources),
                done=len(self.outcome.done),
                share=worked / sum(sizes.values()),
                seconds=self._seconds + sum(seconds for seconds, _ in self._partly.values()),
                elapsed=now - self._begun,
            )
        )


def _source(path: Path) -> dict[str, Any]:
    """What tells whether a file is still the one that was extracted."""
    try:
        found = path.stat()
    except OSError:
        return {"file": path.name, "bytes": 0, "changed": 0}
    return {"file": path.name, "bytes": found.st_size, "changed": found.st_mtime_ns}


def attempt(path: Path, backbone: Backbone, progress: Callable[[float, float | None], None]) -> Extraction | str:
    """The features of a video, or why there are none. Whatever goes wrong with one video, the others go on."""
    try:
        return extract_features(path, backbone, progress=progress)
    except Stopped:
        raise
    except Exception as error:
        return reason_of(error, f"{path}: ")


def reason_of(error: Exception, where: str = "") -> str:
    """A sentence on what went wrong with one video; ``where`` begins it if the error does not say it."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"{where}does not fit into memory"
    return f"{where}unexpected {type(error).__name__}: {error}"


class Stopped(Exception):
    """Raised by ``progress`` where the extraction is being broken off."""


def one_thread() -> None:
    """Let OpenCV and torch, where it is loaded, compute in one thread: in one process of several, more would only
    wait for each other."""
    cv2.setNumThreads(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
