"""The training loop. It knows no method: it receives the step, the batches and the evaluation.

What a run needs to go on after being killed is one file, ``state/last.pt``: weights, optimiser, moving average,
random numbers, the position in the epoch and the length of the log. The order of the windows and every random choice
in the data are functions of seed, epoch and video, so a resumed run ends with the same bits as one that was never
interrupted.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from untrimmed.data.batch import Batch
from untrimmed.errors import InputError
from untrimmed.training.checkpoint import load_state, save_state
from untrimmed.training.ema import Ema
from untrimmed.training.log import JsonLines
from untrimmed.training.optim import Step, random_state, set_random_state
from untrimmed.training.settings import TrainSettings

Evaluate = Callable[[nn.Module], dict[str, float]]
"""Metrics of a model on the validation subset; ``mAP`` among them decides which weights are best."""


class Feed(Protocol):
    """Where batches come from: a pure function of epoch and position."""

    def steps(self, epoch: int) -> int:
        """How many steps epoch ``epoch`` has."""

    def batches(self, epoch: int, first_step: int) -> Iterator[Sequence[Batch]]:
        """The batches of each step of an epoch, from ``first_step`` on."""


class Watcher(Protocol):
    """Is told how a training goes: a progress bar, for example."""

    def step(self, epoch: int, step: int, steps: int, values: dict[str, float]) -> None: ...

    def epoch(self, epoch: int, metrics: dict[str, float]) -> None: ...


class InterruptedTraining(KeyboardInterrupt):
    """Ctrl-C was pressed; the state was saved after the step in hand."""


@dataclass
class _Position:
    """How far a training has come."""

    epoch: int = 0
    step: int = 0
    total_steps: int = 0
    best: float = -math.inf
    best_epoch: int = -1
    sums: dict[str, float] = field(default_factory=dict)


def fit(
    model: nn.Module,
    step: Step,
    feed: Feed,
    settings: TrainSettings,
    out: Path,
    *,
    device: torch.device,
    evaluate: Evaluate | None = None,
    resume: bool = False,
    fingerprint: str = "",
    watcher: Watcher | None = None,
) -> dict[str, Any]:
    """Train a model; afterwards it wears the weights that were selected.

    Args:
        model: already on ``device``.
        step: updates the model from the batches of a step.
        feed: gives the batches.
        settings: how long, how often to evaluate, which weights to keep.
        out: folder of the run; ``state/`` and ``log.jsonl`` are written there.
        evaluate: metrics on the validation subset, called with the averaged weights if there is an average.
        resume: go on from ``out/state/last.pt``.
        fingerprint: text that a resumed run must have in common with the one it continues (its config).
        watcher: is told of every step and epoch.

    Returns:
        A summary: epochs, steps, ``selected_epoch`` (counted from 1) and, if evaluated, ``validation_mAP``.

    Raises:
        InputError: if there is nothing to resume, or it has another fingerprint.
        NonFiniteLossError: if the loss is no finite number; what was saved before stays.
        InterruptedTraining: after Ctrl-C, with the state saved.
    """
    last, best = out / "state" / "last.pt", out / "state" / "best.pt"
    ema = Ema(model, settings.ema) if settings.ema else None
    position, log_size = _Position(), 0
    if resume:
        state = load_state(last)
        if state.get("fingerprint") != fingerprint:
            raise InputError(
                f"{last}: was written with another config; resume with the config of that run, or train into "
                "another folder"
            )
        position, log_size = _restore(state, model, step, ema)
    log = JsonLines(out / "log.jsonl", log_size)

    def checkpoint() -> None:
        save_state(last, _state(position, model, step, ema, log.size, fingerprint))

    saved_at = time.monotonic()
    with _stop_on_interrupt() as interrupted:
        while position.epoch < settings.epochs:
            steps = feed.steps(position.epoch)
            if steps == 0:
                raise InputError(
                    "the training subset gives no windows: no instance lies in any of its videos, or none fits a "
                    "window; look at the annotations with `untrimmed check`"
                )
            model.train()
            for batches in feed.batches(position.epoch, position.step):
                values = step([batch.to(device) for batch in batches], position.epoch + position.step / steps)
                if ema:
                    ema.update(model)
                position.step += 1
                position.total_steps += 1
                for name, value in values.items():
                    position.sums[name] = position.sums.get(name, 0.0) + value
                if watcher:
                    watcher.step(position.epoch, position.step, steps, values)
                if interrupted():
                    checkpoint()
                    raise InterruptedTraining
                if time.monotonic() - saved_at > settings.checkpoint_minutes * 60:
                    checkpoint()
                    saved_at = time.monotonic()
            record = {name: value / steps for name, value in position.sums.items()}
            position.epoch, position.step, position.sums = position.epoch + 1, 0, {}
            due = position.epoch % settings.validate_every == 0 or position.epoch == settings.epochs
            metrics: dict[str, float] = {}
            if evaluate and due:
                metrics = _validate(model, ema, evaluate)
                if metrics["mAP"] > position.best:
                    position.best, position.best_epoch = metrics["mAP"], position.epoch
                    save_state(best, {"model": ema.average if ema else model.state_dict()})
            log.write({"epoch": position.epoch, "step": position.total_steps, "train": record, "validation": metrics})
            checkpoint()
            saved_at = time.monotonic()
            if watcher:
                watcher.epoch(position.epoch, {**record, **metrics})
            if interrupted() and position.epoch < settings.epochs:
                raise InterruptedTraining
    log.close()
    return _finish(model, ema, settings, position, best)


def _validate(model: nn.Module, ema: Ema | None, evaluate: Evaluate) -> dict[str, float]:
    # Decoding may draw random numbers or not: either way training goes on with those it had.
    state = random_state()
    model.eval()
    with ema.applied(model) if ema else nullcontext():
        metrics = evaluate(model)
    set_random_state(state)
    return metrics


def _finish(
    model: nn.Module, ema: Ema | None, settings: TrainSettings, position: _Position, best: Path
) -> dict[str, Any]:
    """Put the selected weights on the model and sum the training up."""
    summary: dict[str, Any] = {"epochs": position.epoch, "steps": position.total_steps}
    summary["selected_epoch"] = position.epoch
    if position.best_epoch >= 0:
        summary["validation_mAP"] = position.best
        summary["best_epoch"] = position.best_epoch
    if settings.select == "best" and position.best_epoch >= 0:
        model.load_state_dict(load_state(best)["model"])
        summary["selected_epoch"] = position.best_epoch
    elif ema:
        model.load_state_dict(ema.average)
    model.eval()
    return summary


def _state(
    position: _Position, model: nn.Module, step: Step, ema: Ema | None, log_size: int, fingerprint: str
) -> dict[str, Any]:
    return {
        "position": dict(vars(position)),
        "model": model.state_dict(),
        "step": step.state_dict(),
        "ema": ema.state_dict() if ema else None,
        "random": random_state(),
        "log_size": log_size,
        "fingerprint": fingerprint,
    }


def _restore(state: dict[str, Any], model: nn.Module, step: Step, ema: Ema | None) -> tuple[_Position, int]:
    model.load_state_dict(state["model"])
    step.load_state_dict(state["step"])
    if ema:
        ema.load_state_dict(state["ema"])
    set_random_state(state["random"])
    return _Position(**state["position"]), state["log_size"]


@contextmanager
def _stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Ctrl-C asks the loop to stop after the step in hand; a second one stops at once."""
    asked = False

    def ask(number: int, frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    try:
        before = signal.signal(signal.SIGINT, ask)
    except ValueError:  # only the main thread may handle signals; elsewhere nobody presses Ctrl-C
        yield lambda: False
        return
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
