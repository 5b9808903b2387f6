"""The page of detections in a real browser, opened from a file: it seeks, filters and follows the video."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from untrimmed.report.timeline import render, video_sources
from untrimmed.types import Annotations, Detections, Instances, Video
from untrimmed.video.write import VideoWriter

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a page")
    (folder / "videos").mkdir()
    with VideoWriter(folder / "videos" / "first.mp4", fps=10, size=(64, 48)) as writer:
        for number in range(200):
            frame = np.zeros((48, 64, 3), np.uint8)
            frame[:, number % 60 : number % 60 + 4] = 255
            writer.write(frame)
    truth = Annotations.of(
        [
            Video("first", "test", 20.0, instances=Instances([[2, 4], [12.5, 16]], ("wave", "jump"))),
            Video("second", "test", 8.0, instances=Instances([[1, 2]], ("jump",))),
        ]
    )
    found = Detections.of(
        [
            ("first", "wave", 2.2, 4.1, 0.9),
            ("first", "jump", 12.0, 16.0, 0.6),
            ("first", "jump", 7.0, 8.0, 0.1),
            ("second", "jump", 1.0, 2.0, 0.8),
        ]
    )
    page = folder / "page.html"
    sources = video_sources(["first", "second"], folder / "videos", page)
    page.write_text(render(found, truth, title="A page", sources=sources, threshold=0.2))
    return page


@pytest.fixture
def page(browser: Any, page_file: Path) -> Iterator[Any]:
    opened = browser.new_page(viewport={"width": 1000, "height": 800})
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("request", lambda request: problems.append(request.url) if request.url.startswith("http") else None)
    opened.goto(page_file.as_uri())
    yield opened
    opened.close()
    assert problems == []


def test_a_click_on_a_segment_seeks_the_video(page: Any) -> None:
    page.wait_for_function("player.readyState > 0")
    assert page.evaluate("player.duration") == pytest.approx(20.0, abs=0.2)
    page.get_by_role("button", name="jump, 0:12.5 to 0:16.0, truth").click()
    page.wait_for_function("Math.abs(player.currentTime - 12.5) < 0.06")
    assert page.locator("#now").inner_text() == "0:12.5 of 0:20.0"
    here = page.locator(".here")
    assert sorted(here.evaluate_all("all => all.map(one => one.className)")) == ["found here", "truth here"]


def test_a_click_on_a_lane_seeks_to_its_place_and_the_playhead_follows(page: Any) -> None:
    page.wait_for_function("player.readyState > 0")
    track = page.locator(".track").first
    box = track.bounding_box()
    page.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + box["height"] - 2)
    page.wait_for_function("Math.abs(player.currentTime - 15) < 0.1")
    head = page.locator("#playhead").bounding_box()
    assert head["x"] == pytest.approx(box["x"] + 0.75 * box["width"], abs=3)


def test_threshold_and_classes_filter(page: Any) -> None:
    assert page.locator(".found").count() == 2
    page.locator("#threshold").fill("0.05")
    assert page.locator(".found").count() == 3
    page.get_by_label("jump", exact=True).uncheck()
    assert page.locator(".found").count() == 1
    assert page.locator(".truth").count() == 1
    page.locator("#threshold").fill("0.95")
    assert page.locator(".found").count() == 0
    page.get_by_label("wave", exact=True).uncheck()
    assert "Nothing to show here" in page.locator("#rows").inner_text()


def test_another_video_without_a_file(page: Any) -> None:
    page.get_by_role("button", name="Next video").click()
    assert page.locator("#no-video").is_visible()
    assert not page.locator("#player").is_visible()
    page.locator(".truth").click()
    assert page.locator("#now").inner_text() == "0:01.0 of 0:08.0"
    page.locator("#video-choice").select_option("0")
    assert page.locator("#player").is_visible()


def test_a_keyboard_reaches_the_segments(page: Any) -> None:
    page.wait_for_function("player.readyState > 0")
    page.locator(".truth").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("Math.abs(player.currentTime - 12.5) < 0.06")


@pytest.mark.parametrize("width", [390, 1400])
def test_nothing_is_wider_than_the_window(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
