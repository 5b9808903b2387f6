"""Two processes train as one: equal weights, and a stopped training that goes on to the same bits.

The file is a program too, which ``torchrun`` runs in each of the two processes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from untrimmed.data.batch import Batch, Targets, collate
from untrimmed.data.materialise import materialise
from untrimmed.data.settings import SlidingWindows
from untrimmed.errors import InputError
from untrimmed.formats.features import ArrayFeatures
from untrimmed.grid import SnippetGrid
from untrimmed.losses import Term
from untrimmed.methods.catalog import make_method
from untrimmed.timemap import TimeMap
from untrimmed.training.loop import InterruptedTraining, fit
from untrimmed.training.optim import make_step
from untrimmed.training.processes import ALONE, Processes, joined
from untrimmed.training.settings import OptimSettings, TrainSettings
from untrimmed.types import Instances, Video

WINDOWS, CHANNELS, CLASSES = 8, 6, ("jump", "spin")
METHODS: dict[str, dict[str, Any]] = {
    "vsgn": {"channels": 16, "norm_groups": 4, "levels": 3, "anchor_sizes": [8.0, 12.0], "keep_best": True},
    # So many seeds that every proposal is drawn: which ones are is otherwise a matter of each process's own numbers.
    "segtad": {
        "channels": 8,
        "dilations": [1, 2],
        "grid_step": 8,
        "proposal_channels": 8,
        "bins": 4,
        "seeds": 100000,
    },
}
SETTINGS = TrainSettings(epochs=2, optim=OptimSettings(name="sgd", lr=0.05, clip_norm=1.0), ema=0.9)


def windows() -> list[Any]:
    """Windows of one length with different numbers of instances, so that counts differ from process to process."""
    rng = np.random.default_rng(0)
    grid = SnippetGrid(1, 1, 1)
    samples = []
    for number in range(WINDOWS):
        name = f"v{number}"
        features = ArrayFeatures({name: rng.normal(size=(48, CHANNELS)).astype(np.float32)}, grid)
        starts = np.sort(rng.uniform(0, 30, 1 + number % 3))
        segments = np.stack((starts, starts + rng.uniform(4, 16, len(starts))), 1)
        labels = tuple(CLASSES[index % 2] for index in range(len(starts)))
        video = Video(name, duration=48.0, instances=Instances(segments, labels))
        for window in SlidingWindows(length=48, stride=48).training(video, 48, grid, rng):
            classes = np.array([CLASSES.index(labels[row]) for row in window.rows])
            samples.append(materialise(window, features, labels=classes))
    assert len(samples) == WINDOWS
    return samples


def train(name: str, processes: Processes, micro: int) -> nn.Module:
    """Three steps on all windows, of which each process has its share in batches of ``micro``."""
    torch.manual_seed(0)
    model = make_method(name, METHODS[name], CHANNELS, len(CLASSES))
    step = make_step(model, SETTINGS, processes)
    mine = windows()[processes.rank :: processes.world]
    batches = [collate(mine[first : first + micro]) for first in range(0, len(mine), micro)]
    model.train()
    for number in range(3):
        values = step(batches, number / 3)
        assert np.isfinite(values["loss"])
    torch.manual_seed(0)
    return model


class Net(nn.Module):
    """With dropout: each process draws its own numbers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layer = nn.Conv1d(3, 1, 3, padding=1)
        self.dropout = nn.Dropout(0.5)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {"out": self.dropout(self.layer(batch.features))}

    def loss(self, raw: dict[str, Tensor], batch: Batch) -> dict[str, Term]:
        return {"fit": Term(((raw["out"] - 1) ** 2).sum(), batch.mask.sum())}


class Feed:
    """Batches that are a function of process, epoch and position."""

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def steps(self, epoch: int) -> int:
        return 4

    def batches(self, epoch: int, first_step: int) -> Iterator[Sequence[Batch]]:
        for step in range(first_step, 4):
            generator = torch.Generator().manual_seed(100 * epoch + 10 * step + self.rank)
            maps, clip = (TimeMap.linear(5, 0.0, 1.0),) * 2, torch.ones(2, 5, dtype=torch.uint8)
            features = torch.randn(2, 3, 5, generator=generator)
            yield [Batch(features, clip, (Targets.empty(),) * 2, maps, ("a", "b"))]


class Stopper:
    """Presses Ctrl-C in the process it watches, at one step."""

    def step(self, epoch: int, step: int, steps: int, values: dict[str, float]) -> None:
        if (epoch, step) == (1, 2):
            os.kill(os.getpid(), signal.SIGINT)

    def epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        pass


def train_and_stop(out: Path, processes: Processes) -> None:
    """A training, and another that is stopped in the middle and resumed."""

    def run(folder: Path, resume: bool = False, stop: bool = False) -> nn.Module:
        model = Net()
        torch.manual_seed(50 + processes.rank)
        step = make_step(model, SETTINGS, processes)
        watcher = Stopper() if stop and not processes.first else None
        fit(
            model,
            step,
            Feed(processes.rank),
            SETTINGS,
            folder,
            device=torch.device("cpu"),
            evaluate=lambda model: {"mAP": float(next(model.parameters()).sum())},
            resume=resume,
            watcher=watcher,
            processes=processes,
        )
        return model

    whole = run(out / "whole")
    stopped = False
    try:
        run(out / "parts", stop=True)
    except InterruptedTraining:
        stopped = True
    assert all(processes.gather(stopped))
    resumed = run(out / "parts", resume=True)
    everyone = processes.gather([whole.state_dict(), resumed.state_dict()])
    if processes.first:
        torch.save(everyone, out / "weights.pt")


def main(what: str, out: Path) -> None:
    torch.set_num_threads(1)
    with joined() as processes:
        assert processes.world == 2
        assert processes.sum(torch.tensor([1.0 + processes.rank])).item() == 3
        assert [processes.any(processes.rank == 1), processes.any(False)] == [True, False]
        assert processes.of_first("a" if processes.first else None) == "a"
        if what == "stop":
            train_and_stop(out, processes)
        else:
            for name in METHODS:
                for micro in (4, 2):
                    model = train(name, processes, micro)
                    weights = processes.gather(model.state_dict())
                    if processes.first:
                        torch.save(weights, out / f"{name} {micro}.pt")


def launch(what: str, out: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, __file__, what, str(out)], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained")
    launch("train", out)
    return out


@pytest.mark.parametrize("name", sorted(METHODS))
@pytest.mark.parametrize("micro", [4, 2])
def test_two_processes_equal_one_with_the_same_global_batch(trained: Path, name: str, micro: int) -> None:
    both = torch.load(trained / f"{name} {micro}.pt", weights_only=True)
    for key, value in both[0].items():
        assert torch.equal(value, both[1][key]), key
    if name == "segtad" and micro == 2:
        return  # its batch normalisation sees micro-batches, so that of one process is another network
    one = train(name, ALONE, 8).state_dict()
    torch.manual_seed(0)
    fresh = make_method(name, METHODS[name], CHANNELS, len(CLASSES)).state_dict()
    moved = max(float((one[key] - fresh[key]).abs().max()) for key in one)
    assert moved > 1e-3
    for key, value in one.items():
        torch.testing.assert_close(both[0][key], value, rtol=1e-4, atol=2e-6, msg=key)


def test_a_stop_in_one_process_stops_all_and_they_go_on_to_the_same_bits(tmp_path: Path) -> None:
    launch("stop", tmp_path)
    weights = torch.load(tmp_path / "weights.pt", weights_only=True)
    for rank in (0, 1):
        for number in (0, 1):
            for key, value in weights[0][0].items():
                assert torch.equal(value, weights[rank][number][key])
    logs = [(tmp_path / name / "log.jsonl").read_bytes() for name in ("whole", "parts")]
    assert logs[0] == logs[1]
    assert logs[0].count(b"\n") == 2


def test_one_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with joined() as processes:
        assert processes == ALONE
        assert processes.gather(3) == [3]
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="as torchrun sets them"), joined():
        pass


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
