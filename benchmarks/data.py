"""Windows a second for VSGN at the paper's size (L = 1280, 2048 channels): from files on disk to batches.

Run as ``python -m benchmarks.data``.

The plain form does what Eq. 1 says with torch: read the clip, turn it, interpolate it, join clip, gap and up-scaled
clip, stack the batch. Both must give the same batches to 1e-4 (torch places its steps in single precision).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.common import best_time, report
from torch import Tensor

from untrimmed.data.batch import collate
from untrimmed.data.dataset import LocalizationDataset
from untrimmed.data.feed import WindowFeed
from untrimmed.data.materialise import Standardise
from untrimmed.data.stitching import SelfStitching
from untrimmed.data.synthetic import SimulatedFeatures, write_simulated
from untrimmed.data.windows import Window
from untrimmed.formats.features import FeatureStore
from untrimmed.grid import SnippetGrid
from untrimmed.types import Annotations, Instances, Video

VIDEOS, SECONDS, CHANNELS, BATCH = 12, 300.0, 2048, 8
GRID = SnippetGrid(fps=30, stride=4, window=16)


def timeline() -> Annotations:
    """Videos of five minutes with an action of 1 to 9 s every 12 s or so."""
    rng = np.random.default_rng(0)
    videos = []
    for number in range(VIDEOS):
        starts = np.arange(0, SECONDS - 12, 12) + rng.uniform(0, 3, 24)
        segments = np.stack([starts, starts + rng.uniform(1, 9, 24)], axis=1)
        labels = tuple(f"class{label}" for label in rng.integers(0, 20, 24))
        videos.append(Video(f"v{number}", duration=SECONDS, instances=Instances(segments, labels)))
    return Annotations.of(videos)


def plain(windows: Sequence[Window], store: FeatureStore) -> Tensor:
    """The features of a batch, by the formula."""
    rows = []
    for window in windows:
        first = window.parts[0]
        clip = torch.from_numpy(store.window(window.video_id, first.source_start, first.source_stop)).T
        joined = [clip]
        if len(window.parts) == 2:
            up = window.parts[1]
            joined.append(torch.zeros(CHANNELS, up.first - first.steps))
            joined.append(F.interpolate(clip[None], size=up.steps, mode="linear", align_corners=False)[0])
        short = window.length - sum(part.shape[1] for part in joined)
        rows.append(F.pad(torch.cat(joined, dim=1), (0, short)))
    return torch.stack(rows)


def main() -> None:
    truth = timeline()
    with tempfile.TemporaryDirectory() as folder:
        simulated = SimulatedFeatures(truth, GRID, CHANNELS)
        begin = time.perf_counter()
        write_simulated(simulated, Path(folder))
        snippets = sum(simulated.length(name) for name in simulated.ids)
        rows: list[dict[str, object]] = [
            {"what": "simulate and write", "unit": "snippets / s", "ours": snippets / (time.perf_counter() - begin)}
        ]
        store = FeatureStore.open(folder)
        data = LocalizationDataset(truth, store, SelfStitching().training, truth.labels)
        epochs = iter(range(1, 100))
        cutting = best_time(lambda: data.windows(next(epochs)))
        count = len(data.windows(0))
        rows.append({"what": "cut an epoch", "unit": "windows / s", "ours": count / cutting})
        measuring = best_time(lambda: Standardise.measure(store, store.ids), repeat=2)
        rows.append({"what": "mean and deviation", "unit": "snippets / s", "ours": snippets / measuring})
        for name, parts in (("stitched", 2), ("long", 1)):
            windows = [window for window in data.windows(0) if len(window.parts) == parts][:BATCH]
            batch = collate([data.sample(window) for window in windows])
            torch.testing.assert_close(batch.features, plain(windows, store), atol=1e-3, rtol=1e-4)
            ours = best_time(lambda windows=windows: collate([data.sample(window) for window in windows]))
            theirs = best_time(lambda windows=windows: plain(windows, store))
            rows.append(
                {
                    "what": f"batches of {name} windows",
                    "unit": "windows / s",
                    "ours": BATCH / ours,
                    "plain": BATCH / theirs,
                    "ratio": theirs / ours,
                }
            )
        for workers in (0, 1, 2):
            feed = WindowFeed(data, BATCH, workers=workers)
            begin = time.perf_counter()
            seen = sum(len(batch) for step in feed.batches(0) for batch in step)
            rate = seen / (time.perf_counter() - begin)
            rows.append({"what": f"an epoch, {workers} threads ahead", "unit": "windows / s", "ours": rate})
    report("data", f"Data, L = 1280, {CHANNELS} channels, batches of {BATCH}, features on disk", rows)


if __name__ == "__main__":
    main()
