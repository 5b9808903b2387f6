"""The training loop. It knows no method: it receives the step, the batches and the evaluation.

What a run needs to go on after being killed is one file, ``state/last.pt``: weights, optimiser, moving average,
random numbers, the position in the epoch and the length of the log. The order of the windows and every random choice
in the data are functions of seed, epoch and video, so a resumed run ends with the same bits as one that was never
interrupted.

Several processes train together if :class:`~untrimmed.training.processes.Processes` says so: in each step they share
their gradients, so all have the same weights, moving average and position; the first evaluates and writes, and what it
decides holds for all.
"""

from __future__ import annotations

import json
import math
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import KW_ONLY, asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from untrimmed._moved import renamed
from untrimmed.data.batch import Batch
from untrimmed.errors import InputError
from untrimmed.methods.weights import FORMAT
from untrimmed.training.checkpoint import load_state, save_state
from untrimmed.training.ema import Ema
from untrimmed.training.log import JsonLines
from untrimmed.training.optim import Step, random_state, set_random_state
from untrimmed.training.processes import ALONE, Processes
from untrimmed.training.settings import TrainSettings

Evaluate = Callable[[nn.Module], dict[str, float]]
"""Metrics of a model on the validation subset; ``mAP`` among them decides which weights are best."""

_SHOWN = 5
"""Changed settings that a message lists before it says how many more there are."""


class Feed(Protocol):
    """Where batches come from: a pure function of epoch and position."""

    def steps(self, epoch: int) -> int:
        """How many steps epoch ``epoch`` has."""

    def batches(self, epoch: int, first_step: int) -> Iterator[Sequence[Batch]]:
        """The batches of each step of an epoch, from ``first_step`` on."""


class Callbacks(Protocol):
    """Is told how a training goes: a progress bar, for example."""

    def step(self, epoch: int, step: int, steps: int, values: dict[str, float]) -> None: ...

    def epoch(self, epoch: int, metrics: dict[str, float]) -> None: ...


class InterruptedTraining(KeyboardInterrupt):
    """Ctrl-C or a signal to end asked for it; the state was saved after the step in hand."""


@dataclass
class _Position:
    """How far a training has come."""

    epoch: int = 0
    step: int = 0
    total_steps: int = 0
    best: float = -math.inf
    best_epoch: int = -1
    sums: dict[str, float] = field(default_factory=dict)


@dataclass(eq=False)
class Training:
    """A training: what it consists of, put together once, and how far it has come. :meth:`fit` carries it out.

    Args:
        model: already on ``device``.
        step: updates the model from the batches of a step.
        feed: gives the batches.
        settings: how long, how often to evaluate, which weights to keep.
        out: folder of the run; ``state/`` and ``log.jsonl`` are written there.
        device: that batches are brought to.
        evaluate: metrics on the validation subset, called with the averaged weights if there is an average.
        fingerprint: plain values that a resumed run must have in common with the one it continues (its config).
        check_weights: is told the format of the weights in a state and its file before a run goes on with it, and
            raises if the model cannot use them (see :mod:`untrimmed.methods.weights`).
        callbacks: is told of every step and epoch.
        processes: that train together; each has such an object, with the same weights and its own feed.
    """

    model: nn.Module
    step: Step
    feed: Feed
    settings: TrainSettings
    out: Path
    _: KW_ONLY
    device: torch.device
    evaluate: Evaluate | None = None
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    check_weights: Callable[[int, Path], None] = lambda written, path: None
    callbacks: Callbacks | None = None
    processes: Processes = ALONE

    def __post_init__(self) -> None:
        self._ema = Ema(self.model, self.settings.ema) if self.settings.ema else None
        self._at = _Position()
        self._last, self._best = self.out / "state" / "last.pt", self.out / "state" / "best.pt"
        self._log: JsonLines | None = None
        self._log_size = 0

    def fit(self, *, resume: bool = False) -> dict[str, Any]:
        """Train; afterwards the model has the weights that were selected.

        Args:
            resume: go on from ``out/state/last.pt``.

        Returns:
            A summary: epochs, steps, ``selected_epoch`` (counted from 1) and, if evaluated, ``validation_mAP``.

        Raises:
            InputError: if there is nothing to resume, or it has another fingerprint or other weights; nothing was
                written then.
            NonFiniteLossError: if the loss is no finite number; what was saved before stays.
            InterruptedTraining: after Ctrl-C or SIGTERM, with the state saved.
        """
        if resume:
            self._restore()
        with _stop_on_interrupt() as interrupted:
            self._run(interrupted)
        return self._finish()

    def _restore(self) -> None:
        state = load_state(self._last)
        self.check_weights(state.get("weights_format", 1), self._last)
        others = state.get("random_of_others", [])
        world = 1 + len(others)
        if world != self.processes.world:
            start = f"torchrun --standalone --nproc-per-node {world} -m untrimmed" if world > 1 else "untrimmed"
            raise InputError(
                f"{self._last}: was written by {world} {'processes' if world > 1 else 'process'}, and goes on with as "
                f"many, not {self.processes.world}: {start} train ... --resume"
            )
        if state["fingerprint"] != self._fingerprint():
            changes = _changes(json.loads(state["fingerprint"]), json.loads(self._fingerprint()))
            more = f" and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
            raise InputError(
                f"{self.out}: holds a run of another config: {', '.join(changes[:_SHOWN])}{more}; go on with that "
                "config, remove the folder, or choose another with --out"
            )
        self.model.load_state_dict(state["model"])
        self.step.load_state_dict(state["step"])
        if self._ema:
            self._ema.load_state_dict(state["ema"])
        set_random_state([state["random"], *others][self.processes.rank])
        self._at, self._log_size = _Position(**state["position"]), state["log_size"]

    def _fingerprint(self) -> str:
        return json.dumps(self.fingerprint, sort_keys=True)

    def _run(self, interrupted: Callable[[], bool]) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        self._log = JsonLines(self.out / "log.jsonl", self._log_size) if self.processes.first else None
        try:
            while self._at.epoch < self.settings.epochs:
                self._epoch(interrupted)
                self._end_epoch()
                if self.processes.any(interrupted()) and self._at.epoch < self.settings.epochs:
                    raise InterruptedTraining
        finally:
            if self._log:
                self._log.close()

    def _epoch(self, interrupted: Callable[[], bool]) -> None:
        at, steps = self._at, self.feed.steps(self._at.epoch)
        if steps == 0:
            raise InputError(
                "the training subset gives no windows: no instance lies in any of its videos, or none fits a "
                "window; look at the annotations with `untrimmed check`"
            )
        self.model.train()
        saved_at = time.monotonic()
        for batches in self.feed.batches(at.epoch, at.step):
            values = self.step([batch.to(self.device) for batch in batches], at.epoch + at.step / steps)
            if self._ema:
                self._ema.update(self.model)
            at.step += 1
            at.total_steps += 1
            for name, value in values.items():
                at.sums[name] = at.sums.get(name, 0.0) + value
            if self.callbacks:
                self.callbacks.step(at.epoch, at.step, steps, values)
            if self.processes.any(interrupted()):
                self._checkpoint()
                raise InterruptedTraining
            due = time.monotonic() - saved_at > self.settings.checkpoint_minutes * 60
            if self.processes.any(due and self.processes.first):
                self._checkpoint()
                saved_at = time.monotonic()

    def _end_epoch(self) -> None:
        at = self._at
        due = (at.epoch + 1) % self.settings.validate_every == 0 or at.epoch + 1 == self.settings.epochs
        if self.evaluate and due:
            # If validation fails or takes long, the epoch is not lost: a resumed run begins with its end.
            self._checkpoint()
        losses = {name: value / at.step for name, value in at.sums.items()}
        at.epoch, at.step, at.sums = at.epoch + 1, 0, {}
        metrics: dict[str, float] = {}
        if self.evaluate and due:
            found = self._validate(self.evaluate) if self.processes.first else None
            metrics = self.processes.of_first(found)
            if metrics["mAP"] > at.best:
                at.best, at.best_epoch = metrics["mAP"], at.epoch
                self._save(self._best, {"model": self._ema.average if self._ema else self.model.state_dict()})
        if self._log:
            self._log.write({"epoch": at.epoch, "step": at.total_steps, "train": losses, "validation": metrics})
        self._checkpoint()
        if self.callbacks:
            self.callbacks.epoch(at.epoch, {**losses, **metrics})

    def _validate(self, evaluate: Evaluate) -> dict[str, float]:
        # Decoding may draw random numbers or not: either way training goes on with those it had.
        state = random_state()
        self.model.eval()
        with self._ema.applied(self.model) if self._ema else nullcontext():
            metrics = evaluate(self.model)
        set_random_state(state)
        return metrics

    def _save(self, path: Path, state: dict[str, Any]) -> None:
        if self.processes.first:
            save_state(path, state)

    def _checkpoint(self) -> None:
        random = self.processes.gather(random_state())
        state = {
            "position": asdict(self._at),
            "model": self.model.state_dict(),
            "weights_format": FORMAT,
            "step": self.step.state_dict(),
            "ema": self._ema.state_dict() if self._ema else None,
            "random": random[0],
            "random_of_others": random[1:],
            "log_size": self._log.size if self._log else 0,
            "fingerprint": self._fingerprint(),
        }
        self._save(self._last, state)

    def _finish(self) -> dict[str, Any]:
        """Put the selected weights on the model and sum the training up."""
        at = self._at
        summary: dict[str, Any] = {"epochs": at.epoch, "steps": at.total_steps, "selected_epoch": at.epoch}
        if at.best_epoch >= 0:
            summary |= {"validation_mAP": at.best, "best_epoch": at.best_epoch}
        if self.settings.select == "best" and at.best_epoch >= 0:
            self.model.load_state_dict(load_state(self._best)["model"])
            summary["selected_epoch"] = at.best_epoch
        elif self._ema:
            self.model.load_state_dict(self._ema.average)
        self.model.eval()
        return summary


def _changes(before: Any, now: Any, place: str = "") -> list[str]:
    """What differs between two plain values, a text for each key."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [*before, *(key for key in now if key not in before)]
        inner = [(f"{place}.{key}".lstrip("."), before.get(key), now.get(key)) for key in keys]
        return [text for name, old, new in inner for text in _changes(old, new, name)]
    return [] if before == now else [f"{place} was {json.dumps(before)}, is {json.dumps(now)}"]


@contextmanager
def _stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Ctrl-C, or SIGTERM as schedulers of clusters send it, asks the loop to stop after the step in hand; a second
    one stops at once."""
    asked = False

    def ask(number: int, frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    try:
        before = {each: signal.signal(each, ask) for each in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # only the main thread may handle signals; elsewhere nobody presses Ctrl-C
        yield lambda: False
        return
    try:
        yield lambda: asked
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def fit(*parts: Any, resume: bool = False, **more: Any) -> dict[str, Any]:
    """The old way to say ``Training(...).fit(resume=...)``; it goes with the next release."""
    warnings.warn("fit(...) is Training(...).fit() now; the old name goes with the next release", DeprecationWarning, 2)
    if "watcher" in more:
        more["callbacks"] = more.pop("watcher")
    return Training(*parts, **more).fit(resume=resume)


__getattr__ = renamed(__name__, {"Watcher": "Callbacks"})
