"""From arrays in memory to a trained detector and its detections, in one script and half a minute on a CPU."""

import tempfile
from pathlib import Path

import numpy as np
import torch

from untrimmed import Annotations, Instances, Video, write_annotations
from untrimmed.formats.feature_writer import FeatureWriter
from untrimmed.grid import SnippetGrid
from untrimmed.pipeline.recipe import recipe_of
from untrimmed.pipeline.train import train

folder, rng = Path(tempfile.mkdtemp()), np.random.default_rng(0)
grid = SnippetGrid(fps=4, stride=2, window=4)  # half a second a step
videos = []
with FeatureWriter(folder / "features", backbone={"name": "made up"}) as writer:
    for number in range(12):
        start = rng.uniform(5, 40)
        segments = np.array([[start, start + rng.uniform(4, 9)]])
        label = ("jump", "wave")[number % 2]
        subset = "training" if number < 10 else "test"
        videos.append(Video(f"v{number}", subset, 60.0, instances=Instances(segments, (label,))))
        rows = rng.normal(scale=0.3, size=(grid.expected_count(60.0), 8))
        times = grid.steps_to_seconds(np.arange(len(rows)) + 0.5)
        rows[(times >= segments[0, 0]) & (times < segments[0, 1]), number % 2] += 2
        writer.add(f"v{number}", rows, grid, 60.0)
write_annotations(Annotations.of(videos), folder / "truth.json")

recipe = recipe_of(
    {
        "data": {
            "annotations": str(folder / "truth.json"),
            "features": str(folder / "features"),
            "validation": None,
        },
        "windows": {"kind": "self_stitching", "length": 64, "short": 0.4, "gap": 4},
        "method": {"name": "vsgn", "channels": 16, "norm_groups": 4, "levels": 3, "anchor_sizes": [6, 9]},
        "train": {"epochs": 15, "batch_size": 4, "optim": {"lr": 5e-3, "clip_norm": 1.0}},
    },
    "this script",
)
result = train(recipe, folder / "run", device=torch.device("cpu"))
print(result.evaluation)
for video, name, start, end, score in list(result.detections.rows())[:3]:
    print(f"{video} {name} {start:.2f} to {end:.2f} s, {score:.2f}")
