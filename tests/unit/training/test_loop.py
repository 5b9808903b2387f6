"""The loop: resuming to the same bits, selecting weights, stopping in order."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from untrimmed.data.batch import Batch, Targets
from untrimmed.errors import InputError
from untrimmed.losses import LossTerm
from untrimmed.methods.weights import FORMAT, check_format
from untrimmed.timemap import TimeMap
from untrimmed.training.checkpoint import load_state, save_state
from untrimmed.training.log import JsonLines, read_log
from untrimmed.training.loop import InterruptedTraining, Training
from untrimmed.training.optim import GradientStep
from untrimmed.training.processes import Processes
from untrimmed.training.settings import OptimSettings, TrainSettings

CPU = torch.device("cpu")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layer = nn.Conv1d(3, 1, 3, padding=1)
        self.dropout = nn.Dropout(0.5)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {"out": self.dropout(self.layer(batch.features))}

    def loss(self, raw: dict[str, Tensor], batch: Batch) -> dict[str, LossTerm]:
        return {"fit": LossTerm(((raw["out"] - 1) ** 2).sum(), batch.mask.sum())}


class Feed:
    """Random batches that are a function of epoch and position alone; epochs differ in length."""

    def steps(self, epoch: int) -> int:
        return 4 + epoch % 2

    def batches(self, epoch: int, first_step: int) -> Iterator[Sequence[Batch]]:
        for step in range(first_step, self.steps(epoch)):
            generator = torch.Generator().manual_seed(100 * epoch + step)
            yield [
                Batch(
                    features=torch.randn(2, 3, 5, generator=generator),
                    clip=torch.ones(2, 5, dtype=torch.uint8),
                    targets=(Targets.empty(),) * 2,
                    maps=(TimeMap.linear(5, 0.0, 1.0),) * 2,
                    video_ids=("a", "b"),
                )
            ]


class StopAfter:
    """Callbacks that raise after some steps, as a killed process would end."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self, epoch: int, step: int, steps: int, values: dict[str, float]) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyError("killed")

    def epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        pass


SETTINGS = TrainSettings(
    epochs=4, ema=0.9, checkpoint_minutes=0.0, optim=OptimSettings(name="adamw", lr=0.05, schedule="cosine")
)


def run(
    out: Path, settings: TrainSettings = SETTINGS, resume: bool = False, **parts: Any
) -> tuple[Net, dict[str, object]]:
    torch.manual_seed(5)
    model = Net()
    training = Training(model, GradientStep(model, settings), Feed(), settings, out, device=CPU, **parts)
    return model, training.fit(resume=resume)


def noisy_map(model: nn.Module) -> dict[str, float]:
    """A metric that draws random numbers, which must not disturb the training."""
    torch.rand(3)
    return {"mAP": float(next(model.parameters()).detach().abs().sum())}


@pytest.mark.parametrize("killed_at", [2, 4, 5, 7, 12, 17])
def test_resumed_run_has_the_bits_of_an_uninterrupted_one(tmp_path: Path, killed_at: int) -> None:
    whole, _ = run(tmp_path / "whole", evaluate=noisy_map)
    with pytest.raises(KeyError):
        run(tmp_path / "cut", evaluate=noisy_map, callbacks=StopAfter(killed_at))
    with (tmp_path / "cut/log.jsonl").open("ab") as log:
        log.write(b'{"half a li')
    torch.manual_seed(99)
    resumed, _ = run(tmp_path / "cut", evaluate=noisy_map, resume=True)
    for left, right in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(left, right)
    assert (tmp_path / "whole/log.jsonl").read_bytes() == (tmp_path / "cut/log.jsonl").read_bytes()


def test_training_lowers_the_loss_and_logs_each_epoch(tmp_path: Path) -> None:
    settings = TrainSettings(epochs=6, optim=OptimSettings(lr=0.05, weight_decay=0.0))
    _, summary = run(tmp_path, settings)
    records = read_log(tmp_path / "log.jsonl")
    assert [record["epoch"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert records[-1]["train"]["fit"] < records[0]["train"]["fit"]
    assert summary == {"epochs": 6, "steps": 27, "selected_epoch": 6}


def test_best_weights_are_kept_when_asked_for(tmp_path: Path) -> None:
    scores = iter([0.1, 0.9, 0.3])
    seen: list[Tensor] = []

    def evaluate(model: nn.Module) -> dict[str, float]:
        seen.append(next(model.parameters()).detach().clone())
        return {"mAP": next(scores)}

    settings = TrainSettings(epochs=3, select="best", optim=OptimSettings(lr=0.05))
    model, summary = run(tmp_path, settings, evaluate=evaluate)
    assert summary["selected_epoch"] == 2
    assert summary["validation_mAP"] == 0.9
    assert torch.equal(next(model.parameters()), seen[1])


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_saves_after_the_step_in_hand_and_resumes(tmp_path: Path, asked: signal.Signals) -> None:
    class Ask(StopAfter):
        def step(self, epoch: int, step: int, steps: int, values: dict[str, float]) -> None:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), asked)

    settings = SETTINGS.model_copy(update={"checkpoint_minutes": 60.0})
    whole, _ = run(tmp_path / "whole", settings)
    before = signal.getsignal(asked)
    with pytest.raises(InterruptedTraining):
        run(tmp_path / "cut", settings, callbacks=Ask(6))
    assert signal.getsignal(asked) == before
    assert load_state(tmp_path / "cut/state/last.pt")["position"]["total_steps"] == 6
    resumed, _ = run(tmp_path / "cut", settings, resume=True)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_resume_refuses_another_config_and_a_missing_state(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkpoint to resume from"):
        run(tmp_path / "none", resume=True)
    assert not (tmp_path / "none").exists()
    run(tmp_path / "a", fingerprint={"method": "one", "train": {"seed": 0, "epochs": (1, 2)}})
    before = (tmp_path / "a/log.jsonl").read_bytes()
    other = {"method": "one", "train": {"seed": 3, "epochs": [1, 2]}, "windows": None}
    with pytest.raises(InputError, match=r"another config: train.seed was 0, is 3; go on with"):
        run(tmp_path / "a", fingerprint=other, resume=True)
    assert (tmp_path / "a/log.jsonl").read_bytes() == before


def test_a_validation_that_fails_does_not_cost_the_epoch(tmp_path: Path) -> None:
    def broken(model: nn.Module) -> dict[str, float]:
        raise InputError("no truth")

    settings = SETTINGS.model_copy(update={"checkpoint_minutes": 60.0})
    whole, _ = run(tmp_path / "whole", settings, evaluate=noisy_map)
    with pytest.raises(InputError, match="no truth"):
        run(tmp_path / "cut", settings, evaluate=broken)
    assert load_state(tmp_path / "cut/state/last.pt")["position"]["total_steps"] == 4
    resumed, _ = run(tmp_path / "cut", settings, evaluate=noisy_map, resume=True)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    assert (tmp_path / "whole/log.jsonl").read_bytes() == (tmp_path / "cut/log.jsonl").read_bytes()


def test_resume_refuses_another_number_of_processes(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(InputError, match="by 1 process, and goes on with as many, not 2: untrimmed train"):
        run(tmp_path, resume=True, processes=Processes(1, 2))
    state = load_state(tmp_path / "state/last.pt")
    save_state(tmp_path / "state/last.pt", {**state, "random_of_others": [state["random"]]})
    with pytest.raises(InputError, match=r"by 2 processes, .* not 1: torchrun --standalone --nproc-per-node 2 -m"):
        run(tmp_path, resume=True)


def test_resume_asks_whether_the_weights_fit_before_anything_else(tmp_path: Path) -> None:
    run(tmp_path)
    state = load_state(tmp_path / "state/last.pt")
    assert state.pop("weights_format") == FORMAT
    save_state(tmp_path / "state/last.pt", state)  # as it was written when there was one format
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    refuse = partial(check_format, "vsgn", way_on="remove the folder")
    with pytest.raises(InputError, match=r"last\.pt: holds weights of method vsgn .*format 1.*: remove the folder"):
        run(tmp_path, resume=True, fingerprint={"method": "another"}, check_weights=refuse)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    run(tmp_path, resume=True, check_weights=partial(check_format, "basnet", way_on="remove the folder"))


def test_an_epoch_without_windows_is_an_error(tmp_path: Path) -> None:
    class Empty(Feed):
        def steps(self, epoch: int) -> int:
            return 0

    model = Net()
    with pytest.raises(InputError, match="gives no windows"):
        Training(model, GradientStep(model, SETTINGS), Empty(), SETTINGS, tmp_path, device=CPU).fit()


def test_damaged_and_foreign_states_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="damaged"):
        load_state(tmp_path / "bad.pt")
    save_state(tmp_path / "list.pt", [1])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="holds a list"):
        load_state(tmp_path / "list.pt")
    torch.save({"model": Net()}, tmp_path / "pickle.pt")
    with pytest.raises(InputError, match="not a checkpoint of this program"):
        load_state(tmp_path / "pickle.pt")


def test_a_state_that_cannot_be_written_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_state(tmp_path / "s.pt", {"a": 1})

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match=r"No space left.*the one before it is untouched.*--resume"):
        save_state(tmp_path / "s.pt", {"a": 2})
    with pytest.raises(InputError, match=r"No space left on device\); make room$"):
        save_state(tmp_path / "first" / "s.pt", {"a": 2})
    (tmp_path / "first").rmdir()
    monkeypatch.undo()
    assert load_state(tmp_path / "s.pt") == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["s.pt"]


def test_log_cuts_off_what_a_killed_run_wrote_too_much(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = JsonLines(path)
    log.write({"a": 1})
    size = log.size
    log.write({"a": 2})
    log.close()
    log = JsonLines(path, size)
    log.write({"a": 3})
    log.close()
    assert read_log(path) == [{"a": 1}, {"a": 3}]


def test_a_log_that_was_removed_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = JsonLines(path, 1000)
    log.write({"a": 1})
    log.close()
    assert read_log(path) == [{"a": 1}]
    path.write_bytes(path.read_bytes() + b'{"half a li')
    assert read_log(path) == [{"a": 1}]
    with pytest.raises(InputError, match=r"log\.jsonl"):
        read_log(tmp_path / "none" / "log.jsonl")
