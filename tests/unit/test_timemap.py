"""Steps and seconds of a window."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from untrimmed.errors import InputError
from untrimmed.timemap import ORIGINAL, UPSCALED, Piece, TimeMap

STITCHED = TimeMap((Piece(0, 10, 5.0, 15.0, ORIGINAL), Piece(12, 42, 5.0, 15.0, UPSCALED)))

POSITIVE = st.floats(0.01, 100)


@st.composite
def maps(draw: st.DrawFn) -> TimeMap:
    """One to three pieces, with and without gaps between them."""
    pieces, first = [], draw(st.floats(0, 10))
    for _ in range(draw(st.integers(1, 3))):
        last = first + draw(POSITIVE)
        start = draw(st.floats(-10, 1000))
        pieces.append(Piece(first, last, start, start + draw(POSITIVE), draw(st.sampled_from([1, 2]))))
        first = last + draw(st.just(0.0) | POSITIVE)
    return TimeMap(tuple(pieces))


@given(maps(), st.floats(0, 1))
def test_seconds_are_those_of_the_line_through_the_piece(time_map: TimeMap, share: float) -> None:
    for piece in time_map.pieces:
        step = piece.first + share * (piece.last - piece.first)
        width = (Fraction(piece.end) - Fraction(piece.start)) / (Fraction(piece.last) - Fraction(piece.first))
        exact = Fraction(piece.start) + (Fraction(step) - Fraction(piece.first)) * width
        assert float(piece.to_seconds(np.array(step))) == pytest.approx(float(exact), abs=1e-9)


@given(maps(), st.floats(0, 1, exclude_max=True))
def test_a_time_comes_back_from_the_step_that_shows_it(time_map: TimeMap, share: float) -> None:
    for index, piece in enumerate(time_map.pieces):
        step = piece.first + share * (piece.last - piece.first)
        if time_map.piece_at(step) != index:
            continue  # rounding put it on the edge
        seconds = float(time_map.to_seconds(step))
        assert piece.start <= seconds <= piece.end
        if seconds < piece.end:
            assert any(abs(found - step) < 1e-6 for found in time_map.to_steps(seconds))


@given(maps(), st.lists(st.tuples(st.floats(-20, 1200), st.floats(0, 300)), max_size=6), st.floats(0, 1))
def test_segments_lie_where_their_pieces_show_them(
    time_map: TimeMap, rows: list[tuple[float, float]], coverage: float
) -> None:
    segments = np.array([(start, start + length) for start, length in rows]).reshape(-1, 2)
    steps, sources, owners = time_map.segments_to_steps(segments, min_coverage=coverage)
    expected = [
        (owner, row)
        for owner, piece in enumerate(time_map.pieces)
        for row, (start, end) in enumerate(segments)
        if (shown := min(end, piece.end) - max(start, piece.start)) > 0 and shown >= coverage * (end - start)
    ]
    assert list(zip(owners.tolist(), sources.tolist(), strict=True)) == expected
    for (first, last), owner in zip(steps, owners, strict=True):
        assert time_map.pieces[owner].first <= first <= last <= time_map.pieces[owner].last
    unclipped, sources_again, _ = time_map.segments_to_steps(segments, min_coverage=coverage, clip=False)
    np.testing.assert_array_equal(sources_again, sources)
    for found, row, owner in zip(unclipped, sources, owners, strict=True):
        piece = time_map.pieces[owner]
        per_step = (piece.end - piece.start) / (piece.last - piece.first)
        np.testing.assert_allclose((found - piece.first) * per_step + piece.start, segments[row], atol=1e-6)


@given(maps(), st.lists(st.tuples(st.floats(-20, 400), st.floats(-5, 100)), max_size=6))
def test_detections_stay_inside_the_piece_of_their_centre(time_map: TimeMap, rows: list[tuple[float, float]]) -> None:
    segments = np.array([(start, start + length) for start, length in rows]).reshape(-1, 2)
    seconds, owners = time_map.segments_to_seconds(segments)
    np.testing.assert_array_equal(owners, time_map.piece_at(segments.mean(axis=1)))
    for (start, end), owner in zip(seconds, owners, strict=True):
        if owner < 0:
            assert math.isnan(start)
            assert math.isnan(end)
        else:
            assert time_map.pieces[owner].start <= start <= time_map.pieces[owner].end
            assert time_map.pieces[owner].start <= end <= time_map.pieces[owner].end


def test_a_stitched_window_shows_an_instance_twice_and_brings_both_back() -> None:
    steps, rows, owners = STITCHED.segments_to_steps([[6.0, 8.0]])
    assert steps.tolist() == [[1, 3], [15, 21]]
    assert rows.tolist() == [0, 0]
    assert owners.tolist() == [0, 1]
    seconds, _ = STITCHED.segments_to_seconds(steps)
    assert seconds.tolist() == [[6, 8], [6, 8]]


def test_the_centre_decides_the_piece_and_the_edge_clips() -> None:
    across = [[8.0, 14.0]]
    assert STITCHED.segments_to_seconds(across, [9.5])[0].tolist() == [[13.0, 15.0]]
    seconds, owner = STITCHED.segments_to_seconds(across, [13.0])
    assert seconds[0] == pytest.approx([5.0, 5.0 + 2 / 3])
    assert owner.tolist() == [1]
    in_the_gap, nobody = STITCHED.segments_to_seconds(across)
    assert np.isnan(in_the_gap).all()
    assert nobody.tolist() == [-1]


def test_a_detection_wholly_outside_its_piece_has_no_length() -> None:
    assert STITCHED.segments_to_seconds([[12.0, 20.0]], [9.0])[0].tolist() == [[15.0, 15.0]]


def test_steps_in_gaps_and_outside_have_no_time_but_the_last_edge_has() -> None:
    seconds = STITCHED.to_seconds([0, 5, 10, 11, 12, 42, 43, -1])
    expected = [5, 10, 15, np.nan, 5, 15, np.nan, np.nan]
    np.testing.assert_array_equal(seconds, expected)
    assert STITCHED.piece_at([0, 9.9, 10, 12, 42]).tolist() == [0, 0, -1, 1, -1]


def test_where_two_pieces_touch_the_edge_belongs_to_the_second() -> None:
    touching = TimeMap((Piece(0, 10, 0, 10), Piece(10, 20, 50, 60)))
    assert touching.to_seconds([10.0]).tolist() == [50.0]


def test_a_time_has_one_step_per_piece_that_holds_it() -> None:
    assert STITCHED.to_steps(6.0) == [1.0, 15.0]
    assert STITCHED.to_steps(15.0) == []
    assert STITCHED.to_steps(4.999) == []


def test_any_shape_goes_through() -> None:
    assert STITCHED.to_seconds(np.zeros((2, 3))).shape == (2, 3)
    assert STITCHED.to_seconds(3.0).shape == ()
    assert STITCHED.piece_at(np.zeros((0,))).shape == (0,)


def test_no_segments_give_none() -> None:
    steps, rows, owners = STITCHED.segments_to_steps([])
    assert (steps.shape, rows.shape, owners.shape) == ((0, 2), (0,), (0,))
    assert rows.dtype == owners.dtype == np.int64
    seconds, owner = STITCHED.segments_to_seconds(np.empty((0, 2)))
    assert (seconds.shape, owner.shape) == ((0, 2), (0,))


def test_zero_length_and_reversed_segments_are_not_shown() -> None:
    assert len(STITCHED.segments_to_steps([[7.0, 7.0], [9.0, 6.0]])[0]) == 0


def test_coverage_is_of_the_whole_segment() -> None:
    half_seen = [[13.0, 17.0]]
    assert STITCHED.segments_to_steps(half_seen, min_coverage=0.5)[0].tolist() == [[8, 10], [36, 42]]
    assert len(STITCHED.segments_to_steps(half_seen, min_coverage=0.51)[0]) == 0
    assert len(STITCHED.segments_to_steps([[5.0, 15.0]], min_coverage=1.0)[0]) == 2


def test_linear_is_one_piece() -> None:
    time_map = TimeMap.linear(100, 2.0, 52.0, first=10)
    assert time_map.pieces == (Piece(10, 110, 2.0, 52.0, ORIGINAL),)
    assert time_map.to_seconds([10, 60, 110]).tolist() == [2, 27, 52]
    assert time_map.pieces[0].seconds_per_step == 0.5


@given(maps(), st.floats(0, 1))
def test_no_rounding_leads_out_of_a_piece(time_map: TimeMap, share: float) -> None:
    for piece in time_map.pieces:
        assert float(piece.to_seconds(np.array(piece.last))) == piece.end
        assert float(piece.to_steps(np.array(piece.end))) == piece.last
        inside = piece.start + share * (piece.end - piece.start)
        assert piece.first <= float(piece.to_steps(np.array(inside))) <= piece.last


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0, math.nan, 0, 1), "must be finite"),
        ((0, 1, -math.inf, 1), "must be finite"),
        ((0, 0, 0, 1), r"steps \[0, 0\) .* length above 0"),
        ((2, 1, 0, 1), "length above 0"),
        ((0, 1, 3, 3), r"seconds \[3, 3\) .* length above 0"),
        ((-1, 1, 0, 1), "begin at 0 or later"),
        ((0, 1, 0, 1, 0), "clip is 0, expected 1"),
        ((0, 1, 0, 1, 3), "clip is 3"),
    ],
)
def test_a_piece_without_meaning_is_refused(values: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Piece(*values)


def test_a_map_without_pieces_or_with_overlapping_ones_is_refused() -> None:
    with pytest.raises(InputError, match="needs at least one piece"):
        TimeMap(())
    with pytest.raises(InputError, match=r"steps \[5, 15\) begin before \[0, 10\) end"):
        TimeMap((Piece(0, 10, 0, 10), Piece(5, 15, 0, 10)))


def test_wrong_shapes_are_shown() -> None:
    with pytest.raises(InputError, match=r"table.shape = \(3,\), expected \(N, 2\)"):
        STITCHED.segments_to_steps([1.0, 2.0, 3.0])
    with pytest.raises(InputError, match=r"middle.shape = \(2,\), expected \(1,\), one centre per segment"):
        STITCHED.segments_to_seconds([[1.0, 2.0]], [1.0, 2.0])
