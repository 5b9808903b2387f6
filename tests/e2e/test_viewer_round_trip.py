"""The whole circle: train, detect, correct two detections in the page, export, check, train again with them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from untrimmed.formats import read_annotations, read_detections

pytestmark = pytest.mark.browser

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def run(*arguments: object, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "untrimmed", *map(str, arguments)], capture_output=True, text=True, env=ENVIRONMENT
    )
    assert done.returncode == code, done.stderr + done.stdout
    return done.stdout


def correct_two(browser: Any, page_file: Path, target: Path) -> list[str]:
    """Accept two detections, at different times, of the video that teaches most; the file goes to ``target``."""
    context = browser.new_context(accept_downloads=True, viewport={"width": 1200, "height": 1000})
    page = context.new_page()
    page.goto(page_file.as_uri())
    page.wait_for_selector("html[data-ready]")
    page.get_by_label("Order").select_option("teach")
    page.locator("#list button").first.click()
    page.locator("#threshold").fill("0")
    spans = page.locator("button.found").evaluate_all(
        "all => all.map((one) => ['--s', '--e'].map((name) => Number(one.style.getPropertyValue(name))))"
    )
    far = next(place for place, (start, end) in enumerate(spans) if start > spans[0][1] or end < spans[0][0])
    keys = [page.locator("button.found").nth(place).get_attribute("data-key") for place in (0, far)]
    for key in keys:
        page.locator(f"[data-key='{key}']").focus()
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Accept as truth").click()
    corrected = [one.get_attribute("aria-label") for one in page.locator("button.mended").all()]
    with page.expect_download() as download:
        page.get_by_role("button", name="Export JSON").click()
    download.value.save_as(target)
    context.close()
    return corrected


def test_two_corrections_reach_the_next_training(browser: Any, tiny: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    short = ("train.epochs=3", "--device", "cpu")
    run("train", tiny / "config.yaml", *short, "--out", first)
    features = sorted((tiny / "features").glob("training*.npy"))
    found, page = tmp_path / "found.json", tmp_path / "page.html"
    run("detect", first, *features, "--out", found, "--device", "cpu")
    assert "value" in run("suggest", found, "--truth", tiny / "truth.json", "--out", tmp_path / "suggestions.json")
    order = [one["video"] for one in json.loads((tmp_path / "suggestions.json").read_text())["videos"]]
    assert sorted(order) == sorted(read_detections(found).video_ids)
    run("view", found, "--truth", tiny / "truth.json", "--out", page)

    corrected_file = tmp_path / "corrected.json"
    mended = correct_two(browser, page, corrected_file)
    assert len(mended) == 2, mended
    before, after = read_annotations(tiny / "truth.json"), read_annotations(corrected_file)
    changed = [
        name
        for name in before.videos
        if before.videos[name].instances.segments.tolist() != after.videos[name].instances.segments.tolist()
    ]
    assert changed == [order[0]]
    assert before.videos[changed[0]].subset == "training"

    assert "error" not in run("check", corrected_file, "--features", tiny / "features")
    again = (*short, f"data.annotations={corrected_file}", "--out", second)
    run("train", tiny / "config.yaml", *again)
    old, new = load_file(first / "model.safetensors"), load_file(second / "model.safetensors")
    assert old.keys() == new.keys()
    assert any((old[name] != new[name]).any() for name in old), "the corrections taught nothing"
