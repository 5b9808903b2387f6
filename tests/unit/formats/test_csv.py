"""Plain CSV."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from untrimmed.errors import InputError
from untrimmed.formats import csv
from untrimmed.types import Annotations, Detections, Instances, Video


def write(path: Path, text: str) -> Path:
    path.write_text(text, newline="")
    return path


def error(read, path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_truth_is_read(tmp_path: Path) -> None:
    text = (
        "Video,label,start,end,duration,subset,who\r\n"
        'a,"run, fast",1,2.5,10,test,me\r\n'
        "a,run,.5,-1e0,,test,\r\n"
        "\r\n"
        "b,,,,7,test,\r\n"
    )
    truth = csv.read_truth(write(tmp_path / "t.csv", text))
    video = truth.videos["a"]
    assert (video.subset, video.duration) == ("test", 10.0)
    assert video.instances.labels == ("run, fast", "run")
    assert video.instances.segments.tolist() == [[1, 2.5], [0.5, -1]]
    assert video.instances.extra == ({"who": "me"}, {})
    assert truth.videos["b"].duration == 7
    assert len(truth.videos["b"].instances) == 0


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters_and_names_of_the_activitynet_community(tmp_path: Path, delimiter: str) -> None:
    text = "video-id,t-start,t-end,label\na,1,2,x\n".replace(",", delimiter)
    assert csv.read_truth(write(tmp_path / "t", text)).videos["a"].instances.segments.tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        (" ,\n", "is empty"),
        ("video,label,start\n", 'column "end" is missing'),
        ("video,label,start,end,end\n", 'column "end" occurs twice'),
        ("video,video_id,label,start,end\n", 'two columns mean "video"'),
        ("video,label,start,end\na,x,1\n", "line 2: 3 fields, but the header has 4"),
        ("video,label,start,end\na,x,1,2,3\n", "line 2: 5 fields"),
        ("video,label,start,end\na,x,1,two\n", 'line 2, end: is "two", expected a number'),
        ("video,label,start,end\na,x,1_0,2\n", 'start: is "1_0"'),
        ("video,label,start,end\na,x,nan,2\n", 'start: is "nan"'),
        ("video,label,start,end\na,,1,2\n", 'line 2, label: is "", expected the name of a class'),
        ("video,label,start,end\n,x,1,2\n", "line 2: the video has no name"),
        ("video,label,start,end,duration\na,x,1,2,-3\n", 'the duration of video "a" is -3.0'),
        ("video,label,start,end,duration\na,x,1,2,3\na,x,1,2,4\n", "is 4.0, but was 3.0 before"),
        ("video,label,start,end,duration\na,x,1,2,0\na,x,1,2,4\n", "is 4.0, but was 0.0 before"),
        ('video,label,start,end\na,"x,1,2\n', "not valid CSV"),
        ("video,label,start,end,score\n", 'holds results (column "score"), expected truth'),
        ("video,label,start,end\na," + "x" * 200_000 + ",1,2\n", "not valid CSV: field larger"),
    ],
)
def test_truth_that_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in error(csv.read_truth, write(tmp_path / "t.csv", text))


def truth_of(*rows: tuple[str, float, float], extra: tuple = (), **about) -> Annotations:
    instances = Instances(
        np.array([row[1:] for row in rows], dtype=float).reshape(-1, 2), tuple(row[0] for row in rows), extra
    )
    return Annotations.of([Video("a", instances=instances, **about), Video("none", "test", 3.0)])


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz"])
def test_truth_survives_a_round_trip(tmp_path: Path, name: str) -> None:
    rows = [(' "quoted", label\n', 0.1, 1 / 3), ("x;\ty", 2.0, 1.0), ("x\ry", 1e-7, 2.0)]
    extra = ({"who": "me"}, {"why": "a,b"}, {})
    given = truth_of(*rows, extra=extra, subset="test", duration=12.0)
    assert csv.write_truth(given, tmp_path / name) == ()
    again = csv.read_truth(tmp_path / name)
    assert again.videos["a"].instances.segments.tolist() == [list(row[1:]) for row in rows]
    assert again.videos["a"].instances.labels == tuple(row[0] for row in rows)
    assert again.videos["a"].instances.extra == extra
    assert again.videos["none"].duration == 3.0


def test_what_is_lost_is_said(tmp_path: Path) -> None:
    given = Annotations.of(
        [
            Video(
                "a",
                fps=25,
                instances=Instances(np.array([[0.0, 1.0]]), ("x",), ({"id": 3, "score": "1", "ok": "yes"},)),
                extra={"url": "u"},
            )
        ],
        "mine",
        {"more": 1},
    )
    assert csv.write_truth(given, tmp_path / "t.csv") == (
        "the frame rate of 1 video",
        "further keys of instances of 1 video",
        "further keys of 1 video",
        'the name of the truth, "mine"',
        'the keys "more" of the whole file',
    )
    assert (tmp_path / "t.csv").read_text().splitlines()[0] == "video,label,start,end,duration,subset,ok"


HEADER = "video,label,start,end,score\n"


@pytest.mark.parametrize("odd", ["", "none,,,,\n"])
def test_results_are_read(tmp_path: Path, odd: str) -> None:
    """With the odd row the slow pass reads them, without it the fast one."""
    text = HEADER + "b,run,1,2.5,0.5\na,jump,0,1e1,1\nb,run,3,2,-2\n" + odd
    found = csv.read_results(write(tmp_path / "r.csv", text))
    assert found.video_ids == ("b", "a", "none")[: 2 + bool(odd)]
    assert found.labels == ("run", "jump")
    assert found.video.tolist() == [0, 1, 0]
    assert found.label.tolist() == [0, 1, 0]
    assert found.segments.tolist() == [[1, 2.5], [0, 10], [3, 2]]
    assert found.scores.tolist() == [0.5, 1, -2]


@pytest.mark.parametrize("text", ["video,start,end,score\na,1,2,3\n", HEADER + "a,,1,2,3\n"])
def test_proposals_are_read(tmp_path: Path, text: str) -> None:
    found = csv.read_results(write(tmp_path / "r.csv", text))
    assert (found.labels, found.label.tolist()) == ((), [-1])


def test_no_results_at_all(tmp_path: Path) -> None:
    assert len(csv.read_results(write(tmp_path / "r.csv", HEADER))) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("video,label,start,end\n", 'has no column "score", so it holds truth'),
        ("label,start,end,score\n", 'column "video" is missing'),
        (HEADER + "a,x,1,2,high\n", 'line 2, score: is "high"'),
        (HEADER + "a,x,1,2,\n", 'line 2, score: is ""'),
        (HEADER + "a,x,1,2,1e999\n", "expected a finite number"),
        (HEADER + "a,x,1_0,2,1\n", 'start: is "1_0"'),
        (HEADER + "a,x,\N{ARABIC-INDIC DIGIT ONE},2,1\n", "start: is "),
        (HEADER + ",x,1,2,1\n", "line 2: the video has no name"),
        (HEADER + "a,x,1,2,1\n\na,,1,2,1\n", "line 4: has no label, unlike the rows before"),
        (HEADER + "a,,1,2,1\na,x,1,2,1\n", "line 3: has a label, unlike"),
        (HEADER + "a,x,1,2\n", "line 2: 4 fields"),
    ],
)
def test_results_that_are_refused(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in error(csv.read_results, write(tmp_path / "r.csv", text))


@pytest.mark.parametrize("label", ["x", None])
def test_results_survive_a_round_trip(tmp_path: Path, label: str | None) -> None:
    given = Detections.of([("b", label, 0.1, 1 / 3, 1e-9), ("a", label, 2, 1, 5)], video_ids=["a", "b", "none"])
    assert csv.write_results(given, tmp_path / "r.csv") == ()
    again = csv.read_results(tmp_path / "r.csv")
    assert again.video_ids == ("b", "a", "none")
    assert again.segments.tolist() == given.segments.tolist()
    assert again.scores.tolist() == given.scores.tolist()
    assert again.labels == given.labels
