"""Windows: where they lie, what they show, and that nothing of a video is left out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from untrimmed.data.windows import Part, make_window, rescaled, sliding, starts, whole
from untrimmed.errors import InputError
from untrimmed.grid import SnippetGrid
from untrimmed.timemap import ORIGINAL, UPSCALED, Piece
from untrimmed.types import Instances, Video

GRID = SnippetGrid(fps=10, stride=5, window=5)  # step i is [i / 2, (i + 1) / 2) s


def video(*segments: tuple[float, float]) -> Video:
    return Video("v", instances=Instances(list(segments), ("run",) * len(segments)))


@given(st.integers(1, 400), st.integers(1, 100), st.integers(1, 100))
def test_windows_are_whole_begin_at_the_start_and_end_with_the_video(length: int, window: int, stride: int) -> None:
    found = starts(length, window, stride)
    if length <= window:
        assert found == [0]
        return
    assert found[0] == 0
    assert found[-1] == length - window
    steps = np.diff(found)
    assert (steps[:-1] == stride).all()
    assert 0 < steps[-1] <= stride
    if stride <= window:
        seen = np.zeros(length, dtype=bool)
        for start in found:
            seen[start : start + window] = True
        assert seen.all()


def test_starts_by_hand() -> None:
    assert starts(10, 4, 2) == [0, 2, 4, 6]
    assert starts(11, 4, 2) == [0, 2, 4, 6, 7]
    assert starts(8, 4, 4) == [0, 4]
    assert starts(9, 4, 4) == [0, 4, 5]
    assert starts(4, 4, 1) == starts(0, 4, 1) == [0]


def test_the_whole_video_is_one_window_and_keeps_what_lies_half_outside() -> None:
    (window,) = whole(video((1, 2), (9, 30), (40, 50)), 20, GRID)
    assert (window.length, window.parts) == (20, (Part(0, 20, 0, 20),))
    assert window.segments.tolist() == [[2, 4], [18, 20]]
    assert window.rows.tolist() == [0, 1]
    assert window.clip.tolist() == [ORIGINAL] * 20
    assert window.map.pieces == (Piece(0, 20, 0.0, 10.0),)


def test_a_rescaled_video_has_its_own_slope() -> None:
    (window,) = rescaled(video((1, 2)), 20, GRID, steps=100)
    assert window.length == 100
    assert window.segments.tolist() == [[10, 20]]
    assert window.map.to_seconds([50.0]).tolist() == [5.0]


def test_a_video_without_snippets_has_no_windows() -> None:
    empty = video()
    assert whole(empty, 0, GRID) == rescaled(empty, 0, GRID, 10) == sliding(empty, 0, GRID, 10, 5) == []


def test_sliding_windows_keep_instances_by_coverage() -> None:
    clip = video((4, 6))  # steps 8 to 12
    half = sliding(clip, 20, GRID, steps=10, stride=5, coverage=0.5)
    assert [window.parts[0].source_start for window in half] == [0, 5, 10]
    assert [window.segments.tolist() for window in half] == [[[8, 10]], [[3, 7]], [[0, 2]]]
    full = sliding(clip, 20, GRID, steps=10, stride=5, coverage=1.0)
    assert [window.segments.tolist() for window in full] == [[], [[3, 7]], []]
    without = sliding(clip, 20, GRID, steps=10, stride=5, coverage=1.0, keep_empty=False)
    assert [window.parts[0].source_start for window in without] == [5]


def test_whole_targets_reach_past_their_window() -> None:
    clip = video((4, 6), (1, 9))  # steps 8 to 12 and 2 to 18
    windows = sliding(clip, 20, GRID, steps=10, stride=5, coverage=0.0, whole_targets=True)
    assert [window.segments.tolist() for window in windows] == [
        [[8, 12], [2, 18]],
        [[3, 7], [-3, 13]],
        [[-2, 2], [-8, 8]],
    ]
    by_coverage = sliding(clip, 20, GRID, steps=10, stride=5, coverage=0.6, whole_targets=True)
    assert [window.rows.tolist() for window in by_coverage] == [[], [0, 1], []]


def test_a_window_that_only_touches_an_instance_does_not_show_it() -> None:
    grid = SnippetGrid(fps=30, stride=3, window=3)  # tenths of a second, which no float is
    clip = video((0.1, 0.3), (0.6, 0.7))
    for start in range(8):
        window = make_window(clip, 20, grid, 4, [Part(start, start + 4, 0, 4)])
        shown = [row for row, (first, last) in enumerate(((1, 3), (6, 7))) if first < start + 4 and last > start]
        assert window.rows.tolist() == shown


def test_a_video_shorter_than_a_window_is_padded() -> None:
    (window,) = sliding(video((1, 2)), 6, GRID, steps=10, stride=5)
    assert window.length == 10
    assert window.clip.tolist() == [1] * 6 + [0] * 4
    assert window.map.pieces == (Piece(0, 6, 0.0, 3.0),)


def test_what_the_features_do_not_show_is_not_missing() -> None:
    (window,) = sliding(video((2, 99)), 6, GRID, steps=10, stride=5, coverage=1.0)
    assert window.segments.tolist() == [[4, 6]]


@given(st.integers(1, 300), st.lists(st.tuples(st.floats(0, 100), st.floats(0.1, 30)), max_size=5))
def test_full_coverage_means_wholly_inside_to_rounding(length: int, rows: list[tuple[float, float]]) -> None:
    grid = SnippetGrid(fps="30000/1001", stride=7, window=16)
    clip = video(*((start, start + span) for start, span in rows))
    for window in sliding(clip, length, grid, steps=50, stride=20, coverage=1.0):
        for (first, last), row in zip(window.segments, window.rows, strict=True):
            start, end = clip.instances.segments[row]
            begin, stop = grid.steps_to_seconds(0), grid.steps_to_seconds(length)
            seconds = window.map.to_seconds([first, last])
            assert seconds == pytest.approx([max(start, begin), min(end, stop)], abs=1e-4)


def test_an_instance_is_a_target_in_every_part_that_shows_it() -> None:
    parts = [Part(4, 8, 0, 4), Part(4, 8, 6, 14, UPSCALED)]
    window = make_window(video((2.5, 3.5)), 20, GRID, 20, parts)
    assert window.rows.tolist() == [0, 0]
    assert window.segments.tolist() == [[1, 3], [9.5, 16.5]]
    assert window.clip.tolist() == [1] * 4 + [0] * 2 + [2] * 14


@pytest.mark.parametrize("values", [(3, 3, 0, 1), (-1, 3, 0, 1), (0, 3, -1, 1), (0, 3, 0, 0), (5, 3, 0, 2)])
def test_a_part_without_meaning_is_refused(values: tuple[int, int, int, int]) -> None:
    with pytest.raises(InputError, match="must begin at 0 or later and have a length above 0"):
        Part(*values)


@pytest.mark.parametrize("part", [Part(0, 21, 0, 10), Part(0, 10, 5, 10)])
def test_a_part_must_fit_video_and_window(part: Part) -> None:
    with pytest.raises(InputError, match=r"video v: a part of snippets .* does not fit 20 snippets and 10 steps"):
        make_window(video(), 20, GRID, 10, [part])
