"""A fixed number of segments: which snippet each shows, and that times are kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from untrimmed.data.load_window import load_window
from untrimmed.data.segments import Segments, sampled
from untrimmed.data.windows import Part
from untrimmed.errors import InputError
from untrimmed.formats.features import ArrayFeatures
from untrimmed.grid import SnippetGrid
from untrimmed.types import Instances, Video

GRID = SnippetGrid(fps=10, stride=5, window=5)  # step i is [i / 2, (i + 1) / 2) s


def video(*segments: tuple[float, float]) -> Video:
    return Video("v", instances=Instances(list(segments), ("run",) * len(segments)))


def picks(length: int, steps: int, seed: int | None = None) -> list[int]:
    rng = None if seed is None else np.random.default_rng(seed)
    (window,) = sampled(video(), length, GRID, steps, rng)
    (part,) = window.parts
    assert part.picks is not None
    return list(part.picks)


def test_by_hand() -> None:
    assert picks(10, 10) == list(range(10))
    assert picks(9, 3) == [1, 4, 7]
    assert picks(10, 3) == [1, 5, 8]  # middles 1.67, 5, 8.33
    assert picks(2, 5) == [0, 0, 1, 1, 1]  # middles 0.2, 0.6, 1, 1.4, 1.8
    assert picks(1, 4) == [0, 0, 0, 0]
    assert sampled(video(), 0, GRID, 4) == []


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 3))
def test_every_snippet_shown_lies_in_its_bin(length: int, steps: int, seed: int) -> None:
    for found in (picks(length, steps), picks(length, steps, seed)):
        bins = np.arange(steps + 1) * (length / steps)
        shown = np.array(found)
        assert (np.diff(shown) >= 0).all()
        assert (shown + 1 > bins[:-1] - 1e-9).all()
        assert (shown < bins[1:] + 1e-9).all()
        assert shown.max() < length


def test_training_draws_anew_and_reaches_every_snippet() -> None:
    seen = {snippet for seed in range(60) for snippet in picks(12, 3, seed)}
    assert seen == set(range(12))
    assert picks(12, 3, 1) == picks(12, 3, 1) != picks(12, 3, 2)


def test_times_and_targets() -> None:
    (window,) = sampled(video((1, 3), (40, 50)), 100, GRID, 20, np.random.default_rng(0))
    assert window.length == 20
    assert window.segments.tolist() == [[0.4, 1.2], [16, 20]]
    assert window.map.to_seconds(10) == 25


def test_rows_are_copied_not_mixed() -> None:
    rows = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    (window,) = sampled(video(), 30, GRID, 7, np.random.default_rng(1))
    sample = load_window(window, ArrayFeatures({"v": rows}, GRID))
    assert window.parts[0].picks is not None
    assert np.array_equal(sample.features.numpy().T, rows[list(window.parts[0].picks)])
    assert sample.clip.tolist() == [1] * 7


def test_a_part_picks_from_its_own_snippets() -> None:
    rows = np.arange(20, dtype=np.float32)[:, None]
    part = Part(5, 9, 0, 3, picks=(5, 8, 8))
    assert (part.stop, rows[list(part.picks or ())].ravel().tolist()) == (3, [5, 8, 8])
    for wrong in ((5, 8), (4, 5, 6), (5, 6, 9)):
        with pytest.raises(InputError, match="expected one a step"):
            Part(5, 9, 0, 3, picks=wrong)


def test_inference_may_keep_the_length_of_short_videos() -> None:
    rng = np.random.default_rng(0)
    lengths = {n: Segments(length=40, least=10).inference(video(), n, GRID, rng)[0].length for n in (3, 10, 25, 90)}
    assert lengths == {3: 10, 10: 10, 25: 25, 90: 40}
    assert Segments(length=40).inference(video(), 3, GRID)[0].length == 40
    assert Segments(length=40, least=10).training(video(), 3, GRID, rng)[0].length == 40
    with pytest.raises(ValidationError, match="at most length"):
        Segments(length=4, least=5)


def test_inference_may_have_another_limit_than_training() -> None:
    plan = Segments(length=40, least=2, most=20)
    lengths = {n: plan.inference(video(), n, GRID)[0].length for n in (1, 2, 15, 30, 90)}
    assert lengths == {1: 2, 2: 2, 15: 15, 30: 20, 90: 20}
    assert plan.training(video(), 30, GRID, np.random.default_rng(0))[0].length == 40
    with pytest.raises(ValidationError, match="at most most = 4"):
        Segments(length=9, least=5, most=4)
    with pytest.raises(ValidationError, match="without `least`"):
        Segments(length=9, most=4)


def test_inference_may_take_the_snippet_at_the_left_edge_of_a_bin() -> None:
    for n, expected in ((10, [0, 3, 6]), (3, [0, 1, 2]), (2, [0, 0, 1])):  # edges 0, 3.3, 6.7 and 0, 0.7, 1.3
        ((part,),) = (window.parts for window in Segments(length=3, pick="left").inference(video(), n, GRID))
        assert list(part.picks or ()) == expected
