"""A tiny data set that a tiny model can learn in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from untrimmed.formats import write_annotations
from untrimmed.formats.features import FeatureWriter
from untrimmed.grid import SnippetGrid
from untrimmed.types import Annotations, Instances, Video

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
