"""A tiny data set that a tiny model can learn in seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from untrimmed.formats import write_annotations, write_detections
from untrimmed.formats.curves import Curves, write_curves
from untrimmed.formats.feature_writer import FeatureWriter
from untrimmed.grid import SnippetGrid
from untrimmed.report.media import video_sources
from untrimmed.report.viewer import ResultSet, View, render
from untrimmed.types import Annotations, Detections, Instances, Video
from untrimmed.video.write import VideoWriter

GRID = SnippetGrid(4, 2, 4)
CLASSES = ("jump", "wave")


def tiny_video(number: int, subset: str) -> tuple[Video, np.ndarray]:
    """A video of 60 s with four actions, and features that show them plainly."""
    rng = np.random.default_rng(number)
    starts = np.arange(4) * 14.0 + rng.uniform(1, 6, 4)
    segments = np.stack([starts, starts + rng.uniform(3, 7, 4)], axis=1)
    labels = [CLASSES[index] for index in rng.integers(0, 2, 4)]
    steps = GRID.expected_count(60.0)
    rows = rng.normal(scale=0.3, size=(steps, 8)).astype(np.float32)
    centres = GRID.steps_to_seconds(np.arange(steps) + 0.5)
    for (start, end), label in zip(segments, labels, strict=True):
        rows[(centres >= start) & (centres < end), CLASSES.index(label)] += 2.0
    return Video(f"{subset}{number}", subset, 60.0, instances=Instances(segments, tuple(labels))), rows


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with annotations, features and a config."""
    folder = tmp_path_factory.mktemp("tiny")
    parts = [("training", 8), ("validation", 2), ("test", 3)]
    made = [
        tiny_video(100 * place + index, name) for place, (name, count) in enumerate(parts) for index in range(count)
    ]
    write_annotations(Annotations.of(video for video, _ in made), folder / "truth.json")
    writer = FeatureWriter(folder / "features", backbone={"name": "made up"})
    for video, rows in made:
        writer.add(video.id, rows, GRID, 60.0)
    (folder / "config.yaml").write_text(f"""
data: {{annotations: {folder}/truth.json, features: {folder}/features}}
windows: {{kind: self_stitching, length: 64, short: 0.4, gap: 4}}
method: {{name: vsgn, channels: 16, norm_groups: 4, levels: 3, anchor_sizes: [6, 9], keep_best: true}}
train:
  epochs: 6
  batch_size: 4
  optim: {{name: adamw, lr: 5e-3, schedule: cosine, clip_norm: 1.0}}
postprocess: {{nms: [{{method: gaussian, sigma: 0.5}}], keep: 50}}
evaluate: {{protocol: activitynet, tiou: [0.3, 0.5, 0.7]}}
""")
    return folder


@dataclass(frozen=True)
class Shown:
    """Files of a small page: two videos, the first with a file, two results, curves, and what they were made from."""

    folder: Path
    page: Path
    truth: Annotations
    results: tuple[Detections, Detections]


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """A page with every kind of error in its first video."""
    folder = tmp_path_factory.mktemp("a page")
    (folder / "videos").mkdir()
    with VideoWriter(folder / "videos" / "first.mp4", fps=10, size=(64, 48)) as writer:
        for number in range(200):
            frame = np.zeros((48, 64, 3), np.uint8)
            frame[:, number % 60 : number % 60 + 4] = 255
            writer.write(frame)
    truth = Annotations.of(
        [
            Video(
                "first",
                "test",
                20.0,
                instances=Instances([[2, 4.0001], [12.5, 16], [17, 19]], ("wave", "jump", "wave")),
            ),
            Video("second", "test", 8.0, instances=Instances([[1, 2]], ("jump",))),
            Video("elsewhere", "training", 30.0, instances=Instances([[1, 2]], ("jump",), ({"by": "hand"},))),
        ],
        "a truth",
    )
    mine = Detections.of(
        [
            ("first", "wave", 2.2, 4.1, 0.9),
            ("first", "wave", 2.0, 3.8, 0.5),
            ("first", "jump", 12.0, 16.0, 0.6),
            ("first", "jump", 15.0, 17.0, 0.4),
            ("first", "wave", 12.6, 16.0, 0.7),
            ("first", "wave", 15.5, 16.5, 0.3),
            ("first", "jump", 7.0, 8.0, 0.1),
            ("second", "jump", 1.0, 2.0, 0.8),
        ]
    )
    theirs = Detections.of([("first", "wave", 17.0, 19.0, 0.9), ("first", "wave", 9.0, 10.0, 0.8)])
    values = np.clip(np.sin(np.arange(200) / 5), 0, 1).astype(np.float32)
    curves = {"first": Curves(0.0, 0.1, {"start": values, "jump": values[::-1]})}
    write_annotations(truth, folder / "truth.json")
    write_detections(mine, folder / "mine.json")
    write_detections(theirs, folder / "theirs.json")
    write_curves(curves, folder / "curves.json")
    page = folder / "page.html"
    sources = video_sources(["first", "second"], folder / "videos", page)
    sets = [ResultSet(mine, "mine", curves), ResultSet(theirs, "theirs")]
    page.write_text(render(sets, truth, title="A page", view=View(sources=sources, threshold=0.2)))
    return Shown(folder, page, truth, (mine, theirs))


@pytest.fixture
def page(browser: Any, shown: Shown) -> Iterator[Any]:
    """The small page in a browser of its own; fails on any error of the script and on any request to a network."""
    context = browser.new_context(viewport={"width": 1200, "height": 1000}, accept_downloads=True)
    opened = context.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    opened.on("request", lambda request: problems.append(request.url) if request.url.startswith("http") else None)
    opened.goto(shown.page.as_uri())
    opened.wait_for_selector("html[data-ready]")
    opened.get_by_label("Order").select_option("file")
    opened.locator("#list button").first.click()
    yield opened
    context.close()
    assert problems == []


@pytest.fixture(scope="session")
def until() -> Callable[[Any, str], None]:
    """Wait until an expression holds in a page. (The page's policy forbids the browser's own waiting, which evaluates
    text.)"""

    def wait(page: Any, expression: str) -> None:
        deadline = time.monotonic() + 10
        while not page.evaluate(expression):
            assert time.monotonic() < deadline, f"never came true: {expression}"
            page.wait_for_timeout(20)

    return wait
