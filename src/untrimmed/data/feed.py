"""The batches of a training: in random order, from any step on, for one process or several."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from untrimmed.data.batch import Batch, collate
from untrimmed.data.dataset import LocalizationDataset
from untrimmed.data.windows import Window
from untrimmed.errors import InputError


class WindowFeed:
    """The batches of a training, epoch by epoch and step by step, from any step on.

    A step takes ``batch_size * accumulate * world`` windows from a random order of the epoch's windows; each of the
    ``world`` processes gets every ``world``-th of them, in micro-batches of ``batch_size``. The last step of an epoch
    takes what is left, as many for each process as for the others, so that all make the same forward passes; fewer
    windows than processes are left out (none, if there is one process).

    Args:
        dataset: its windows.
        batch_size: windows in one forward pass.
        accumulate: forward passes in one step.
        seed: of the order; by default that of the data set.
        shuffle: False: windows come in the order of the data set.
        rank: number of this process, from 0.
        world: number of processes.
        workers: threads that prepare batches ahead; 0 prepares each when it is asked for. The batches are the same.
        multiple: as in :func:`~untrimmed.data.batch.collate`.
    """

    def __init__(
        self,
        dataset: LocalizationDataset,
        batch_size: int,
        *,
        accumulate: int = 1,
        seed: int | None = None,
        shuffle: bool = True,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        multiple: int = 1,
    ) -> None:
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("accumulate", accumulate, 1),
            ("world", world, 1),
            ("workers", workers, 0),
        ):
            if value < least:
                raise InputError(f"WindowFeed: {name} is {value}, expected at least {least}")
        if not 0 <= rank < world:
            raise InputError(f"WindowFeed: rank is {rank}, expected 0..{world - 1}")
        self.dataset, self.batch_size, self.multiple = dataset, batch_size, multiple
        self.seed, self.shuffle = dataset.seed if seed is None else seed, shuffle
        self.rank, self.world, self.workers = rank, world, workers
        self._step_size = batch_size * accumulate * world

    def steps(self, epoch: int) -> int:
        """Number of steps of an epoch."""
        whole, left = divmod(len(self.dataset.windows(epoch)), self._step_size)
        return whole + (left >= self.world)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The numbers of the epoch's windows in the order they are trained on, over all processes."""
        count = len(self.dataset.windows(epoch))
        if not self.shuffle:
            return np.arange(count, dtype=np.int64)
        return np.random.default_rng([self.seed, epoch]).permutation(count).astype(np.int64)

    def batches(self, epoch: int, first_step: int = 0) -> Iterator[Sequence[Batch]]:
        """The micro-batches of each step of an epoch that this process takes, from ``first_step`` on."""
        order, windows = self.order(epoch), self.dataset.windows(epoch)
        whole = len(order) // self.world * self.world
        steps = (
            [windows[number] for number in order[begin : min(begin + self._step_size, whole)][self.rank :: self.world]]
            for begin in range(first_step * self._step_size, self.steps(epoch) * self._step_size, self._step_size)
        )
        return self._ahead(steps) if self.workers else map(self._step, steps)

    def _ahead(self, steps: Iterator[list[Window]]) -> Iterator[Sequence[Batch]]:
        """The steps in order, while threads prepare the next ones."""
        with ThreadPoolExecutor(self.workers, "batches") as pool:
            waiting: deque[Future[Sequence[Batch]]] = deque()
            try:
                waiting.extend(pool.submit(self._step, step) for step in islice(steps, self.workers + 1))
                while waiting:
                    ready = waiting.popleft().result()
                    waiting.extend(pool.submit(self._step, step) for step in islice(steps, 1))
                    yield ready
            finally:
                for future in waiting:
                    future.cancel()

    def _step(self, windows: list[Window]) -> Sequence[Batch]:
        samples = [self.dataset.sample(window) for window in windows]
        return [
            collate(samples[start : start + self.batch_size], self.multiple)
            for start in range(0, len(samples), self.batch_size)
        ]
