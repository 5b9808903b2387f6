"""What the data of VSGN cost at the paper's size (L = 1280, 2048 channels): from files on disk to batches.

Run as ``python -m benchmarks.data``. Times are CPU time of one thread, which other programs on the machine disturb less
than the clock on the wall.

The plain form does what Eq. 1 says with torch: read the clip, turn it, interpolate it, join clip, gap and up-scaled
clip, stack the batch. Both must give the same batches to 1e-4 (torch places its steps in single precision).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.common import report
from torch import Tensor

from untrimmed.data.batch import collate
from untrimmed.data.dataset import LocalizationDataset
from untrimmed.data.feed import WindowFeed
from untrimmed.data.load_window import Standardise
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


def cpu_ms(function: Callable[[], object], repeat: int = 8) -> float:
    """Least CPU time in milliseconds of several calls, after one that is not counted."""
    function()
    times = []
    for _ in range(repeat):
        begin = time.process_time()
        function()
        times.append(time.process_time() - begin)
    return 1000 * min(times)


def main() -> None:
    torch.set_num_threads(1)
    truth = timeline()
    simulated = SimulatedFeatures(truth, GRID, CHANNELS)
    snippets = sum(simulated.length(name) for name in simulated.ids)
    with tempfile.TemporaryDirectory() as folder:
        begin = time.process_time()
        write_simulated(simulated, Path(folder))
        writing = 1000 * (time.process_time() - begin)
        rows: list[dict[str, object]] = [
            {"what": "simulate and write 1,000 snippets", "ours ms": writing / snippets * 1e3}
        ]
        store = FeatureStore.open(folder)
        measuring = cpu_ms(lambda: Standardise.measure(store, store.ids), repeat=2)
        rows.append({"what": "mean and deviation of 1,000 snippets", "ours ms": measuring / snippets * 1e3})
        data = LocalizationDataset(truth, store, SelfStitching().training, truth.labels)
        epochs = iter(range(1, 100))
        count = len(data.windows(0))
        rows.append({"what": "cut a window", "ours ms": cpu_ms(lambda: data.windows(next(epochs))) / count})
        for name, parts in (("stitched", 2), ("long", 1)):
            windows = [window for window in data.windows(0) if len(window.parts) == parts][:BATCH]
            batch = collate([data.sample(window) for window in windows])
            torch.testing.assert_close(batch.features, plain(windows, store), atol=1e-3, rtol=1e-4)
            ours = cpu_ms(lambda windows=windows: collate([data.sample(window) for window in windows])) / BATCH
            theirs = cpu_ms(lambda windows=windows: plain(windows, store)) / BATCH
            rows.append(
                {"what": f"a {name} window in a batch", "ours ms": ours, "plain ms": theirs, "ratio": theirs / ours}
            )
        feed = WindowFeed(data, BATCH)
        whole = cpu_ms(lambda: [len(step) for step in feed.batches(0)], repeat=2)
        rows.append({"what": "a window of a whole epoch", "ours ms": whole / count})
    report("data", f"CPU time of the data: L = 1280, {CHANNELS} channels, batches of {BATCH}, features on disk", rows)


if __name__ == "__main__":
    main()
