"""The example of a method of one's own trains on a rendered world, smaller than the demo's, and detects there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from untrimmed import extract, train
from untrimmed.demo.settings import WorldSettings
from untrimmed.demo.world import ANNOTATIONS, VIDEOS, render_world
from untrimmed.formats import read_detections

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "method_of_your_own.py"
TINY = WorldSettings(seed=1, training=8, validation=0, test=2, duration=(12.0, 14.0), size=(96, 80))


def test_the_script_trains_and_detects(tmp_path: Path) -> None:
    world = tmp_path / "demo"
    render_world(world, TINY)
    assert extract(world / VIDEOS, out=world / "features").failed == {}
    words = [sys.executable, str(SCRIPT), str(world), str(tmp_path / "run"), "2"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert "mAP" in done.stdout
    found = read_detections(tmp_path / "run" / "results.json")
    assert len(found.video_ids) == 2
    assert len(found) > 0
    assert "Inside" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["training"]["epochs"] == 2


def test_python_trains_as_the_command_does(tmp_path: Path) -> None:
    """One line from a shipped config to a report, with overrides either way."""
    world = tmp_path / "demo"
    settings = WorldSettings(seed=2, training=2, validation=0, test=1, duration=(8.0, 9.0), size=(96, 80))
    render_world(world, settings)
    extract(world / VIDEOS, out=world / "features")
    told: list[str] = []
    result = train(
        "demo/vsgn",
        annotations=world / ANNOTATIONS,
        features=world / "features",
        out=tmp_path / "run",
        overrides={"train.epochs": 1, "data.validation": None},
        device="cpu",
        log=told.append,
    )
    assert result.metrics["training"]["epochs"] == 1
    assert any("training on" in text for text in told)
    assert (tmp_path / "run" / "report.html").exists()
    again = train(
        result.detector.recipe,
        out=tmp_path / "other",
        overrides=["train.epochs=1"],
        device="cpu",
        videos=world / VIDEOS,
    )
    assert again.detections is not None
    assert result.detections is not None
    assert again.detections.scores.tolist() == result.detections.scores.tolist()
