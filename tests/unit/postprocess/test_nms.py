"""Suppression and voting against the definition, written as plain loops."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from untrimmed.errors import InputError
from untrimmed.postprocess import nms, vote
from untrimmed.postprocess.nms import grouped
from untrimmed.segments import tiou_scalar

METHODS: list[dict[str, Any]] = [
    {"method": "hard", "threshold": 0.0},
    {"method": "hard", "threshold": 0.4},
    {"method": "linear", "threshold": 0.3},
    {"method": "linear", "threshold": 0.0},
    {"method": "gaussian", "sigma": 0.5},
    {"method": "gaussian", "sigma": 0.05},
    {"method": "gaussian", "sigma": 0.4, "threshold": 0.3},
]
names = ["-".join(str(value) for value in method.values()) for method in METHODS]


def factor(overlap: float, method: str, threshold: float | None = None, sigma: float | None = None) -> float:
    if method == "gaussian":
        assert sigma is not None
        return math.exp(-overlap * overlap / sigma) if overlap > (threshold or 0.0) else 1.0
    assert threshold is not None
    if not overlap > threshold:
        return 1.0
    return 0.0 if method == "hard" else 1.0 - overlap


def longer_tiou(extend: float) -> Callable[..., float]:
    """tIoU with so much added to every length, as code for pixels adds 1."""

    def overlap(start_a: float, end_a: float, start_b: float, end_b: float) -> float:
        inter = max(0.0, min(end_a, end_b) - max(start_a, start_b) + extend)
        union = (end_a - start_a + extend) + (end_b - start_b + extend) - inter
        return inter / union if inter > 0 else 0.0

    return overlap


def plain(
    segments: Any,
    scores: Any,
    floor: float | None = None,
    keep: int | None = None,
    extend: float | None = None,
    **method: Any,
) -> tuple[list[int], list[float]]:
    """The definition, word by word, for one group."""
    current = [float(score) for score in scores]
    live = [i for i in range(len(current)) if floor is None or current[i] >= floor]
    rows, kept = [], []
    while live and (keep is None or len(rows) < keep):
        best = max(live, key=lambda i: (current[i], -i))
        live.remove(best)
        rows.append(best)
        kept.append(current[best])
        for i in list(live):
            overlap = tiou_scalar if extend is None else longer_tiou(extend)
            by = factor(overlap(*segments[best], *segments[i]), **method)
            current[i] *= by
            if (method["method"] == "hard" and by == 0.0) or (floor is not None and current[i] < floor):
                live.remove(i)
    return rows, kept


def plain_groups(segments: Any, scores: Any, groups: Any, **options: Any) -> tuple[list[int], list[float]]:
    found = []
    for group in sorted(set(groups.tolist())):
        members = np.flatnonzero(groups == group)
        rows, kept = plain(segments[members], scores[members], **options)
        found += [(-score, int(members[row])) for row, score in zip(rows, kept, strict=True)]
    found.sort()
    return [row for _, row in found], [-score for score, _ in found]


def world(seed: int, count: int, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    if ties:
        start, length = rng.integers(0, 12, count), rng.integers(-1, 6, count)
        return np.stack((start, start + length), axis=1).astype(float), rng.integers(0, 4, count) / 4
    start, length = rng.uniform(0, 60, count), rng.gamma(2, 4, count)
    return np.stack((start, start + length), axis=1), rng.random(count)


@st.composite
def candidates(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Up to 14 candidates with many ties, duplicates, empty and reversed segments, in up to three groups."""
    count = draw(st.integers(0, 14))
    number = st.integers(0, 8).map(float)
    length = st.one_of(st.integers(-2, 5).map(float), st.floats(0, 5))
    start = draw(st.lists(number, min_size=count, max_size=count))
    size = draw(st.lists(length, min_size=count, max_size=count))
    score = draw(
        st.lists(st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(0, 1)), min_size=count, max_size=count)
    )
    group = draw(st.lists(st.integers(-1, 1), min_size=count, max_size=count))
    segments = np.array([(a, a + b) for a, b in zip(start, size, strict=True)]).reshape(count, 2)
    return segments, np.array(score), np.array(group, dtype=np.int64)


@pytest.mark.parametrize("method", METHODS, ids=names)
@pytest.mark.parametrize("ties", [False, True], ids=["apart", "ties"])
@pytest.mark.parametrize(("floor", "keep"), [(None, None), (0.0, None), (0.2, None), (None, 7), (0.05, 12)])
def test_equals_the_definition(method: dict[str, Any], ties: bool, floor: float | None, keep: int | None) -> None:
    segments, scores = world(seed=keep or 0, count=80, ties=ties)
    rows, kept = nms(segments, scores, floor=floor, keep=keep, **method)
    expected_rows, expected = plain(segments, scores, floor=floor, keep=keep, **method)
    assert rows.tolist() == expected_rows
    np.testing.assert_allclose(kept, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", METHODS, ids=names)
@pytest.mark.parametrize("extend", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("ties", [False, True], ids=["apart", "ties"])
def test_longer_segments_equal_the_definition(method: dict[str, Any], extend: float, ties: bool) -> None:
    segments, scores = world(seed=5, count=80, ties=ties)
    segments[:, 1] = np.maximum(segments[:, 1], segments[:, 0])  # of reversed ones the definition says nothing
    rows, kept = nms(segments, scores, floor=0.01, extend=extend, **method)
    expected_rows, expected = plain(segments, scores, floor=0.01, extend=extend, **method)
    assert rows.tolist() == expected_rows
    np.testing.assert_allclose(kept, expected, rtol=0, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(candidates(), st.sampled_from([0.25, 1.0]))
def test_longer_segments_in_groups(world: tuple[np.ndarray, ...], extend: float) -> None:
    segments, scores, groups = world
    segments[:, 1] = np.maximum(segments[:, 1], segments[:, 0])
    options: dict[str, Any] = {"method": "hard", "threshold": 0.6, "extend": extend}
    rows, kept = nms(segments, scores, groups, **options)
    assert (rows.tolist(), kept.tolist()) == plain_groups(segments, scores, groups, **options)


def test_a_second_more_by_hand() -> None:
    # [0, 1) and [0.5, 1.5): tIoU 1/3; with a second more each [0, 2) and [0.5, 2.5): 1.5 / 2.5.
    segments = [[0.0, 1.0], [0.5, 1.5], [9.0, 9.0], [9.5, 9.5]]
    scores = [0.9, 0.8, 0.7, 0.6]
    assert nms(segments, scores, threshold=0.5).rows.tolist() == [0, 1, 2, 3]
    assert nms(segments, scores, threshold=0.59, extend=1.0).rows.tolist() == [0, 2, 3]
    assert nms(segments, scores, threshold=0.3, extend=1.0).rows.tolist() == [0, 2]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=names)
def test_equals_the_definition_on_many_candidates(method: dict[str, Any]) -> None:
    for seed, ties in [(0, False), (1, False), (2, True)]:
        segments, scores = world(seed, 1500, ties)
        rows, kept = nms(segments, scores, floor=1e-4, keep=200, **method)
        expected_rows, expected = plain(segments, scores, floor=1e-4, keep=200, **method)
        assert rows.tolist() == expected_rows
        np.testing.assert_allclose(kept, expected, rtol=0, atol=1e-12)


@settings(max_examples=150, deadline=None)
@given(candidates(), st.sampled_from(METHODS), st.sampled_from([None, 0.0, 0.3]), st.sampled_from([None, 1, 3]))
def test_groups_equal_the_definition(
    world: tuple[np.ndarray, ...], method: dict[str, Any], floor: float | None, keep: int | None
) -> None:
    segments, scores, groups = world
    rows, kept = nms(segments, scores, groups, floor=floor, keep=keep, **method)
    expected_rows, expected = plain_groups(segments, scores, groups, floor=floor, keep=keep, **method)
    assert rows.tolist() == expected_rows
    np.testing.assert_allclose(kept, expected, rtol=0, atol=1e-12)
    assert rows.dtype == np.int64


@settings(max_examples=100, deadline=None)
@given(candidates(), st.randoms(use_true_random=False), st.sampled_from([None, 0.1]), st.sampled_from([None, 2]))
def test_a_threshold_of_each_candidate_holds_when_it_is_picked(
    world: tuple[np.ndarray, ...], random: Any, floor: float | None, keep: int | None
) -> None:
    segments, scores, _ = world
    cuts = [random.choice([0.0, 0.2, 0.5, 1.0]) for _ in scores]
    rows, kept = nms(segments, scores, method="gaussian", threshold=cuts, sigma=0.3, floor=floor, keep=keep)
    current = [float(score) for score in scores]
    live = [i for i in range(len(current)) if floor is None or current[i] >= floor]
    expected: list[int] = []
    while live and (keep is None or len(expected) < keep):
        best = max(live, key=lambda i: (current[i], -i))
        live.remove(best)
        expected.append(best)
        for i in live:
            overlap = tiou_scalar(*segments[best], *segments[i])
            current[i] *= math.exp(-overlap * overlap / 0.3) if overlap > cuts[best] else 1.0
        live = [i for i in live if floor is None or current[i] >= floor]
    assert rows.tolist() == expected
    np.testing.assert_allclose(kept, [current[i] for i in expected], rtol=0, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(candidates(), st.sampled_from([0.0, 0.3, 0.7, 1.0]))
def test_hard_suppression_of_what_is_left_changes_nothing(world: tuple[np.ndarray, ...], threshold: float) -> None:
    segments, scores, groups = world
    once = nms(segments, scores, groups, threshold=threshold)
    again = nms(segments[once.rows], once.scores, groups[once.rows], threshold=threshold)
    assert again.rows.tolist() == list(range(len(once.rows)))
    assert again.scores.tolist() == once.scores.tolist()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 30), st.sampled_from(METHODS))
def test_order_of_input_matters_only_for_ties(seed: int, count: int, method: dict[str, Any]) -> None:
    segments, scores = world(seed, count)  # without ties
    shuffle = np.random.default_rng(seed).permutation(count)
    groups = np.arange(count) % 2
    straight = nms(segments, scores, groups, **method)
    shuffled = nms(segments[shuffle], scores[shuffle], groups[shuffle], **method)
    assert shuffle[shuffled.rows].tolist() == straight.rows.tolist()
    assert shuffled.scores.tolist() == straight.scores.tolist()


@settings(max_examples=60, deadline=None)
@given(candidates(), st.sampled_from(METHODS), st.floats(0, 1))
def test_scores_only_fall_and_stay_at_the_floor(
    world: tuple[np.ndarray, ...], method: dict[str, Any], floor: float
) -> None:
    segments, scores, groups = world
    rows, kept = nms(segments, scores, groups, floor=floor, **method)
    assert (kept <= scores[rows]).all()
    assert (kept >= floor).all()
    assert (np.diff(kept) <= 0).all()
    assert len(set(rows.tolist())) == len(rows)


@pytest.mark.parametrize("method", METHODS, ids=names)
def test_groups_equal_each_group_alone(method: dict[str, Any]) -> None:
    segments, scores = world(3, 120)
    groups = np.random.default_rng(4).integers(-5, 5, 120) * 1_000_003  # also more than 16 bits apart
    rows, kept = nms(segments, scores, groups, keep=4, **method)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        alone = nms(segments[members], scores[members], keep=4, **method)
        mine = groups[rows] == group
        assert rows[mine].tolist() == members[alone.rows].tolist()
        assert kept[mine].tolist() == alone.scores.tolist()


@pytest.mark.parametrize("method", METHODS, ids=names)
def test_nothing_and_one(method: dict[str, Any]) -> None:
    empty = nms([], [], **method)
    assert empty.rows.shape == empty.scores.shape == (0,)
    assert empty.rows.dtype == np.int64
    rows, kept = nms([[2.0, 5.0]], [0.3], **method)
    assert (rows.tolist(), kept.tolist()) == ([0], [0.3])
    assert len(nms([[2.0, 5.0]], [0.3], floor=0.31, **method).rows) == 0


def test_duplicates() -> None:
    segments, scores = np.tile([1.0, 3.0], (6, 1)), np.full(6, 0.5)
    assert nms(segments, scores, threshold=0.9).rows.tolist() == [0]
    assert nms(segments, scores, threshold=1.0).rows.tolist() == [0, 1, 2, 3, 4, 5]
    linear = nms(segments, scores, method="linear", threshold=0.5)
    assert linear.rows.tolist() == [0, 1, 2, 3, 4, 5]
    assert linear.scores.tolist() == [0.5, 0, 0, 0, 0, 0]
    soft = nms(segments, scores, method="gaussian", sigma=0.5)
    assert soft.rows.tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_allclose(soft.scores, 0.5 * np.exp(-2.0 * np.arange(6)), atol=1e-12)


@pytest.mark.parametrize("method", METHODS, ids=names)
def test_segments_without_length_or_reversed_touch_nothing(method: dict[str, Any]) -> None:
    segments = [[0.0, 10.0], [5.0, 5.0], [5.0, 5.0], [8.0, 2.0], [8.0, 2.0]]
    rows, kept = nms(segments, [0.5, 0.9, 0.4, 0.8, 0.3], **method)
    assert rows.tolist() == [1, 3, 0, 2, 4]
    assert kept.tolist() == [0.9, 0.8, 0.5, 0.4, 0.3]


def test_no_plus_one_and_no_rounding() -> None:
    # Touching seconds would overlap under a "+1" convention; thirds would be rounded away.
    touching = [[0.0, 1.0], [1.0, 2.0]]
    assert nms(touching, [0.9, 0.8], threshold=0.0).rows.tolist() == [0, 1]
    thirds = np.array([[0.0, 1.0], [2 / 3, 5 / 3]])
    soft = nms(thirds, [0.9, 0.8], method="linear", threshold=0.0)
    assert soft.scores[1] == 0.8 * (1 - tiou_scalar(0.0, 1.0, 2 / 3, 5 / 3))


def test_threshold_is_not_exceeded_by_an_equal_tiou() -> None:
    segments = [[0.0, 3.0], [1.0, 4.0]]  # tIoU 0.5
    assert nms(segments, [0.9, 0.8], threshold=0.5).rows.tolist() == [0, 1]
    assert nms(segments, [0.9, 0.8], threshold=0.499).rows.tolist() == [0]


def test_ties_go_to_the_first() -> None:
    segments = [[0.0, 4.0], [10.0, 14.0], [0.0, 4.0], [10.0, 14.0]]
    assert nms(segments, [0.7, 0.7, 0.7, 0.7], threshold=0.5).rows.tolist() == [0, 1]
    assert nms(segments[::-1], [0.7, 0.7, 0.7, 0.7], method="gaussian", sigma=0.5).rows.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("sigma", [1e-300, 1e-3, 0.02])
def test_scores_that_vanish_are_ordered_as_in_the_definition(sigma: float) -> None:
    segments, scores = world(5, 40, ties=True)
    rows, kept = nms(segments, scores, method="gaussian", sigma=sigma)
    expected_rows, expected = plain(segments, scores, method="gaussian", sigma=sigma)
    assert rows.tolist() == expected_rows
    np.testing.assert_allclose(kept, expected, rtol=0, atol=1e-12)
    assert len(rows) == 40


def test_tiny_scores_and_floors() -> None:
    segments, scores = world(6, 30)
    for scale, floor in [(1e-305, 1e-306), (1e-305, 1e-320), (1e-320, None), (1e300, 1e299)]:
        options = {"method": "gaussian", "sigma": 0.3, "floor": floor}
        rows, kept = nms(segments, scores * scale, **options)
        expected_rows, expected = plain(segments, scores * scale, **options)
        assert rows.tolist() == expected_rows
        assert kept.tolist() == pytest.approx(expected, rel=1e-12, abs=0)


def test_hard_suppression_takes_scores_of_any_sign() -> None:
    rows, kept = nms([[0, 4], [1, 5], [9, 10]], [-3.0, -1.0, -2.0], threshold=0.3)
    assert (rows.tolist(), kept.tolist()) == ([1, 2], [-1.0, -2.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"segments": [[0.0, 1.0, 2.0]]}, "expected \\(N, 2\\)"),
        ({"segments": [[0.0, math.nan]]}, "segments: row 0 is"),
        ({"scores": [math.inf]}, "scores: row 0 is inf"),
        ({"scores": [0.1, 0.2]}, "expected \\(N, 2\\) and \\(N,\\)"),
        ({"groups": [0.5]}, "whole numbers"),
        ({"groups": [1, 2]}, "whole numbers"),
        ({"method": "soft"}, "NMS method is 'soft'"),
        ({"threshold": None}, "hard NMS needs a threshold"),
        ({"threshold": 1.5}, "threshold is 1.5, expected a tIoU"),
        ({"threshold": True}, "threshold is True"),
        ({"sigma": 0.5}, "hard NMS has no sigma"),
        ({"method": "gaussian", "threshold": None}, "gaussian NMS needs a sigma"),
        ({"method": "gaussian", "threshold": None, "sigma": 0}, "sigma is 0, expected"),
        ({"method": "gaussian", "sigma": 0.5, "threshold": 1.5}, "threshold is 1.5, expected a tIoU"),
        ({"method": "gaussian", "sigma": 0.5, "threshold": [0.5, 0.5]}, r"one, or one for each of the 1 candidates"),
        ({"method": "gaussian", "sigma": 0.5, "threshold": [math.nan]}, "threshold of row 0 is nan"),
        ({"threshold": [0.5]}, r"threshold is \[0.5\]"),
        ({"method": "linear", "scores": [-0.1]}, "linear soft-NMS: score of row 0 is -0.1"),
        ({"keep": 0}, "keep is 0, expected a whole number"),
        ({"keep": 2.5}, "keep is 2.5"),
        ({"floor": math.nan}, "floor is nan"),
        ({"extend": -1.0}, "extend is -1.0, expected a number of at least 0"),
        ({"extend": math.inf}, "extend is inf"),
        ({"extend": True}, "extend is True"),
    ],
)
def test_bad_input(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"segments": [[0.0, 1.0]], "scores": [0.5], "threshold": 0.5, **change}
    with pytest.raises(InputError, match=message):
        nms(**arguments)


def plain_vote(rows: Any, segments: Any, scores: Any, groups: Any, threshold: float) -> np.ndarray:
    voted = []
    for row in rows:
        near = [
            (scores[i] * tiou_scalar(*segments[row], *segments[i]), segments[i])
            for i in range(len(scores))
            if groups[i] == groups[row] and tiou_scalar(*segments[row], *segments[i]) >= threshold
        ]
        total = sum(weight for weight, _ in near)
        voted.append([sum(w * s[e] for w, s in near) / total for e in (0, 1)] if total > 0 else segments[row])
    return np.array(voted).reshape(-1, 2)


@settings(max_examples=80, deadline=None)
@given(candidates(), st.sampled_from([0.1, 0.5, 1.0]))
def test_voting_equals_the_definition(world: tuple[np.ndarray, ...], threshold: float) -> None:
    segments, scores, groups = world
    scores = np.where(scores < 1e-200, 0.0, scores)  # below, the formula itself loses digits
    rows = np.arange(len(scores))[::-2]
    voted = vote(rows, segments, scores, groups, threshold=threshold)
    np.testing.assert_allclose(voted, plain_vote(rows, segments, scores, groups, threshold), atol=1e-9)


def test_voting_leaves_what_stands_alone_exactly() -> None:
    segments = np.array([[0.1, 0.3], [1e6 + 0.1, 1e6 + 0.7], [5.0, 5.0], [3.0, 2.0], [0.1, 0.3]])
    voted = vote([0, 1, 2, 3], segments, [0.3, 0.7, 0.9, 0.2, 0.1], threshold=0.5)
    assert voted.tolist() == segments[:4].tolist()
    assert vote([], np.empty((0, 2)), [], threshold=0.5).shape == (0, 2)
    assert vote([0], [[1.0, 2.0]], [0.0], threshold=0.5).tolist() == [[1.0, 2.0]]


def test_voting_by_hand() -> None:
    segments = [[0.0, 4.0], [1.0, 5.0], [3.0, 9.0]]  # tIoU with the first: 1, 0.6, 1/9
    voted = vote([0], segments, [0.8, 0.5, 1.0], threshold=0.5)
    weight = 0.5 * 0.6 / (0.8 + 0.5 * 0.6)
    np.testing.assert_allclose(voted, [[weight, 4 + weight]], atol=1e-12)


@pytest.mark.parametrize(("scores", "threshold"), [([0.5], 0.0), ([0.5], 1.1), ([-0.5], 0.5)])
def test_voting_refuses(scores: list[float], threshold: float) -> None:
    with pytest.raises(InputError, match="voting"):
        vote([0], [[0.0, 1.0]], scores, threshold=threshold)
    with pytest.raises(InputError, match=r"rows are -1\.\.0"):
        vote([0, -1], [[0.0, 1.0]], [0.5], threshold=0.5)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-(2**40), 2**40) | st.integers(0, 3), max_size=20))
def test_grouped(groups: list[int]) -> None:
    order, bounds = grouped(np.array(groups, dtype=np.int64))
    assert order.tolist() == sorted(range(len(groups)), key=lambda i: (groups[i], i))
    assert len(bounds) == len(set(groups)) + 1
    for low, high in itertools.pairwise(bounds):
        assert len({groups[i] for i in order[low:high]}) == 1
