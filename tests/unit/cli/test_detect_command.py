"""``untrimmed detect``: where page and subtitles go, what is written when, and what is said at the end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from untrimmed import cli, formats
from untrimmed.data.batch import Batch
from untrimmed.errors import InputError
from untrimmed.grid import SnippetGrid
from untrimmed.methods.protocol import StepDetections
from untrimmed.pipeline import detect as detection
from untrimmed.pipeline.detector import Detector
from untrimmed.pipeline.model_file import SIMULATED, TRAINED_ON
from untrimmed.pipeline.recipe import recipe_of
from untrimmed.postprocess.pipeline import CandidatesWarning


class EveryStep(nn.Module):
    """Detects every step, with its first feature as the score."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {"first": batch.features[:, 0]}

    def decode(self, raw: dict[str, Tensor], batch: Batch) -> list[StepDetections]:
        steps = torch.arange(raw["first"].shape[1]).float()
        segments, labels = torch.stack([steps, steps + 1], dim=1), torch.zeros(len(steps), dtype=torch.int64)
        return [StepDetections(segments, row, labels, steps) for row in raw["first"]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with features of three videos, in which a stand-in for a model detects 6 actions each."""
    recipe = recipe_of(
        {
            "data": {"annotations": "a", "features": "f"},
            "windows": {"kind": "whole"},
            "method": {"name": "vsgn"},
            "postprocess": {"keep": 5},
        },
        "",
    )
    made = Detector(
        EveryStep().eval(), recipe, ("act",), 2, None, {"name": "drawn", "simulated": True}, SnippetGrid(1, 1, 1)
    )
    monkeypatch.setattr(detection, "load_model", lambda *_: made)
    for name in "abc":
        np.save(tmp_path / f"{name}.npy", np.linspace(0.1, 1, 12, dtype=np.float32).reshape(6, 2))
    return tmp_path


def detect(folder: Path, *options: object, names: str = "abc") -> Any:
    sources = [str(folder / f"{name}.npy") for name in names]
    words = ["detect", "model", *sources, "--out", str(folder / "found.json"), "--device", "cpu", *map(str, options)]
    done = CliRunner().invoke(cli.app, words)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_page_and_subtitles_go_beside_the_results_or_where_one_says(folder: Path) -> None:
    detect(folder, "--report", "--vtt")
    assert sorted(file.name for file in (folder / "found-vtt").iterdir()) == ["a.vtt", "b.vtt", "c.vtt"]
    assert SIMULATED in (folder / "found.html").read_text()
    detect(folder, "--report-to", folder / "page.html", "--vtt-to", folder / "texts")
    assert (folder / "page.html").is_file()
    assert len(list((folder / "texts").iterdir())) == 3
    with pytest.raises(InputError, match="--vtt: an option stands where a file was expected"):
        detect(folder, "--report-to", "--vtt")


def test_results_say_that_features_were_simulated(folder: Path) -> None:
    detect(folder)
    said = json.loads((folder / "found.json").read_text())["external_data"]
    assert said == {"used": True, "details": SIMULATED}


def test_a_video_with_as_many_detections_as_are_kept_is_counted(folder: Path) -> None:
    assert "3 of the videos have 5 detections, the most that are kept of each: --keep N" in detect(folder).stdout
    done = detect(folder, "--keep", "9")
    assert "--keep" not in done.stdout
    assert "18 detections in 3 videos" in done.stdout


def test_results_are_written_at_the_end_not_for_every_video(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[int] = []
    write = formats.write_detections
    monkeypatch.setattr(
        detection,
        "write_detections",
        lambda found, *rest, **more: (times.append(len(found)), write(found, *rest, **more)),
    )
    detect(folder)
    assert times == [15]


def test_what_was_found_before_ctrl_c_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Detector.features_of

    def interrupted(self: Detector, source: Any, video_id: str | None = None) -> Any:
        if video_id == "b":
            raise KeyboardInterrupt
        return run(self, source, video_id)

    monkeypatch.setattr(Detector, "features_of", interrupted)
    detect(folder)
    assert formats.read_detections(folder / "found.json").video_ids == ("a",)


def test_candidates_that_are_left_out_before_suppression_are_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = detection.load_model("model")
    settings = replace(made.recipe.postprocess, candidates=4)
    few = replace(made, recipe=made.recipe.model_copy(update={"postprocess": settings}))
    monkeypatch.setattr(detection, "load_model", lambda *_: few)
    said = detect(folder, names="a")
    assert "a: 2 of 6 candidates left out before suppression (the limit is 4)" in said.stderr
    with pytest.warns(CandidatesWarning, match="video: 2 of 6"):
        few.detect(np.load(folder / "a.npy"))


def test_videos_that_the_model_was_trained_on_are_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = detection.load_model("model")
    assert "the model does not say which videos it was trained on" in detect(folder).output
    assert formats.read_detections(folder / "found.json").trained_on is None
    made.training_info = {TRAINED_ON: ["b", "elsewhere"]}
    said = detect(folder, "--report").output
    assert "the model was trained on 1 video of these, e.g. b: what it finds there says nothing" in said
    assert "The model was trained on 1 video of these" in (folder / "found.html").read_text()
    assert formats.read_detections(folder / "found.json").trained_on == ("b", "elsewhere")
    external = json.loads((folder / "found.json").read_text())["external_data"]
    assert external == {"used": True, "details": SIMULATED, "training_videos": ["b", "elsewhere"]}
    assert "trained on" not in detect(folder, names="ac").output
