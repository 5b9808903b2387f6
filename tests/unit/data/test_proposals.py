"""Proposals of videos and of windows: cut, kept and padded as a slow loop says; refused where they cannot be meant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from untrimmed.data.batch import Batch, Proposals, Sample, Targets, collate
from untrimmed.data.dataset import LocalizationDataset
from untrimmed.data.load_window import load_window
from untrimmed.data.proposals import (
    MOST,
    ProposalSet,
    VideoProposals,
    checked,
    in_window,
    outside_features,
    seen_seconds,
)
from untrimmed.data.settings import RescaledVideo, SlidingWindows, WholeVideo
from untrimmed.data.stitching import SelfStitching
from untrimmed.errors import InputError
from untrimmed.formats.features import ArrayFeatures
from untrimmed.grid import SnippetGrid
from untrimmed.timemap import TimeMap
from untrimmed.types import Annotations, Detections, Instances, Video

GRID = SnippetGrid(4, 2, 2)  # two snippets a second, the first from 0
STEPS = 120
FEATURES = ArrayFeatures({"v": np.ones((STEPS, 3), np.float32)}, GRID)
VIDEO = Video("v", "training", 60.0, instances=Instances([[4, 12]], ("x",)))


def some(seed: int, count: int = 50) -> VideoProposals:
    rng = np.random.default_rng(seed)
    starts = rng.uniform(0, 58, count)
    ends = np.minimum(starts + rng.exponential(12, count) + 0.1, 60)
    return VideoProposals(np.stack([starts, ends], axis=1), np.sort(rng.random(count))[::-1].copy())


def slow_in_window(proposals: VideoProposals, time_map: TimeMap) -> list[tuple[float, float, float, int]]:
    """One proposal and piece at a time, in seconds, then by proportion in steps."""
    found = []
    for piece in time_map.pieces:
        for row, (start, end) in enumerate(proposals.segments.tolist()):
            low, high = max(start, piece.start), min(end, piece.end)
            if high <= low:
                continue
            mostly_shown = (high - low) / (end - start) >= 0.5
            fills = (high - low) / (piece.end - piece.start) >= 0.5
            if mostly_shown or fills:
                scale = (piece.last - piece.first) / (piece.end - piece.start)
                steps = [piece.first + (time - piece.start) * scale for time in (low, high)]
                found.append((*steps, float(proposals.scores[row]), row))
    return found


WINDOWINGS: list[Any] = [
    WholeVideo(),
    RescaledVideo(length=50),
    SlidingWindows(length=32, stride=16),
    SlidingWindows(length=32, stride=32),
    SelfStitching(length=64, short=0.4, gap=4),
]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("windowing", WINDOWINGS, ids=lambda each: f"{each.kind}{getattr(each, 'stride', '')}")
def test_what_a_window_has(windowing: Any, seed: int) -> None:
    proposals = some(seed)
    rng = np.random.default_rng(0)
    shown: set[int] = set()
    for window in windowing.inference(VIDEO, STEPS, GRID, rng):
        sample = load_window(window, FEATURES, proposals=proposals)
        assert sample.proposals is not None
        expected = slow_in_window(proposals, window.map)
        assert sample.proposals.rows.tolist() == [row for *_, row in expected]
        np.testing.assert_allclose(
            sample.proposals.segments, [each[:2] for each in expected] or np.empty((0, 2)), atol=1e-4
        )
        np.testing.assert_allclose(sample.proposals.scores, [each[2] for each in expected], atol=1e-6)
        shown |= set(sample.proposals.rows.tolist())
        if len(sample.proposals):
            assert sample.proposals.segments.min() >= 0
            assert sample.proposals.segments.max() <= window.length
            # Back in seconds they are the proposals, cut to what the window shows.
            seconds, _ = window.map.segments_to_seconds(sample.proposals.segments.double().numpy())
            whole = proposals.segments[sample.proposals.rows]
            assert (seconds[:, 0] >= whole[:, 0] - 1e-3).all()
            assert (seconds[:, 1] <= whole[:, 1] + 1e-3).all()
    assert shown == set(range(len(proposals)))


def test_half_is_enough_and_less_is_not() -> None:
    window = TimeMap.linear(10, 10.0, 20.0)
    proposals = VideoProposals(
        np.array([[5, 15], [4.9, 14.9], [0, 30], [0, 15], [0, 14.9], [20, 25], [12, 13], [0, 10]], dtype=float),
        np.ones(8),
    )
    assert in_window(proposals, window, (0.0, 60.0)).rows.tolist() == [0, 2, 3, 6]


def test_what_lies_outside_the_features_does_not_count_as_missing() -> None:
    window = TimeMap.linear(10, 0.0, 10.0)
    late = VideoProposals(np.array([[9.0, 12.0], [10.0, 12.0]]), np.ones(2))
    assert in_window(late, window, (0.0, 30.0)).rows.tolist() == []
    found = in_window(late, window, (0.0, 10.0))
    assert (found.rows.tolist(), found.segments.tolist()) == ([0], [[9, 10]])
    assert seen_seconds(FEATURES, "v") == (0.0, 60.0)
    beyond = VideoProposals(np.array([[59.0, 61.0], [60.0, 61.0]]), np.ones(2))
    assert outside_features(ProposalSet({"v": beyond}, "p"), FEATURES) == 1


def test_no_proposal_and_one() -> None:
    window = TimeMap.linear(10, 0.0, 10.0)
    assert len(in_window(VideoProposals.none(), window, (0.0, 10.0))) == 0
    assert in_window(VideoProposals(np.array([[1.0, 2.0]]), np.ones(1)), window, (0.0, 10.0)).segments.tolist() == [
        [1, 2]
    ]


def sample(proposals: Proposals | None, steps: int = 4) -> Sample:
    time_map = TimeMap.linear(steps, 0, steps)
    return Sample(
        torch.ones(2, steps), torch.ones(steps, dtype=torch.uint8), Targets.empty(), time_map, "v", None, proposals
    )


def of(*rows: tuple[float, float, float]) -> Proposals:
    table = torch.tensor(rows).reshape(-1, 3)
    return Proposals(table[:, :2], table[:, 2], torch.arange(len(rows)))


def test_a_batch_pads_and_masks() -> None:
    windows = [of((0, 1, 0.9), (1, 3, 0.5)), Proposals.empty(), of((2, 4, 0.7))]
    batch = collate([sample(each) for each in windows])
    given = batch.proposals
    assert given is not None
    assert given.mask.tolist() == [[True, True], [False, False], [True, False]]
    assert given.segments.shape == (3, 2, 2)
    assert given.rows.tolist() == [[0, 1], [-1, -1], [0, -1]]
    assert not given.segments[~given.mask].any()
    assert not given.scores[~given.mask].any()
    for number, each in enumerate(windows):
        again = given.of_window(number)
        assert again.segments.tolist() == each.segments.tolist()
        assert again.scores.tolist() == each.scores.tolist()
    moved = batch.to("meta").proposals
    assert moved is not None
    assert {moved.segments.device.type, moved.scores.device.type, moved.rows.device.type, moved.mask.device.type} == {
        "meta"
    }


def test_batches_without_any_proposal_and_without_proposals() -> None:
    none = collate([sample(Proposals.empty()), sample(Proposals.empty())]).proposals
    assert none is not None
    assert (none.segments.shape, none.mask.shape) == ((2, 0, 2), (2, 0))
    assert collate([sample(None)]).proposals is None
    with pytest.raises(InputError, match="some windows have proposals and some have none"):
        collate([sample(None), sample(Proposals.empty())])
    whole = collate([sample(Proposals.empty())])
    with pytest.raises(InputError, match="proposals of 2 windows"):
        Batch(whole.features, whole.clip, whole.targets, whole.maps, whole.video_ids, None, none)
    with pytest.raises(InputError, match=r"Proposals: segments has shape \(1, 3\)"):
        Proposals(torch.ones(1, 3), torch.ones(1), torch.ones(1, dtype=torch.int64))


def rows(*given: tuple[str, float, float, float], ids: tuple[str, ...] = ()) -> Detections:
    return Detections.of(((name, None, start, end, score) for name, start, end, score in given), ids)


def test_equal_ones_are_one_and_the_best_come_first() -> None:
    found = ProposalSet.of(
        rows(("a", 0, 4, 0.2), ("a", 1, 2, 0.5), ("a", 0, 4, 0.9), ("a", 3, 3, 0.9), ("b", 0, 4, 0.2), ids=("c",)),
        "p.json",
    )
    assert found.of_video("a").segments.tolist() == [[0, 4], [1, 2]]
    assert found.of_video("a").scores.tolist() == [0.9, 0.5]
    assert len(found.of_video("c")) == 0
    assert found.notes == ("1 proposal of no length left out", "1 proposal that repeat another left out")
    assert ProposalSet.of(rows(("a", 0, 4, 0.2), ("a", 1, 2, 0.5)), "p", most=1).of_video("a").segments.tolist() == [
        [1, 2]
    ]


def test_equal_scores_keep_their_order_and_labels_are_dropped() -> None:
    labelled = Detections.of([("a", "x", 0, 4, 1), ("a", "y", 1, 2, 1), ("a", "y", 0, 4, 1)])
    assert ProposalSet.of(labelled, "p").of_video("a").segments.tolist() == [[0, 4], [1, 2]]


def test_proposals_that_cannot_be_used() -> None:
    with pytest.raises(
        InputError, match=r"p.json: video 'a': a proposal ends before it starts, \[4, 1\] \(1 of 2 do\)"
    ):
        ProposalSet.of(rows(("a", 0, 4, 0.2), ("a", 4, 1, 0.2)), "p.json")
    found = ProposalSet.of(rows(("a", 0, 4, 0.2), ("a", -0.5, 60.9, 1)), "p.json")
    assert found.of_video("a", 60.0).segments.tolist() == [[0, 60], [0, 4]]
    with pytest.raises(InputError, match=r"video 'a': a proposal is \[-0.5, 60.9\], but the video lasts 30 s \(1 of 2"):
        found.of_video("a", 30.0)
    with pytest.raises(InputError, match=r"p.json: no proposals of video 'ab': did you mean 'a'\?|there are: a"):
        found.of_video("ab")


def test_millions_are_refused_or_cut() -> None:
    count = 1_000_000
    starts = np.arange(count) / count * 50
    many = Detections(
        ("a",), (), np.zeros(count, int), np.full(count, -1), np.stack([starts, starts + 1], 1), 1 - starts / 50
    )
    with pytest.raises(InputError, match=f"1000000 proposals, more than the {MOST}.*data.proposals_per_video=1000"):
        ProposalSet.of(many, "p")
    kept = ProposalSet.of(many, "p", most=1000).of_video("a")
    assert len(kept) == 1000
    assert kept.segments[0].tolist() == [0, 1]


def parts(**ids: str) -> dict[str, Annotations]:
    return {name: Annotations.of(Video(each, name, 60.0) for each in which.split()) for name, which in ids.items()}


def test_compared_with_the_videos() -> None:
    found = checked(
        rows(("a", 0, 4, 0.2), ("b", 0, 60.5, 0.2), ("x", 4, 1, 1)), parts(training="a b c", test="b"), "p.json"
    )
    assert found.videos.keys() == {"a", "b", "c"}
    assert found.notes == ("no proposals, so no detections, in c of data.training",)
    assert found.of_video("b").segments.tolist() == [[0, 60]]
    # The duration of features may be another than that of the annotations.
    assert found.of_video("b", 50.0).segments.tolist() == [[0, 50]]
    for given, message in (
        (
            rows(("x", 0, 4, 1)),
            r"p.json: 3 of the 3 videos of data.training have no proposals, such as 'a'.*such as 'x'",
        ),
        (rows(("a", 0, 4, 1)), r"2 of the 3 videos of data.training have no proposals, such as 'b'"),
        (Detections.empty(), r"3 of the 3 videos .*it holds 0 videos: are these"),
        (rows(("a", 0, 4, 1), ("b", 70, 80, 1)), r"video 'b': a proposal is \[70, 80\], but the video lasts 60 s"),
        (rows(("a", 0, 4, 1), ("b", 9, 8, 1)), r"video 'b': a proposal ends before it starts"),
    ):
        with pytest.raises(InputError, match=message):
            checked(given, parts(training="a b c"), "p.json")


def test_a_data_set_hands_them_on() -> None:
    annotations = Annotations.of([VIDEO])
    found = ProposalSet({"v": some(0)}, "p")
    windowing = SlidingWindows(length=32, stride=16, keep_empty=True)
    dataset = LocalizationDataset(annotations, FEATURES, windowing.training, ("x",), proposals=found)
    without = LocalizationDataset(annotations, FEATURES, windowing.training, ("x",))
    assert all(each.proposals is not None for each in dataset)
    assert any(len(each.proposals or ()) for each in dataset)
    assert all(each.proposals is None for each in without)
    with pytest.raises(InputError, match="p: no proposals of video 'v'"):
        LocalizationDataset(annotations, FEATURES, windowing.training, ("x",), proposals=ProposalSet({}, "p"))
