"""Curves of overlapping, stitched windows, brought back to the seconds of the video."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from untrimmed.data.batch import Batch
from untrimmed.formats.features import ArrayFeatures
from untrimmed.grid import SnippetGrid
from untrimmed.pipeline.detector import Detector
from untrimmed.pipeline.recipe import recipe_of

GRID = SnippetGrid(10, 2, 2)
WINDOWS = [
    {"kind": "whole"},
    {"kind": "sliding", "length": 16, "stride": 5},
    {"kind": "rescaled", "length": 150},
    {"kind": "self_stitching", "length": 60, "short": 0.3, "gap": 4},
]


class Echo(nn.Module):
    """Says of every step what its first feature is."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {"first": batch.features[:, 0]}

    def curves(self, raw: dict[str, Tensor], batch: Batch) -> list[dict[str, Tensor]]:
        return [{"level": row, "class 1": 1 - row} for row in raw["first"]]


def detector(windows: dict[str, object], method: nn.Module) -> Detector:
    recipe = recipe_of(
        {"data": {"annotations": "a", "features": "f"}, "windows": windows, "method": {"name": "vsgn"}}, ""
    )
    return Detector(method, recipe, ("jump", "wave"), 3)


@pytest.mark.parametrize("windows", WINDOWS, ids=lambda windows: str(windows["kind"]))
def test_a_curve_comes_back_at_its_own_times(windows: dict[str, object]) -> None:
    ramp = np.linspace(0, 1, 45, dtype=np.float32)
    features = ArrayFeatures({"v": np.stack([ramp, ramp, ramp], axis=1)}, GRID)
    [(name, found)] = detector(windows, Echo()).curves(features, ["v"])
    assert name == "v"
    assert (found.start, found.step) == (0.0, 0.2)
    assert set(found.values) == {"level", "wave"}
    inner = slice(1, -1)  # the outermost snippets of an interpolated clip have but one neighbour
    np.testing.assert_allclose(found.values["level"][inner], ramp[inner], atol=0.02)
    np.testing.assert_allclose(found.values["wave"], 1 - found.values["level"], atol=1e-6)


def test_classes_with_the_name_of_a_curve_of_the_method_keep_their_own() -> None:
    features = ArrayFeatures({"v": np.full((9, 3), 0.25, dtype=np.float32)}, GRID)
    named = replace(detector(WINDOWS[0], Echo()), classes=("level (model)", "level"))
    [(_, found)] = named.curves(features, ["v"])
    assert {name: float(values[0]) for name, values in found.values.items()} == {
        "level": 0.75,
        "level (model) (model)": 0.25,
    }


def test_a_method_without_curves_has_none() -> None:
    features = ArrayFeatures({"v": np.zeros((9, 3), dtype=np.float32)}, GRID)
    silent = replace(detector(WINDOWS[0], nn.Linear(1, 1)))
    assert list(silent.curves(features, ["v"])) == []
