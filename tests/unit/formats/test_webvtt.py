"""Detections as subtitles."""

from __future__ import annotations

from pathlib import Path

import pytest

from untrimmed.errors import InputError
from untrimmed.formats import read, webvtt, write_detections
from untrimmed.types import Detections


def test_one_video_is_one_file(tmp_path: Path) -> None:
    given = Detections.of(
        [
            ("v", "run --> <b>&", 3601.5, 3700.0, 0.123456),
            ("v", "new\nline", -1.0, 0.0015, 7.0),
            ("v", "zero", 5.0, 5.0, 0.5),
            ("v", "reversed", 6.0, 5.0, 0.5),
            ("v", "before", -3.0, -1.0, 0.5),
        ]
    )
    lost = write_detections(given, tmp_path / "v.vtt")
    assert lost[1] == "3 detections that are reversed or have no length after 0 s"
    assert (tmp_path / "v.vtt").read_text() == (
        "WEBVTT\n\n"
        "1\n00:00:00.000 --> 00:00:00.002\nnew line 7\n\n"
        "2\n01:00:01.500 --> 01:01:40.000\nrun --&gt; &lt;b&gt;&amp; 0.123\n"
    )


def test_a_folder_gets_a_file_for_each_video(tmp_path: Path) -> None:
    given = Detections.of([("a/b", None, 0.0, 1.0, 0.5)], video_ids=["none"])
    assert len(webvtt.write_results(given, tmp_path / "out")) == 1
    assert (tmp_path / "out" / "none.vtt").read_text() == "WEBVTT\n"
    assert (tmp_path / "out" / "a%2Fb.vtt").read_text().endswith("00:00:01.000\n0.5\n")


def test_several_videos_need_a_folder(tmp_path: Path) -> None:
    given = Detections.empty(["a", "b"])
    with pytest.raises(InputError, match="holds 1 video, not 2; name a folder"):
        webvtt.write_results(given, tmp_path / "a.vtt")


def test_subtitles_are_not_read_back(tmp_path: Path) -> None:
    (tmp_path / "a.vtt").write_text("WEBVTT\n")
    with pytest.raises(InputError, match="cannot be read back"):
        read(tmp_path / "a.vtt")
    with pytest.raises(InputError, match="cannot be read back"):
        read(tmp_path / "other", "webvtt")
