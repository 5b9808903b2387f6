"""Videos to a folder of snippet features: in several processes, resumable, and no bad video stops the others."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from queue import Empty
from typing import Any

from untrimmed.backbones import Backbone, from_recipe, make_backbone, recipe_of
from untrimmed.errors import InputError
from untrimmed.formats.feature_writer import FeatureWriter
from untrimmed.formats.media import VIDEO_SUFFIXES, is_video, named
from untrimmed.pipeline.extract_job import (
    TICK_SECONDS,
    Extraction,
    Job,
    Outcome,
    Progress,
    Stopped,
    attempt,
    one_thread,
    reason_of,
)


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


def _work(video_id: str, path: Path) -> Extraction | str:
    if "unable" in _worker:
        raise InputError(f"the other processes cannot begin: {_worker['unable']}")

    def progress(seconds: float, whole: float | None) -> None:
        if _worker["stop"].is_set():
            raise Stopped
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
            ready, _ = wait(running, timeout=TICK_SECONDS / 2, return_when=FIRST_COMPLETED)
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
