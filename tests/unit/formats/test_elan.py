"""ELAN annotation files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from untrimmed.errors import InputError
from untrimmed.formats import elan, read_annotations, write_annotations
from untrimmed.types import Annotations, Instances, Video

EAF = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" DATE="2024-01-01T00:00:00+01:00" FORMAT="3.0" VERSION="3.0">
  <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
    <MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/clips/run%20fast.take1.mp4" MIME_TYPE="video/mp4"/>
    <PROPERTY NAME="lastUsedAnnotationId">3</PROPERTY>
  </HEADER>
  <TIME_ORDER>
    <TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="760"/>
    <TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="1520"/>
    <TIME_SLOT TIME_SLOT_ID="ts3"/>
  </TIME_ORDER>
  <TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="actions">
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
      <ANNOTATION_VALUE>run &amp; jump</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
  </TIER>
  <TIER LINGUISTIC_TYPE_REF="ref" PARENT_REF="actions" TIER_ID="foot">
    <ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a2" ANNOTATION_REF="a1">
      <ANNOTATION_VALUE>left</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
    <ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a3" ANNOTATION_REF="a2"/></ANNOTATION>
  </TIER>
  <TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="loose">
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a4" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts3">
      <ANNOTATION_VALUE>x</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
  </TIER>
</ANNOTATION_DOCUMENT>
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "first.eaf"
    path.write_text(EAF)
    return path


def refused(path: Path, **kind: Any) -> str:
    with pytest.raises(InputError) as caught:
        elan.read_truth(path, **kind)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_chosen_tiers_are_read(source: Path) -> None:
    truth = read_annotations(source, tiers=["actions", "foot"])
    assert list(truth.videos) == ["run fast.take1"]
    instances = truth.videos["run fast.take1"].instances
    assert instances.labels == ("run & jump", "left", "")
    assert instances.segments.tolist() == [[0.76, 1.52]] * 3
    assert instances.extra == ({}, {"tier": "foot"}, {"tier": "foot"})


def test_an_annotation_without_a_time_is_named(source: Path) -> None:
    assert 'tier "loose", annotation a4: TIME_SLOT_REF2 has no time' in refused(source)


def test_a_tier_that_is_nowhere_is_named(source: Path) -> None:
    assert "there is no tier \"action\": did you mean 'actions'" in refused(source, tiers=["action"])


def test_a_folder_is_read_and_videos_are_told_apart(source: Path) -> None:
    (source.parent / "second.eaf").write_text(EAF.replace("run%20fast.take1", "walk"))
    assert list(elan.read_truth(source.parent, ["foot"]).videos) == ["run fast.take1", "walk"]
    (source.parent / "third.eaf").write_text(EAF)
    assert 'is of video "run fast.take1"' in refused(source.parent, tiers=["foot"])


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ('MEDIA_URL="./a.b.mp4"', "a.b"),
        ('MEDIA_URL="" RELATIVE_MEDIA_URL="../x/c.avi"', "c"),
        (r'MEDIA_URL="C:\clips\d.mp4"', "d"),
        ('MEDIA_URL="noending"', "noending"),
        ('MEDIA_URL="a%2Fb.mp4"', "a/b"),
        ('MEDIA_URL="folder/"', "first"),
        ("", "first"),
    ],
)
def test_the_video_is_named_by_its_medium(source: Path, url: str, name: str) -> None:
    source.write_text(EAF.replace('MEDIA_URL="file:///C:/clips/run%20fast.take1.mp4"', url))
    assert list(elan.read_truth(source, ["foot"]).videos) == [name]


def test_a_property_says_which_video_it_is_where_the_medium_is_called_otherwise(source: Path) -> None:
    source.write_text(EAF.replace('lastUsedAnnotationId">3<', 'untrimmed:video">the &lt;run&gt;<'))
    assert list(elan.read_truth(source, ["foot"]).videos) == ["the <run>"]


def test_a_file_without_header_is_named_by_itself(tmp_path: Path) -> None:
    (tmp_path / "a.eaf").write_text("<ANNOTATION_DOCUMENT/>")
    assert list(elan.read_truth(tmp_path).videos) == ["a"]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("</ANNOTATION_DOCUMENT>", "", "line 26 column 1: no element found"),
        ("ANNOTATION_DOCUMENT", "html", 'is XML of type "html"'),
        ('TIME_UNITS="milliseconds"', 'TIME_UNITS="NTSC-frames"', 'TIME_UNITS is "NTSC-frames"'),
        ('TIME_VALUE="760"', 'TIME_VALUE="soon"', 'TIME_SLOT_REF1: is "soon", expected a number'),
        ('ANNOTATION_REF="a1"', 'ANNOTATION_REF="a3"', "refers to no annotation that has a time"),
        ('ANNOTATION_REF="a1"', 'ANNOTATION_REF="a9"', "refers to no annotation that has a time"),
        ("<REF_ANNOTATION ", "<OTHER ", "line 18 column 50: mismatched tag"),
        ("<ANNOTATION_DOC", '<!DOCTYPE a [<!ENTITY b "c">]><ANNOTATION_DOC', "declares a document type"),
        ("lastUsedAnnotationId", "untrimmed:duration", ""),
    ],
)
def test_what_is_refused(source: Path, before: str, after: str, expected: str) -> None:
    source.write_text(EAF.replace(before, after))
    if expected:
        assert expected in refused(source, tiers=["actions", "foot"])
    else:
        assert elan.read_truth(source, ["foot"]).videos["run fast.take1"].duration == 3


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert "no .eaf file" in refused(tmp_path)


def truth(rows: list[tuple[str, float, float]], extra: tuple = (), name: str = "v", **about: Any) -> Annotations:
    segments = np.array([row[1:] for row in rows], dtype=float).reshape(-1, 2)
    return Annotations.of([Video(name, instances=Instances(segments, tuple(row[0] for row in rows), extra), **about)])


def test_truth_survives_a_round_trip(tmp_path: Path) -> None:
    rows = [("a", 0.0, 2.0), ("b", 1.0, 3.0), ('c <"&\n\u00e9', 2.0, 4.5), ("d", 1.5, 1.75), ("e", 10.0, 11.0)]
    extra = ({}, {}, {}, {}, {"tier": "hands"})
    given = truth(rows, extra, name=".od/d na.me", subset="test", duration=12.3456)
    assert elan.write_truth(given, tmp_path / "out.eaf") == ()
    again = read_annotations(tmp_path / "out.eaf")
    video = again.videos[".od/d na.me"]
    assert (video.subset, video.duration) == ("test", 12.3456)
    found = dict(
        zip(
            video.instances.labels,
            zip(video.instances.segments.tolist(), video.instances.extra, strict=True),
            strict=True,
        )
    )
    assert {label: tuple(segment) for label, (segment, _) in found.items()} == {row[0]: row[1:] for row in rows}
    assert {label: tier.get("tier") for label, (_, tier) in found.items()} == {
        "a": None,
        "b": "actions 2",
        'c <"&\n\u00e9': None,
        "d": "actions 3",
        "e": "hands",
    }


def test_a_folder_gets_a_file_for_each_video(tmp_path: Path) -> None:
    given = Annotations.of([Video("a/b"), Video("c", duration=1.0)], "mine")
    lost = write_annotations(given, tmp_path / "out", "elan")
    assert lost == ('the name of the truth, "mine"',)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a%2Fb.eaf", "c.eaf"]
    assert list(read_annotations(tmp_path / "out").videos) == ["a/b", "c"]


def test_what_is_lost_is_said(tmp_path: Path) -> None:
    rows = [("a", 0.00049, 2.0), ("b", 5.0, 4.0), ("c", 6.0, 6.0)]
    lost = elan.write_truth(truth(rows, ({"id": 1}, {}, {})), tmp_path / "o.eaf")
    assert lost == (
        "further keys of instances of 1 video",
        "times finer than a millisecond (1 instance)",
        "2 reversed or zero-length instances are written, but ELAN may not show them",
    )
    assert read_annotations(tmp_path / "o.eaf").instance_count == 3


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (truth([("a", -1.0, 2.0)]), "has a time below 0 or beyond"),
        (truth([("a", 0.0, 1e308)]), "has a time below 0 or beyond 1e+09 s"),
        (truth([("a\x00", 0.0, 2.0)]), "which XML cannot hold"),
        (truth([("a\r", 0.0, 2.0)]), "which XML cannot hold"),
        (truth([("a", 0.0, 2.0)], ({"tier": 3},)), "tier 3 cannot be the name of a tier"),
        (truth([("a", 0.0, 2.0)], ({"tier": "\ud800"},)), "cannot be the name of a tier"),
        (Annotations.of([Video("a"), Video("b")]), "holds 1 video, not 2; name a folder"),
    ],
)
def test_truth_that_cannot_be_written(tmp_path: Path, given: Annotations, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        elan.write_truth(given, tmp_path / "o.eaf")
    assert expected in str(caught.value)
    assert list(tmp_path.iterdir()) == []
