"""Snippets in batches with a thread that works ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from untrimmed.backbones.snippets import Look, ahead, middle, snippet_rows


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
