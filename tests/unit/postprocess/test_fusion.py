"""Fusion with class scores and of several sets of detections, against rows worked out one by one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from untrimmed.errors import InputError
from untrimmed.postprocess import fuse, fuse_class_scores, read_class_scores
from untrimmed.types import Detections

Row = tuple[str, str | None, float, float, float]

CLASS_SCORES = {"a": {"run": 0.5, "jump": 0.3, "throw": 0.2}, "b": {"jump": 0.4, "throw": 0.4, "run": 0.1}}


def rows_of(detections: Detections) -> list[Row]:
    names = (*detections.labels, None)
    return [
        (detections.video_ids[video], names[label], *segment, score)
        for video, label, segment, score in zip(
            detections.video, detections.label, detections.segments.tolist(), detections.scores.tolist(), strict=True
        )
    ]


def test_proposals_get_the_best_classes_of_their_video() -> None:
    proposals = Detections.of([("a", None, 0, 2, 0.9), ("b", None, 1, 3, 0.8), ("a", None, 4, 5, 0.7)], ["c"])
    fused = fuse_class_scores(proposals, CLASS_SCORES)
    assert rows_of(fused) == [
        ("a", "run", 0, 2, 0.9 * 0.5),
        ("a", "jump", 0, 2, 0.9 * 0.3),
        ("b", "jump", 1, 3, 0.8 * 0.4),
        ("b", "throw", 1, 3, 0.8 * 0.4),
        ("a", "run", 4, 5, 0.7 * 0.5),
        ("a", "jump", 4, 5, 0.7 * 0.3),
    ]
    assert fused.video_ids == proposals.video_ids


def test_labelled_detections_keep_their_label_or_go() -> None:
    given = Detections.of([("a", "throw", 0, 2, 0.9), ("a", "jump", 0, 2, 0.8), ("a", None, 1, 3, 0.5)])
    assert rows_of(fuse_class_scores(given, CLASS_SCORES, top_k=2)) == [
        ("a", "jump", 0, 2, 0.8 * 0.3),
        ("a", "run", 1, 3, 0.5 * 0.5),
        ("a", "jump", 1, 3, 0.5 * 0.3),
    ]
    everything = rows_of(fuse_class_scores(given, CLASS_SCORES, top_k=None))
    assert len(everything) == 5
    assert everything[0] == ("a", "throw", 0, 2, 0.9 * 0.2)
    assert fuse_class_scores(given, CLASS_SCORES).labels == ("throw", "jump", "run")


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 1.0])
def test_geometric_mean(weight: float) -> None:
    given = Detections.of([("a", None, 0, 2, 0.9), ("a", None, 0, 2, 0.0)])
    fused = fuse_class_scores(given, CLASS_SCORES, top_k=1, rule="geometric", weight=weight)
    expected = [0.9 ** (1 - weight) * 0.5**weight, 0.0 ** (1 - weight) * 0.5**weight]
    assert fused.scores.tolist() == expected


def test_nothing_to_fuse_with_class_scores() -> None:
    empty = fuse_class_scores(Detections.empty(["a"], ["run"]), {})
    assert (len(empty), empty.video_ids, empty.labels) == (0, ("a",), ("run",))
    none_left = fuse_class_scores(Detections.of([("a", "swim", 0, 1, 0.5)]), CLASS_SCORES)
    assert len(none_left) == 0


@pytest.mark.parametrize(
    ("rows", "scores", "options", "message"),
    [
        ([("x1", None, 0, 1, 0.5)], {"x2": {"run": 1.0}}, {}, "video x1 has detections but no class scores"),
        ([("a", None, 0, 1, -0.5)], CLASS_SCORES, {}, "video a: a detection has score -0.5"),
        ([("a", None, 0, 1, 0.5)], {"a": {"run": -2.0}}, {}, "apply a softmax"),
        ([("a", None, 0, 1, 0.5)], {"a": {"run": float("nan")}}, {}, "class score of 'run' is nan"),
        ([("a", None, 0, 1, 0.5)], CLASS_SCORES, {"rule": "produkt"}, "did you mean 'product'"),
        ([("a", None, 0, 1, 0.5)], CLASS_SCORES, {"weight": 1.2}, "weight is 1.2"),
        ([("a", None, 0, 1, 0.5)], CLASS_SCORES, {"top_k": 0}, "top_k is 0"),
    ],
)
def test_bad_class_fusion(rows: list[Row], scores: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fuse_class_scores(Detections.of(rows), scores, **options)


def test_both_forms_of_class_scores_read_alike(tmp_path: Path) -> None:
    plain, array = tmp_path / "plain.json", tmp_path / "array.json"
    plain.write_text(json.dumps({"results": {"a": {"run": 0.5, "jump": 1}, "b": {}}}))
    assert read_class_scores(plain) == {"a": {"run": 0.5, "jump": 1.0}, "b": {}}
    for key in ("class", "classes", "labels"):
        array.write_text(json.dumps({key: ["run", "jump"], "results": {"a": [0.5, 1], "b": [0, 0.25]}}))
        assert read_class_scores(array) == {"a": {"run": 0.5, "jump": 1.0}, "b": {"run": 0.0, "jump": 0.25}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], 'the key "results"'),
        ({"results": []}, 'the key "results"'),
        ({"results": {"a": [0.5]}}, 'no "class" list'),
        ({"class": ["run"], "results": {"a": [0.5, 0.6]}}, "video a: 2 scores for 1 classes"),
        ({"class": "run", "results": {}}, "expected a list of names"),
        ({"class": ["run", "run"], "results": {}}, "holds a name twice"),
        ({"results": {"a": 0.5}}, "video a: scores are 0.5"),
        ({"results": {"a": {"run": "high"}}}, "score of 'run' is 'high'"),
        ({"results": {"a": {"run": True}}}, "score of 'run' is True"),
    ],
)
def test_bad_class_score_files(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "scores.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message) as error:
        read_class_scores(path)
    assert str(path) in str(error.value)


def test_two_streams_are_averaged() -> None:
    rgb = Detections.of([("a", "run", 0, 2, 0.9), ("a", "jump", 0, 2, 0.2)])
    flow = Detections.of([("a", "jump", 0, 2, 0.8), ("a", "run", 0, 2, 0.3)])
    fused = fuse([rgb, flow], [1, 1.2])
    assert [row[:4] for row in rows_of(fused)] == [("a", "run", 0, 2), ("a", "jump", 0, 2)]
    np.testing.assert_allclose(fused.scores, [(0.9 + 1.2 * 0.3) / 2.2, (0.2 + 1.2 * 0.8) / 2.2], atol=1e-15)


def test_sets_without_common_segments_are_put_together() -> None:
    one = Detections.of([("a", "run", 0, 2, 0.8), ("b", None, 0, 2, 0.6)], ["z"])
    two = Detections.of([("c", "jump", 0, 2, 0.4), ("a", "run", 0, 2.5, 0.2), ("b", "run", 0, 2, 0.6)])
    fused = fuse([one, two])
    assert rows_of(fused) == [
        ("a", "run", 0, 2, 0.4),
        ("b", None, 0, 2, 0.3),
        ("c", "jump", 0, 2, 0.2),
        ("a", "run", 0, 2.5, 0.1),
        ("b", "run", 0, 2, 0.3),
    ]
    assert fused.video_ids == ("z", "a", "b", "c")


def test_a_weight_of_zero_keeps_the_rows() -> None:
    one, two = Detections.of([("a", "run", 0, 2, 0.8)]), Detections.of([("a", "run", 5, 6, 0.9)])
    assert rows_of(fuse([one, two], [1, 0])) == [("a", "run", 0, 2, 0.8), ("a", "run", 5, 6, 0.0)]


def test_fusing_nothing() -> None:
    empty = Detections.empty(["a"])
    assert len(fuse([empty, empty])) == 0
    assert fuse([empty, Detections.of([("b", "run", -0.0, 1, 0.5), ("b", "run", 0, 1, 0.4)])]).scores.tolist() == [0.25]


row = st.tuples(
    st.sampled_from("ab"),
    st.sampled_from(["run", "jump", None]),
    st.integers(0, 2).map(float),
    st.integers(0, 2).map(float),
    st.floats(0, 1),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(row, max_size=8), min_size=1, max_size=3), st.data())
def test_fusion_equals_the_sum_over_sets(parts: list[list[Row]], data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.floats(0.1, 2), min_size=len(parts), max_size=len(parts)))
    expected: dict[Any, float] = {}
    for part, weight in zip(parts, weights, strict=True):
        best: dict[Any, float] = {}
        for *key, score in part:
            best[tuple(key)] = max(score, best.get(tuple(key), -1.0))
        for found, score in best.items():
            expected[found] = expected.get(found, 0.0) + score * weight / sum(weights)
    fused = rows_of(fuse([Detections.of(part) for part in parts], weights))
    assert [tuple(r[:4]) for r in fused] == list(expected)
    np.testing.assert_allclose([r[4] for r in fused], list(expected.values()), atol=1e-12)


@pytest.mark.parametrize(
    ("count", "weights", "message"),
    [
        (0, None, "no detections to fuse"),
        (2, [1.0], "1 weights for 2 sets"),
        (2, [1.0, -1.0], "weight -1.0"),
        (2, [0, 0], "all weights are 0"),
    ],
)
def test_bad_weights(count: int, weights: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fuse([Detections.of([("a", "run", 0, 1, 0.5)])] * count, weights)
