"""The example of docs/two_stage.md runs, and what the page says of settings and configs is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from untrimmed import config
from untrimmed.methods.catalog import of_family
from untrimmed.methods.two_stage import cbr
from untrimmed.methods.two_stage.ssn import Config

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "two_stage.md").read_text(encoding="utf-8")
SHIPPED = [f"{data}/ssn{plus}" for data in ("thumos14", "activitynet13", "sbhar", "demo") for plus in ("", "+gcm")]


def test_the_example_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    raw = names["raw"]
    assert [raw[name].shape for name in ("activity", "completeness", "offsets")] == [(1, 4, 4), (1, 4, 3), (1, 4, 3, 2)]
    assert 4 <= len(names["found"].scores) <= 12


def test_methods_and_settings_exist() -> None:
    assert re.findall(r"^\| `(\w+)` \(", PAGE, re.MULTILINE) == of_family("two_stage")
    tables = re.findall(r"\| setting of `method` \| \|\n(.*?)\n\n", PAGE, re.DOTALL)
    for table, settings in zip(tables, (Config, cbr.Config), strict=True):
        named = re.findall(r"`(\w+)`", " ".join(line.split("|")[1] for line in table.splitlines()[1:]))
        assert len(named) > 10
        assert set(named) <= set(settings.model_fields)


@pytest.mark.parametrize("shipped", [*SHIPPED, "activitynet13/ssn+gcm+labels", "thumos14/pgcn"])
def test_configs_are_there_and_say_whose_proposals_they_judge(shipped: str) -> None:
    plan = config.read(shipped)
    assert plan["method"]["name"] == "ssn"
    assert ((plan["method"].get("context") or {}).get("name") == "gcm") == ("gcn" in shipped or "gcm" in shipped)
    assert plan["data"]["proposals"] == "proposals"
    assert "--out proposals" in config.shipped()[shipped].read_text(encoding="utf-8")
    assert plan["data"].get("proposals_per_video") == {"thumos14": 800, "activitynet13": 100}.get(
        shipped.partition("/")[0]
    )


def test_the_thresholds_of_the_page_are_the_defaults() -> None:
    settings = Config()
    assert (settings.foreground, settings.incomplete, settings.incomplete_share) == (0.7, 0.3, 1 / 100)
    assert settings.background_length == 1 / 50
    assert (settings.drawn_foreground, settings.drawn_background, settings.drawn_incomplete) == (1, 1, 6)
