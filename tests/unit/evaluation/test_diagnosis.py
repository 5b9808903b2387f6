"""The diagnosis as a whole: options, what it says in words, and by hand what the oracle could share a mistake with."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from untrimmed.errors import InputError
from untrimmed.evaluation import Diagnosis, diagnose, evaluate
from untrimmed.types import Annotations, Detections, Instances, Video


def annotations(duration: float | None = 200.0, keyed: bool = False) -> Annotations:
    extra = ({"context-size": 0}, {"context-size": 2}, {"context-size": None}) if keyed else ()
    one = Instances(np.array([[0.0, 10.0], [20.0, 80.0], [100.0, 102.0]]), ("run", "run", "jump"), extra)
    two = Instances(np.array([[0.0, 40.0]]), ("jump",))
    return Annotations.of([Video("a", "validation", duration, None, one), Video("b", "validation", 50.0, None, two)])


DETECTIONS = Detections.of(
    [
        ("a", "run", 0.0, 10.0, 0.9),
        ("a", "run", 150.0, 160.0, 0.8),
        ("a", "run", 20.0, 80.0, 0.7),
        ("a", "jump", 100.0, 101.5, 0.6),
        ("b", "jump", 0.0, 20.0, 0.5),
        ("c", "jump", 0.0, 20.0, 0.4),
    ]
)


@pytest.fixture(scope="module")
def diagnosis() -> Diagnosis:
    return diagnose(DETECTIONS, annotations(), tious=[0.5, 0.75])


def test_normalised_map_by_hand(diagnosis: Diagnosis) -> None:
    # Two classes of two instances: N = 2. run: 1 and 2 / (2 + 1); jump: both right at 0.5, one of two at 0.75.
    assert diagnosis.normalizer == 2.0
    assert diagnosis.mAP_N.tolist() == pytest.approx([(5 / 6 + 1) / 2, (5 / 6 + 0.5) / 2])
    assert diagnosis.missed.tolist() == [0.0, 0.25]


def test_buckets_by_hand(diagnosis: Diagnosis) -> None:
    assert [(one.key, [bucket.instances for bucket in one.buckets]) for one in diagnosis.characteristics] == [
        ("coverage", [2, 1, 0, 1, 0]),
        ("length", [2, 2, 0, 0, 0]),
        ("num-instances", [1, 3, 0, 0]),
    ]
    short, long = diagnosis.lengths.buckets[:2]
    # XS: run 0-10 found first, jump 100-102 found first; its one positive at full recall weighs like N.
    assert short.mAP_N.tolist() == [1.0, 1.0]
    # S: run 20-80 after one false positive: 2 / (2 + 1); jump 0-40: right at 0.5, at 0.75 not.
    assert long.mAP_N.tolist() == pytest.approx([(2 / 3 + 1) / 2, (2 / 3 + 0) / 2])
    assert long.missed.tolist() == [0.0, 0.5]
    assert math.isnan(diagnosis.lengths.buckets[4].mAP_N[0])
    parts = [0.5 * 1.0, 0.5 * (5 / 6 + 1 / 3) / 2, 0, 0, 0]
    assert diagnosis.contributions.tolist() == pytest.approx(parts)
    assert diagnosis.to_dict()["accumulated_mAP"]["value"] == pytest.approx(sum(parts))


def test_sensitivity_and_impact_by_hand(diagnosis: Diagnosis) -> None:
    length = diagnosis.lengths
    assert (length.worst.name, length.best.name) == ("S", "XS")
    assert length.sensitivity == pytest.approx(1 - (5 / 6 + 1 / 3) / 2)
    assert length.impact == pytest.approx(1 - diagnosis.mAP_N.mean())
    values = length.to_dict(diagnosis.tious)
    assert values["relative"] == pytest.approx([(5 / 6 + 1 / 3) / 2 / length.overall, 1 / length.overall])
    assert values["buckets"][2]["relative"] is None


def test_an_instance_found_too_late_is_missed() -> None:
    truth = Annotations.of([Video("a", "validation", 99.0, None, Instances(np.array([[0.0, 10.0]]), ("run",)))])
    rows = [("a", "run", 50.0, 60.0, 0.9 - 0.01 * place) for place in range(20)]
    # One instance: precision behind f false positives is 1 / (1 + f), at 19 of them exactly 5 %.
    for false, missed in ((18, 0.0), (19, 1.0), (20, 1.0)):
        detections = Detections.of([*rows[:false], ("a", "run", 0.0, 10.0, 0.1)])
        assert diagnose(detections, truth, tious=[0.5]).missed.tolist() == [missed]
    assert diagnose(detections, truth, tious=[0.5], floor=0.0).missed.tolist() == [0.0]


def test_excused_detections_make_nothing_late() -> None:
    instances = Instances(np.array([[0.0, 10.0], [40.0, 70.0]]), ("run", "Ambiguous"))
    truth = Annotations.of([Video("a", "test", 99.0, None, instances)])
    detections = Detections.of([*[("a", "run", 50.0, 60.0, 0.9)] * 40, ("a", "run", 0.0, 10.0, 0.1)])
    assert diagnose(detections, truth, tious=[0.5]).missed.tolist() == [0.0]
    assert diagnose(detections, truth, tious=[0.5]).evaluation.protocol == "thumos14"


def test_averages_leave_out_what_any_threshold_matched_elsewhere() -> None:
    instances = Instances(np.array([[0.0, 10.0], [100.0, 200.0]]), ("run", "run"))
    truth = Annotations.of([Video("a", "validation", 300.0, None, instances)])
    detections = Detections.of([("a", "run", 0.0, 6.0, 0.9), ("a", "run", 100.0, 200.0, 0.8)])
    long = diagnose(detections, truth, tious=[0.5, 0.7]).lengths.buckets[2]
    # The first is matched to the short instance at 0.5; at 0.7 it is false, but not where the average is taken.
    assert long.mAP_N.tolist() == pytest.approx([1.0, 2 / 3])
    assert long.average == 1.0


def test_it_is_the_evaluation_of_evaluate(diagnosis: Diagnosis) -> None:
    same = evaluate(DETECTIONS, annotations(), "activitynet", tious=[0.5, 0.75])
    assert diagnosis.evaluation.to_dict() == same.to_dict()
    groups = [group.instances for group in diagnosis.evaluation.lengths]
    assert groups == [bucket.instances for bucket in diagnosis.lengths.buckets]


def test_protocol_and_thresholds_by_default() -> None:
    plain = diagnose(DETECTIONS, annotations())
    assert (plain.evaluation.protocol, len(plain.tious), plain.tious[plain.at], plain.span) == (
        "activitynet",
        10,
        0.5,
        "0.5:0.95",
    )
    single = diagnose(DETECTIONS, annotations(), tious=[0.6])
    assert (single.at, single.span) == (0, "0.6")
    assert diagnose(DETECTIONS, annotations(), tious=[0.3, 0.6, 0.75], at=0.75).at == 2


def test_edges_reach_the_length_groups_of_the_evaluation() -> None:
    own = diagnose(DETECTIONS, annotations(), tious=[0.5], edges={"length": [2, 50]})
    assert [bucket.instances for bucket in own.lengths.buckets] == [1, 2, 1]
    assert [group.instances for group in own.evaluation.lengths] == [1, 2, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"at": 0.55, "tious": [0.5]}, "0.55 is not among the thresholds: 0.5"),
        ({"slices": 0}, "at least 1 slice"),
        ({"floor": 1.0}, "floor from 0 to below 1"),
        ({"background": 0.0}, "threshold"),
        ({"subset": "test"}, "no video of the truth is in subset 'test'"),
        ({"protocol": "thumos"}, "did you mean 'thumos14'"),
        ({"edges": {"lenght": [1]}}, "did you mean 'length'"),
    ],
)
def test_bad_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        diagnose(DETECTIONS, annotations(), **options)


def test_characteristics_only_the_annotations_can_tell() -> None:
    told = diagnose(DETECTIONS, annotations(keyed=True), tious=[0.5])
    size = told.characteristics[-1]
    assert (size.key, size.unknown) == ("context-size", 2)
    assert [bucket.instances for bucket in size.buckets] == [1, 0, 1, 0, 0, 0, 0]
    assert "context-size of 2 instances is not known (no such key): they are in none of its buckets" in told.notes


def test_unknown_durations_are_named() -> None:
    partly = diagnose(DETECTIONS, annotations(duration=None), tious=[0.5])
    assert partly.characteristics[0].unknown == 3
    assert partly.notes == (
        "coverage of 3 instances is not known (their videos have no duration): they are in none of its buckets",
    )
    none = Annotations.of(Video(video.id, "validation", None, None, video.instances) for video in annotations())
    bare = diagnose(DETECTIONS, none, tious=[0.5])
    assert [one.key for one in bare.characteristics] == ["length", "num-instances"]
    assert bare.notes == ("coverage of the instances is not known (their videos have no duration): left out",)


def test_json_and_text(diagnosis: Diagnosis) -> None:
    table = json.loads(json.dumps(diagnosis.to_dict(), allow_nan=False))
    assert {"protocol", "subset", "mAP_N", "false_positives", "characteristics", "evaluation"} <= table.keys()
    assert table["false_positives"]["counts"]["0.5"][0] == [3, 0, 0, 0, 0, 1]
    assert table["false_positives"]["slices"][-1] == "10G"
    assert sum(map(sum, table["false_positives"]["counts"]["0.75"])) == 6
    text = str(diagnosis)
    for expected in ("subset validation: 2 videos, 4 instances, 6 of 6 detections", "background", "accumulated mAP"):
        assert expected in text
    assert "- 1 detection in videos that the subset lacks, e.g. c: false positives" in text


def test_nothing_found_at_all() -> None:
    empty = diagnose(Detections.empty(["a"]), annotations(), tious=[0.5])
    assert empty.missed.tolist() == [1.0]
    assert empty.contributions.sum() == 0.0
    assert np.isnan(empty.false_positives.shares()).all()
    assert empty.lengths.to_dict(empty.tious)["relative"] == [None, None]
    json.dumps(empty.to_dict(), allow_nan=False)
    assert "missed" in str(empty)


def test_results_cannot_be_changed(diagnosis: Diagnosis) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        diagnosis.at = 1  # type: ignore[misc]
