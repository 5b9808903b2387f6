"""ActivityNet-style JSON."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from untrimmed.errors import InputError
from untrimmed.formats import activitynet
from untrimmed.formats.activitynet import ResultsExtra, results_of, truth_of
from untrimmed.types import Annotations, Detections, Instances, Video

TRUTH: dict[str, Any] = {
    "version": "VERSION 1.3",
    "taxonomy": [{"nodeName": "Root", "nodeId": 0}],
    "database": {
        "v_abc": {
            "subset": "validation",
            "duration": 12.5,
            "fps": 29.97,
            "resolution": "320x240",
            "url": "https://example.org",
            "annotations": [
                {"segment": [1, 2.5], "label": "Ballet", "note": {"sure": False}},
                {"segment": [3.0, 2.0], "label": "Ballet"},
            ],
        },
        "test video.1": {"subset": "testing", "duration": 3.0, "annotations": []},
        "hacs": {"subset": "training", "duration": 60},
        "bare": {},
    },
}
RESULTS: dict[str, Any] = {
    "version": "VERSION 1.3",
    "external_data": {"used": True, "details": "none"},
    "results": {
        "v_abc": [
            {"label": "Ballet", "score": 0.5, "segment": [1.0, 2.0]},
            {"label": "Archery", "score": 1, "segment": [0, 2]},
        ],
        "empty": [],
        "other": [{"label": "Ballet", "score": 0.5, "segment": [5.0, 4.0]}],
    },
}


def edited(value: dict[str, Any], *keys: Any, to: Any = None, drop: bool = False) -> dict[str, Any]:
    """A copy with one value replaced or dropped."""
    copy: Any = json.loads(json.dumps(value))
    inner = copy
    for key in keys[:-1]:
        inner = inner[key]
    if drop:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = to
    return copy  # type: ignore[no-any-return]


def truth_error(*keys: Any, **kind: Any) -> str:
    with pytest.raises(InputError) as caught:
        truth_of(edited(TRUTH, *keys, **kind), "t.json")
    return str(caught.value)


def results_error(*keys: Any, **kind: Any) -> str:
    with pytest.raises(InputError) as caught:
        results_of(edited(RESULTS, *keys, **kind), "r.json")
    return str(caught.value)


def test_truth_is_read() -> None:
    truth = truth_of(TRUTH, "t.json")
    assert truth.version == "VERSION 1.3"
    assert list(truth.videos) == ["v_abc", "test video.1", "hacs", "bare"]
    video = truth.videos["v_abc"]
    assert (video.subset, video.duration, video.fps) == ("validation", 12.5, Fraction(30000, 1001))
    assert video.instances.labels == ("Ballet", "Ballet")
    assert video.instances.segments.tolist() == [[1.0, 2.5], [3.0, 2.0]]
    assert truth.videos["bare"] == Video("bare", instances=truth.videos["bare"].instances)
    assert len(truth.videos["hacs"].instances) == 0


@pytest.mark.parametrize("name", ["truth.json", "truth.json.gz"])
def test_truth_survives_a_round_trip_with_all_its_keys(tmp_path: Path, name: str) -> None:
    lost = activitynet.write_truth(truth_of(TRUTH, "t.json"), tmp_path / name)
    assert lost == ()
    again = activitynet.read_truth(tmp_path / name)
    activitynet.write_truth(again, tmp_path / "second.json")
    written = json.loads((tmp_path / "second.json").read_text())
    assert written["taxonomy"] == TRUTH["taxonomy"]
    assert written["version"] == "VERSION 1.3"
    expected = edited(TRUTH, "database", "v_abc", "fps", to=30000 / 1001)
    for video_id in ("hacs", "bare"):
        expected["database"][video_id]["annotations"] = []
    assert written["database"] == expected["database"]


def test_a_version_that_is_no_text_is_kept(tmp_path: Path) -> None:
    truth = truth_of(edited(TRUTH, "version", to=1.1), "t.json")
    assert truth.version == ""
    activitynet.write_truth(truth, tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text())["version"] == 1.1


def test_whole_frame_rates_are_written_as_whole_numbers(tmp_path: Path) -> None:
    activitynet.write_truth(Annotations.of([Video("a", fps=Fraction(25))]), tmp_path / "t.json")
    assert '"fps":25,' in (tmp_path / "t.json").read_text()


@pytest.mark.parametrize(
    ("fps", "exact"),
    [
        (25, Fraction(25)),
        (12.5, Fraction(25, 2)),
        ("30000/1001", Fraction(30000, 1001)),
        ("29.97", Fraction(30000, 1001)),
        (None, None),
    ],
)
def test_frame_rates_that_are_taken(fps: object, exact: Fraction | None) -> None:
    truth = truth_of(edited(TRUTH, "database", "v_abc", "fps", to=fps), "t.json")
    assert truth.videos["v_abc"].fps == exact


@pytest.mark.parametrize("fps", [0, -1, 1e-9, 1e9, "0", "0.0000001", "5/0", "1e9", "fast", True, [], 10**400])
def test_frame_rates_that_are_refused(fps: object) -> None:
    assert "t.json: database.v_abc.fps: is " in truth_error("database", "v_abc", "fps", to=fps)


SEGMENT = ("database", "v_abc", "annotations", 1, "segment")


@pytest.mark.parametrize(
    ("keys", "kind", "expected"),
    [
        ((*SEGMENT, 1), {"to": "x"}, 'database.v_abc.annotations[1].segment[1]: is "x", expected a number'),
        ((*SEGMENT, 0), {"to": "3.5"}, 'segment[0]: is "3.5", expected a number without quotes'),
        ((*SEGMENT, 0), {"to": None}, "segment[0]: is null, expected a number"),
        ((*SEGMENT, 0), {"to": True}, "segment[0]: is true, expected a number"),
        ((*SEGMENT, 0), {"to": 10**400}, "expected a finite number"),
        (SEGMENT, {"to": [1]}, "annotations[1].segment: is [1], expected [start, end]"),
        (SEGMENT, {"to": {"a": 1}}, 'is {"a": 1}, expected a list'),
        (SEGMENT, {"drop": True}, 'database.v_abc.annotations[1]: key "segment" is missing; there are: label'),
        ((*SEGMENT[:-1], "label"), {"to": 3}, "annotations[1].label: is 3, expected the name of a class"),
        ((*SEGMENT[:-1], "label"), {"to": None}, "label: is null, expected text"),
        (SEGMENT[:-1], {"to": 7}, "annotations[1]: is 7, expected an object"),
        (SEGMENT[:-2], {"to": None}, "database.v_abc.annotations: is null, expected a list"),
        (("database", "test video.1"), {"to": 1}, 'database["test video.1"]: is 1, expected an object'),
        (("database", "v_abc", "duration"), {"to": -2}, "duration: is -2.0, expected seconds, at least 0"),
        (("database", "v_abc", "duration"), {"to": "1:58"}, 'duration: is "1:58", expected a number'),
        (("database", "v_abc", "subset"), {"to": 1}, "database.v_abc.subset: is 1, expected text"),
        (("database", ""), {"to": {}}, "empty id"),
        (("database",), {"to": []}, "database: is [], expected an object"),
        (("database",), {"drop": True}, 'the top level: key "database" is missing'),
    ],
)
def test_truth_of_the_wrong_form_is_placed(keys: tuple[Any, ...], kind: dict[str, Any], expected: str) -> None:
    found = truth_error(*keys, **kind)
    assert found.startswith("t.json: ")
    assert expected in found


def test_swapped_files_are_told() -> None:
    with pytest.raises(InputError, match=r"holds results .* swapped"):
        truth_of(RESULTS, "r.json")
    with pytest.raises(InputError, match=r"holds truth .* swapped"):
        results_of(TRUTH, "t.json")
    with pytest.raises(InputError, match="expected an object"):
        results_of([], "r.json")


def rows(detections: Detections) -> list[tuple[str, str | None, list[float], float]]:
    return [
        (detections.video_ids[video], detections.labels[label] if label >= 0 else None, segment, score)
        for video, label, segment, score in zip(
            detections.video.tolist(),
            detections.label.tolist(),
            detections.segments.tolist(),
            detections.scores.tolist(),
            strict=True,
        )
    ]


def test_results_are_read_in_order() -> None:
    detections, extra = results_of(RESULTS, "r.json")
    assert detections.video_ids == ("v_abc", "empty", "other")
    assert detections.labels == ("Ballet", "Archery")
    assert rows(detections) == [
        ("v_abc", "Ballet", [1.0, 2.0], 0.5),
        ("v_abc", "Archery", [0.0, 2.0], 1.0),
        ("other", "Ballet", [5.0, 4.0], 0.5),
    ]
    assert extra.top == {"version": "VERSION 1.3", "external_data": RESULTS["external_data"]}
    assert extra.rows == ()


@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize("labelled", [False, True])
def test_results_survive_a_round_trip_with_all_their_keys(tmp_path: Path, more: bool, labelled: bool) -> None:
    given = edited(RESULTS, "results", "v_abc", 0, "proposal", to=[3]) if more else RESULTS
    if not labelled:
        given = json.loads(json.dumps(given))
        for row in [*given["results"]["v_abc"], *given["results"]["other"]]:
            del row["label"]
    detections, extra = results_of(given, "r.json")
    assert (detections.label >= 0).all() == labelled
    assert activitynet.write_results(detections, tmp_path / "r.json", extra) == ()
    assert json.loads((tmp_path / "r.json").read_text()) == given
    assert rows(activitynet.read_results(tmp_path / "r.json")) == rows(detections)


def test_proposals_with_a_null_label_and_further_keys() -> None:
    given = {"results": {"a": [{"label": None, "score": 1, "segment": [0, 1]}]}}
    detections, extra = results_of(given, "r.json")
    assert detections.label.tolist() == [-1]
    assert extra == ResultsExtra()


def test_results_have_the_keys_that_the_official_scorer_wants(tmp_path: Path) -> None:
    activitynet.write_results(Detections.of([("a", "x", 0, 1, 0.5)]), tmp_path / "r.json")
    assert set(json.loads((tmp_path / "r.json").read_text())) == {"version", "external_data", "results"}


def test_empty_results() -> None:
    assert len(results_of({"results": {}}, "r.json")[0]) == 0
    assert results_of({"results": {"a": []}}, "r.json")[0].video_ids == ("a",)


ROW = ("results", "v_abc", 1)


@pytest.mark.parametrize(
    ("keys", "kind", "expected"),
    [
        ((*ROW, "segment", 0), {"to": "1"}, 'results.v_abc[1].segment[0]: is "1", expected a number without quotes'),
        ((*ROW, "segment", 0), {"to": False}, "segment[0]: is false, expected a number"),
        ((*ROW, "segment"), {"to": [1, 2, 3]}, "segment: is [1, 2, 3], expected [start, end]"),
        ((*ROW, "segment"), {"to": "12"}, 'segment: is "12", expected a list'),
        ((*ROW, "segment"), {"drop": True}, 'results.v_abc[1]: key "segment" is missing'),
        ((*ROW, "score"), {"drop": True}, 'results.v_abc[1]: key "score" is missing'),
        ((*ROW, "score"), {"to": "high"}, 'results.v_abc[1].score: is "high", expected a number'),
        ((*ROW, "score"), {"to": 10**400}, "score: is 1"),
        ((*ROW, "label"), {"to": 12}, "results.v_abc[1].label: is 12, expected the name of a class as text"),
        ((*ROW, "label"), {"to": ["a"]}, 'label: is ["a"], expected text'),
        ((*ROW, "label"), {"drop": True}, "results.v_abc[1]: has no label, unlike the rows before"),
        (ROW, {"to": 3}, "results.v_abc[1]: is 3, expected an object"),
        (("results", "v_abc"), {"to": {}}, "results.v_abc: is {}, expected a list"),
        (("results",), {"to": []}, "results: is [], expected an object"),
        (("results",), {"drop": True}, 'key "results" is missing'),
    ],
)
def test_results_of_the_wrong_form_are_placed(keys: tuple[Any, ...], kind: dict[str, Any], expected: str) -> None:
    found = results_error(*keys, **kind)
    assert found.startswith("r.json: ")
    assert expected in found


def test_a_number_beyond_floats_in_json_is_placed(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text('{"results": {"a": [{"label": "x", "score": 1e999, "segment": [0, 1]}]}}')
    with pytest.raises(InputError, match=r"results\.a\[0\]\.score: is Infinity, expected a finite number"):
        activitynet.read_results(tmp_path / "r.json")


def test_a_video_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text('{"results": {"a": [], "b": [], "a": []}}')
    with pytest.raises(InputError, match=r'key "results\.a" occurs twice'):
        activitynet.read_results(tmp_path / "r.json")


def test_known_keys_win_over_further_ones(tmp_path: Path) -> None:
    instances = Instances(np.array([[0.0, 1.0]]), ("x",), ({"label": "y"},))
    truth = Annotations.of([Video("a", subset="test", instances=instances, extra={"subset": "other"})])
    activitynet.write_truth(truth, tmp_path / "t.json")
    again = activitynet.read_truth(tmp_path / "t.json")
    assert again.videos["a"].subset == "test"
    assert again.videos["a"].instances.labels == ("x",)
