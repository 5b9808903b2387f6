"""EPIC-Kitchens CSV."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from untrimmed.errors import InputError
from untrimmed.formats import epic, read_annotations, write_annotations

HEADER = "narration_id,participant_id,video_id,start_timestamp,stop_timestamp,verb,verb_class,noun,noun_class\n"
ROWS = (
    "P01_01_0,P01,P01_01,00:00:00.14,00:00:03.37,open,3,door,8\n"
    "P01_01_1,P01,P01_01,00:01:02.68,01:00:00.5,unlock,3,tap,0\n"
    "P02_01_0,P02,P02_01,0:00:01,00:00:00.999,take,0,plate,2\n"
)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "EPIC_100_train.csv"
    path.write_text(HEADER + ROWS)
    return path


def test_numbers_of_classes_without_their_files(plain: Path) -> None:
    truth = epic.read_truth(plain)
    assert truth.subsets == ("training",)
    assert truth.videos["P01_01"].instances.labels == ("verb_3 noun_8", "verb_3 noun_0")
    assert truth.videos["P01_01"].instances.segments.tolist() == [[0.14, 3.37], [62.68, 3600.5]]
    assert truth.videos["P01_01"].instances.extra[1]["verb"] == "unlock"
    assert truth.videos["P02_01"].duration is None
    assert epic.read_truth(plain, "verb").labels == ("verb_0", "verb_3")
    assert epic.read_truth(plain, "noun").labels == ("noun_0", "noun_2", "noun_8")


@pytest.mark.parametrize(
    ("verbs", "nouns", "info"),
    [
        (
            ("EPIC_100_verb_classes.csv", "id,key\n0,take\n3,open\n"),
            ("EPIC_100_noun_classes.csv", "id,key\n0,tap\n2,plate\n8,door\n"),
            ("EPIC_100_video_info.csv", "video_id,duration,fps,resolution\nP01_01,3700.5,59.94,x\n"),
        ),
        (
            ("EPIC_verb_classes.csv", "verb_id,class_key\n0,take\n3,open\n"),
            ("EPIC_noun_classes.csv", "noun_id,class_key\n0,tap\n2,plate\n8,door\n"),
            ("EPIC_video_info.csv", "video,resolution,duration,fps\nP01_01,x,3700.5,59.94\n"),
        ),
    ],
)
def test_files_beside_name_classes_and_durations(plain: Path, verbs, nouns, info) -> None:
    for name, text in (verbs, nouns, info):
        (plain.parent / name).write_text(text)
    truth = read_annotations(plain)
    assert truth.videos["P01_01"].instances.labels == ("open door", "open tap")
    assert truth.videos["P01_01"].duration == 3700.5
    assert truth.videos["P01_01"].fps == Fraction(60000, 1001)
    assert truth.videos["P02_01"].duration is None
    plain.write_text(HEADER + ROWS.replace("take,0", "take,1"))
    with pytest.raises(InputError, match='line 4, verb_class: "1" is not in the file of verb classes'):
        epic.read_truth(plain)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("00:00:00.14", "0.14", 'line 2: is "0.14", expected a time HH:MM:SS'),
        ("00:00:00.14", "00:60:00.14", "expected a time"),
        ("open,3", "open,three", 'line 2, verb_class: is "three", expected the number of a class'),
        ("open,3", "open,-3", "verb_class: is"),
        ("P01,P01_01,00:00", "P01,,00:00", "the video has no name"),
        ("noun_class", "noun_klass", 'column "noun_class" is missing: did you mean'),
    ],
)
def test_what_is_refused(plain: Path, before: str, after: str, expected: str) -> None:
    plain.write_text((HEADER + ROWS).replace(before, after))
    with pytest.raises(InputError) as caught:
        epic.read_truth(plain)
    assert expected in str(caught.value)


def test_an_unknown_label_is_refused(plain: Path) -> None:
    with pytest.raises(InputError, match="label 'verbs' is unknown: did you mean 'verb'"):
        epic.read_truth(plain, "verbs")


def test_the_csv_can_be_written_again_by_way_of_json(plain: Path, tmp_path: Path) -> None:
    write_annotations(read_annotations(plain), tmp_path / "t.json")
    out = tmp_path / "again_train.csv"
    assert write_annotations(read_annotations(tmp_path / "t.json"), out, "epic") == ()
    lines = out.read_text().splitlines()
    assert lines[:2] == (HEADER + ROWS).splitlines()[:2]
    first, again = epic.read_truth(plain), epic.read_truth(out)
    for video in first:
        assert again.videos[video.id].instances.segments.tolist() == video.instances.segments.tolist()
        assert again.videos[video.id].instances.extra == video.instances.extra
    assert epic.write_truth(first, tmp_path / "x.csv") == ("the subset of 2 videos",)


def test_truth_from_elsewhere_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("video,label,start,end\na,x,1,2\n")
    with pytest.raises(InputError, match="has no verb_class, which EPIC-Kitchens CSV needs"):
        write_annotations(read_annotations(tmp_path / "t.csv"), tmp_path / "e.csv", "epic")
    (tmp_path / "t.csv").write_text("video,label,start,end,verb_class,noun_class\na,x,-1,2,3,4\n")
    with pytest.raises(InputError, match=r"a time of -1\.0 s cannot be written"):
        write_annotations(read_annotations(tmp_path / "t.csv"), tmp_path / "e.csv", "epic")
