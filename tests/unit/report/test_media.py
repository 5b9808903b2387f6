"""Where a page finds its videos."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from untrimmed.errors import InputError
from untrimmed.report.media import video_sources


def test_sources_are_relative_links_or_inside(tmp_path: Path) -> None:
    videos = tmp_path / "my videos" / "deep"
    videos.mkdir(parents=True)
    (videos / "a b.mp4").write_bytes(b"film")
    page = tmp_path / "out" / "page.html"
    assert video_sources(["a b", "c"], tmp_path / "my videos", page) == {"a b": "../my%20videos/deep/a%20b.mp4"}
    assert video_sources(["other"], videos / "a b.mp4", page) == {"other": "../my%20videos/deep/a%20b.mp4"}
    inside = video_sources(["a b"], videos, page, embed=True)["a b"]
    assert inside == "data:video/mp4;base64,ZmlsbQ=="


def test_a_name_need_not_be_text(tmp_path: Path) -> None:
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4"))
    file.write_bytes(b"film")
    assert video_sources(["v"], file, tmp_path / "p.html") == {"v": "caf%E9.mp4"}


def test_sources_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such video file or folder"):
        video_sources(["a"], tmp_path / "none", tmp_path / "p.html")
    with pytest.raises(InputError, match="holds none of the 2 videos"):
        video_sources(["a", "b"], tmp_path, tmp_path / "p.html")
    with pytest.raises(InputError, match="holds none of the 0 videos"):
        video_sources([], tmp_path, tmp_path / "p.html")
