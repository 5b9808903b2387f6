"""Weights written before the network of their method changed are refused whole; those of other methods still load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from untrimmed.errors import InputError
from untrimmed.methods.catalog import METHODS, make_method
from untrimmed.methods.weights import FORMAT, check_format
from untrimmed.pipeline.detector import Detector, load_model
from untrimmed.pipeline.recipe import recipe_of

SMALL: dict[str, dict[str, Any]] = {
    "vsgn": {"channels": 8, "norm_groups": 4, "levels": 2},
    "segtad": {"channels": 8, "dilations": [1], "grid_step": 4, "proposal_channels": 8, "bins": 4},
    "basnet": {"hidden": 8, "filter_channels": 4},
}
CHANGED_IN = {"vsgn": 2}


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
