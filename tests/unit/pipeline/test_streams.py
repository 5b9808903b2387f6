"""Two streams: outputs averaged before they are decoded, for methods of every family, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from untrimmed.data.batch import collate
from untrimmed.data.load_window import load_window
from untrimmed.data.proposals import ProposalSet, VideoProposals
from untrimmed.errors import InputError
from untrimmed.formats.feature_writer import FeatureWriter
from untrimmed.formats.features import ArrayFeatures, FeatureStore
from untrimmed.grid import SnippetGrid
from untrimmed.methods.catalog import make_method
from untrimmed.pipeline.detect import DetectOptions, open_detector
from untrimmed.pipeline.detector import Detector
from untrimmed.pipeline.model_file import TRAINED_ON
from untrimmed.pipeline.recipe import recipe_of
from untrimmed.pipeline.streams import mean_raw
from untrimmed.types import Video

GRID = SnippetGrid(10, 4, 4)
CLASSES = ("jump", "wave")
SLIDING = {"kind": "sliding", "length": 64, "stride": 32}
METHODS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "vsgn": (SLIDING, {"channels": 16, "norm_groups": 4, "levels": 3, "anchor_sizes": [8.0]}),
    "segtad": (SLIDING, {"channels": 16, "dilations": [1], "grid_step": 4, "proposal_channels": 16, "bins": 4}),
    "basnet": ({"kind": "segments", "length": 32}, {"hidden": 16, "filter_channels": 8, "dropout": 0.0}),
    "um": ({"kind": "segments", "length": 32}, {"hidden": 16, "dropout": 0.0}),
    "dgam": ({"kind": "segments", "length": 32}, {"attention_channels": 8, "hidden": 8, "latent": 4}),
    "tag": ({"kind": "whole"}, {"hidden": 8, "window_lengths": [2, 4, 8]}),
    "bmn": (SLIDING, {"channels": 8, "base_channels": 8, "matching_channels": 8, "map_channels": 8, "bins": 4}),
    "bsn": (SLIDING, {"channels": 8, "hidden": 8}),
    "ssn": ({"kind": "whole"}, {"dropout": 0.0}),
}


def stream(name: str, channels: int, seed: int, trained_on: tuple[str, ...] = ()) -> Detector:
    windows, settings = METHODS[name]
    recipe = recipe_of(
        {"data": {"annotations": "a", "features": "f"}, "windows": windows, "method": {"name": name, **settings}}, name
    )
    torch.manual_seed(seed)
    method = make_method(name, settings, channels, len(CLASSES)).eval()
    return Detector(method, recipe, CLASSES, channels, None, None, GRID, {TRAINED_ON: list(trained_on)})


def features_of(channels: int, length: int = 90, grid: SnippetGrid = GRID) -> ArrayFeatures:
    rows = np.random.default_rng(channels).normal(size=(length, channels)).astype(np.float32)
    return ArrayFeatures({"v": rows}, grid)


def folder_of(features: ArrayFeatures, folder: Path) -> Path:
    with FeatureWriter(folder, backbone={"name": "made up"}) as writer:
        for name in features.ids:
            rows = features.window(name, 0, features.length(name))
            writer.add(name, rows, features.grid(name), features.duration(name))
    return folder


def rows_of(found: Any) -> list[tuple[float, ...]]:
    return sorted(zip(found.segments[:, 0], found.segments[:, 1], found.scores, found.labels, strict=True))


@pytest.mark.parametrize("name", sorted(METHODS.keys() - {"bsn", "ssn"}))
def test_candidates_are_those_of_the_mean_of_what_both_networks_say(name: str, tmp_path: Path) -> None:
    ours, theirs, own, other = stream(name, 6, 0), stream(name, 10, 1), features_of(6), features_of(10, length=88)
    both = ours.with_second(theirs, (2.0, 3.0), folder_of(other, tmp_path / "flow"))
    ready = both.ready_for(np.empty((0, 6), np.float32), own, ["v"])
    [(_, found)] = ready.candidates(own, ["v"])
    expected = []
    for window in ours.recipe.windows.inference(Video("v"), 88, GRID, np.random.default_rng(0)):
        batches = [collate([load_window(window, features)]) for features in (own, other)]
        raws = [model.raw(batch) for model, batch in zip((ours, theirs), batches, strict=True)]
        mixed = {
            key: 0.4 * value + 0.6 * raws[1][key] if value.is_floating_point() else value
            for key, value in raws[0].items()
        }
        with torch.no_grad():
            [decoded] = ours.method.decode(mixed, batches[0])  # type: ignore[operator]
        segments, owner = window.map.segments_to_seconds(decoded.segments.numpy(), decoded.centers.numpy())
        duration = own.duration("v")
        segments = np.clip(segments, 0, np.inf if duration is None else duration)
        keep = (owner >= 0) & (segments[:, 1] > segments[:, 0])
        expected += list(
            zip(*segments[keep].T, decoded.scores.numpy()[keep], decoded.labels.numpy()[keep], strict=True)
        )
    assert len(expected) > 0
    np.testing.assert_allclose(rows_of(found), sorted(expected), rtol=1e-4, atol=1e-4)
    alone = next(rows_of(part) for _, part in ours.candidates(own, ["v"]))
    assert len(alone) != len(expected) or not np.allclose(alone, sorted(expected), atol=1e-4)


def test_a_stream_beside_itself_changes_nothing_but_the_last_digit(tmp_path: Path) -> None:
    ours, own = stream("vsgn", 6, 0), features_of(6)
    folder = folder_of(own, tmp_path / "same")
    ready = ours.with_second(stream("vsgn", 6, 0), (1.0, 4.0), folder).ready_for(np.empty(0), own, ["v"])
    [(_, alone)], [(_, both)] = ours.candidates(own, ["v"]), ready.candidates(own, ["v"])
    np.testing.assert_allclose(rows_of(both), rows_of(alone), rtol=1e-5, atol=1e-5)


def test_a_method_that_chooses_what_it_scores_is_refused() -> None:
    with pytest.raises(InputError, match="two models of method bsn cannot be averaged: each chooses for itself"):
        stream("bsn", 6, 0).with_second(stream("bsn", 6, 1))


def test_one_folder_is_for_both_only_if_both_are_known_to_be_of_its_backbone() -> None:
    """Features of two streams may have as many channels."""
    own = features_of(6)
    with pytest.raises(InputError, match="the second stream needs features of its own"):
        stream("vsgn", 6, 0).with_second(stream("vsgn", 6, 1)).ready_for(np.empty(0), own, ["v"])
    known, spec = replace(own, backbone={"name": "i3d"}), {"name": "i3d"}
    first, second = (replace(stream("vsgn", 6, seed), backbone=spec) for seed in (0, 1))
    assert first.with_second(second).ready_for(np.empty(0), known, ["v"]).second is not None
    flow = replace(second, backbone={"name": "i3d", "stream": "flow"})
    with pytest.raises(InputError, match="the second stream needs features of its own"):
        first.with_second(flow).ready_for(np.empty(0), known, ["v"])


def test_both_streams_judge_the_same_proposals_where_one_has_a_snippet_less(tmp_path: Path) -> None:
    """Whether a window has a proposal depends on how far features reach."""
    own, other = features_of(6, 100), features_of(10, 99)
    spans = np.array([[4.0, 8.0], [39.45, 40.0], [12.0, 16.0]])
    proposals = ProposalSet({"v": VideoProposals(spans, np.array([0.9, 0.8, 0.7]))}, "made up")
    ours, theirs = (stream("ssn", channels, channels).judging(proposals) for channels in (6, 10))
    both = ours.with_second(theirs, folder=folder_of(other, tmp_path / "flow")).ready_for(np.empty(0), own, ["v"])
    [(_, found)] = both.candidates(own, ["v"])
    assert len(found.scores) in (2 * len(CLASSES), 3 * len(CLASSES))
    twice = (
        stream("ssn", 6, 6).judging(proposals).with_second(stream("ssn", 6, 6), folder=folder_of(own, tmp_path / "rgb"))
    )
    [(_, same)] = twice.ready_for(np.empty(0), own, ["v"]).candidates(own, ["v"])
    [(_, alone)] = ours.candidates(own, ["v"])
    np.testing.assert_allclose(rows_of(same), rows_of(alone), rtol=1e-5, atol=1e-5)


def test_a_mean_by_hand() -> None:
    first = {"a": torch.tensor([1.0, -torch.inf]), "n": torch.tensor([3])}
    second = {"a": torch.tensor([6.0, -torch.inf]), "n": torch.tensor([3])}
    mixed = mean_raw([first, second], (2.0, 3.0), "x")
    assert mixed["a"].tolist() == pytest.approx([4.0, -np.inf])
    assert mixed["n"].tolist() == [3]
    assert mean_raw([first], (7.0,), "x") is first
    for wrong, message in (
        ({"a": first["a"]}, "only one of them gives n"),
        ({**second, "a": torch.zeros(3)}, r"a is \(2,\) in one and \(3,\) in the other"),
        ({**second, "n": torch.tensor([4])}, r"of method x cannot be averaged: each chooses for itself .* \(n\)"),
    ):
        with pytest.raises(InputError, match=message):
            mean_raw([first, wrong], (1.0, 1.0), "x")


def test_streams_that_do_not_fit_each_other_are_refused(tmp_path: Path) -> None:
    ours, own = stream("vsgn", 6, 0), features_of(6)
    with pytest.raises(InputError, match="differ in method: vsgn in the first, segtad in the second"):
        ours.with_second(stream("segtad", 6, 0))
    other = stream("vsgn", 6, 0)
    wider = other.recipe.model_copy(update={"method": {**other.recipe.method, "neighbours": 3}})
    with pytest.raises(InputError, match="differ in settings of the method"):
        ours.with_second(replace(other, recipe=wider))
    with pytest.raises(InputError, match="differ in classes"):
        ours.with_second(replace(stream("vsgn", 6, 0), classes=("wave", "jump")))
    with pytest.raises(InputError, match="weights of two streams are 0 and 1, expected both above 0"):
        ours.with_second(ours, (0.0, 1.0))
    with pytest.raises(InputError, match="no video, so the second stream needs features of its own: --with-features"):
        ours.with_second(stream("vsgn", 9, 0)).ready_for(np.empty(0), own, ["v"])
    slower = folder_of(features_of(9, grid=SnippetGrid(10, 5, 4)), tmp_path / "slower")
    ready = ours.with_second(stream("vsgn", 9, 0), folder=slower).ready_for(np.empty(0), own, ["v"])
    with pytest.raises(InputError, match=r"lie at other times: every 0.4 s in the first, every 0.5 s in the second"):
        list(ready.candidates(own, ["v"]))
    others = ArrayFeatures({"w": np.zeros((90, 9), np.float32)}, GRID)
    ready = ours.with_second(stream("vsgn", 9, 0), folder=folder_of(others, tmp_path / "w")).ready_for(
        "x.npy", own, ["v"]
    )
    with pytest.raises(InputError, match="'v': the second stream has no features of it"):
        list(ready.candidates(own, ["v"]))


def test_models_are_opened_together_and_results_know_what_both_were_trained_on(tmp_path: Path) -> None:
    for name, channels in (("rgb", 6), ("flow", 9)):
        stream("vsgn", channels, 0, ("common", name)).save(tmp_path / f"{name}.safetensors")
    flow = folder_of(features_of(9), tmp_path / "flow")
    folder_of(features_of(6), tmp_path / "rgb")
    options = DetectOptions(second=tmp_path / "flow.safetensors", second_features=flow, weights=(2.0, 3.0))
    detector = open_detector(tmp_path / "rgb.safetensors", "cpu", options)
    found = detector.detect(tmp_path / "rgb")
    assert found.trained_on == ("common", "rgb", "flow")
    assert len(found) > 0
    assert FeatureStore.open(flow).channels == 9
    with pytest.raises(InputError, match="features for a second stream, but no model of one"):
        open_detector(tmp_path / "rgb.safetensors", "cpu", DetectOptions(second_features=flow))
    with pytest.raises(InputError, match="weights of two streams, but no model of a second one"):
        open_detector(tmp_path / "rgb.safetensors", "cpu", DetectOptions(weights=(2.0, 3.0)))
    assert options.resolved().second == (tmp_path / "flow.safetensors").resolve()
