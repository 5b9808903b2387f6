"""Video self-stitching against Algorithm 1, Eq. 1 and Table 2 of the paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from untrimmed.data.dataset import video_generator
from untrimmed.data.stitching import SelfStitching, stitched_parts, training_clips
from untrimmed.data.windows import Part, Window
from untrimmed.formats import read_annotations
from untrimmed.grid import SnippetGrid
from untrimmed.timemap import ORIGINAL, UPSCALED
from untrimmed.types import Instances, Video

GRID = SnippetGrid(fps=1, stride=1, window=1)  # a step is a second
SMALL = SelfStitching(length=100, short=0.4, gap=5)

Span = tuple[int, int]


class Chosen:
    """Stands in for a random generator: always the first, or always the last, of what may be drawn."""

    def __init__(self, last: bool) -> None:
        self.last = last

    def integers(self, low: int, high: int) -> int:
        return high - 1 if self.last else low


LEFT: Any = Chosen(last=True)  # the action lies at the left end of its clip, where nothing is in the way
RIGHT: Any = Chosen(last=False)


def video(*segments: tuple[float, float]) -> Video:
    return Video("v", instances=Instances(list(segments), ("run",) * len(segments)))


def printed_algorithm(actions: list[Span], clip: int) -> list[Span]:
    """Lines 4 to 20 of Algorithm 1 word by word, with delta1 = 0: what is repaired here."""
    found: list[Span] = []
    begin, end = 0, 0
    for i, (start, stop) in enumerate(sorted(actions), start=1):
        if i > 1 and stop <= end:
            continue
        if i > 1 and start < end:
            end = start
            found.append((begin, end))
        elif i > 1:
            found.append((begin, end))
        if stop - start < clip:
            delta = clip - (stop - start)
            begin, end = start, stop + delta
    return found


def test_the_printed_algorithm_loses_its_last_clip_and_repeats_a_stale_one() -> None:
    actions = [(10, 20), (30, 90), (120, 130)]
    assert printed_algorithm(actions, 40) == [(10, 30), (10, 30)]
    assert training_clips(actions, 0, 200, 40, LEFT) == [(10, 30), (120, 160)]


def test_a_single_action_gets_its_clip() -> None:
    assert printed_algorithm([(50, 60)], 40) == []
    assert training_clips([(50, 60)], 0, 200, 40, LEFT) == [(50, 90)]
    assert training_clips([(50, 60)], 0, 200, 40, RIGHT) == [(20, 60)]


def test_as_many_actions_as_fit_share_a_clip_and_the_end_spares_the_next() -> None:
    actions = [(10, 15), (20, 30), (45, 60), (61, 62)]
    assert training_clips(actions, 0, 200, 40, LEFT) == [(10, 45), (45, 85)]


def test_the_start_moves_inward_too() -> None:
    actions = [(30, 50), (60, 70)]
    # The second clip would begin at 70 - 40 = 30 and holds the first action whole; from 45 on it would cut it.
    assert training_clips(actions, 0, 200, 40, RIGHT) == [(10, 50), (30, 70)]

    class Middle:
        def integers(self, low: int, high: int) -> int:
            return 45 if high > 45 else low

    middle: Any = Middle()
    assert training_clips(actions, 0, 200, 40, middle)[1] == (50, 90)


def test_where_actions_overlap_the_clip_keeps_its_own_whole() -> None:
    assert training_clips([(10, 30), (25, 90)], 0, 200, 40, LEFT) == [(10, 30)]


def test_an_action_as_long_as_a_clip_fits_and_a_longer_one_gets_none() -> None:
    assert training_clips([(10, 50)], 0, 200, 40, LEFT) == [(10, 50)]
    assert training_clips([(10, 51)], 0, 200, 40, LEFT) == []


def test_actions_that_are_not_wholly_in_the_sequence_get_no_clip_but_are_not_cut() -> None:
    assert training_clips([(90, 110), (195, 205)], 100, 200, 40, LEFT) == []
    assert training_clips([(90, 110), (120, 125), (150, 300)], 100, 200, 40, RIGHT) == [(110, 150)]


def test_clips_stay_inside_the_sequence_at_full_length() -> None:
    assert training_clips([(195, 200)], 100, 200, 40, LEFT) == [(160, 200)]
    assert training_clips([(100, 105)], 100, 200, 40, RIGHT) == [(100, 140)]


def test_times_that_mean_the_edge_of_a_snippet_are_not_torn_by_rounding() -> None:
    assert training_clips([(10 - 1e-12, 50 + 1e-12)], 0, 200, 40, LEFT) == [(10, 50)]
    assert training_clips([(-1e-13, 5)], 0, 200, 40, LEFT) == [(0, 40)]


@given(
    st.lists(st.tuples(st.floats(0, 190), st.floats(0.1, 60)), max_size=8),
    st.integers(0, 2**32),
    st.integers(0, 60),
)
def test_every_short_action_is_whole_in_a_clip_and_no_clip_cuts_without_need(
    rows: list[tuple[float, float]], seed: int, start: int
) -> None:
    stop, clip = start + 100, 40
    actions = [(first, first + length) for first, length in rows]
    spans = [(int(np.floor(first + 1e-7)), int(np.ceil(last - 1e-7))) for first, last in actions]
    clips = training_clips(actions, start, stop, clip, np.random.default_rng(seed))
    for begin, end in clips:
        assert start <= begin < end <= stop
        assert end - begin <= clip
        kept = [span for span in spans if begin <= span[0] and span[1] <= end]
        assert kept
        for edge in (begin, end):
            for cut in spans:
                if cut[0] < edge < cut[1]:
                    assert any(cut[0] < span[1] and span[0] < cut[1] for span in kept), (cut, kept)
    for first, last in spans:
        if start <= first and last <= stop and last - first <= clip:
            assert any(begin <= first and last <= end for begin, end in clips)


def test_offsets_are_spread_over_all_that_is_possible() -> None:
    begins = {training_clips([(90, 100)], 0, 200, 40, np.random.default_rng(seed))[0][0] for seed in range(400)}
    assert begins == set(range(60, 91))


def test_eq_1_by_hand() -> None:
    assert stitched_parts(20, 50, 100, 5) == [Part(20, 50, 0, 30), Part(20, 50, 35, 65, UPSCALED)]
    assert stitched_parts(20, 50, 100, 0) == [Part(20, 50, 0, 30), Part(20, 50, 30, 70, UPSCALED)]
    assert stitched_parts(20, 50, 100, 5, "upscale") == [Part(20, 50, 0, 100)]
    assert stitched_parts(20, 50, 100, 5, "none") == [Part(20, 50, 0, 30)]


def cuts(windows: list[Window]) -> list[Span]:
    return [(window.parts[0].source_start, window.parts[0].source_stop) for window in windows]


def shapes(windows: list[Window]) -> list[list[int]]:
    return [[part.steps for part in window.parts] for window in windows]


def test_a_short_video_is_stitched_whole_in_training_and_in_inference() -> None:
    for cut in (SMALL.training, SMALL.inference):
        (window,) = cut(video((3, 6)), 30, GRID, np.random.default_rng(0))
        assert window.parts == (Part(0, 30, 0, 30), Part(0, 30, 35, 65, UPSCALED))
        assert window.length == 100
        assert window.rows.tolist() == [0, 0]
        np.testing.assert_allclose(window.segments, [[3, 6], [41.5, 48]])


def test_a_long_video_is_used_whole_and_cut_in_training() -> None:
    windows = SMALL.training(video((10, 20), (60, 75)), 80, GRID, LEFT)
    assert cuts(windows) == [(0, 80), (10, 50), (40, 80)]
    assert shapes(windows) == [[80], [40, 55], [40, 55]]
    assert [window.rows.tolist() for window in windows] == [[0, 1], [0, 0], [1, 1]]
    assert {window.length for window in windows} == {100}
    assert windows[0].clip.tolist() == [ORIGINAL] * 80 + [0] * 20


def test_a_video_longer_than_the_input_gives_sequences_every_quarter() -> None:
    windows = SMALL.training(video((30, 35), (105, 140)), 160, GRID, LEFT)
    # The sequence [0, 100) shows only the first action whole, [50, 150) and [60, 160) only the second.
    assert cuts(windows) == [
        *[(0, 100), (30, 70)],
        *[(25, 125), (30, 70)],
        *[(50, 150), (105, 145)],
        *[(60, 160), (105, 145)],
    ]


def test_windows_without_an_action_are_trained_on_only_if_asked_for() -> None:
    nothing = video()
    keep = SelfStitching(length=100, short=0.4, gap=5, keep_empty=True)
    assert SMALL.training(nothing, 30, GRID, LEFT) == SMALL.training(nothing, 160, GRID, LEFT) == []
    assert cuts(keep.training(nothing, 30, GRID, LEFT)) == [(0, 30)]
    assert cuts(keep.training(nothing, 160, GRID, LEFT)) == [(0, 100), (25, 125), (50, 150), (60, 160)]


def test_inference_uses_the_whole_video_and_tiles_it_without_a_sliver() -> None:
    windows = SMALL.inference(video(), 95, GRID)
    assert cuts(windows) == [(0, 95), (0, 40), (40, 80), (55, 95)]
    assert shapes(windows) == [[95], [40, 55], [40, 55], [40, 55]]
    windows = SMALL.inference(video(), 160, GRID)
    assert cuts(windows)[:4] == [(0, 100), (25, 125), (50, 150), (60, 160)]
    assert cuts(windows)[4:] == [(0, 40), (40, 80), (80, 120), (120, 160)]
    overlapping = SelfStitching(length=100, short=0.4, gap=5, clip_stride=20, stride=100)
    assert cuts(overlapping.inference(video(), 100, GRID)) == [(0, 100), (0, 40), (20, 60), (40, 80), (60, 100)]


def test_a_video_without_snippets_has_no_windows() -> None:
    assert SMALL.inference(video(), 0, GRID) == SMALL.training(video((0, 1)), 0, GRID, LEFT) == []


def test_up_scaling_alone_replaces_short_clips_only() -> None:
    only = SelfStitching(length=100, short=0.4, gap=5, mode="upscale")
    windows = only.training(video((10, 20)), 80, GRID, LEFT)
    assert shapes(windows) == [[80], [100]]
    assert windows[1].parts == (Part(10, 50, 0, 100, ORIGINAL),)
    assert windows[1].segments.tolist() == [[0, 25]]
    assert shapes(only.inference(video(), 30, GRID)) == [[100]]


def test_without_self_stitching_there_are_only_the_videos_as_they_are() -> None:
    plain = SelfStitching(length=100, short=0.4, mode="none")
    assert shapes(plain.training(video((10, 20)), 30, GRID, LEFT)) == [[30]]
    assert shapes(plain.training(video((10, 20)), 80, GRID, LEFT)) == [[80]]
    assert shapes(plain.inference(video(), 160, GRID)) == [[100]] * 4


def test_no_gap_leaves_no_step_without_clip() -> None:
    close = SelfStitching(length=100, short=0.4, gap=0)
    (window,) = close.training(video((10, 20)), 30, GRID, LEFT)
    assert window.clip.tolist() == [1] * 30 + [2] * 70


def test_the_defaults_are_the_papers() -> None:
    paper = SelfStitching()
    assert (paper.length, paper.short, paper.gap, paper.clip, paper.mode) == (1280, 0.4, 30, 512, "stitch")


@pytest.mark.parametrize(("length", "short", "clip"), [(100, 0.29, 29), (10, 0.3, 3), (1280, 0.4, 512), (7, 0.5, 3)])
def test_gamma_l_is_not_lost_to_rounding(length: int, short: float, clip: int) -> None:
    assert SelfStitching(length=length, short=short, gap=1).clip == clip


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"length": 2, "short": 0.4}, "not one snippet"),
        ({"length": 100, "short": 0.8, "gap": 20}, "leave nothing of 100 steps for the up-scaled clip"),
        ({"short": 1.0}, "less than 1"),
        ({"gap": -1}, "greater than or equal to 0"),
        ({"mode": "twice"}, "'stitch', 'upscale' or 'none'"),
        ({"lenght": 5}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_make_no_window_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SelfStitching(**values)


def test_on_the_timeline_of_thumos14_every_window_has_a_target_and_every_short_instance_a_clip(
    shared_data: Path,
) -> None:
    truth = read_annotations(shared_data / "thumos14" / "annotations.json").subset("validation")
    grid = SnippetGrid(fps=30, stride=4, window=16)
    paper = SelfStitching()
    for clip in list(truth)[:60]:
        assert clip.duration is not None
        length = grid.expected_count(clip.duration)
        windows = paper.training(clip, length, grid, video_generator(0, 0, clip.id))
        seen_twice: set[int] = set()
        for window in windows:
            assert len(window.rows)
            assert window.length == 1280
            if len(window.parts) == 2:
                seen_twice |= set(window.rows.tolist())
        for row, (start, end) in enumerate(clip.instances.segments):
            steps = grid.seconds_to_steps(end) - grid.seconds_to_steps(start)
            if end > start and steps <= 500 and start > 1 and end < clip.duration - 1:
                assert row in seen_twice
