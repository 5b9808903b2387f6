"""ONNX: the same detections as the run, for windows of other lengths than were recorded."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from untrimmed import cli
from untrimmed.data.load_window import Standardise
from untrimmed.errors import InputError
from untrimmed.formats.features import ArrayFeatures
from untrimmed.grid import SnippetGrid
from untrimmed.methods.catalog import METHODS, make_method
from untrimmed.pipeline.detector import Detector, collect
from untrimmed.pipeline.export import EXPORTABLE, export_onnx, load_onnx
from untrimmed.pipeline.recipe import recipe_of

pytest.importorskip("onnxruntime", reason="needs the extra [onnx]")
pytest.importorskip("onnxscript", reason="needs the extra [onnx]")

GRID = SnippetGrid(4, 2, 4)
SETTINGS: dict[str, Any] = {
    "channels": 16,
    "norm_groups": 4,
    "levels": 2,
    "anchor_sizes": [8.0],
    "head_blocks": 1,
    "score_threshold": 0.0,
}


SEGTAD: dict[str, Any] = {
    "channels": 16,
    "dilations": [1, 2],
    "grid_step": 4,
    "proposal_channels": 16,
    "bins": 8,
    "seeds": 10,
    "score_threshold": 0.0,
}


def make_detector(name: str = "vsgn", settings: dict[str, Any] = SETTINGS) -> Detector:
    torch.manual_seed(0)
    recipe = recipe_of(
        {
            "data": {"annotations": "a", "features": "f"},
            "windows": {"kind": "self_stitching", "length": 64, "short": 0.4, "gap": 4},
            "method": {"name": name, **settings},
        }
        if name == "vsgn"
        else {
            "data": {"annotations": "a", "features": "f"},
            "windows": {"kind": "sliding", "length": 64, "stride": 32},
            "method": {"name": name, **settings},
        },
        "test",
    )
    method = make_method(name, settings, 6, 2).eval()
    statistics = Standardise(np.full(6, 0.1, np.float32), np.full(6, 1.5, np.float32))
    return Detector(method, recipe, ("jump", "wave"), 6, statistics, {"name": "made up"}, GRID)


@pytest.fixture(scope="module", params=["vsgn", "segtad", "segtad without graph", "segtad all"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Detector, Path]:
    detector = {
        "vsgn": lambda: make_detector(),
        "segtad": lambda: make_detector("segtad", SEGTAD),
        "segtad without graph": lambda: make_detector("segtad", {**SEGTAD, "pdn": "conv", "branches": ["atrous"]}),
        "segtad all": lambda: make_detector("segtad", {**SEGTAD, "semantic": True, "bins": 2, "bin_samples": None}),
    }[request.param]()
    for name, weight in detector.method.named_parameters():
        if name == "pdn.out.added":
            torch.nn.init.normal_(weight)  # zero before training
    return detector, export_onnx(detector, tmp_path_factory.mktemp("onnx") / "model.onnx")


def test_the_detections_are_those_of_the_run(exported: tuple[Detector, Path]) -> None:
    detector, path = exported
    loaded = load_onnx(path)
    assert loaded.classes == detector.classes
    assert loaded.recipe == detector.recipe
    assert (loaded.grid, loaded.backbone) == (GRID, {"name": "made up"})
    rng = np.random.default_rng(0)
    # From one short clip, which VSGN stitches, to several windows; one that holds no proposal of SegTAD.
    arrays = {f"v{length}": rng.normal(size=(length, 6)).astype(np.float32) for length in (3, 9, 40, 150)}
    features = ArrayFeatures(arrays, GRID)
    one = collect(detector.stream(features, features.ids), detector.classes)
    other = collect(loaded.stream(features, features.ids), loaded.classes)
    assert len(one) == len(other) > 100
    # By place, as detections of one score come in any order.
    one, other = (
        found.select(np.lexsort((*found.segments.T.round(2), found.label, found.video))) for found in (one, other)
    )
    for name in ("video", "label"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_allclose(one.segments, other.segments, atol=1e-3)
    np.testing.assert_allclose(one.scores, other.scores, rtol=1e-4, atol=1e-5)


def test_windows_of_any_length_and_number(exported: tuple[Detector, Path]) -> None:
    from untrimmed.data.batch import Batch, Targets
    from untrimmed.timemap import TimeMap

    detector, path = exported
    loaded = load_onnx(path, threads=1)
    for windows, steps in ((1, 8), (3, 37), (2, 200)):
        clip = torch.ones(windows, steps, dtype=torch.uint8)
        clip[0, steps // 2 :] = 2
        features = torch.randn(windows, 6, steps, generator=torch.Generator().manual_seed(steps))
        maps = (TimeMap.linear(steps, 0.0, 1.0),) * windows
        batch = Batch(features, clip, (Targets.empty(),) * windows, maps, ("v",) * windows)
        expected, found = detector.raw(batch), loaded.raw(batch)
        assert set(expected) == set(found)
        for key, value in expected.items():
            # It answers for the padded windows, whose proposals are numbered otherwise.
            if key == "scores" and value.shape != found[key].shape:
                continue
            torch.testing.assert_close(found[key][..., : value.shape[-1]], value, rtol=1e-4, atol=1e-3, msg=key)


def test_on_the_command_line(exported: tuple[Detector, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, path = exported
    np.save(tmp_path / "clip.npy", np.random.default_rng(1).normal(size=(50, 6)).astype(np.float32))
    out = tmp_path / "results.json"
    monkeypatch.setattr(sys, "argv", ["untrimmed", "detect", str(path), str(tmp_path / "clip.npy"), "--out", str(out)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    assert out.is_file()


def test_a_gpu_is_not_taken_for_an_onnx_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("model.onnx", "clip.npy"):
        (tmp_path / name).touch()
    command = ["untrimmed", "detect", str(tmp_path / "model.onnx"), str(tmp_path / "clip.npy"), "--device", "cuda"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert "--device cuda: an ONNX file is computed on the CPU" in capsys.readouterr().err


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.onnx: no such file"):
        load_onnx(tmp_path / "absent.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(InputError, match="not an ONNX model"):
        load_onnx(tmp_path / "text.onnx")


@pytest.mark.parametrize("name", sorted(METHODS.keys() - set(EXPORTABLE)))
def test_a_method_that_cannot_be_exported_says_so_in_a_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"^method '{name}' cannot be exported to ONNX; these can: .*segtad, vsgn$"):
        export_onnx(make_detector(name, {}), tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_the_target_is_looked_at_before_the_network_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("untrimmed.pipeline.export._record", lambda *given: pytest.fail("was recorded"))
    with pytest.raises(InputError, match="does not exist; make it first"):
        export_onnx(make_detector(), tmp_path / "none" / "a.onnx")
