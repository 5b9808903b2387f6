"""Weights written before the network of their method changed are refused whole; those of other methods still load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from untrimmed.errors import InputError
from untrimmed.formats.features import ArrayFeatures
from untrimmed.grid import SnippetGrid
from untrimmed.methods.catalog import METHODS, make_method
from untrimmed.methods.weights import FORMAT, check_format
from untrimmed.pipeline.detector import Detector, load_model
from untrimmed.pipeline.recipe import recipe_of

SMALL: dict[str, dict[str, Any]] = {
    "vsgn": {"channels": 8, "norm_groups": 4, "levels": 2},
    "segtad": {"channels": 8, "dilations": [1], "grid_step": 4, "proposal_channels": 8, "bins": 4},
    "basnet": {"hidden": 8, "filter_channels": 4},
}
CHANGED_IN = {"segtad": 2, "vsgn": 2}


def written(name: str, path: Path, version: object, **settings: Any) -> Path:
    """A model file of a method that says it has this format."""
    plan = recipe_of(
        {
            "data": {"annotations": "a", "features": "f"},
            "windows": {"kind": "whole"},
            "method": {"name": name, **SMALL[name], **settings},
        },
        name,
    )
    torch.manual_seed(0)
    Detector(make_method(name, {**SMALL[name], **settings}, 5, 2), plan, ("jump", "wave"), 5).save(path)
    with safe_open(path, framework="pt") as opened:
        header = opened.metadata()
        tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118  (not a mapping)
    save_file(tensors, path, {**header, "format": f"untrimmed model {version}"})
    return path


@pytest.mark.parametrize("name", sorted(SMALL))
def test_what_is_written_now_loads(name: str, tmp_path: Path) -> None:
    path = written(name, tmp_path / "model.safetensors", FORMAT)
    assert load_model(path).classes == ("jump", "wave")


@pytest.mark.parametrize("settings", [{}, {"graph_levels": []}])
def test_a_model_of_vsgn_from_before_its_network_changed_is_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    path = written("vsgn", tmp_path / "model.safetensors", 1, **settings)
    with pytest.raises(InputError) as caught:
        load_model(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{path}: holds weights of method vsgn from before its network changed (format 1")
    assert "train again (`untrimmed train" in message


@pytest.mark.parametrize("name", sorted(set(SMALL) - set(CHANGED_IN)))
def test_old_models_of_methods_that_did_not_change_load(name: str, tmp_path: Path) -> None:
    path = written(name, tmp_path / "model.safetensors", 1)
    assert load_model(path).recipe.method["name"] == name


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (FORMAT + 1, "later version of untrimmed .*update untrimmed"),
        ("x", r"not a model written by `untrimmed train` \(format 'untrimmed model x'\)"),
        ("", "not a model written by"),
    ],
)
def test_formats_that_are_not_known_are_refused(version: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        load_model(written("basnet", tmp_path / "model.safetensors", version))


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_first_format_that_each_method_takes(name: str) -> None:
    first = CHANGED_IN.get(name, 1)
    for version in range(first, FORMAT + 1):
        check_format(name, version, "file", "do so")
    if first > 1:
        with pytest.raises(InputError, match=rf"^file: .*\(format {first - 1}, expected {first} or later\).*: do so$"):
            check_format(name, first - 1, "file", "do so")


OLD = Path(__file__).resolve().parents[1] / "data"
"""Model files of small networks, written by version 0.1.0 as it was with format 1."""


def test_a_model_file_of_format_1_loads_and_says_what_it_said() -> None:
    """Its recipe has a limit before suppression (``proposals.keep``), which is known no longer."""
    detector = load_model(OLD / "basnet_format_1.safetensors")
    assert (detector.classes, detector.channels) == (("jump", "wave"), 3)
    assert detector.trained_on is None
    rows = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
    [(_, found)] = detector.curves(ArrayFeatures({"v": rows}, SnippetGrid(2, 1, 1)), ["v"])
    np.testing.assert_allclose(found.values["attention"][:4], [0.15902, 0.17098, 0.25541, 0.48032], atol=1e-5)
    np.testing.assert_allclose(found.values["jump"][:4], [0.3303, 0.33301, 0.32509, 0.32781], atol=1e-5)


def test_a_model_file_of_vsgn_of_format_1_is_refused() -> None:
    with pytest.raises(InputError, match="weights of method vsgn from before its network changed"):
        load_model(OLD / "vsgn_format_1.safetensors")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"classes": None}, "'classes' is 'None'"),
        ({"channels": "five"}, "'channels' is 'five'"),
        ({"channels": True}, "'channels' is 'True'"),
        ({"training": ...}, "'training' is missing"),
        ({"classes": [1, 2]}, "'channels' or 'classes' are none"),
    ],
)
def test_every_key_of_the_header_is_checked(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = written("basnet", tmp_path / "model.safetensors", FORMAT)
    with safe_open(path, framework="pt") as opened:
        metadata = opened.metadata()
        tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118  (not a mapping)
    header = {key: value for key, value in {**json.loads(metadata["header"]), **change}.items() if value is not ...}
    save_file(tensors, path, {**metadata, "header": json.dumps(header)})
    with pytest.raises(InputError) as caught:
        load_model(path)
    assert f"{path}: the header of the model is damaged: " in str(caught.value)
    assert said in str(caught.value)
    save_file(tensors, path, {**metadata, "header": "{"})
    with pytest.raises(InputError, match="the header of the model is damaged"):
        load_model(path)
