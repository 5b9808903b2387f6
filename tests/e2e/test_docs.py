"""The documentation: every Python example runs as it stands, and the site builds without a broken link."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from untrimmed.demo.settings import WorldSettings
from untrimmed.demo.world import render_world
from untrimmed.formats import write_annotations, write_detections
from untrimmed.types import Annotations, Detections, Instances, Video
from untrimmed.video import VideoWriter

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def blocks_of(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


PAGES = [page for page in sorted(DOCS.rglob("*.md")) if blocks_of(page, "python")]


def test_there_are_examples() -> None:
    assert len(PAGES) >= 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # Files that the pages take for given.
    truth = Annotations.of([Video("v", "test", 10.0, instances=Instances([[1.0, 2.0]], ("jump",)))])
    results = Detections.of([("v", "jump", 1.0, 2.0, 0.9)])
    write_annotations(truth, "truth.json")
    write_annotations(truth, "thumos14.json")
    Path("videos").mkdir()
    with VideoWriter("videos/v.mp4", fps=10, size=(96, 64), preset="ultrafast") as writer:
        for _ in range(10):
            writer.write(np.zeros((64, 96, 3), np.uint8))
    write_detections(results, "results.json.gz")
    names: dict[str, Any] = {"__name__": "example"}
    for block in blocks_of(page, "python"):
        exec(compile(block, str(page), "exec"), names)


def test_the_readmes_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """From videos to detections, in a world so small that little is learnt, with one epoch instead of many."""
    (block,) = blocks_of(ROOT / "README.md", "python")
    monkeypatch.chdir(tmp_path)
    world = WorldSettings(seed=2, training=2, validation=1, test=1, duration=(8.0, 9.0), size=(96, 80))
    render_world(tmp_path, world)
    shutil.copy(sorted((tmp_path / "videos").glob("*test*.mp4"))[0], "clip.mp4")
    shorter = block.replace('out="run")', 'out="run", overrides={"train.epochs": 1})')
    assert shorter != block
    exec(compile(shorter, "README.md", "exec"), {"__name__": "example"})
    said = capsys.readouterr().out
    assert "mAP" in said
    assert re.fullmatch(r"clip +[\d.]+ +[\d.]+ +[\d.]+  \w+", said.splitlines()[-1])
    assert Path("run/report.html").exists()


SCRIPTS = sorted(path for path in (ROOT / "examples").glob("*.py") if path.stem != "method_of_your_own")
"""Those that need nothing; the other has a test of its own."""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_examples_are_short_and_run(script: Path, tmp_path: Path) -> None:
    assert len(script.read_text(encoding="utf-8").splitlines()) <= 60
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_there_are_scripts() -> None:
    assert len(list((ROOT / "examples").glob("*.py"))) >= 4


def test_the_site_builds_strictly(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="needs the extra [docs]")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "scale.html").is_file()
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    # The menu is in the order of use, not of the alphabet.
    names = ("own_videos", "formats", "backbones", "training", "glossary")
    places = [page.index(f'href="{name}.html"') for name in names]
    assert places == sorted(places)
    # It can be read without a network.
    assert not re.findall(r"(?:src|href)=\"https?://(?!squidfunk)[^\"]*\.(?:js|css|woff2?)", page)
