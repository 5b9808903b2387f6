"""The THUMOS14 text files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from untrimmed.errors import InputError
from untrimmed.formats import read_annotations, thumos14
from untrimmed.types import Annotations, Detections, Instances, Video


def folder_of(path: Path, **files: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (path / f"{name}.txt").write_text(text)
    return path


def truth(*videos: tuple[str, str, list[tuple[str, float, float]]]) -> Annotations:
    return Annotations.of(
        Video(
            name,
            subset,
            instances=Instances(
                np.array([row[1:] for row in rows], dtype=float).reshape(-1, 2), tuple(row[0] for row in rows)
            ),
        )
        for name, subset, rows in videos
    )


def test_official_files_are_read_wherever_they_lie(tmp_path: Path) -> None:
    folder_of(tmp_path, detclasslist="7 BaseballPitch\n")
    folder_of(tmp_path / "test" / "annotation", Diving_test="video_test_2  1.1 2.2\nvideo_test_1 0.5 3\n\n")
    folder_of(tmp_path / "val", Diving_val=" video_validation_1 5 4 \n", Ambiguous_val="video_validation_1 7 8\n")
    found = thumos14.read_truth(tmp_path)
    assert found.version == "THUMOS14"
    assert {video.id: video.subset for video in found} == {
        "video_test_1": "test",
        "video_test_2": "test",
        "video_validation_1": "validation",
    }
    assert found.videos["video_validation_1"].instances.labels == ("Ambiguous", "Diving")
    assert found.videos["video_validation_1"].instances.segments.tolist() == [[7, 8], [5, 4]]


def test_a_single_file_is_read(tmp_path: Path) -> None:
    folder_of(tmp_path, Diving_test="a 1 2\na 0 1\n")
    found = thumos14.read_truth(tmp_path / "Diving_test.txt")
    assert found.videos["a"].instances.segments.tolist() == [[1, 2], [0, 1]]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"Diving_test": "a 1\n"}, "Diving_test.txt: line 1: 2 fields, expected 3"),
        ({"Diving_test": "\na 1 x\n"}, 'line 2: is "x", expected a number'),
        ({"Diving_test": "a 1 nan\n"}, 'is "nan", expected a number'),
        ({"Diving_test": "a 1 1e999\n"}, "expected a finite number"),
        ({"Diving_test": "a 1 2", "Diving_val": "a 1 2"}, 'the subset of video "a" is validation, but was test'),
        ({"README": "hello"}, "no file named <Class>_val.txt"),
    ],
)
def test_truth_that_is_refused(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    folder_of(tmp_path, **files)
    with pytest.raises(InputError) as caught:
        thumos14.read_truth(tmp_path)
    assert expected in str(caught.value)


def test_the_same_class_in_two_folders_is_refused(tmp_path: Path) -> None:
    folder_of(tmp_path / "a", Diving_test="a 1 2")
    folder_of(tmp_path / "b", Diving_test="a 1 2")
    with pytest.raises(InputError, match="give one of the folders"):
        thumos14.read_truth(tmp_path)


def test_a_file_of_another_name_is_refused(tmp_path: Path) -> None:
    folder_of(tmp_path, other="a 1 2")
    with pytest.raises(InputError, match="is not named"):
        thumos14.read_truth(tmp_path / "other.txt")


def test_truth_survives_a_round_trip(tmp_path: Path) -> None:
    given = truth(
        ("v1", "test", [("Diving", 0.1, 1 / 3), ("Run_fast", 3.0, 2.0), ("Diving", 0.0, 0.1)]),
        ("v2", "validation", [("Diving", 5.0, 6.0)]),
    )
    lost = thumos14.write_truth(given, tmp_path / "out")
    assert lost == ()
    again = read_annotations(tmp_path / "out")
    assert again.videos["v1"].instances.labels == ("Diving", "Diving", "Run_fast")
    assert again.videos["v1"].instances.segments.tolist() == [[0.1, 1 / 3], [0.0, 0.1], [3.0, 2.0]]
    assert again.videos["v2"].subset == "validation"


def test_what_is_lost_is_said(tmp_path: Path) -> None:
    video = Video("v", "test", duration=3.0, extra={"url": "x"})
    lost = thumos14.write_truth(Annotations.of([video], extra={"taxonomy": []}), tmp_path / "out")
    assert lost == (
        "1 video without instances",
        "the duration of 1 video",
        "further keys of 1 video",
        'the keys "taxonomy" of the whole file',
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (truth(("v", "training", [])), 'in subset "training", but THUMOS14 files hold'),
        (truth(("v", "", [])), "in subset"),
        (truth(("a b", "test", [])), "has a space in its name"),
        (truth(("v", "test", [("a/b", 0, 1)])), "cannot be the name of a file"),
        (truth(("v", "test", [("", 0, 1)])), "cannot be the name of a file"),
        (truth(("v", "test", [("run", 0, 1), ("Run", 0, 1)])), "differ only by case"),
    ],
)
def test_truth_that_cannot_be_written(tmp_path: Path, given: Annotations, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        thumos14.write_truth(given, tmp_path / "out")
    assert expected in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_results_survive_a_round_trip(tmp_path: Path) -> None:
    given = Detections.of(
        [("v2", "Diving", 0.1, 1 / 3, 1e-9), ("v1", "Billiards", 2.0, 1.0, 0.5)], video_ids=["v1", "v2", "v3"]
    )
    lost = thumos14.write_results(given, tmp_path / "r.txt")
    assert lost == ("1 video without a detection",)
    assert (tmp_path / "r.txt").read_text().splitlines()[1] == "v1 2.0 1.0 12 0.5"
    again = thumos14.read_results(tmp_path / "r.txt")
    assert again.video_ids == ("v2", "v1")
    assert again.labels == ("Diving", "Billiards")
    assert again.segments.tolist() == given.segments.tolist()
    assert again.scores.tolist() == given.scores.tolist()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("v 1 2 7", "line 1: 4 fields, expected 5"),
        ("v 1 2 8 0.5", 'line 1, class: is "8", expected the number of one of the 20'),
        ("v 1 2 Diving 0.5", 'class: is "Diving"'),
        ("v 1 2 7 inf", 'is "inf", expected a number'),
    ],
)
def test_results_that_are_refused(tmp_path: Path, line: str, expected: str) -> None:
    (tmp_path / "r.txt").write_text(line)
    with pytest.raises(InputError) as caught:
        thumos14.read_results(tmp_path / "r.txt")
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (("v", None, 0, 1, 0.5), "proposals have no label"),
        (("v", "Ballet", 0, 1, 0.5), "not one of the 20 THUMOS14 classes"),
        (("a b", "Diving", 0, 1, 0.5), "has a space"),
    ],
)
def test_results_that_cannot_be_written(tmp_path: Path, row: tuple, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        thumos14.write_results(Detections.of([row]), tmp_path / "r.txt")
    assert expected in str(caught.value)


def test_there_are_twenty_classes() -> None:
    assert len(set(thumos14.CLASS_IDS.values())) == 20
    assert all(1 <= number <= 101 for number in thumos14.CLASS_IDS.values())


def test_the_real_truth_survives(shared_data: Path, tmp_path: Path) -> None:
    given = read_annotations(shared_data / "thumos14" / "annotations.json")
    lost = thumos14.write_truth(given, tmp_path / "out")
    assert lost == ("the duration of 413 videos",)
    assert len(list((tmp_path / "out").iterdir())) == 42
    again = read_annotations(tmp_path / "out")
    assert set(again.videos) == set(given.videos)
    for video in given:
        other = again.videos[video.id]
        assert other.subset == video.subset
        for label in video.labels:
            ours, theirs = (
                [s for s, name in zip(v.instances.segments.tolist(), v.instances.labels, strict=True) if name == label]
                for v in (video, other)
            )
            assert ours == theirs
