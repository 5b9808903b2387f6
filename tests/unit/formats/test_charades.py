"""Charades CSV."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from untrimmed.errors import InputError
from untrimmed.formats import charades, read_annotations, write_annotations
from untrimmed.types import Annotations, Instances, Video

TEXT = (
    "id,subject,script,actions,length\n"
    'YSKX3,HR43,"A person, awake.",c092 11.90 21.20;c147 0.00 12.60,32.00\n'
    "46GP8,UT5,Nothing.,,\n"
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "Charades_v1_train.csv"
    path.write_text(TEXT)
    return path


def test_truth_is_read(source: Path) -> None:
    truth = read_annotations(source)
    video = truth.videos["YSKX3"]
    assert (video.subset, video.duration) == ("training", 32.0)
    assert video.instances.labels == ("c092", "c147")
    assert video.instances.segments.tolist() == [[11.9, 21.2], [0, 12.6]]
    assert video.extra == {"subject": "HR43", "script": "A person, awake."}
    assert truth.videos["46GP8"].duration is None
    assert len(truth.videos["46GP8"].instances) == 0


def test_truth_survives_a_round_trip(source: Path, tmp_path: Path) -> None:
    first = charades.read_truth(source)
    out = tmp_path / "again_train.csv"
    assert write_annotations(first, out, "charades") == ()
    again = charades.read_truth(out)
    for video in first:
        other = again.videos[video.id]
        assert (other.duration, other.extra, other.subset) == (video.duration, video.extra, video.subset)
        assert other.instances.segments.tolist() == video.instances.segments.tolist()
    assert charades.write_truth(first, tmp_path / "x.csv") == ("the subset of 2 videos",)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("c092 11.90 21.20", "c092 11.90", 'line 2, actions: is "c092 11.90", expected "class start end"'),
        ("11.90", "x", 'line 2, actions: is "x", expected a number'),
        ("32.00", "long", 'line 2, length: is "long"'),
        ("32.00", "-1", "the duration of video"),
        ("46GP8", "YSKX3", 'line 3: video "YSKX3" occurs twice'),
        ("length", "lengths", 'column "length" is missing'),
    ],
)
def test_what_is_refused(source: Path, before: str, after: str, expected: str) -> None:
    source.write_text(TEXT.replace(before, after))
    with pytest.raises(InputError) as caught:
        charades.read_truth(source)
    assert expected in str(caught.value)


@pytest.mark.parametrize("label", ["run fast", "a;b", ""])
def test_labels_that_cannot_be_written(tmp_path: Path, label: str) -> None:
    truth = Annotations.of([Video("a", instances=Instances(np.array([[0.0, 1.0]]), (label,)))])
    with pytest.raises(InputError, match="holds a space or semicolon, or is empty"):
        write_annotations(truth, tmp_path / "c.csv", "charades")
