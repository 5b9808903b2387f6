"""Formats are told from the content, and written by the name."""

from __future__ import annotations

from pathlib import Path

import pytest

from untrimmed.errors import InputError
from untrimmed.formats import FORMATS, read, read_annotations, read_detections, write_annotations, write_detections
from untrimmed.formats.activitynet import ResultsExtra
from untrimmed.types import Annotations, Detections, Video

TRUTH = '{"database": {"v": {"annotations": [{"label": "x", "segment": [0, 1]}]}}}'
RESULTS = '{"results": {"v": [{"label": "x", "score": 1, "segment": [0, 1]}]}}'
EAF = "<ANNOTATION_DOCUMENT/>"
EPIC = "video_id,start_timestamp,stop_timestamp,verb_class,noun_class\nv,0:00:00,0:00:01,1,2\n"


@pytest.mark.parametrize(
    ("name", "text", "format", "kind"),
    [
        ("a.json", TRUTH, "activitynet", Annotations),
        ("a.json.gz", RESULTS, "activitynet", Detections),
        ("a.txt", TRUTH, "activitynet", Annotations),
        ("a", "\n" + RESULTS, "activitynet", Detections),
        ("a.eaf", EAF, "elan", Annotations),
        ("a.xml", EAF, "elan", Annotations),
        ("a.csv", EPIC, "epic", Annotations),
        ("a.csv", "id,actions,length\nv,,1\n", "charades", Annotations),
        ("a.csv", "video,label,start,end\nv,x,0,1\n", "csv", Annotations),
        ("a.txt", "video,label,start,end,score\nv,x,0,1,1\n", "csv", Detections),
        ("a.tsv", "video\tlabel\tstart\tend\tscore\nv\tx\t0\t1\t1\n", "csv", Detections),
        ("Diving_test.txt", "v 0 1\n", "thumos14", Annotations),
        ("Diving_test.txt", "", "thumos14", Annotations),
        ("a.txt", "v 0 1 7 0.5\n", "thumos14", Detections),
        ("a.out", "v\t0\t1\t7\t0.5\n", "thumos14", Detections),
    ],
)
def test_the_format_is_told(tmp_path: Path, name: str, text: str, format: str, kind: type) -> None:
    from untrimmed.formats.io import write_text

    write_text(tmp_path / name, text)
    for wanted in (None, format):
        found = read(tmp_path / name, wanted)
        assert found.format == format
        assert isinstance(found.value, kind)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.json", "", "is empty, expected JSON"),
        ("a.csv", "\n", "is empty, expected truth or results"),
        ("a.json", "[1]", "the top level: is [1], expected an object"),
        ("a.json", '{"databse": {}}', 'neither the key "database" (truth) nor "results": did you mean \'databse\''),
        ("a.txt", "hello world\n", "2 fields, expected 5"),
        ("a.md", "# hello world\n", 'begins with "# hello world", which is none of the known formats'),
        ("a.csv", "a,b\n1,2\n", 'column "video" is missing'),
    ],
)
def test_what_cannot_be_told(tmp_path: Path, name: str, text: str, expected: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as caught:
        read(tmp_path / name)
    assert expected in str(caught.value)


def test_swapped_kinds(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(TRUTH)
    (tmp_path / "r.json").write_text(RESULTS)
    with pytest.raises(InputError, match="holds truth, expected results; are the two files swapped"):
        read_detections(tmp_path / "t.json")
    with pytest.raises(InputError, match="holds results, expected truth; are the two files swapped"):
        read_annotations(tmp_path / "r.json")
    with pytest.raises(InputError, match="format 'jsn' is unknown"):
        read(tmp_path / "t.json", "jsn")


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither \.eaf files"):
        read(tmp_path)
    (tmp_path / "Diving_test.txt").write_text("v 0 1\n")
    assert read(tmp_path).format == "thumos14"
    (tmp_path / "a.eaf").write_text(EAF)
    with pytest.raises(InputError, match="with files of elan and of thumos14; say which with --from"):
        read(tmp_path)
    assert read(tmp_path, "elan").format == "elan"
    assert read(tmp_path, "thumos14").format == "thumos14"
    with pytest.raises(InputError, match="is a folder, but epic is a file"):
        read(tmp_path, "epic")
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "none")
    with pytest.raises(InputError, match="too long"):
        read(tmp_path / ("x" * 300))


def test_formats_without_a_form(tmp_path: Path) -> None:
    truth, results = Annotations.of([Video("v")]), Detections.empty(["v"])
    with pytest.raises(InputError, match="webvtt has no form for truth; activitynet, charades, csv"):
        write_annotations(truth, tmp_path / "a.vtt")
    with pytest.raises(InputError, match="elan has no form for results; activitynet, bsn, csv"):
        write_detections(results, tmp_path / "a.eaf")
    with pytest.raises(InputError, match="cannot be told from the name"):
        write_annotations(truth, tmp_path / "a")
    with pytest.raises(InputError, match="format 'vtt' is unknown"):
        write_detections(results, tmp_path / "a", "vtt")


def test_keys_that_only_json_keeps(tmp_path: Path) -> None:
    results = Detections.of([("v", "x", 0, 1, 1)])
    extra = ResultsExtra({"version": "1"}, ({"id": 3},))
    assert write_detections(results, tmp_path / "a.json", extra=extra) == ()
    lost = write_detections(results, tmp_path / "a.csv", extra=extra)
    assert lost == ('the keys "version" of the whole file', "further keys of the detections")
    assert write_detections(results, tmp_path / "a.csv", extra=ResultsExtra()) == ()


def test_every_format_reads_or_writes_something() -> None:
    assert list(FORMATS) == sorted(FORMATS)
    for format in FORMATS.values():
        assert format.about
        assert format.write_truth is not None or format.write_results is not None
