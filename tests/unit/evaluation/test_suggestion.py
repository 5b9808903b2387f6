"""What is suggested first: the unsure, the contradictory and the rare."""

from __future__ import annotations

import json

import numpy as np
import pytest

from untrimmed.errors import InputError
from untrimmed.evaluation.suggestion import COUNTED, Suggestion, suggest
from untrimmed.types import Annotations, Detections, Instances, Video


def of(found: tuple[Suggestion, ...], label: str) -> Suggestion:
    (one,) = [each for each in found if each.label == label]
    return one


def test_scores_near_the_operating_point_come_first() -> None:
    rows = [
        ("v", label, 10.0 * i, 10.0 * i + 5, score)
        for i, (label, score) in enumerate(zip("abc", (0.95, 0.5, 0.1), strict=True))
    ]
    found = suggest(Detections.of(rows), threshold=0.5)
    assert found.segments[0].label == "b"
    assert of(found.segments, "b").uncertain == pytest.approx(1.0)
    assert of(found.segments, "a").uncertain == pytest.approx(0.1)
    assert of(found.segments, "b").reason == "uncertain"


def test_uncertainty_is_one_at_any_operating_point_and_falls_to_both_sides() -> None:
    for point in (0.05, 0.3, 0.9):
        scores = np.array([point / 4, point / 2, point, (1 + point) / 2, 0.999])
        rows = [("v", "a", 10.0 * i, 10.0 * i + 5, float(score)) for i, score in enumerate(scores)]
        by_score = {one.score: one.uncertain for one in suggest(Detections.of(rows), threshold=point).segments}
        values = [by_score[float(score)] for score in scores]
        assert values[2] == pytest.approx(1.0)
        assert values[0] < values[1] < values[2] > values[3] > values[4] >= 0


def test_a_score_of_one_is_a_sure_probability() -> None:
    rows = [("v", "a", 0.0, 5.0, 1.0), ("v", "b", 20.0, 25.0, 0.999999)]
    found = suggest(Detections.of(rows), threshold=0.5).segments
    assert of(found, "a").uncertain == 0
    assert of(found, "b").uncertain == pytest.approx(0, abs=1e-5)


def test_two_classes_at_one_place_disagree_and_are_one_segment() -> None:
    rows = [("v", "a", 0.0, 5.0, 0.8), ("v", "b", 0.2, 5.0, 0.6), ("v", "c", 20.0, 25.0, 0.8)]
    found = suggest(Detections.of(rows), threshold=0.4)
    assert len(found.segments) == 2
    assert of(found.segments, "a").disagreeing == pytest.approx(0.75)
    assert of(found.segments, "c").disagreeing == 0
    assert found.segments[0].label == "a"


def test_a_second_result_adds_disagreement() -> None:
    mine = Detections.of([("v", "a", 0.0, 4.0, 0.8), ("v", "b", 20.0, 24.0, 0.8), ("v", "c", 40.0, 44.0, 0.8)])
    theirs = Detections.of([("v", "a", 0.0, 4.0, 0.7), ("v", "b", 20.0, 22.0, 0.7)])
    found = suggest(mine, other=theirs, threshold=0.4).segments
    assert [of(found, name).disagreeing for name in "abc"] == [0.0, 0.5, 1.0]


def test_conflicts_with_the_truth() -> None:
    truth = Annotations.of([Video("v", "", 99.0, instances=Instances([[0, 4], [50, 55]], ("a", "a")))])
    rows = [("v", "a", 0.0, 4.0, 0.8), ("v", "a", 20.0, 24.0, 0.8)]
    found = suggest(Detections.of(rows), truth, threshold=0.4).segments
    by_start = {one.start: one for one in found}
    assert by_start[0.0].conflict == 0
    assert (by_start[20.0].conflict, by_start[20.0].reason) == (1.0, "not in the truth")
    assert (by_start[50.0].conflict, by_start[50.0].reason, by_start[50.0].score) == (1.0, "not detected", None)


def test_nothing_contradicts_an_ambiguous_segment() -> None:
    instances = Instances([[0, 4], [6, 9], [10, 20], [30, 40]], ("a", "b", "Ambiguous", "Ambiguous"))
    truth = Annotations.of([Video("v", "", 99.0, instances=instances)])
    rows = [("v", "a", 0.0, 4.0, 0.8), ("v", "a", 12.0, 15.0, 0.8), ("v", "a", 50.0, 55.0, 0.8)]
    found = {one.start: one for one in suggest(Detections.of(rows), truth, threshold=0.4).segments}
    assert [found[start].conflict for start in (0.0, 12.0, 50.0)] == [0.0, 0.0, 1.0]
    assert found[0.0].rare == 0, "as many a as b: Ambiguous is no class"
    assert not any(one.label == "Ambiguous" for one in found.values())


def test_rare_classes_count_more() -> None:
    instances = Instances([[t, t + 1] for t in range(60, 71)], ("a",) * 10 + ("b",))
    truth = Annotations.of([Video("w", "", 99.0, instances=instances), Video("v", "", 99.0)])
    found = suggest(Detections.of([("v", "a", 0, 5, 0.5), ("v", "b", 20, 25, 0.5)]), truth, threshold=0.5)
    a, b = of(found.segments, "a"), of(found.segments, "b")
    assert (a.rare, b.rare) == (0.0, pytest.approx(0.9))
    assert b.value == pytest.approx(1.9 * a.value)


def test_a_video_is_worth_its_best_segments() -> None:
    rows = [("many", "a", 10.0 * i, 10.0 * i + 5, 0.5) for i in range(9)] + [("one", "a", 0.0, 5.0, 0.5)]
    found = suggest(Detections.of(rows, video_ids=["nothing", "one", "many"]), threshold=0.5)
    assert list(found.videos) == ["many", "one", "nothing"]
    assert found.videos["many"] == pytest.approx(COUNTED * found.videos["one"])
    assert found.videos["nothing"] == 0


def test_values_lie_between_0_and_1_and_are_plain_json() -> None:
    generator = np.random.default_rng(0)
    rows = [
        (f"v{i % 5}", "abc"[i % 3], start, start + 4, float(generator.random() * 3))
        for i, start in enumerate(generator.uniform(0, 40, 200))
    ]
    truth = Annotations.of([Video("v1", "", 60.0, instances=Instances([[3, 9]], ("a",)))])
    found = suggest(Detections.of(rows), truth, Detections.of(rows[:40]))
    for one in found.segments:
        assert 0 <= one.value <= 1
        assert all(0 <= sign <= 1 for sign in (one.uncertain, one.disagreeing, one.conflict, one.rare))
    values = [one.value for one in found.segments]
    assert values == sorted(values, reverse=True)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["segments"][0]["value"] == values[0]
    assert "value" in str(found)


def test_nothing_and_what_is_refused() -> None:
    assert suggest(Detections.empty(["v"])).segments == ()
    missed = Annotations.of([Video("v", "", 9.0, instances=Instances([[1, 2]], ("a",)))])
    assert suggest(Detections.empty(["v"]), missed).segments[0].reason == "not detected"
    with pytest.raises(InputError, match="probabilities"):
        suggest(Detections.of([("v", "a", 0, 1, -2.0)]))
    with pytest.raises(InputError, match="above 0"):
        suggest(Detections.of([("v", "a", 0, 1, 0.5)]), threshold=0.0)
