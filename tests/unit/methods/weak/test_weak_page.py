"""The examples of docs/weak.md run, and the settings it names exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from untrimmed import config
from untrimmed.formats.activitynet import truth_of
from untrimmed.pipeline import recipe

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "weak.md").read_text(encoding="utf-8")


def test_the_example_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["enhanced"].shape == (2, 64, 400)
    assert names["enhanced"][1, :, 310:].eq(0).all()
    assert names["graph"].shape == (2, 400, 400)
    assert names["loss"].requires_grad


def test_the_file_with_labels_alone_can_be_read() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert truth_of(json.loads(text), "page").videos["v_001"].labels == ("jump", "run")


def test_the_settings_and_configs_that_are_named_exist() -> None:
    overrides = re.findall(r"`(method\.[\w.]+=[^`]+)`", PAGE)
    assert len(overrides) >= 11
    for override in overrides:
        recipe.load("thumos14/basnet+acgnet", [override])
    named = re.findall(r"untrimmed train (\S+)", PAGE)
    assert len(named) == 3
    assert set(named) <= set(config.shipped())
