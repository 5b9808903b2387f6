"""Snippets in batches with a thread that works ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch

from untrimmed.backbones import make_backbone
from untrimmed.backbones.snippets import Look, ahead, batch_of, middle, snippet_rows
from untrimmed.errors import InputError


def looks(count: int) -> Iterator[Look]:
    for number in range(count):
        yield (np.full((1,), number),)


def first_and_last(snippets: Sequence[Sequence[Look]]) -> np.ndarray:
    return np.array([[each[0][0][0], each[-1][0][0]] for each in snippets], dtype=np.float32)


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_snippets_are_those_of_the_grid(batch: int) -> None:
    rows = [list(row) for row in snippet_rows(looks(12), first_and_last, window=4, stride=3, batch=batch)]
    assert rows == [[0, 3], [3, 6], [6, 9]]


def test_a_short_video_is_continued_with_its_last_look() -> None:
    assert [list(row) for row in snippet_rows(looks(2), first_and_last, window=4, stride=3, batch=2)] == [[0, 1]]
    assert list(snippet_rows(looks(0), first_and_last, window=4, stride=3, batch=2)) == []


@pytest.mark.parametrize(("most", "sizes"), [(3, [8, 4, 2, 2, 2, 2, 2, 2]), (1, [8, 4, 2, 1, 1, 1, 1, 1, 1, 1])])
def test_fewer_at_once_where_memory_does_not_suffice(most: int, sizes: list[int]) -> None:
    tried = []

    def network(snippets: Sequence[Sequence[Look]]) -> np.ndarray:
        tried.append(len(snippets))
        if len(snippets) > most:
            raise torch.OutOfMemoryError("too much")
        return first_and_last(snippets)

    rows = [list(row) for row in snippet_rows(looks(18), network, window=5, stride=1, batch=8)]
    assert rows == [[number, number + 4] for number in range(14)]
    assert tried[: len(sizes)] == sizes


def test_one_snippet_that_does_not_fit_is_an_error() -> None:
    def network(snippets: Sequence[Sequence[Look]]) -> np.ndarray:
        raise torch.OutOfMemoryError("too much")

    with pytest.raises(torch.OutOfMemoryError):
        list(snippet_rows(looks(8), network, window=2, stride=1, batch=4))


def test_a_batch_is_what_was_asked_for_or_suits_the_device() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert [batch_of(3, cpu, 8), batch_of(None, cpu, 8), batch_of(None, gpu, 8)] == [3, 8, 32]
    with pytest.raises(InputError, match="batch of 0 snippets"):
        make_backbone("motion", batch=0)


def test_the_thread_ends_with_the_iterator() -> None:
    before = threading.active_count()
    items = ahead(iter(range(10**9)), 4)
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    items.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_what_the_thread_raises_is_raised() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    items = ahead(failing())
    assert next(items) == 1
    with pytest.raises(ValueError, match="broken"):
        next(items)


def test_the_middle_of_an_image() -> None:
    image = np.arange(5 * 8).reshape(5, 8)
    np.testing.assert_array_equal(middle(image, 4), image[0:4, 2:6])
