"""The example of docs/gcm.md runs, and the settings it names exist with the defaults it gives."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
import yaml

from untrimmed.layers.segment_graph import KINDS
from untrimmed.methods.plugins.gcm import Config

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "gcm.md").read_text(encoding="utf-8")


def test_the_example_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["known"].shape == names["classes"].shape == (2, 300, 64)
    assert names["known"][1, 210:].eq(0).all()
    assert names["extended"].shape == (2, 300, 192)
    assert names["some"].shape == (2, 8, 64)
    assert len(names["lenders"]) == len(names["kinds"]) > 0
    assert set(names["kinds"].tolist()) <= set(range(1, sum(KINDS.values()) + 1))
    assert torch.isfinite(names["extended"]).all()


def test_the_settings_that_are_named_exist() -> None:
    written = re.findall(r"`(\w+: [^`]+)`", PAGE.replace("\n", " "))
    settings = [yaml.safe_load(each) for each in written if not each.startswith("context:")]
    assert len(settings) >= 17
    for each in settings:
        Config.model_validate(each)
    named = {name for row in re.findall(r"^\| (`[^|]+) \|", PAGE, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert len(named) >= 14
    assert named <= set(Config.model_fields)
