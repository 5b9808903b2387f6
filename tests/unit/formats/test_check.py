"""Every kind of problem, planted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from untrimmed.errors import InputError
from untrimmed.formats.check import Finding, check, check_annotations
from untrimmed.formats.check_features import check_features
from untrimmed.formats.feature_writer import FeatureWriter
from untrimmed.grid import SnippetGrid
from untrimmed.types import Annotations, Instances, Video

GRID = SnippetGrid(25, 5, 10)


def video(name: str, *rows: tuple[str, float, float], subset: str = "test", **about: Any) -> Video:
    segments = np.array([row[1:] for row in rows], dtype=float).reshape(-1, 2)
    about.setdefault("duration", 10.0)
    return Video(name, subset, instances=Instances(segments, tuple(row[0] for row in rows)), **about)


def found(*videos: Video) -> list[tuple[str, str, str]]:
    return [(finding.severity, finding.what, finding.video) for finding in check_annotations(Annotations.of(videos))]


def one(*videos: Video) -> Finding:
    (finding,) = check_annotations(Annotations.of(videos))
    return finding


RUN = ("run", 1.0, 2.0)


@pytest.mark.parametrize(
    ("row", "severity", "what"),
    [
        (("run", 5.0, 3.0), "error", "end before start"),
        (("run", 5.0, 5.0), "error", "zero length"),
        (("run", -0.5, 0.5), "error", "starts before 0"),
        (("run", 10.0, 12.0), "error", "lies beyond the duration"),
        (("run", 5.0, 11.5), "error", "ends more than 1 s beyond the duration"),
        (("run", 5.0, 10.5), "warning", "ends beyond the duration"),
        (("run", 5.0, 10.005), "note", "ends beyond the duration by rounding"),
    ],
)
def test_times(row: tuple[str, float, float], severity: str, what: str) -> None:
    finding = one(video("a", RUN, row))
    assert (finding.severity, finding.what, finding.video) == (severity, what, "a")
    assert finding.value.startswith('instance 1: "run" [')
    assert finding.fix


def test_a_clean_video_has_no_problem() -> None:
    assert found(video("a", RUN, ("run", 2.0, 3.0), ("jump", 1.5, 10.0))) == []


def test_duplicates_and_overlaps() -> None:
    rows = [("run", 1.0, 8.0), ("run", 1.0005, 8.0), ("run", 2.0, 3.0), ("run", 7.0, 9.0), ("jump", 1.0, 8.0)]
    assert found(video("a", *rows)) == [
        ("warning", "duplicate", "a"),
        ("warning", "overlap within a class", "a"),
        ("warning", "overlap within a class", "a"),
    ]


def test_what_is_unknown_of_a_video() -> None:
    assert found(video("a", RUN, duration=None, subset="")) == [
        ("note", "duration unknown", "a"),
        ("note", "no subset", "a"),
    ]
    assert found(video(" a", RUN))[0][:2] == ("error", "spaces around a video id")
    assert found(video("a", RUN, duration=0.0)) == [("error", "duration is zero", "a")]


def test_videos_without_instances() -> None:
    assert found(video("a", RUN), video("b")) == [("warning", "no instances", "b")]
    finding = one(video("a", RUN), video("b", subset="testing"), video("c", subset="testing"))
    assert finding.what == "subset without instances"
    assert "none of the 2 videos" in finding.value


def test_names_that_differ_by_little() -> None:
    runs = [("High_Jump", 1.0, 2.0), ("High_Jump", 3.0, 4.0), ("high jump", 5.0, 6.0), ("HighJump ", 7.0, 8.0)]
    findings = list(check_annotations(Annotations.of([video("a", *runs)])))
    assert [finding.fix for finding in findings] == [
        'rename "HighJump " to "High_Jump"',
        'rename "high jump" to "High_Jump"',
    ]
    assert {finding.severity for finding in findings} == {"error"}
    finding = one(video("a", RUN), video("b", RUN), video("c", RUN, subset="Test"))
    assert finding.what.startswith("subsets that differ only by case")
    assert finding.video == "c"


def test_empty_labels() -> None:
    assert found(video("a", RUN, ("", 3.0, 4.0), (" ", 5.0, 6.0)))[0] == ("error", "empty label", "a")


def test_the_report_counts_and_orders() -> None:
    truth = Annotations.of([video("a", RUN, ("run", 5.0, 10.5)), video("b", ("run", 3.0, 1.0)), video("c")])
    report = check(truth)
    assert [finding.severity for finding in report.findings] == ["error", "warning", "warning"]
    assert str(report) == "1 error, 2 warnings in 3 videos with 3 instances"
    values = report.to_dict()
    assert json.loads(json.dumps(values)) == values
    assert (values["errors"], values["warnings"], values["notes"]) == (1, 2, 0)
    assert values["counts"] == {"end before start": 1, "ends beyond the duration": 1, "no instances": 1}
    assert str(check(Annotations.of([video("a", RUN)]))) == "no problem found in 1 video with 1 instance"


def rows(seed: int, length: int = 49, width: int = 4, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(length, width)).astype(dtype)


def planted(folder: Path) -> Annotations:
    """A folder of plain files with every problem, and its truth."""
    folder.mkdir()
    arrays: dict[str, np.ndarray] = {name: rows(index) for index, name in enumerate(["good", "v_prefixed", "other"])}
    arrays["half"] = rows(5, dtype="float16")
    arrays["short"], arrays["shorter"], arrays["long"] = rows(6, 24), rows(7, 47), rows(8, 500)
    arrays["wide"] = rows(9, width=5)
    arrays["flat"] = rows(10)[:, 0]
    arrays["text"] = np.array([["a"]])
    arrays["nothing"] = np.zeros((0, 4), np.float32)
    arrays["zero"], arrays["same"] = np.zeros((49, 4), np.float32), np.ones((49, 4), np.float32)
    arrays["nan"] = rows(11)
    arrays["nan"][20, 1] = np.nan
    arrays["padded"] = rows(12)
    arrays["padded"][40:] = 0
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    (folder / "broken.npy").write_bytes(b"\x93NUMPY nonsense")
    np.save(folder / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    (folder / "a%2Fb.npy").write_bytes((folder / "good.npy").read_bytes())
    names = [*arrays, "broken", "pickled", "a/b", "Prefixed", "absent"]
    return Annotations.of(video(name, RUN) for name in names if name not in ("v_prefixed", "other"))


EXPECTED = {
    ("error", "no features", "Prefixed"): 'but there are features of "v_prefixed"',
    ("error", "no features", "absent"): "none in ",
    ("note", "features of videos that the truth does not have", ""): '2: "other", "v_prefixed"',
    ("error", "features are not (T, C) numbers", "flat"): "flat.npy: shape (49,) of float32",
    ("error", "features are not (T, C) numbers", "text"): "text.npy: shape (1, 1) of <U1",
    ("error", "features are not (T, C) numbers", "nothing"): "shape (0, 4)",
    ("error", "features are all zero", "zero"): "49 rows",
    ("error", "features are constant", "same"): "49 equal rows",
    ("error", "features with NaN or infinity", "nan"): "row 20, channel 1: nan",
    ("warning", "rows of zeros", "padded"): "9 of 49 rows",
    ("error", "features cannot be read", "broken"): "broken.npy: ",
    ("error", "features cannot be read", "pickled"): "pickled.npy: ",
    ("error", "unequal widths", "wide"): "5 channels, expected 4",
}
LENGTHS = {
    ("error", "length does not fit the duration", "short"): "24 rows, expected 49 for 10 s",
    ("warning", "length does not fit the duration exactly", "shorter"): "47 rows, expected 49",
    ("error", "length does not fit the duration", "long"): "500 rows, expected 49",
}


@pytest.mark.parametrize("grid", [None, GRID])
def test_a_folder_of_plain_files(tmp_path: Path, grid: SnippetGrid | None) -> None:
    truth = planted(tmp_path / "features")
    findings = check_features(truth, tmp_path / "features", grid)
    by_key = {(item.severity, item.what, item.video): item.value for item in findings}
    expected = EXPECTED if grid is None else EXPECTED | LENGTHS
    assert set(by_key) == set(expected)
    for key, part in expected.items():
        assert part in by_key[key]


def test_the_grid_and_width_that_the_truth_says(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", rows(0, 24))
    np.save(tmp_path / "b.npy", rows(1, 49, 5))
    snippets = {"fps": 25, "stride": 5, "window": 10, "channels": 4}
    truth = Annotations.of([video("a", RUN), video("b", RUN)], extra={"snippets": snippets})
    kinds = [(item.what, item.video) for item in check(truth, tmp_path).findings]
    assert kinds == [("length does not fit the duration", "a"), ("unequal widths", "b")]
    odd = Annotations.of(truth, extra={"snippets": {"fps": "fast", "stride": 5, "window": 10}})
    with pytest.raises(InputError, match="frame rate is 'fast'"):
        check(odd, tmp_path)


@pytest.mark.parametrize("length", range(47, 54))
def test_any_padding_of_extractors_is_right(tmp_path: Path, length: int) -> None:
    """10 s at 25 frames a second: 49 whole windows of 10 frames; 50 or 51 with padding at the end."""
    np.save(tmp_path / "a.npy", rows(0, length))
    findings = check_features(Annotations.of([video("a", RUN)]), tmp_path, GRID)
    assert (findings == []) == (48 <= length <= 52)


def test_without_a_duration_the_instances_must_be_covered(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", rows(0, 49))
    for end, fits in ((9.0, True), (10.5, True), (20.0, False)):
        truth = Annotations.of([video("a", ("run", 1.0, end), duration=None)])
        assert (check_features(truth, tmp_path, GRID) == []) == fits
    assert check_features(Annotations.of([video("a", duration=None)]), tmp_path, GRID) == []


def test_a_folder_with_an_index(tmp_path: Path) -> None:
    with FeatureWriter(tmp_path, backbone={"name": "test"}) as writer:
        writer.add("a", rows(0), GRID, 10.0)
        writer.add("b", rows(1), GRID, 10.0)
        writer.add("c/d", rows(2), GRID, 20.0)
        writer.add("gone", rows(3), GRID, 10.0)
        writer.add("unknown", rows(3), GRID, 20.0)
    np.save(tmp_path / "b.npy", rows(1, 48))
    (tmp_path / "gone.npy").unlink()
    truth = Annotations.of(
        [*(video(name, RUN) for name in ("a", "b", "c/d", "gone")), video("unknown", RUN, duration=None)]
    )
    kinds = {(item.severity, item.what, item.video): item.value for item in check(truth, tmp_path).findings}
    assert list(kinds) == [
        ("error", "features do not fit their index", "b"),
        ("error", "features cannot be read", "gone"),
        ("error", "length does not fit the duration", "unknown"),
        ("warning", "durations differ", "c/d"),
        ("note", "duration unknown", "unknown"),
    ]
    assert kinds["error", "features do not fit their index", "b"] == "48 rows, the index says 49"
    assert kinds["error", "length does not fit the duration", "unknown"] == "49 rows, expected 99 for 20 s"
    with pytest.raises(InputError, match="the grid of video 'a'"):
        check(truth, tmp_path, SnippetGrid(30, 5, 10))


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    truth = Annotations.of([video("a", RUN)])
    with pytest.raises(InputError, match="there is no such folder"):
        check(truth, tmp_path / "none")
    with pytest.raises(InputError, match=r"no \.npy file in it"):
        check(truth, tmp_path)
    (tmp_path / "index.json").write_text("{}")
    with pytest.raises(InputError, match="not an index of features"):
        check(truth, tmp_path)


def test_all_files_unreadable(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"")
    findings = check_features(Annotations.of([video("a", RUN)]), tmp_path)
    assert [item.what for item in findings] == ["features cannot be read"]


def test_real_data(shared_data: Path) -> None:
    from untrimmed.formats import read_annotations

    truth = read_annotations(shared_data / "sbhar" / "annotations.json")
    assert check(truth, shared_data / "sbhar" / "features").findings == ()
    report = check(read_annotations(shared_data / "activitynet13" / "annotations.json.gz"))
    assert report.to_dict()["counts"] == {
        "zero length": 12,
        "overlap within a class": 271,
        "duplicate": 50,
        "ends beyond the duration": 13,
        "ends beyond the duration by rounding": 202,
        "subset without instances": 1,
    }
    report = check(read_annotations(shared_data / "thumos14" / "annotations.json"))
    assert {item.video for item in report.findings if item.severity == "error"} == {
        "video_test_0000270",
        "video_test_0000814",
        "video_test_0001081",
        "video_validation_0000364",
        "video_validation_0000856",
    }
