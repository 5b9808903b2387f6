"""Curves over time: written, read back, and refused where they are wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from untrimmed.errors import InputError
from untrimmed.formats.curves import Curves, read_curves, write_curves


def test_what_is_written_is_read_back_to_three_digits(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).random((2, 7)).astype(np.float32)
    write_curves({"v": Curves(0.5, 0.2, {"start": rows[0], "jump": rows[1]})}, tmp_path / "curves.json")
    back = read_curves(tmp_path / "curves.json")["v"]
    assert (back.start, back.step) == (0.5, 0.2)
    np.testing.assert_allclose(back.values["start"], rows[0], atol=5.1e-4)
    np.testing.assert_allclose(back.values["jump"], rows[1], atol=5.1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "expected curves"),
        ({"videos": {"v": {"start": 0, "step": 1}}}, "video v: expected start, step and curves"),
        ({"videos": {"v": {"start": 0, "step": 1, "curves": {"a": [2.0]}}}}, "curve 'a' must be"),
        ({"videos": {"v": {"start": 0, "step": 1, "curves": {"a": ["x"]}}}}, "expected start, step and curves"),
        ({"videos": {"v": {"step": 1, "curves": {}}}}, "expected start, step and curves"),
        ({"videos": []}, "expected curves"),
        ({"videos": {"v": {"start": 0, "step": 0, "curves": {"a": [0.5]}}}}, "step must be above 0"),
        ({"videos": {"v": {"start": 0, "step": 1, "curves": {"a": [0.5], "b": []}}}}, "all curves as long"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "curves.json"
    path.write_text(json.dumps({"version": 1, "videos": {}, **change}))
    with pytest.raises(InputError, match=message):
        read_curves(path)
