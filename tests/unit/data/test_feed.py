"""The feed: every window once an epoch, from any step on, whoever asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from untrimmed.data.batch import Batch
from untrimmed.data.dataset import LocalizationDataset
from untrimmed.data.feed import WindowFeed
from untrimmed.data.settings import WholeVideo
from untrimmed.errors import InputError
from untrimmed.formats.features import ArrayFeatures
from untrimmed.grid import SnippetGrid
from untrimmed.types import Annotations, Video

GRID = SnippetGrid(fps=1, stride=1, window=1)


def numbered(count: int) -> LocalizationDataset:
    """One window a video, whose only feature is its number."""
    arrays = {str(number): np.full((2, 1), float(number)) for number in range(count)}
    truth = Annotations.of(Video(name) for name in arrays)
    return LocalizationDataset(truth, ArrayFeatures(arrays, GRID), WholeVideo().training, (), seed=3)


def numbers(steps: Sequence[Sequence[Batch]]) -> list[list[list[int]]]:
    return [[[int(value) for value in batch.features[:, 0, 0]] for batch in step] for step in steps]


def all_steps(feed: WindowFeed, epoch: int, first: int = 0) -> list[list[list[int]]]:
    return numbers(list(feed.batches(epoch, first)))


def test_every_window_comes_once_in_another_order_each_epoch() -> None:
    feed = WindowFeed(numbered(11), 4)
    epochs = [[number for step in all_steps(feed, epoch) for batch in step for number in batch] for epoch in (0, 1)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(11))
    assert epochs[0] != epochs[1]
    assert [len(step[0]) for step in all_steps(feed, 0)] == [4, 4, 3]
    assert feed.steps(0) == 3


def test_it_goes_on_from_any_step_as_if_it_had_never_stopped() -> None:
    for workers in (0, 2):
        feed = WindowFeed(numbered(23), 2, accumulate=2, workers=workers)
        whole = all_steps(feed, 4)
        for first in range(len(whole) + 1):
            assert all_steps(WindowFeed(numbered(23), 2, accumulate=2, workers=workers), 4, first) == whole[first:]


def test_threads_change_nothing_and_may_be_left_early() -> None:
    plain, ahead = WindowFeed(numbered(23), 4), WindowFeed(numbered(23), 4, workers=3)
    assert all_steps(plain, 2) == all_steps(ahead, 2)
    started = iter(ahead.batches(2))
    assert numbers([next(started)]) == all_steps(plain, 2)[:1]
    del started


def test_an_error_in_a_thread_comes_out() -> None:
    class Broken(ArrayFeatures):
        def window(self, video_id: str, start: int, stop: int) -> Any:
            raise InputError(f"video '{video_id}' is broken")

    data = numbered(4)
    data.features = Broken({str(number): np.zeros((2, 1)) for number in range(4)}, GRID)
    with pytest.raises(InputError, match="is broken"):
        list(WindowFeed(data, 2, workers=2).batches(0))


@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 3), st.integers(1, 4))
def test_several_processes_share_the_steps_of_one(count: int, size: int, accumulate: int, world: int) -> None:
    data = numbered(count)
    feeds = [WindowFeed(data, size, accumulate=accumulate, rank=rank, world=world) for rank in range(world)]
    alone = WindowFeed(data, size * accumulate * world)
    steps = [all_steps(feed, 1) for feed in feeds]
    assert len({len(each) for each in steps}) == 1
    assert {feed.steps(1) for feed in feeds} == {len(steps[0])}
    together = [
        sorted(number for step in one for batch in step for number in batch) for one in zip(*steps, strict=True)
    ]
    expected = [sorted(step[0]) for step in all_steps(alone, 1)]
    whole = count // world * world
    assert together[:-1] == expected[: len(together)][:-1]
    # Of the last step each takes as many as the others, so that all make the same forward passes.
    assert all(set(mine) <= set(theirs) for mine, theirs in zip(together, expected, strict=False))
    assert sum(map(len, together)) == whole
    for shares in zip(*steps, strict=True):
        assert len({tuple(len(batch) for batch in share) for share in shares}) == 1
    for each in steps:
        assert all(step and all(0 < len(batch) <= size for batch in step) for step in each)


def test_without_shuffling_windows_come_as_they_are() -> None:
    assert all_steps(WindowFeed(numbered(5), 2, shuffle=False), 9) == [[[0, 1]], [[2, 3]], [[4]]]


def test_another_seed_is_another_order() -> None:
    data = numbered(30)
    assert all_steps(WindowFeed(data, 30), 0) == all_steps(WindowFeed(data, 30, seed=3), 0)
    assert all_steps(WindowFeed(data, 30), 0) != all_steps(WindowFeed(data, 30, seed=4), 0)


def test_fewer_windows_than_processes_are_no_step() -> None:
    assert WindowFeed(numbered(2), 1, rank=0, world=3).steps(0) == 0
    assert list(WindowFeed(numbered(2), 1, rank=0, world=3).batches(0)) == []


def test_lengths_are_rounded_up_for_the_pyramid() -> None:
    (step,) = WindowFeed(numbered(3), 3, multiple=8).batches(0)
    assert step[0].features.shape == (3, 1, 8)


def test_the_order_uses_no_global_state() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    all_steps(WindowFeed(numbered(9), 2), 0)
    assert torch.get_rng_state().equal(before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0, expected at least 1"),
        ({"accumulate": 0}, "accumulate is 0, expected at least 1"),
        ({"workers": -1}, "workers is -1, expected at least 0"),
        ({"world": 0}, "world is 0"),
        ({"rank": 2, "world": 2}, r"rank is 2, expected 0\.\.1"),
    ],
)
def test_settings_without_meaning_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        WindowFeed(numbered(2), **{"batch_size": 2, **options})
