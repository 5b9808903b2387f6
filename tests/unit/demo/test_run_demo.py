"""From an empty folder to a report, and again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from untrimmed.demo.run import run_demo
from untrimmed.demo.settings import WorldSettings
from untrimmed.pipeline.detector import load_model

SMALL = WorldSettings(seed=3, training=3, validation=1, test=2, duration=(20.0, 24.0), size=(96, 80))


@pytest.mark.parametrize("method", ["vsgn", "basnet+acgnet", "bmn"])
def test_the_whole_way(tmp_path: Path, method: str) -> None:
    said: list[str] = []
    result = run_demo(tmp_path, method=method, overrides=("train.epochs=2",), processes=1, log=said.append, world=SMALL)
    assert result.report == tmp_path / method / "report.html"
    assert (result.report.parent / "summary.json").is_file()
    assert any("cutting" in line for line in said) == (method == "basnet+acgnet")
    # Proposals are scored as if there were one class, and so is what they are compared with.
    for scores in (result.evaluation, result.linear):
        assert (scores.classes == ("any label",)) == (method == "bmn")
    assert result.linear.mAP.max() > 0
    again = run_demo(tmp_path, method=method, overrides=("train.epochs=2",), world=SMALL)
    assert again.evaluation.to_dict() == result.evaluation.to_dict()


def test_one_that_judges_proposals_makes_them_first_and_its_one_file_detects_in_a_video(tmp_path: Path) -> None:
    said: list[str] = []
    home = tmp_path / "demo"
    result = run_demo(home, method="ssn+gcm", overrides=("train.epochs=2",), processes=1, log=said.append, world=SMALL)
    assert any(line.startswith("training bmn, whose proposals") for line in said)
    assert result.seconds.keys() >= {"proposals", "train and detect"}
    alone = tmp_path / "alone.safetensors"
    (result.report.parent / "model.safetensors").rename(alone)
    video = next((home / "videos").glob("test*.mp4"))
    clip = video.rename(tmp_path / "clip.mp4")
    shutil.rmtree(home / "bmn")
    found = load_model(alone).detect(clip)
    assert len(found) > 0
    assert set(found.label.tolist()) <= set(range(10))
