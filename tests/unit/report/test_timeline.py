"""The page to watch detections on: what is in it, and that names cannot break out of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from untrimmed.errors import InputError
from untrimmed.report.timeline import Section, render, video_sources
from untrimmed.types import Annotations, Detections, Instances, Video

NASTY = '</script><img src=x onerror="alert(1)">'


def page_data(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found.group(1))  # type: ignore[no-any-return]


def truth() -> Annotations:
    return Annotations.of(
        [
            Video("a", "test", 20.0, instances=Instances([[1, 3], [5, 9]], ("wave", NASTY))),
            Video("unseen", "test", 5.0),
        ]
    )


def test_detections_and_truth_are_in_the_page_with_their_labels() -> None:
    found = Detections.of([("a", "jump", 2.0, 4.0, 0.3), ("a", "wave", 1.0, 3.0, 0.9)], video_ids=["a", "empty"])
    data = page_data(render(found, truth(), title="T"))
    assert data["labels"] == sorted(["wave", "jump", NASTY])
    first, second = data["videos"]
    wave, jump = data["labels"].index("wave"), data["labels"].index("jump")
    assert first["detections"] == [[wave, 1.0, 3.0, 0.9], [jump, 2.0, 4.0, 0.3]]
    assert [data["labels"][item[0]] for item in first["truth"]] == ["wave", NASTY]
    assert first["duration"] == 20.0
    assert second == {"id": "empty", "duration": 1.0, "source": None, "truth": [], "detections": []}


def test_markup_in_names_stays_text() -> None:
    found = Detections.of([(NASTY, NASTY, 0.0, 1.0, 0.5)])
    page = render(
        found,
        title=NASTY,
        facts=[(NASTY, NASTY)],
        notes=[NASTY],
        sections=[Section(NASTY, NASTY, (), (NASTY,), ((NASTY,),))],
    )
    assert NASTY not in page
    assert "<img" not in page
    assert page_data(page)["labels"] == [NASTY]


def test_without_truth_and_with_proposals() -> None:
    found = Detections.of([("a", None, 0.0, 7.5, 0.5)])
    data = page_data(render(found, title="T", durations={"a": 30.0}))
    assert data["labels"] == ["(no label)"]
    assert data["has_truth"] is False
    assert data["videos"][0]["duration"] == 30.0


def test_what_is_left_out_is_said() -> None:
    found = Detections.of([("a", "x", 0.0, 1.0, score) for score in (0.1, 0.9, 0.5)])
    page = render(found, title="T", most=2)
    assert [item[3] for item in page_data(page)["videos"][0]["detections"]] == [0.9, 0.5]
    assert "Only the 2 detections of the highest scores" in page
    assert "are left out" not in render(found, title="T", most=3)


def test_the_page_asks_for_nothing_from_elsewhere() -> None:
    page = render(Detections.empty(["a"]), title="T")
    assert "http" not in page.replace("http-equiv", "")
    assert "<link" not in page
    assert "src=" not in page


def test_sources_are_relative_links_or_inside(tmp_path: Path) -> None:
    videos = tmp_path / "my videos" / "deep"
    videos.mkdir(parents=True)
    (videos / "a b.mp4").write_bytes(b"film")
    page = tmp_path / "out" / "page.html"
    assert video_sources(["a b", "c"], tmp_path / "my videos", page) == {"a b": "../my%20videos/deep/a%20b.mp4"}
    assert video_sources(["other"], videos / "a b.mp4", page) == {"other": "../my%20videos/deep/a%20b.mp4"}
    inside = video_sources(["a b"], videos, page, embed=True)["a b"]
    assert inside == "data:video/mp4;base64,ZmlsbQ=="


def test_sources_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such video file or folder"):
        video_sources(["a"], tmp_path / "none", tmp_path / "p.html")
    with pytest.raises(InputError, match="holds none of the 2 videos"):
        video_sources(["a", "b"], tmp_path, tmp_path / "p.html")
