"""The example of docs/proposals.md runs, and what the page says of the configs is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from untrimmed.config import shipped
from untrimmed.methods.catalog import METHODS
from untrimmed.pipeline import recipe

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "proposals.md").read_text(encoding="utf-8")


def test_the_example_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    assert len(names["found"].scores)
    assert ((names["seconds"] >= 0) & (names["seconds"] <= 50)).all()
    assert names["curves"]["end"].shape == (100,)


def test_methods_and_configs_exist() -> None:
    methods = re.findall(r"^\| `(\w+)` \(", PAGE, re.MULTILINE)
    assert methods == ["tag", "bsn", "bmn"]
    for method in methods:
        assert method in METHODS
        for data in ("thumos14", "activitynet13", "sbhar", "demo"):
            assert f"{data}/{method}" in shipped()


def test_the_suppression_of_the_page_is_that_of_the_configs() -> None:
    page = " ".join(PAGE.split())
    for method, values in (("bsn", (0.75, 0.65, 0.25)), ("bmn", (0.4, 0.5, 0.4))):
        (step,) = recipe.load(f"activitynet13/{method}").postprocess.nms
        assert (step.sigma, step.threshold, step.rise) == values
        assert "sigma: {}, threshold: {}, rise: {}}}".format(*values) in page
