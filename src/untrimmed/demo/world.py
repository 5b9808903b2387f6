"""The small world as a data set: a folder of videos and an annotation file, the same for the same seed."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from untrimmed.demo.render import frames
from untrimmed.demo.script import Deck, Script, draw_script
from untrimmed.demo.settings import WorldSettings
from untrimmed.errors import InputError
from untrimmed.formats.activitynet import write_truth
from untrimmed.types import Annotations, Instances, Video
from untrimmed.video.write import VideoWriter

ANNOTATIONS = "annotations.json"
VIDEOS = "videos"
ENCODING: dict[str, Any] = {"crf": 26, "preset": "superfast"}


@dataclass(frozen=True)
class Plan:
    """One video before it is rendered: its name, subset and script, and the seed of its looks."""

    id: str
    subset: str
    script: Script
    seed: tuple[int, ...]


def plan_world(settings: WorldSettings) -> tuple[Plan, ...]:
    """Draw the scripts of all videos. More videos in a subset leave those before them as they were."""
    plans = []
    for number, (subset, count) in enumerate(settings.subsets.items()):
        deck = Deck(np.random.default_rng((settings.seed, number)))
        for index in range(count):
            seed = (settings.seed, number, index)
            rng = np.random.default_rng(seed)
            duration = round(rng.uniform(*settings.duration) * settings.fps) / settings.fps
            script = draw_script(float(duration), deck, rng, settings.difficulty)
            plans.append(Plan(f"{subset}_{index:03d}", subset, script, (*seed, 1)))
    return tuple(plans)


def world_annotations(plans: tuple[Plan, ...], settings: WorldSettings) -> Annotations:
    """The truth of planned videos: an instance lasts from leaving rest to being back at rest, to the millisecond."""
    videos = []
    for plan in plans:
        acts = plan.script.instances
        segments = np.array([(round(act.start, 3), round(act.end, 3)) for act in acts]).reshape(-1, 2)
        instances = Instances(segments, tuple(act.kind for act in acts))
        videos.append(Video(plan.id, plan.subset, plan.script.duration, settings.fps, instances))
    return Annotations.of(videos, version=f"untrimmed small world, seed {settings.seed}")


def render_world(
    folder: Path,
    settings: WorldSettings | None = None,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Annotations:
    """Render a small world: ``folder/videos/<id>.mp4`` and, when all of them are there, ``folder/annotations.json``.

    Args:
        folder: made if absent; files of the same names are replaced.
        settings: what to render; the default world if None.
        processes: how many videos are rendered at the same time, at least 1. Above 1 the calling script must be
            importable (``if __name__ == "__main__":``).
        progress: called with the number of videos done and of all, after each.

    Returns:
        The truth, as written to the file. The same settings give the same truth, and on one machine the same bytes.

    Raises:
        InputError: if ``processes`` is below 1, or the folder cannot be written to.
    """
    settings = settings or WorldSettings()
    if processes < 1:
        raise InputError(f"render_world: processes is {processes}, expected at least 1")
    plans = plan_world(settings)
    videos = folder / VIDEOS
    try:
        videos.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{videos}: cannot make this folder: {error.strerror}") from None
    report = progress or (lambda done, of: None)
    if processes == 1:
        for done, plan in enumerate(plans, 1):
            render_video(plan, videos, settings)
            report(done, len(plans))
    else:
        _render_apart(plans, videos, settings, processes, report)
    truth = world_annotations(plans, settings)
    write_truth(truth, folder / ANNOTATIONS)
    return truth


def _render_apart(
    plans: tuple[Plan, ...], videos: Path, settings: WorldSettings, processes: int, report: Callable[[int, int], None]
) -> None:
    # Fresh interpreters: a fork of a process in which torch or OpenCV has started threads may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        jobs = [pool.submit(render_video, plan, videos, settings) for plan in plans]
        try:
            for done, job in enumerate(as_completed(jobs), 1):
                job.result()
                report(done, len(plans))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def render_video(plan: Plan, videos: Path, settings: WorldSettings) -> None:
    """Render one planned video to ``videos/<id>.mp4``."""
    rng = np.random.default_rng(plan.seed)
    with VideoWriter(videos / f"{plan.id}.mp4", fps=settings.fps, size=settings.size, **ENCODING) as writer:
        for image in frames(plan.script, settings, rng):
            writer.write(image)
