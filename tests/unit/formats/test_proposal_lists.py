"""The field's lists of proposals: read, written, and refused where they cannot be meant."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from untrimmed.errors import InputError
from untrimmed.formats import bsn, read, read_annotations, read_detections, ssn, turn, write_detections
from untrimmed.formats.timing import Timing, read_rates
from untrimmed.types import Annotations, Detections, Instances, Video

SSN = """# 1
frames/a
1
1
2
7 0.1000 0.3000
3 0.5000 0.9000
3
7 0.8000 0.9000 0.1000 0.2800
3 0.5000 1.0000 0.6000 0.8000
7 0.0000 0.0000 0.3500 0.4000
# 2
b
1
1

0

0
"""
SHORT = SSN.replace("7 0.0000 0.0000 0.3500 0.4000\n", "")
IN_FRAMES = "# 1\na\n1000\n1\n1\n7 100 300\n2\n7 0.9 0.9 120 300\n7 0.2 0.3 500.5 900\n"
TRUTH = Annotations.of(
    [
        Video("a", "test", 40.0, instances=Instances([[4, 12], [20, 36]], ("wave", "jump"))),
        Video("b", "test", 30.0),
    ]
)
TIMING = Timing(TRUTH)


def written(folder: Path, text: str, name: str = "list.txt") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_ssn_in_fractions(tmp_path: Path) -> None:
    path = written(tmp_path, SSN)
    groups = ssn.read_list(path)
    assert [(group.name, group.video_id, group.fractional) for group in groups] == [
        ("frames/a", "a", True),
        ("b", "b", True),
    ]
    found = read_detections(path, timing=TIMING)
    assert found.video_ids == ("a", "b")
    np.testing.assert_allclose(found.segments, [[4, 11.2], [24, 32], [14, 16]])
    np.testing.assert_allclose(found.scores, [1, 2 / 3, 1 / 3])
    assert (found.label == -1).all()
    truth = read_annotations(path, timing=TIMING)
    assert truth.videos["a"].instances.labels == ("7", "3")
    np.testing.assert_allclose(truth.videos["a"].instances.segments, [[4, 12], [20, 36]])
    assert read(path, timing=TIMING).left == ("the truth of the list, and the overlaps of its proposals with it",)


def test_ssn_comes_back_as_it_was(tmp_path: Path) -> None:
    in_frames = "# 1\na\n1000\n1\n1\n7 100 300\n2\n7 0.9000 0.9000 120 300\n7 0.2000 0.3000 500.5000 900\n"
    for text in (SSN.replace("\n\n", "\n"), in_frames):
        ssn.write_list(ssn.read_list(written(tmp_path, text)), tmp_path / "again.txt")
        assert (tmp_path / "again.txt").read_text() == text


def test_ssn_in_frames(tmp_path: Path) -> None:
    path = written(tmp_path, IN_FRAMES)
    by_rate = read_detections(path, timing=Timing(rates={"a": Fraction(25)}))
    np.testing.assert_allclose(by_rate.segments, [[4.8, 12], [20.02, 36]])
    np.testing.assert_allclose(read_detections(path, timing=TIMING).segments, by_rate.segments)
    said = written(tmp_path, IN_FRAMES.replace("1000\n1\n", "1000\n25\n"), "said.txt")
    np.testing.assert_allclose(read_detections(said).segments, by_rate.segments)
    with pytest.raises(
        InputError, match=r'list.txt: video "a": its times are frames, and how many a second .*--fps-table'
    ):
        read_detections(path)


def test_ssn_from_proposals_and_truth(tmp_path: Path) -> None:
    """Class, tIoU and covered share by hand: of the instance that overlaps most."""
    given = Detections.of([("a", None, 10, 22, 0.2), ("a", None, 4, 12, 0.9), ("b", None, 0, 3, 0.5)])
    lost = write_detections(given, tmp_path / "list.txt", "ssn", timing=TIMING)
    assert lost == ("scores, but for the order they give", "times, but for four decimals of the video's length")
    first, second = ssn.read_list(tmp_path / "list.txt")
    np.testing.assert_allclose(first.truth, [[2, 0.1, 0.3], [1, 0.5, 0.9]])
    # [10, 22] shares 2 s of 18 with the one instance and 2 s of 26 with the other.
    np.testing.assert_allclose(first.proposals, [[2, 1, 1, 0.1, 0.3], [2, 0.1111, 0.1667, 0.25, 0.55]])
    np.testing.assert_allclose(second.proposals, [[0, 0, 0, 0, 0.1]])
    with pytest.raises(InputError, match="holds the truth beside the proposals; give it with --truth"):
        write_detections(given, tmp_path / "list.txt", "ssn")


def test_ambiguous_segments_are_no_instances_of_a_list(tmp_path: Path) -> None:
    truth = Annotations.of([Video("a", "test", 10.0, instances=Instances([[0, 5], [1, 2]], ("Ambiguous", "Diving")))])
    lost = write_detections(Detections.of([("a", None, 0, 5, 1)]), tmp_path / "l.txt", "ssn", timing=Timing(truth))
    assert "the segments labelled Ambiguous" in lost
    np.testing.assert_allclose(ssn.read_list(tmp_path / "l.txt")[0].truth, [[1, 0.1, 0.2]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# 1\na\n", "ends where the number of frames should stand: the list is cut short"),
        (SHORT, r'line 11: the next group begins after 2 proposals of video "frames/a", but there should be 3'),
        ("# 1\na\n1\n1\n0\n3\n1 0 0 0 1\n", r'list ends after 1 proposal of video "a", but there should be 3'),
        ("# 1\na\n1\n1\n0\n1\n1 0 0 0\n", r"line 7: 4 fields, expected 5: class tIoU covered start end"),
        ("# 1\na\n1\n1\n0\n1\n1 0 0 0 x\n", r'line 7: is "x", expected a number'),
        ("# 1\na\n1\n1\n0\n1\n1 0 0 0 nan\n", r'line 7: is "nan", expected a number'),
        ("# 1\na\n1\n1\n0\n1.5\n", "line 6: 1.5 proposals, expected a whole number"),
        ("# 1\na\n0\n1\n0\n0\n", "line 4: 0 frames, 1 a second; expected both above 0"),
        ("# 1\na\n1\n1\n0\n0\nb\n", "line 7: is \"b\", expected '# 1' or the like"),
        ("# 1\na\n1\n1\n0\n0\n# 2\nx/a\n1\n1\n0\n0\n", 'line 12: video "a" occurs twice'),
    ],
)  # fmt: skip
def test_a_damaged_list_of_ssn(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        ssn.read_list(written(tmp_path, text))
    assert str(caught.value).startswith(f"{tmp_path}/list.txt: ")


def test_frame_rates_that_contradict_each_other(tmp_path: Path) -> None:
    path = written(tmp_path, IN_FRAMES)
    with pytest.raises(InputError, match=r"1000 frames at 10 a second are 100.0 s, but the video lasts 40.0 s"):
        read_detections(path, timing=Timing(TRUTH, {"a": Fraction(10)}))
    said = written(tmp_path, IN_FRAMES.replace("1000\n1\n", "1000\n25\n"), "said.txt")
    with pytest.raises(InputError, match=r'video "a": the list says 25 frames a second, but the video has 30'):
        read_detections(said, timing=Timing(rates={"a": Fraction(30)}))
    with pytest.raises(InputError, match=r"video a: has 30 frames a second by the table, but 25 by the truth"):
        Timing(Annotations.of([Video("a", fps=Fraction(25))]), {"a": Fraction(30)})


def test_turn(tmp_path: Path) -> None:
    path = written(tmp_path, "a 30 90\nb 0 25\na 15 60\n")
    timing = Timing(rates={"a": Fraction(30), "b": Fraction(25)})
    found = read_detections(path, timing=timing)
    assert list(found.rows()) == [
        ("a", None, 1.0, 3.0, 1.0),
        ("a", None, 0.5, 2.0, 0.5),
        ("b", None, 0.0, 1.0, 1.0),
    ]
    lost = write_detections(found, tmp_path / "again.txt", "turn", timing=timing)
    assert (tmp_path / "again.txt").read_text() == "a 30 90\na 15 60\nb 0 25\n"
    assert lost == ("scores, but for the order they give", "times between whole frames")
    with pytest.raises(InputError, match=r'video "b": its times are frames.*those given are of other videos'):
        read_detections(path, timing=Timing(rates={"a": Fraction(30)}))


def test_turn_is_told_from_the_truth_of_a_class(tmp_path: Path) -> None:
    rates = Timing(rates={"a": Fraction(30)})
    for name in ("turn_test.txt", "turn_thumos14_test.txt", "turn.out"):
        assert read(written(tmp_path, "a 30 90\n", name), timing=rates).format == "turn"
    assert read(written(tmp_path, "a 30.5 90\n", "turn_test.txt"), timing=rates).format == "turn"
    assert read(written(tmp_path, "a 30.5 90\n", "Mine_test.txt")).format == "thumos14"
    assert read(written(tmp_path, "a 30 90\n", "Diving_test.txt"), timing=rates).format == "thumos14"
    with pytest.raises(InputError, match="how many a second has is not known"):
        read(written(tmp_path, "a 30 90\n", "turn_test.txt"))
    with pytest.raises(InputError, match="a list of proposals in frames is told by --from turn"):
        read_detections(written(tmp_path, "a 30.5 90\n", "Mine_test.txt"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 1 2\nb 3\n", r"line 2: 2 fields, expected 3: video start end \(in frames\); is the list cut short"),
        ("a 1 2\n\na 1 x\n", r'line 3: is "x", expected a number'),
        ("a 1 2\nb 1 2\na 1_0 3\n", r'line 3: is "1_0", expected a number'),
        ("a 1 2\na \u0661 3\n", r"line 2: is .*, expected a number"),
        ("a 1 2\na inf 3\n", r'line 2: is "inf", expected a number'),
        ("", "is empty, expected"),
    ],
)
def test_a_damaged_list_of_turn(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        turn.read_results(written(tmp_path, text), Timing(rates={"a": Fraction(30)}))


def test_names_with_spaces_cannot_stand_in_a_list_of_turn(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='video "a b" has a space in its name'):
        write_detections(
            Detections.of([("a b", None, 0, 1, 1)]),
            tmp_path / "l.txt",
            "turn",
            timing=Timing(rates={"a b": Fraction(1)}),
        )


@pytest.mark.parametrize(
    ("header", "row", "score"),
    [
        ("xmin,xmax,xmin_score,xmax_score,clr_score,reg_score,score", "0.25,0.5,0.5,0.6,0.7,0.8,0.168", 0.168),
        ("xmin,xmax,xmin_score,xmax_score,iou_score,match_iou", "0.25,0.5,0.5,0.6,0.7,0.9", 0.5 * 0.6 * 0.7),
        ("xmin,xmax,xmin_score,xmax_score,match_iou,match_ioa", "0.25,0.5,0.5,0.6,0.9,0.9", 0.5 * 0.6),
        ("tmin,tmax,tmin_score,tmax_score,clr_score,reg_score", "0.25,0.5,0.5,0.6,0.7,0.8", 0.5 * 0.6 * 0.7 * 0.8),
        ("score,xmax,xmin", "0.3,0.5,0.25", 0.3),
    ],
)
def test_bsn(tmp_path: Path, header: str, row: str, score: float) -> None:
    written(tmp_path, f"{header}\n{row}\n", "v_a.csv")
    written(tmp_path, f"{header}\n", "b.csv")
    found = read_detections(tmp_path, timing=TIMING)
    assert found.video_ids == ("b", "a")
    np.testing.assert_allclose(found.segments, [[10, 20]])
    np.testing.assert_allclose(found.scores, [score])
    one = read_detections(tmp_path / "v_a.csv", timing=TIMING)
    assert list(one.rows()) == list(found.rows())


def test_bsn_comes_back_as_it_was(tmp_path: Path) -> None:
    given = Detections.of([("a", None, 10, 20, 0.3), ("a", None, 0, 4, 0.9)], ("b",))
    assert write_detections(given, tmp_path / "out", "bsn", timing=TIMING) == ()
    assert (tmp_path / "out" / "a.csv").read_text() == "xmin,xmax,score\n0.25,0.5,0.3\n0.0,0.1,0.9\n"
    again = read_detections(tmp_path / "out", timing=TIMING)
    assert sorted(again.video_ids) == ["a", "b"]
    assert list(again.rows()) == list(given.rows())
    with pytest.raises(InputError, match="how long it is is not known"):
        write_detections(given, tmp_path / "other", "bsn")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("xmin,xmax,score\n1,2\n", "line 2: 2 fields, but the header has 3"),
        ("xmin,xmax,score\n0,x,1\n", r'line 2: is "x", expected a number'),
        ("xmin,xmax,score\n3,40,1\n", "proposal 1: xmin 3, xmax 40; expected fractions of the video"),
        ("xmin,xmax\n0,1\n", 'column "xmin_score" is missing'),
        ("xmin,score\n0,1\n", 'column "xmax" is missing'),
    ],
)
def test_a_damaged_table_of_bsn(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        bsn.read_results(written(tmp_path, text, "a.csv"), TIMING)


def test_fractions_need_durations(tmp_path: Path) -> None:
    written(tmp_path, "xmin,xmax,score\n0,1,1\n", "c.csv")
    with pytest.raises(InputError, match=r'c.csv: video "c": .*give a truth with its duration .*there are: a, b'):
        read_detections(tmp_path, timing=TIMING)


def test_a_table_of_frame_rates(tmp_path: Path) -> None:
    path = written(tmp_path, '{"a": 29.97, "b": 25, "c": "30000/1001"}', "fps.json")
    assert read_rates(path) == {"a": Fraction(30000, 1001), "b": Fraction(25), "c": Fraction(30000, 1001)}
    for text, message in (
        ('{"a": 0}', "fps.json: a: is 0, expected frames a second, above 0"),
        ('{"a": null}', "fps.json: a: is null, expected a number"),
        ("{}", "names no video"),
        ("[1]", "expected an object"),
    ):
        with pytest.raises(InputError, match=message):
            read_rates(written(tmp_path, text, "fps.json"))
