"""``untrimmed view --serve`` and ``untrimmed annotate --serve`` with a real browser: it seeks, corrects and saves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from untrimmed.formats import read_annotations

pytestmark = pytest.mark.browser

Until = Callable[[Any, str], None]


@contextmanager
def serving(*arguments: object, port: str = "0") -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server of the command line, at a free port unless one is named: its address."""
    command = [sys.executable, "-m", "untrimmed", *map(str, arguments), "--serve", "--port", port]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    line = process.stdout.readline()
    try:
        assert line.startswith("open http://127.0.0.1:"), line + (process.stderr.read() if process.stderr else "")
        yield line.split()[1], process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


@contextmanager
def opened(browser: Any, address: str) -> Iterator[Any]:
    context = browser.new_context()
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda one: problems.append(one.url) if not one.url.startswith((address, "data:")) else None)
    page.goto(address)
    page.wait_for_selector("html[data-ready]")
    yield page
    context.close()
    assert problems == []


def test_view_serves_seeks_and_saves_beside_the_truth(browser: Any, shown: Any, tmp_path: Path, until: Until) -> None:
    truth = tmp_path / "truth.json"
    truth.write_bytes((shown.folder / "truth.json").read_bytes())
    before = truth.read_bytes()
    options = ("--truth", truth, "--video", shown.folder / "videos", "--compare", shown.folder / "theirs.json")
    with serving("view", shown.folder / "mine.json", *options) as (address, process):
        with opened(browser, address) as page:
            page.get_by_label("Order").select_option("file")
            page.locator("#list button").first.click()
            until(page, "player.readyState > 0")
            page.get_by_role("button", name="jump, 0:12.5 to 0:16.0, truth").click()
            until(page, "Math.abs(player.currentTime - 12.5) < 0.06 && !player.seeking")
            page.locator("#label").fill("hop")
            page.locator("#label").press("Tab")
            page.get_by_role("button", name="Save on disk").click()
            page.get_by_text("Saved to").wait_for()
            assert page.locator("#said").inner_text() == f"Saved to {tmp_path / 'truth.corrected.json'}."
            assert page.locator("#work").inner_text() == "1 video corrected; exported."
        process.send_signal(signal.SIGINT)
        assert "truth.corrected.json" in process.communicate(timeout=20)[0]
        assert process.returncode == 0
    assert truth.read_bytes() == before
    saved = read_annotations(tmp_path / "truth.corrected.json")
    assert "hop" in saved.videos["first"].instances.labels


def test_videos_that_are_links_to_elsewhere_are_not_given_out_and_that_is_said(
    browser: Any, shown: Any, tmp_path: Path
) -> None:
    links = tmp_path / "links"
    links.mkdir()
    (links / "first.mp4").symlink_to(shown.folder / "videos" / "first.mp4")
    with serving("view", shown.folder / "mine.json", "--video", links) as (address, process):
        with opened(browser, address) as page:
            said = page.locator("p.note").all_inner_texts()
            assert said[0] == f"1 video without a file in {links}."
            assert said[1].startswith("1 video not given out: a link leads out of the folder")
            assert page.locator("#no-video").is_visible()
        process.send_signal(signal.SIGINT)
        assert "1 video not given out, e.g. " in process.communicate(timeout=20)[1]


def test_a_tab_of_an_earlier_server_cannot_save_into_another_project(browser: Any, shown: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_bytes((shown.folder / "mine.json").read_bytes())
    with serving("view", tmp_path / "mine.json") as (address, _):
        context = browser.new_context()
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector("html[data-ready]")
    again = ("--truth", shown.folder / "truth.json", "--brief")
    with serving("view", shown.folder / "mine.json", *again, port=address.split(":")[-1].strip("/")):
        page.get_by_role("button", name="Save on disk").click()
        page.get_by_text("Not saved: the server gives out another page by now").wait_for()
    context.close()
    assert not list(shown.folder.glob("*corrected*"))


def test_annotate_serves_and_saves_a_new_file(browser: Any, shown: Any, tmp_path: Path, until: Until) -> None:
    (tmp_path / "clip.mp4").write_bytes((shown.folder / "videos" / "first.mp4").read_bytes())
    with serving("annotate", tmp_path, "--classes", "clap,wave") as (address, _), opened(browser, address) as page:
        until(page, "player.readyState > 0")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("i")
        assert page.get_by_role("button", name="clap, 0:01.0 to 0:03.0, truth, added").count() == 1
        page.get_by_role("button", name="Save on disk").click()
        page.get_by_text("Saved to").wait_for()
    made = read_annotations(tmp_path / "annotations.json").videos["clip"]
    assert (made.subset, made.duration) == ("training", pytest.approx(20.0))
    assert made.instances.labels == ("clap",)
