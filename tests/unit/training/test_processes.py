"""Several processes train as one: equal weights, and a stopped training that goes on to the same bits.

The file is a program too, which ``torchrun`` runs in each of the processes.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from untrimmed.data.batch import Batch, Targets, collate
from untrimmed.data.dataset import multi_hot
from untrimmed.data.load_window import load_window
from untrimmed.data.settings import SlidingWindows
from untrimmed.errors import InputError
from untrimmed.formats.features import ArrayFeatures
from untrimmed.grid import SnippetGrid
from untrimmed.losses import LossTerm
from untrimmed.methods.catalog import make_method
from untrimmed.timemap import TimeMap
from untrimmed.training.loop import InterruptedTraining, Training
from untrimmed.training.optim import NonFiniteLossError, make_step
from untrimmed.training.processes import ALONE, Processes, joined
from untrimmed.training.settings import OptimSettings, TrainSettings
from untrimmed.types import Instances, Video

WINDOWS, STEPS, CHANNELS, CLASSES = 8, 20, 6, ("jump", "spin")
METHODS: dict[str, dict[str, Any]] = {
    "dgam": {"attention_channels": 6, "hidden": 8, "latent": 4, "warmup_epochs": 1.0},
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
SETTINGS = TrainSettings(epochs=2, optim=OptimSettings(name="sgd", lr=0.01, clip_norm=1.0), ema=0.9)
CASES = ((4, "all"), (3, "all"), (4, "half"), (4, "none"))
"""The size of batches, and whose windows have instances: of all processes, of all but the second, whose videos are too
short for any proposal besides, or of none."""


def windows(truth: str = "all") -> list[Any]:
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
            occurring = multi_hot(classes, len(CLASSES))
            samples.append(load_window(window, features, labels=classes, video_labels=occurring))
    assert len(samples) == WINDOWS
    blinded = {"all": (), "half": range(1, WINDOWS, 2), "none": range(WINDOWS)}[truth]
    return [blind(each) if row in blinded else each for row, each in enumerate(samples)]


def blind(sample: Any) -> Any:
    """A window that shows four steps and no instance."""
    shown = torch.arange(len(sample.clip)) < 4
    return replace(
        sample,
        features=sample.features * shown,
        clip=sample.clip * shown,
        targets=Targets.empty(),
        video_labels=torch.zeros_like(sample.video_labels),
    )


def precision_of(name: str) -> torch.dtype:
    return torch.float64 if name == "vsgn" else torch.float32


def train(name: str, processes: Processes, micro: int, truth: str = "all") -> nn.Module:
    """Steps on all windows, of which each process has its share in batches of ``micro``. VSGN in double precision:
    rounding errors grow from step to step, and change which of its anchors is a positive."""
    torch.manual_seed(0)
    precision = precision_of(name)
    model = make_method(name, METHODS[name], CHANNELS, len(CLASSES)).to(precision)
    step = make_step(model, SETTINGS, processes)
    mine = windows(truth)[processes.rank :: processes.world]
    batches = [collate(mine[first : first + micro]) for first in range(0, len(mine), micro)]
    batches = [replace(batch, features=batch.features.to(precision)) for batch in batches]
    model.train()
    # What DGAM draws is otherwise a matter of each process's own numbers.
    with mock.patch.object(torch, "randn_like", lambda values: (5 * values.detach()).cos()):
        for number in range(STEPS):
            values = step(batches, number / STEPS * 2)
            assert np.isfinite(values["loss"])
    return model


class Sometimes(nn.Module):
    """One part always has a say, one where features are above 9, one never."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.always, self.sometimes, self.never = nn.Linear(3, 2), nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        out = self.always(batch.features.mT)
        high = batch.features.amax((1, 2)) > 9
        return {"out": torch.cat((out, self.sometimes(batch.features[high].mT))) if high.any() else out}

    def loss(self, raw: dict[str, Tensor], batch: Batch) -> dict[str, LossTerm]:
        return {"fit": LossTerm(raw["out"].square().sum(), batch.mask.sum())}


def some_batch(rank: int, high: bool, videos: tuple[str, ...] = ("a", "b")) -> Batch:
    features = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(rank))
    features[1, 0, 0] = 10.0 if high else 0.0
    maps, clip = (TimeMap.linear(5, 0.0, 1.0),) * 2, torch.ones(2, 5, dtype=torch.uint8)
    return Batch(features, clip, (Targets.empty(),) * 2, maps, videos)


def use_parts(processes: Processes) -> nn.Module:
    """In the first step no process uses the second part, in the second one of them does, in the third again none; in
    the fourth, of two batches, the second process does in its first."""
    model = Sometimes()
    step = make_step(model, SETTINGS, processes)
    ranks = [0, 1] if processes.world == 1 else [processes.rank]
    for uses in (), (1,), ():
        each = [some_batch(rank, rank in uses) for rank in ranks]
        step([merged(each)], 0.0)
    step([merged([some_batch(rank, rank == 1) for rank in ranks]), merged([some_batch(5, False)] * len(ranks))], 0.0)
    return model


def merged(batches: list[Batch]) -> Batch:
    return Batch(
        torch.cat([each.features for each in batches]),
        torch.cat([each.clip for each in batches]),
        tuple(target for each in batches for target in each.targets),
        tuple(time_map for each in batches for time_map in each.maps),
        tuple(video for each in batches for video in each.video_ids),
    )


def fail_together(processes: Processes) -> str:
    """The second process has features that are no numbers."""
    batch = some_batch(processes.rank, False, (f"v{processes.rank}", f"w{processes.rank}"))
    if not processes.first:
        batch.features[0, 0, 0] = torch.nan
    try:
        make_step(Sometimes(), SETTINGS, processes)([batch], 0.0)
    except NonFiniteLossError as error:
        return str(error)
    return ""


class Net(nn.Module):
    """With dropout: each process draws its own numbers. And with enough weights that gradients would be added in
    another order after a resumption, were they sent in the order in which they were ready in the step before."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        widths = (3, 30, 40, 50, 60)
        convs = [nn.Conv1d(*pair, 3, padding=1) for pair in itertools.pairwise(widths)]
        self.layers = nn.Sequential(*(layer for conv in convs for layer in (conv, nn.Tanh())), nn.Dropout(0.5))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {"out": self.layers(batch.features)}

    def loss(self, raw: dict[str, Tensor], batch: Batch) -> dict[str, LossTerm]:
        return {"fit": LossTerm(((raw["out"] - 1) ** 2).sum(), batch.mask.sum())}


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
        training = Training(
            model,
            make_step(model, SETTINGS, processes),
            Feed(processes.rank),
            SETTINGS,
            folder,
            device=torch.device("cpu"),
            evaluate=lambda model: {"mAP": float(next(model.parameters()).sum())},
            callbacks=Stopper() if stop and processes.rank == 1 else None,
            processes=processes,
        )
        training.fit(resume=resume)
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


def train_all(out: Path, processes: Processes) -> None:
    """Everything that is to equal one process, each in a file with the weights of all processes."""
    for name in METHODS:
        for micro, truth in CASES:
            weights = processes.gather(train(name, processes, micro, truth).state_dict())
            if processes.first:
                torch.save(weights, out / f"{name} {micro} {truth}.pt")
    weights, errors = processes.gather(use_parts(processes).state_dict()), processes.gather(fail_together(processes))
    if processes.first:
        torch.save(weights, out / "parts.pt")
        (out / "errors.txt").write_text("\n".join(errors))


def main(what: str, out: Path) -> None:
    torch.set_num_threads(1)
    with joined() as processes:
        assert processes.sum(torch.tensor([1.0 + processes.rank])).item() == sum(range(1, processes.world + 1))
        assert [processes.any(processes.rank == 1), processes.any(False)] == [True, False]
        assert processes.of_first("a" if processes.first else None) == "a"
        (train_and_stop if what == "stop" else train_all)(out, processes)


def launch(what: str, out: Path, count: int = 2) -> str:
    """What ``count`` processes wrote to stderr."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, __file__, what, str(out)], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained")
    (out / "stderr.txt").write_text(launch("train", out))
    return out


def expect_equal(both: list[dict[str, Tensor]], one: dict[str, Tensor]) -> None:
    assert both[0].keys() == one.keys()
    for key, value in one.items():
        assert torch.equal(both[0][key], both[1][key]), key
        torch.testing.assert_close(both[0][key], value, rtol=0, atol=1e-5, msg=key)


@pytest.mark.parametrize("name", sorted(METHODS))
@pytest.mark.parametrize(("micro", "truth"), CASES)
def test_two_processes_equal_one_with_the_same_global_batch(trained: Path, name: str, micro: int, truth: str) -> None:
    """After twenty steps; also with batches of different sizes in a step, and with a process that has nothing to learn
    from. The names of the weights are those of one process."""
    both = torch.load(trained / f"{name} {micro} {truth}.pt", weights_only=True)
    # Batch normalisation sees the batches of a forward pass: these of both processes, or those of one.
    one = train(name, ALONE, 6 if name == "segtad" and micro == 3 else 8, truth).state_dict()
    torch.manual_seed(0)
    fresh = make_method(name, METHODS[name], CHANNELS, len(CLASSES)).to(precision_of(name)).state_dict()
    assert max(float((one[key] - fresh[key]).abs().max()) for key in one) > 1e-3
    expect_equal(both, one)


def test_parts_that_have_a_say_in_one_process_or_in_none(trained: Path) -> None:
    both, one = torch.load(trained / "parts.pt", weights_only=True), use_parts(ALONE).state_dict()
    expect_equal(both, one)
    fresh = Sometimes().state_dict()
    moved = {name.partition(".")[0] for name in one if not torch.equal(one[name], fresh[name])}
    assert moved == {"always", "sometimes"}  # the other has not even decayed


def test_a_loss_that_is_no_number_names_the_videos_of_its_process_everywhere(trained: Path) -> None:
    errors = (trained / "errors.txt").read_text().splitlines()
    assert len(errors) == 2
    assert all("videos v1, w1;" in error for error in errors)


def test_nobody_is_warned_of_anything(trained: Path) -> None:
    assert "arning" not in (trained / "stderr.txt").read_text()


def test_a_stop_in_one_process_stops_all_and_they_go_on_to_the_same_bits(tmp_path: Path) -> None:
    """Of three, since only the sum of three numbers depends on their order."""
    launch("stop", tmp_path, 3)
    weights = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert len(weights) == 3
    for whole, resumed in weights:
        for key, value in weights[0][0].items():
            assert torch.equal(value, whole[key]), key
            assert torch.equal(value, resumed[key]), key
    logs = [(tmp_path / name / "log.jsonl").read_bytes() for name in ("whole", "parts")]
    assert logs[0] == logs[1]
    assert logs[0].count(b"\n") == 2


def test_one_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with joined() as processes:
        assert processes == ALONE
        assert processes.gather(3) == [3]
        assert make_step(Net(), SETTINGS, processes).shared is None  # type: ignore[attr-defined]
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="as torchrun sets them"), joined():
        pass


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
