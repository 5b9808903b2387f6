"""Seconds, frames and snippets: exact fractions as the oracle."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from untrimmed.errors import InputError
from untrimmed.grid import SnippetGrid, exact_fps

RATES = st.sampled_from([Fraction(30000, 1001), Fraction(25), Fraction(24000, 1001), Fraction(5), Fraction(1, 3)])
GRIDS = st.builds(
    SnippetGrid, fps=RATES, stride=st.integers(1, 64), window=st.integers(1, 64), offset=st.integers(-32, 32)
)
SECONDS = st.decimals(0, 7200, places=3).map(float)


def step_of(grid: SnippetGrid, seconds: float) -> Fraction:
    """Straight from the definition: step i is centred on its snippet and one stride wide."""
    center_of_0 = Fraction(grid.offset) + Fraction(grid.window, 2)
    return (Fraction(str(seconds)) * grid.fps - center_of_0) / grid.stride + Fraction(1, 2)


@given(GRIDS, SECONDS)
def test_steps_and_seconds_are_those_of_the_definition(grid: SnippetGrid, seconds: float) -> None:
    exact = step_of(grid, seconds)
    assert grid.seconds_to_steps(seconds) == pytest.approx(float(exact), rel=1e-12, abs=1e-9)
    assert grid.steps_to_seconds(float(exact)) == pytest.approx(seconds, rel=1e-12, abs=1e-9)
    assert grid.step_at(seconds) == math.floor(exact)
    assert grid.step_at(seconds, "ceil") == math.ceil(exact)
    assert grid.step_at(seconds, "nearest") == math.floor(exact + Fraction(1, 2))


@given(GRIDS, st.integers(0, 10**6))
def test_a_step_is_centred_on_its_snippet(grid: SnippetGrid, step: int) -> None:
    first, stop = grid.snippet_frames(step)
    assert stop - first == grid.window
    middle_seconds = float(Fraction(first + stop, 2) / grid.fps)
    assert grid.steps_to_seconds(step + 0.5) == pytest.approx(middle_seconds, rel=1e-12, abs=1e-9)


@given(GRIDS, st.integers(0, 10**7))
def test_every_frame_is_found_again_by_its_own_time(grid: SnippetGrid, frame: int) -> None:
    seconds = grid.frame_to_seconds(frame)
    assert grid.frame_at(seconds, "nearest") == frame
    assert grid.frame_at(float(Fraction(2 * frame + 1, 2) / grid.fps)) == frame


@given(GRIDS.filter(lambda grid: grid.offset >= 0), st.integers(0, 2000))
def test_count_is_the_number_of_whole_snippets(grid: SnippetGrid, frames: int) -> None:
    whole = [step for step in range(2001) if grid.snippet_frames(step)[1] <= frames]
    assert grid.count(frames) == len(whole)


def test_count_with_a_negative_offset_counts_from_the_first_padded_snippet() -> None:
    assert SnippetGrid(25, 4, 8, offset=-4).count(8) == 2  # [-4, 4) and [0, 8)


def test_the_drawing_of_the_module() -> None:
    grid = SnippetGrid(fps=25, stride=4, window=8)
    assert grid.start_seconds == 2 / 25
    assert grid.seconds_per_step == 4 / 25
    assert grid.snippet_frames(2) == (8, 16)
    assert grid.count(16) == 3
    assert grid.step_at(5 / 25) == 0
    assert grid.step_at(6 / 25) == 1


def test_decimal_seconds_mean_the_decimal_number() -> None:
    grid = SnippetGrid(fps=10, stride=1, window=1)
    assert [grid.frame_at(seconds) for seconds in (0.1, 0.3, 0.7, 1.1)] == [1, 3, 7, 11]
    assert grid.frame_at(0.25) == 2
    assert grid.frame_at(0.25, "nearest") == 3
    assert grid.frame_at(0.21, "ceil") == 3
    assert grid.expected_count(1.1) == 11


def test_a_long_video_does_not_drift() -> None:
    grid = SnippetGrid(fps="30000/1001", stride=1, window=1)
    frame = 10 * 3600 * 30
    assert grid.frame_at(grid.frame_to_seconds(frame), "nearest") == frame
    assert grid.steps_to_seconds(frame) == pytest.approx(float(Fraction(frame) * 1001 / 30000), abs=1e-8)


def test_arrays_go_through() -> None:
    grid = SnippetGrid(fps=25, stride=4, window=8)
    steps: Any = np.array([0.0, 1.5, -2.0])
    expected = [grid.steps_to_seconds(float(step)) for step in steps]
    np.testing.assert_array_equal(grid.steps_to_seconds(steps), expected)
    tensor: Any = torch.from_numpy(steps)
    assert grid.steps_to_seconds(tensor).tolist() == expected  # type: ignore[attr-defined]
    np.testing.assert_allclose(grid.seconds_to_steps(grid.steps_to_seconds(steps)), steps, atol=1e-12)


@pytest.mark.parametrize(
    ("given_rate", "expected"),
    [
        (29.97, Fraction(30000, 1001)),
        ("29.97", Fraction(30000, 1001)),
        (23.976, Fraction(24000, 1001)),
        (59.94005994, Fraction(60000, 1001)),
        (np.float32(29.97), Fraction(30000, 1001)),
        ("30000/1001", Fraction(30000, 1001)),
        ("2997/100", Fraction(2997, 100)),
        (Fraction(2997, 100), Fraction(2997, 100)),
        (25, Fraction(25)),
        (25.0, Fraction(25)),
        (np.int64(25), Fraction(25)),
        (12.5, Fraction(25, 2)),
        (0.5, Fraction(1, 2)),
        (7.3, Fraction(73, 10)),
    ],
)
def test_frame_rates_are_what_was_meant(given_rate: Any, expected: Fraction) -> None:
    rate = exact_fps(given_rate)
    assert rate == expected
    assert type(rate.numerator) is int


@pytest.mark.parametrize("rate", [0.0001, "1e-6", Fraction(1, 10**6)])
def test_a_very_low_frame_rate_does_not_become_0(rate: Any) -> None:
    assert exact_fps(rate) == Fraction(rate)


@pytest.mark.parametrize("rate", [0, -25, 0.0, math.nan, math.inf, True, None, "fast", "1/0", "nan", [25], 1j])
def test_what_is_no_frame_rate_is_refused_by_name(rate: Any) -> None:
    with pytest.raises(InputError, match=r"frame rate is .*, expected a number of frames a second above 0"):
        exact_fps(rate)


@pytest.mark.parametrize("name", ["stride", "window", "offset"])
@pytest.mark.parametrize("value", [1.5, 4.0, "4", True, None])
def test_a_part_that_is_no_whole_number_is_named(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"SnippetGrid: {name} is .*, expected a whole number of frames"):
        SnippetGrid(**{"fps": 25, "stride": 4, "window": 8, "offset": 0, name: value})


@pytest.mark.parametrize("name", ["stride", "window"])
def test_a_part_below_1_is_named(name: str) -> None:
    with pytest.raises(InputError, match=f"SnippetGrid: {name} is 0, .* >= 1"):
        SnippetGrid(**{"fps": 25, "stride": 4, "window": 8, name: 0})  # type: ignore[arg-type]


def test_whole_numbers_of_numpy_become_plain_ones() -> None:
    grid = SnippetGrid(25, np.int64(4), np.int32(8), np.int16(-2))  # type: ignore[arg-type]
    assert (type(grid.stride), type(grid.window), type(grid.offset)) == (int, int, int)
    assert grid == SnippetGrid(25, 4, 8, -2)


@given(GRIDS)
def test_a_grid_comes_back_from_plain_values(grid: SnippetGrid) -> None:
    values = grid.to_dict()
    assert SnippetGrid.from_dict(values) == grid
    assert {type(value) for value in values.values()} == {str, int}


@given(st.fractions(min_value=Fraction(1, 10**9), max_value=1000))
def test_any_frame_rate_survives_its_own_text(rate: Fraction) -> None:
    assert SnippetGrid.from_dict(SnippetGrid(rate, 1, 1).to_dict()).fps == rate


def test_from_dict_names_a_key_that_is_unknown_or_missing() -> None:
    with pytest.raises(InputError, match="unknown key 'strid'; known are fps, stride, window, offset"):
        SnippetGrid.from_dict({"fps": 25, "strid": 4, "window": 8})
    with pytest.raises(InputError, match="key 'window' is missing"):
        SnippetGrid.from_dict({"fps": 25, "stride": 4})


@pytest.mark.parametrize("text", ["1e20000000", "inf", "nan", "-3", "0", "fast", "1e-20000000"])
def test_texts_that_are_no_usable_frame_rate_are_refused_at_once(text: str) -> None:
    with pytest.raises(InputError, match="frames a second above 0"):
        exact_fps(text)
