"""One process and two: extraction with and without Ray, and training: ``python -m benchmarks.scale``.

Commands as a user types them, timed by the wall from outside, so nothing else may run on the machine: *begin* is the
time until the first video is done (start, imports and compilation), *s* until the last; of trainings, the time of the
epochs after the first. Training windows are of simulated features; a step is 8 windows, of one process or of two with
half of them each. One thread a process. Five minutes on two idle cores.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from benchmarks.common import report
from benchmarks.extract import SECONDS, render, repeat

from untrimmed.data.synthetic import SimulatedFeatures, write_simulated
from untrimmed.formats import write_annotations
from untrimmed.grid import SnippetGrid
from untrimmed.types import Annotations, Instances, Video

VIDEOS, LENGTH = 8, 150
EPOCHS, STEP, TRAINED, CHANNELS = 5, 8, 24, 512
UNTRIMMED = (sys.executable, "-m", "untrimmed")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "untrimmed")


def timed(command: Sequence[object], done: Callable[[], int], all: int) -> tuple[float, float]:
    """Seconds until the first of ``all`` is done, and until the last; what is done is counted from outside."""
    begun = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(list(map(str, command)), env=environment, stdout=subprocess.DEVNULL)
    first = 0.0
    while (count := done()) < all:
        if process.poll() is not None and done() < all:
            raise RuntimeError(f"{command} ended with {process.returncode}")
        if count and not first:
            first = time.perf_counter() - begun
        time.sleep(0.02)
    last = time.perf_counter() - begun
    process.wait()
    return first, last


def extraction(videos: Path, out: Path, *options: object) -> dict[str, object]:
    command = [*UNTRIMMED, "extract", videos, "--out", out, *options]
    first, last = timed(command, lambda: len(list(out.glob("*.npy"))), VIDEOS)
    what = f"extract, {VIDEOS} videos of {LENGTH} s, {' '.join(map(str, options))}"
    return {"what": what, "begin s": first, "s": last, "x real time": VIDEOS * LENGTH / last}


def training(config: str, data: Path, out: Path, processes: int) -> dict[str, object]:
    changes = [f"data.annotations={data / 'truth.json'}", f"data.features={data / 'features'}"]
    changes += ["data.training=training", "data.validation=null", "data.test=null"]
    changes += [f"train.epochs={EPOCHS}", f"train.batch_size={STEP // processes}"]
    start = UNTRIMMED if processes == 1 else TORCHRUN
    log = out / "log.jsonl"
    command = [*start, "train", config, *changes, "--out", out, "--device", "cpu"]
    first, last = timed(command, lambda: log.read_text().count("\n") if log.exists() else 0, EPOCHS)
    return {"what": f"train {config}, {EPOCHS - 1} epochs, {processes} processes", "begin s": first, "s": last - first}


def simulate(folder: Path) -> Path:
    """Annotations and features as the demo has them: videos of a minute, five steps a second."""
    rng = np.random.default_rng(0)
    videos = []
    for number in range(TRAINED):
        starts = np.sort(rng.uniform(0, 55, 6))
        segments = np.stack([starts, starts + rng.uniform(1, 4, 6)], axis=1)
        labels = tuple(f"class {label}" for label in rng.integers(0, 10, 6))
        videos.append(Video(f"v{number}", "training", 60.0, instances=Instances(segments, labels)))
    truth = Annotations.of(videos)
    folder.mkdir()
    write_annotations(truth, folder / "truth.json")
    features = SimulatedFeatures(truth, SnippetGrid(15, 3, 6), CHANNELS, 0.5, 0)
    write_simulated(features, folder / "features", tuple(truth.videos), lambda video_id: None)
    return folder


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "videos").mkdir()
        for number in range(VIDEOS):
            render(folder / "short.mp4", number)
            repeat(folder / "short.mp4", LENGTH // SECONDS, folder / "videos" / f"{number}.mp4")
        for place, options in enumerate([(), ("--ray",)]):
            for workers in (1, 2):
                out = folder / f"features{place}{workers}"
                rows.append(extraction(folder / "videos", out, "--workers", workers, *options))
        data = simulate(folder / "data")
        for config in ("demo/vsgn", "demo/segtad"):
            outs = [folder / f"{config.replace('/', '_')}{processes}" for processes in (1, 2)]
            rows += [training(config, data, out, number + 1) for number, out in enumerate(outs)]
    report("scale", "Extraction and training in one process and two, one thread each", rows)


if __name__ == "__main__":
    main()
