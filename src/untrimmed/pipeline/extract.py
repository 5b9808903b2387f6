"""Videos to a folder of snippet features: in several processes, resumable, and no bad video stops the others."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from untrimmed.backbones import Backbone, from_recipe, make_backbone, recipe_of
from untrimmed.errors import InputError
from untrimmed.formats.features import FeatureWriter, StorageError
from untrimmed.formats.media import VIDEO_SUFFIXES, is_video, named
from untrimmed.grid import SnippetGrid
from untrimmed.video.decode import Frames, VideoInfo, read_frames

_TICK_SECONDS = 0.5


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
        if time.monotonic() - told >= _TICK_SECONDS:
            told = time.monotonic()
            progress(seconds, frames.info.duration)


def find_videos(places: Iterable[str | Path]) -> dict[str, Path]:
    """Video id -> file, for files and for all videos in folders and the folders inside them.

    The id is the file's name without suffix, or more of its path where two have the same, see
    :func:`untrimmed.formats.media.named`.

    Raises:
        InputError: if a place does not exist, or a folder holds no video.
    """
    found: list[Path] = []
    for place in map(Path, places):
        if place.is_dir():
            inside = sorted(path for path in place.rglob("*") if is_video(path))
            if not inside:
                raise InputError(f"{place}: no video in this folder ({', '.join(sorted(VIDEO_SUFFIXES))})")
            found += inside
        elif place.is_file():
            found.append(place)
        else:
            raise InputError(f"{place}: no such file or folder")
    if not found:
        raise InputError("no video was given")
    return named(found)


def extract(
    videos: Iterable[str | Path] | Mapping[str, str | Path],
    backbone: Backbone | Mapping[str, Any] | str,
    out: str | Path,
    *,
    workers: int = 1,
    dtype: str = "float32",
    progress: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Extract features of many videos into a folder for :class:`untrimmed.formats.features.FeatureStore`.

    The features are the same bits for any number of workers (those of networks to 1e-5). Videos that the folder
    holds already, from a file of the same size and time of change, are skipped. Each is written when it is done: what
    is finished stays, whatever happens later, and the same call goes on from there.

    Args:
        videos: files and folders, see :func:`find_videos`; or id -> file.
        backbone: the backbone or its spec.
        out: the folder, made if needed.
        workers: processes, at least 1; with 1 it runs in this one. Above 1 the calling script must be importable
            (``if __name__ == "__main__":``).
        dtype: ``"float32"`` or ``"float16"``.
        progress: called a few times a second.

    Returns:
        What was done, skipped, and failed and why. A video that cannot be read is no error of the call.

    Raises:
        InputError: if there is nothing to extract, the folder holds features of another backbone, or cannot be
            written to (a full disk).
    """
    if workers < 1:
        raise InputError(f"extract: workers is {workers}, expected at least 1")
    files = _checked(videos) if isinstance(videos, Mapping) else find_videos(videos)
    made = make_backbone(backbone) if isinstance(backbone, Mapping | str) else backbone
    with FeatureWriter(out, backbone=made.spec(), dtype=dtype) as writer:
        job = Job(writer, files, progress)
        todo = job.start()
        if workers == 1 or not todo:
            for video_id in todo:
                job.finish(video_id, attempt(files[video_id], made, job.watch(video_id)))
        else:
            _extract_apart(job, todo, recipe_of(made), workers)
    return job.outcome


def _checked(videos: Mapping[str, str | Path]) -> dict[str, Path]:
    files = {video_id: Path(path) for video_id, path in videos.items()}
    if not files:
        raise InputError("no video was given")
    return files


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
        if self._progress is None or (now - self._told < _TICK_SECONDS / 2 and not always):
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
    except _Stopped:
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


class _Stopped(Exception):
    """The extraction is being broken off."""


_worker: dict[str, Any] = {}
"""What a worker process has: its backbone, the queue to tell progress, and the event that stops it."""


def _prepare(recipe: dict[str, Any], told: Any, stop: Any) -> None:
    # Ctrl-C reaches every process of the terminal; only the main one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _worker.update(backbone=from_recipe(recipe), told=told, stop=stop)
    except Exception as error:  # the pool would say no more than that a process died
        _worker["unable"] = reason_of(error)
    one_thread()


def one_thread() -> None:
    """Let OpenCV and torch, where it is loaded, compute in one thread: in one process of several, more would only
    wait for each other."""
    cv2.setNumThreads(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _work(video_id: str, path: Path) -> Extraction | str:
    if "unable" in _worker:
        raise InputError(f"the other processes cannot begin: {_worker['unable']}")

    def progress(seconds: float, whole: float | None) -> None:
        if _worker["stop"].is_set():
            raise _Stopped
        _worker["told"].put((video_id, seconds, whole))

    return attempt(path, _worker["backbone"], progress)


def _extract_apart(job: Job, todo: Sequence[str], recipe: dict[str, Any], workers: int) -> None:
    """Extract in worker processes. If one dies (a decoder may crash on a damaged file), the videos that were under
    way are tried again one at a time, and the one with which it dies again has failed."""
    waiting, suspects = list(todo), list[str]()
    while waiting or suspects:
        alone = bool(suspects)
        batch = suspects[:1] if alone else waiting
        lost = _run_pool(job, batch, recipe, 1 if alone else workers)
        finished = {*job.outcome.done, *job.outcome.failed}
        waiting = [video_id for video_id in waiting if video_id not in finished and video_id not in lost]
        suspects = [video_id for video_id in suspects if video_id not in finished and video_id not in lost]
        if alone and lost:
            job.finish(lost[0], f"{job.files[lost[0]]}: the process that read it died; the file may be damaged")
        else:
            suspects += lost


def _run_pool(job: Job, batch: Sequence[str], recipe: dict[str, Any], workers: int) -> list[str]:
    """Extract a batch; the videos that were under way when a process died, none if all went well."""
    # Fresh interpreters: a fork of a process in which OpenCV or torch has started threads may hang.
    context = multiprocessing.get_context("spawn")
    told, stop = context.Queue(), context.Event()
    running: dict[Future[Extraction | str], str] = {}
    left = list(reversed(batch))
    pool = ProcessPoolExecutor(
        min(workers, len(batch)), mp_context=context, initializer=_prepare, initargs=(recipe, told, stop)
    )
    try:
        while left or running:
            while left and len(running) < workers:
                video_id = left.pop()
                running[pool.submit(_work, video_id, job.files[video_id])] = video_id
            ready, _ = wait(running, timeout=_TICK_SECONDS / 2, return_when=FIRST_COMPLETED)
            _listen(job, told, set(running.values()))
            for future in ready:
                result = future.result()
                job.finish(running.pop(future), result)
    except BrokenProcessPool:
        return list(running.values())
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        told.cancel_join_thread()
        told.close()
    return []


def _listen(job: Job, told: Any, running: set[str]) -> None:
    while True:
        try:
            video_id, seconds, whole = told.get_nowait()
        except Empty:
            return
        if video_id in running:
            job.under_way(video_id, seconds, whole)
