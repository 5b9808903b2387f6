"""Buckets: their edges, what is not known, what the annotations may say."""

from __future__ import annotations

import numpy as np
import pytest

from untrimmed.errors import InputError
from untrimmed.evaluation import evaluate
from untrimmed.evaluation.characteristics import Scale, measure, scales
from untrimmed.evaluation.protocols import PROTOCOLS
from untrimmed.types import Annotations, Detections, Instances, Video

ACTIVITYNET, THUMOS14 = PROTOCOLS["activitynet"], PROTOCOLS["thumos14"]


def scale(key: str, protocol=ACTIVITYNET, **edges: list[float]) -> Scale:
    return next(one for one in scales(protocol, edges) if one.key == key)


def test_edges_of_detad() -> None:
    assert [(one.key, one.edges) for one in scales(ACTIVITYNET)][:3] == [
        ("coverage", (0.2, 0.4, 0.6, 0.8)),
        ("length", (30, 60, 120, 180)),
        ("num-instances", (1, 4, 8)),
    ]
    assert [(one.key, one.edges) for one in scales(THUMOS14)][:3] == [
        ("coverage", (0.02, 0.04, 0.06, 0.08)),
        ("length", (3, 6, 12, 18)),
        ("num-instances", (1, 40, 80)),
    ]
    assert scale("context-size").names == ("0", "1", "2", "3", "4", "5", "6")
    assert scale("context-distance").names == ("Inf", "N", "M", "F")
    assert scale("agreement").names == ("XW", "W", "M", "H", "XH")


def test_buckets_are_closed_to_the_right_and_lose_nothing() -> None:
    values = np.array([-5.0, 0.0, 30.0, 30.000001, 60.0, 180.0, 1e9, np.nan])
    assert scale("length").bucket(values).tolist() == [0, 0, 0, 1, 1, 3, 4, -1]


def test_ranges_say_what_a_bucket_holds() -> None:
    assert scale("length").ranges == ("≤ 30", "30–60", "60–120", "120–180", "> 180")
    assert scale("num-instances").ranges == ("≤ 1", "2–4", "5–8", "> 8")
    assert scale("context-size").ranges == ("",) * 7
    assert scale("context-distance").ranges == ("",) * 4
    assert scale("agreement").ranges[0] == "≤ 0.2"


def test_given_edges_bring_names_of_their_own() -> None:
    own = scales(ACTIVITYNET, {"length": [5], "num-instances": [], "context-size": [1, 2, 4], "coverage": range(1, 8)})
    table = {one.key: one for one in own}
    assert table["length"].names == ("S", "L")
    assert (table["num-instances"].names, table["num-instances"].ranges) == (("all",), ("",))
    assert (table["context-size"].names, table["context-size"].ranges) == (
        ("XS", "S", "M", "L"),
        ("≤ 1", "2", "3–4", "> 4"),
    )
    assert table["coverage"].names == ("1", "2", "3", "4", "5", "6", "7", "8")


@pytest.mark.parametrize("edges", [[2, 1], [1, 1], [float("nan")], [float("inf")], [0], [-3, 1]])
def test_edges_must_rise(edges: list[float]) -> None:
    with pytest.raises(InputError, match="edges of length"):
        scales(ACTIVITYNET, {"length": edges})


def test_unknown_characteristic_suggests_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'coverage'"):
        scales(ACTIVITYNET, {"covrage": [1]})


def video(duration: float | None = 40.0, **extra: object) -> Video:
    instances = Instances(np.array([[3.4, 21.4], [5.0, 5.0], [0.0, 60.0]]), ("a", "b", "a"), (extra, {}, extra))
    return Video("v", "test", duration, None, instances)


def test_values_come_from_the_times() -> None:
    rows = np.array([0, 2])
    assert measure("length", video(), rows).tolist() == [18.0, 60.0]
    assert measure("coverage", video(), rows).tolist() == [0.45, 1.5]
    assert measure("num-instances", video(), rows).tolist() == [2.0, 2.0]


@pytest.mark.parametrize("duration", [None, 0.0])
def test_coverage_needs_a_duration(duration: float | None) -> None:
    assert np.isnan(measure("coverage", video(duration), np.array([0, 1]))).all()


def test_coverage_of_the_annotations_stands_in_for_a_duration() -> None:
    rows = np.array([0, 2])
    assert measure("coverage", video(None, coverage=0.3), rows).tolist() == [0.3, 0.3]
    assert measure("coverage", video(coverage=0.3), rows).tolist() == [0.45, 1.5]
    assert np.isnan(measure("coverage", video(None, coverage=0.3), np.array([1]))).all()
    with pytest.raises(InputError, match="video v: instance 0 has coverage 'half'"):
        measure("coverage", video(None, coverage="half"), rows)


@pytest.mark.parametrize(
    ("start", "end", "bucket"),
    [
        (0.0, 18.0, "L"),
        (14.3, 32.3, "L"),  # 17.999999999999996 by subtraction
        (14.2, 32.2, "L"),  # 18.000000000000004
        (70000.1, 70018.1, "L"),
        (0.0, 18.0 + 1e-9, "XL"),
        (3.4, 21.4 + 1e-9, "XL"),
        (0.0, 18.0 + 2e-10, "XL"),
    ],
)
def test_lengths_at_an_edge(start: float, end: float, bucket: str) -> None:
    """As the released tool, but for what the subtraction of two floats adds."""
    lengths = next(scale for scale in scales(PROTOCOLS["thumos14"]) if scale.key == "length")
    one = Video("v", "test", instances=Instances([[start, end]], ("a",)))
    value = measure("length", one, np.array([0]))
    assert lengths.names[lengths.bucket(value)[0]] == bucket
    found = evaluate(Detections.of([("v", "a", start, end, 1.0)]), Annotations.of([one]), "thumos14", subset="test")
    assert [group.name for group in found.lengths if group.instances] == [bucket]


def test_values_come_from_the_keys_of_the_annotations() -> None:
    rows = np.array([2, 1, 0])
    values = measure("context-size", video(**{"context-size": 4}), rows)
    assert values.tolist()[::2] == [4.0, 4.0]
    assert np.isnan(values[1])
    assert np.isnan(measure("agreement", video(agreement=None), rows)).all()
    bare = Video("v", instances=Instances(np.array([[0.0, 1.0]]), ("a",)))
    assert np.isnan(measure("agreement", bare, np.array([0]))).all()


@pytest.mark.parametrize("value", ["high", True, [1], float("inf")])
def test_a_key_that_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="video v: instance 0 has agreement"):
        measure("agreement", video(agreement=value), np.array([0]))
