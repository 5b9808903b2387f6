"""How long work shows itself: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class TrainingBar:
    """Shows a training: the steps of the epoch, loss, steps a second, and the time left of the whole.

    Args:
        epochs: of the training.
        console: to show it on; the terminal's standard error by default.
    """

    def __init__(self, epochs: int, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.epochs = epochs
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task("training", total=None, rate="")
        self._first: tuple[float, int] | None = None
        self._done = 0
        self._before: dict[int, int] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def log(self, text: str) -> None:
        """A line above the bar."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def step(self, epoch: int, step: int, steps: int, values: dict[str, float]) -> None:
        """A step is done: ``step`` of ``steps`` in ``epoch``, counted from 0."""
        # Epochs differ a little in length; the whole is as long as if all were like this one.
        done = self._before.get(epoch, epoch * steps) + step
        if step == steps:
            self._before[epoch + 1] = done
        now = time.monotonic()
        if self._first is None:
            self._first = (now, done)
        rate = (done - self._first[1]) / (now - self._first[0]) if now > self._first[0] else 0.0
        self._progress.update(
            self._task,
            completed=done,
            total=done + (steps - step) + (self.epochs - epoch - 1) * steps,
            description=f"epoch {epoch + 1}/{self.epochs} loss {values['loss']:.4f}",
            rate=f"{rate:.2f} steps/s" if rate else "",
        )

    def epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        """An epoch is done, counted from 1."""
        shown = [f"loss {metrics['loss']:.4f}"] if "loss" in metrics else []
        shown += [f"validation mAP {metrics['mAP']:.4f}"] if "mAP" in metrics else []
        self.log(f"epoch {epoch}/{self.epochs}: {', '.join(shown)}")
