"""The example of docs/dssad.md runs, and the settings it names exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from untrimmed.methods.dense.dssad import Config
from untrimmed.pipeline import recipe

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "dssad.md").read_text(encoding="utf-8")


def test_the_example_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    assert len(names["found"].scores)
    assert ((names["seconds"] >= 0) & (names["seconds"] <= 64)).all()


def test_the_settings_of_the_tables_exist() -> None:
    rows = re.findall(r"^\| 1[12] \|.*$", PAGE, re.MULTILINE)
    assert len(rows) == 2
    for row in rows:
        key, *values = re.findall(r"`([^`]+)`", row)
        name, first = key.split("=")
        for value in (first, *values):
            recipe.load("thumos14/dssad+gcm", [f"{name}={value}"])


def test_settings_that_are_named_exist() -> None:
    section = PAGE.partition("## Settings")[2].partition("## Where")[0]
    named = {each.partition(":")[0] for each in re.findall(r"\*\*`([^`]+)`\*\*", section)} - {"windows.coverage"}
    assert len(named) == 8
    assert named <= set(Config.model_fields)
