"""The example of docs/segtad.md runs, and the settings its tables name exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from untrimmed.layers.proposal_grid import ProposalGrid
from untrimmed.pipeline import recipe
from untrimmed.segments import tiou

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "segtad.md").read_text(encoding="utf-8")


def test_the_example_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    assert len(names["found"].scores)
    assert ((names["seconds"] >= 0) & (names["seconds"] <= 50)).all()
    assert names["curves"]["class 2"].shape == (100,)


def test_the_settings_of_the_tables_exist() -> None:
    rows = re.findall(r"^\| [3-8] \|.*$", PAGE, re.MULTILINE)
    assert len(rows) == 6
    for row in rows:
        key, *values = re.findall(r"`([^`]+)`", row)
        name, first = key.split("=")
        for value in (first, *values):
            recipe.load("activitynet13/segtad", [f"{name}={value}"])


def test_the_numbers_of_proposals_are_right() -> None:
    counts = (len(ProposalGrid(256, 1, 82)), len(ProposalGrid(256, 1)), len(ProposalGrid(1000, 8)))
    assert counts == (17671, 32896, 7875)
    for count in counts:
        assert f"{count:,}" in PAGE


def test_the_average_tiou_of_a_grid_is_as_said() -> None:
    assert "1 - `grid_step` / (2 n)" in PAGE
    make = torch.Generator().manual_seed(0)
    step, length = 4, 40
    starts = 20 + 40 * torch.rand(500, 1, generator=make, dtype=torch.float64)
    actions = torch.cat((starts, starts + length), 1)
    best = tiou(actions[:, None], ProposalGrid(120, step).segments.double()).amax(1)
    assert float(best.mean()) == pytest.approx(1 - step / (2 * length), abs=0.005)


def test_no_heading_stands_twice() -> None:
    headings = re.findall(r"^## .*$", PAGE, re.MULTILINE)
    assert len(set(headings)) == len(headings)
