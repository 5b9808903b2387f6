"""What a detector takes: folders of features by their index, files, videos; and one that fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from untrimmed import backbones
from untrimmed.data.batch import Batch
from untrimmed.errors import InputError
from untrimmed.formats.feature_writer import FeatureWriter
from untrimmed.formats.features import ArrayFeatures
from untrimmed.grid import SnippetGrid
from untrimmed.methods.protocol import StepDetections
from untrimmed.pipeline.detect import detect_one
from untrimmed.pipeline.detector import Detector, best_device
from untrimmed.pipeline.recipe import recipe_of
from untrimmed.pipeline.windowed import WindowedNetwork
from untrimmed.postprocess.pipeline import process
from untrimmed.postprocess.settings import PostProcess
from untrimmed.video import VideoWriter
from untrimmed.video.decode import VideoWarning

GRID, SLOW = SnippetGrid(10, 2, 2), SnippetGrid(4, 4, 4)
BACKBONE = {"name": "made up", "weights_sha256": None, "options": {}}


class Marks(nn.Module):
    """Detects every step whose first feature is above a half."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {"first": batch.features[:, 0]}

    def decode(self, raw: dict[str, Tensor], batch: Batch) -> list[StepDetections]:
        found = []
        for row in raw["first"]:
            steps = (row > 0.5).nonzero()[:, 0].float()
            segments = torch.stack([steps, steps + 1], dim=1)
            found.append(StepDetections(segments, row[row > 0.5], torch.zeros(len(steps), dtype=torch.int64), steps))
        return found


def detector(backbone: dict[str, Any] | None = BACKBONE, channels: int = 2) -> Detector:
    recipe = recipe_of(
        {"data": {"annotations": "a", "features": "f"}, "windows": {"kind": "whole"}, "method": {"name": "vsgn"}}, ""
    )
    return Detector(Marks().eval(), recipe, ("act",), channels, None, backbone, GRID)


def rows(length: int, at: int) -> np.ndarray:
    made = np.zeros((length, 2), np.float32)
    made[at] = 1
    return made


def test_times_of_a_folder_are_those_of_its_index(tmp_path: Path) -> None:
    writer = FeatureWriter(tmp_path, backbone=BACKBONE)
    writer.add("odd name/é", rows(10, 3), SLOW, 9.7)
    writer.add("b", rows(5, 0), GRID, None)
    found = detector().detect(tmp_path)
    assert found.video_ids == ("odd name/é", "b")
    np.testing.assert_allclose(found.segments, [[3, 4], [0, 0.2]])
    one = detect_one(detector(), "odd name/é", tmp_path)
    assert (one.failed, one.duration) == (None, 9.7)
    np.testing.assert_allclose(one.found.segments, [[3, 4]])
    (file,) = tmp_path.glob("odd*.npy")
    same = detector().detect(file)
    assert (same.video_ids, same.segments.tolist()) == (("odd name/é",), [[3, 4]])


def test_features_of_another_extractor_are_refused(tmp_path: Path) -> None:
    FeatureWriter(tmp_path, backbone={"name": "other"}).add("a", rows(5, 0), GRID, 1.0)
    assert "the features were extracted by" in str(detect_one(detector(), "a", tmp_path).failed)
    with pytest.raises(InputError, match="the features were extracted by"):
        detector().detect(tmp_path / "a.npy")


def test_a_folder_without_index_has_the_grid_of_the_model(tmp_path: Path) -> None:
    np.save(tmp_path / "x%2Fy.npy", rows(5, 1))
    found = detector().detect(tmp_path)
    assert found.video_ids == ("x/y",)
    np.testing.assert_allclose(found.segments, [[0.2, 0.4]])
    rescaled = detector()
    rescaled.grid = None
    with pytest.raises(InputError, match=r"give a folder of features with index\.json"):
        rescaled.detect(tmp_path)


def test_whatever_goes_wrong_with_one_source_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: WindowedNetwork, *_: object) -> None:
        raise RuntimeError("shape '[4]' is invalid")

    np.save(tmp_path / "a.npy", rows(5, 1))
    monkeypatch.setattr(WindowedNetwork, "_candidates_of", broken)
    one = detect_one(detector(), "a", tmp_path / "a.npy")
    assert one.failed == f"{tmp_path}/a.npy: unexpected RuntimeError: shape '[4]' is invalid"


def test_the_backbone_is_made_once_on_the_detectors_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        with VideoWriter(tmp_path / f"{name}.mp4", fps=10, size=(96, 64), preset="ultrafast") as writer:
            for number in range(20):
                writer.write(np.full((64, 96, 3), number, np.uint8))
    backbone = backbones.make_backbone({"name": "motion", "options": {"fps": 10}})
    made: list[object] = []

    def count(spec: object, **options: object) -> object:
        made.append((spec, options))
        return backbone

    monkeypatch.setattr("untrimmed.pipeline.sources.make_backbone", count)
    one = detector(backbone.spec(), backbone.channels)
    for name in ("a", "b"):
        assert detect_one(one, name, tmp_path / f"{name}.mp4").failed is None
    assert made == [(backbone.spec(), {"device": "cpu"})]


def test_a_video_that_is_cut_off_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.mkv"
    with VideoWriter(path, fps=10, size=(96, 64), preset="ultrafast") as writer:
        for number in range(60):
            writer.write(np.random.default_rng(number).integers(0, 255, (64, 96, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    backbone = backbones.make_backbone({"name": "motion", "options": {"fps": 10}})
    one = detector(backbone.spec(), backbone.channels)
    told = detect_one(one, "cut", path)
    assert told.failed is None
    assert "cut off" in told.problems[0]
    with pytest.warns(VideoWarning, match="cut: .*cut off"):
        one.detect(path)


def test_what_post_processing_drops_at_once_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    features = ArrayFeatures({"a": rng.uniform(0, 1, (60, 2)).astype(np.float32)}, GRID)
    settings = PostProcess(floor=0.7, max_length=1.0, keep=None, voting=0.1)
    one = detector()
    ((_, every),) = one.candidates(features, ["a"])
    ((_, found),) = one.stream(features, ["a"], settings)
    kept = process(every.segments, every.scores, every.labels, settings)
    assert len(every.scores) > len(found.scores) > 0
    for mine, other in zip(found, kept[1:], strict=True):
        np.testing.assert_array_equal(mine, other)


class Pairs(Marks):
    """As its base, but two steps long."""

    def decode(self, raw: dict[str, Tensor], batch: Batch) -> list[StepDetections]:
        found = super().decode(raw, batch)
        return [each._replace(segments=each.segments + torch.tensor([0.0, 1.0])) for each in found]


def test_suppression_per_window_is_done_before_windows_are_put_together(tmp_path: Path) -> None:
    values = {
        "data": {"annotations": "a", "features": "f"},
        "windows": {"kind": "sliding", "length": 20, "stride": 10},
        "method": {"name": "vsgn"},
    }
    features = np.zeros((30, 2), np.float32)
    features[9, 0], features[10, 0], features[25, 0] = 0.9, 0.8, 0.7  # [9, 11) and [10, 12) overlap by a third

    def found(per: str, most: int = 200) -> list[tuple[float, float]]:
        nms = [{"method": "hard", "threshold": 0.3, "per": per}]
        plan = recipe_of({**values, "postprocess": {"nms": nms}}, "")
        one = Detector(Pairs().eval(), plan, ("act",), 2, None, BACKBONE, GRID).keeping(most)
        np.save(tmp_path / "a.npy", features)
        said = detect_one(one, "a", tmp_path / "a.npy")
        assert said.failed is None
        return [(round(start * 5), round(score, 3)) for (start, _), score in zip(*said.found[:2], strict=True)]

    # Steps 10 to 20 are in two windows, and the second does not see step 9.
    assert found("video") == [(9, 0.9), (25, 0.7)]
    assert found("window") == [(9, 0.9), (10, 0.8), (25, 0.7)]
    assert found("window", most=1) == [(9, 0.9)]


def test_a_detector_may_keep_more_or_fewer() -> None:
    features = np.random.default_rng(0).uniform(0, 1, (60, 2)).astype(np.float32)
    assert len(detector().keeping(3).detect(features)) == 3
    assert len(detector().detect(features)) > 3
    with pytest.raises(InputError, match="keep"):
        detector().keeping(0)


@pytest.mark.parametrize("name", ["cpu:x", "cpo", "cuda:77"])
def test_a_device_that_is_not_there(name: str) -> None:
    with pytest.raises(InputError, match=f"device '{name}' was asked for but is not present"):
        best_device(name)
