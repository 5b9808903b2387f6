"""A backbone of your own: whatever has `spec`, `channels`, `grid`, `short_side` and `stream`. Here: brightness."""

import tempfile
from pathlib import Path

import numpy as np

from untrimmed.formats.features import FeatureStore
from untrimmed.grid import SnippetGrid
from untrimmed.pipeline.extract import extract
from untrimmed.video import VideoWriter


class Brightness:
    channels, short_side = 3, 32
    grid = SnippetGrid(fps=10, stride=5, window=5)

    def spec(self):
        return {"name": "brightness", "weights_sha256": None, "options": {"revision": 1}}

    def stream(self, frames):
        held = []
        for _, image in frames:  # (seconds, (H, W, 3) uint8) at grid.fps and short_side
            held.append(image.mean((0, 1)) / 255)
            if len(held) == self.grid.window:
                yield np.mean(held, axis=0, dtype=np.float32)
                held = []


folder = Path(tempfile.mkdtemp())
with VideoWriter(folder / "clip.mp4", fps=10, size=(64, 48)) as writer:
    for number in range(50):
        writer.write(np.full((48, 64, 3), 5 * number, dtype=np.uint8))

print(extract([folder / "clip.mp4"], Brightness(), folder / "features"))
store = FeatureStore.open(folder / "features")
print(store.window("clip", 0, store.length("clip")).round(2)[:, 0])
