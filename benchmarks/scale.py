"""One process and two: extraction with and without Ray, and training: ``python -m benchmarks.scale``; the steps of a
training alone: ``python -m benchmarks.scale steps``.

Commands as a user types them, timed by the wall from outside, so nothing else may run on the machine: *begin* is the
time until the first video is done (start, imports and compilation), *s* until the last; of trainings, the time of the
epochs after the first. Training windows are of simulated features; a step is 8 windows, of one process or of two with
half of them each. One thread a process. Five minutes on two idle cores.

Steps are of the same windows, made before, in one run: ours and the plain way in turn, and which of the two comes first
changes from step to step. The plain way runs every batch of a step forward twice, the first time for the counts, and
adds up all gradients of both processes in one message after the backward pass. Both must give the same weights. Seconds
are the median of a step, by the wall in the slower process, and of processor time in all of them.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from benchmarks.common import report
from benchmarks.extract import SECONDS, render, repeat
from torch import Tensor, nn

from untrimmed.data.batch import Batch
from untrimmed.data.dataset import LocalizationDataset
from untrimmed.data.feed import WindowFeed
from untrimmed.data.synthetic import SimulatedFeatures, write_simulated
from untrimmed.formats import write_annotations
from untrimmed.grid import SnippetGrid
from untrimmed.methods.catalog import make_method
from untrimmed.pipeline import recipe
from untrimmed.pipeline.run_data import open_run_data
from untrimmed.training.optim import AlternatingStep, GradientStep, Step, make_step
from untrimmed.training.processes import ALONE, Processes, joined
from untrimmed.training.settings import OptimSettings, TrainSettings
from untrimmed.training.terms import Factor, LossTerms
from untrimmed.types import Annotations, Instances, Video

VIDEOS, LENGTH = 8, 150
EPOCHS, STEP, TRAINED, CHANNELS = 5, 8, 24, 512
ROUNDS, BATCHES = 9, 4
"""Steps of a training that are timed, and batches in a step where there are several, in all processes."""
UNTRIMMED = (sys.executable, "-m", "untrimmed")
TWO = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")
TORCHRUN = (*TWO, "untrimmed")


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


class CountedByTheNetwork(LossTerms):
    """Terms that are always counted by a forward pass."""

    def counts(self, batch: Batch, factor: Factor) -> dict[str, Tensor]:
        terms = self(batch, factor)
        return dict(zip(terms.names, terms.counts.unbind(), strict=True))


class PlainStep(GradientStep):
    """The plain way of several processes: one message after the backward pass."""

    def __init__(
        self,
        model: nn.Module,
        settings: TrainSettings,
        parameters: Iterable[nn.Parameter] | None = None,
        processes: Processes = ALONE,
    ) -> None:
        super().__init__(model, settings, parameters)
        self.processes, self.terms = processes, CountedByTheNetwork(model, settings.precision)

    def _backward(self, batches: Sequence[Batch], factor: Factor) -> tuple[list[Tensor], dict[str, float]]:
        found = super()._backward(batches, factor)
        if self.processes.world > 1:
            grads = [torch.zeros_like(each) if each.grad is None else each.grad for each in self.parameters]
            flat = self.processes.sum(torch.cat([grad.flatten() for grad in grads])) / self.processes.world
            parts = flat.split([grad.numel() for grad in grads])
            for parameter, part in zip(self.parameters, parts, strict=True):
                parameter.grad = part.view_as(parameter)
        return found


def plain_step(model: nn.Module, settings: TrainSettings, processes: Processes) -> Step:
    step = make_step(model, settings)
    if isinstance(step, AlternatingStep):
        step.steps = [PlainStep(model, settings, each.parameters, processes) for each in step.steps]
        return step
    return PlainStep(model, settings, None, processes)


def steps_of(config: str, data: Path, batches: int, processes: Processes) -> dict[str, float]:
    """Seconds of a step of a training, ours and plain; with so many batches in a step, in all processes."""
    changes = [f"data.annotations={data / 'truth.json'}", f"data.features={data / 'features'}"]
    plan = recipe.load(config, [*changes, "data.training=training", "data.validation=null", "data.test=null"])
    parts = open_run_data(plan)
    dataset = LocalizationDataset(parts.training, parts.features, plan.windows.training, parts.classes, seed=0)
    size, accumulate = STEP // batches, batches // processes.world
    feed = WindowFeed(dataset, size, accumulate=accumulate, rank=processes.rank, world=processes.world)
    whole = [step for step in feed.batches(0) if sum(map(len, step)) == size * accumulate]
    torch.manual_seed(0)
    options = dict(plan.method)
    first = make_method(options.pop("name"), options, parts.features.channels, len(parts.classes)).train()
    models = first, deepcopy(first)
    settings = TrainSettings(epochs=100, optim=OptimSettings(name="sgd", lr=1e-3, clip_norm=1.0))
    ways = {
        "ours": make_step(models[0], settings, processes),
        "plain": plain_step(models[1], settings, processes),
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(ROUNDS + 1):
        for name in sorted(ways, reverse=number % 2 == 0):
            torch.manual_seed(number)
            processes.any(False)
            begun = time.perf_counter(), time.process_time()
            ways[name](whole[number % len(whole)], 50.0)
            each = processes.gather((time.perf_counter() - begun[0], time.process_time() - begun[1]))
            taken[name].append((max(wall for wall, _ in each), sum(cpu for _, cpu in each)))
        for ours, theirs in zip(*(model.parameters() for model in models), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
    medians = {
        name: [statistics.median(column) for column in zip(*each[1:], strict=True)] for name, each in taken.items()
    }
    (wall, cpu), (plain_wall, plain_cpu) = medians["ours"], medians["plain"]
    return {
        "ours s": wall,
        "plain s": plain_wall,
        "ratio": plain_wall / wall,
        "ours cpu s": cpu,
        "plain cpu s": plain_cpu,
        "cpu ratio": plain_cpu / cpu,
    }


def measure_steps(data: Path, out: Path) -> None:
    """What each of the processes does that time the steps of a training."""
    torch.set_num_threads(1)
    with joined() as processes:
        rows = []
        for config in ("demo/vsgn", "demo/segtad", "demo/dgam"):
            for batches in (processes.world, BATCHES):
                what = f"{config}, {processes.world} processes, {batches // processes.world} batches each"
                rows.append({"what": what, **steps_of(config, data, batches, processes)})
        if processes.first:
            out.write_text(json.dumps(rows))


def training_steps(data: Path) -> None:
    rows = []
    for start in ((sys.executable, "-m"), TWO):
        out = data / "steps.json"
        command = [*start, "benchmarks.scale", "measure", str(data), str(out)]
        subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True)
        rows += json.loads(out.read_text())
    report("scale_steps", f"A training step of {STEP} windows, in one process and two, one thread each", rows)


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


def main(arguments: Sequence[str]) -> None:
    if arguments[:1] == ["measure"]:
        measure_steps(*map(Path, arguments[1:]))
        return
    with tempfile.TemporaryDirectory() as name:
        training_steps(simulate(Path(name) / "data"))
    if arguments[:1] == ["steps"]:
        return
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
    main(sys.argv[1:])
