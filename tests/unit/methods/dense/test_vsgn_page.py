"""The example of docs/vsgn.md runs, and the settings its tables name exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from untrimmed.pipeline import recipe

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "vsgn.md").read_text(encoding="utf-8")


def test_the_example_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    assert len(names["found"].scores)
    assert ((names["seconds"] >= 0) & (names["seconds"] <= 20)).all()
    assert set(names["piece"]) <= {0, 1}


def test_the_settings_of_the_tables_exist() -> None:
    overrides = re.findall(r"`((?:method|windows)\.[\w.]+=[^`]+)`", PAGE)
    assert len(overrides) >= 7
    for override in overrides:
        recipe.load("thumos14/vsgn", [override])
