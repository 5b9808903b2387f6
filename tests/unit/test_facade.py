"""The names of the package itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

import untrimmed
from untrimmed.types import Detections


def test_every_name_is_there() -> None:
    for name in untrimmed.__all__:
        assert getattr(untrimmed, name).__name__ == name
    assert set(untrimmed.__all__) <= set(dir(untrimmed))
    with pytest.raises(AttributeError, match="no attribute 'train_me'"):
        _ = untrimmed.train_me


def test_importing_it_loads_nothing_heavy() -> None:
    code = "import sys, untrimmed; print([m for m in ('torch', 'numpy', 'numba', 'typer') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_rows_give_back_what_detections_were_made_of() -> None:
    rows = [("b", "x", 1.0, 2.0, 0.5), ("a", None, 0.0, 3.5, 0.25), ("b", "y", 4.0, 5.0, 0.125)]
    assert list(Detections.of(rows, video_ids=["empty"]).rows()) == rows
    assert list(Detections.empty(["a"]).rows()) == []
