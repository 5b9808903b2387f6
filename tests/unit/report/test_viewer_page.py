"""``docs/viewer.md`` and the help of the page say what there is."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from typer.testing import CliRunner

from untrimmed.cli import app

PAGE = Path(__file__).resolve().parents[3] / "docs" / "viewer.md"
TEXT = PAGE.read_text(encoding="utf-8")
TEMPLATES = resources.files("untrimmed.report") / "templates" / "viewer"


def test_the_example_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) == 1
    names: dict[str, str] = {}
    exec(compile(blocks[0], str(PAGE), "exec"), names)
    assert "A look" in names["page"]


def test_every_option_of_view_is_explained() -> None:
    shown = CliRunner().invoke(app, ["view", "--help"], env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}).output
    options = set(re.findall(r"--[a-z-]+", shown)) - {"--help", "--out"}
    assert len(options) >= 10
    assert options - set(re.findall(r"--[a-z-]+", TEXT)) == set()


def test_every_key_is_in_the_help_and_on_the_page() -> None:
    actions = (TEMPLATES / "keys.js").read_text(encoding="utf-8").split("const ACTIONS = {")[1].split("\n};")[0]
    keys = re.findall(r'^  "?([^\s":]+|\s)"?:', actions, re.MULTILINE)
    assert len(keys) >= 20
    written = {
        " ": "Space", "ArrowLeft": "←", "ArrowRight": "→", "ArrowDown": "↓", "ArrowUp": "↑", "Escape": "Esc",
    }  # fmt: skip
    elsewhere = {"=", "Backspace"}  # the same key without Shift; the same as Delete
    help_text = (TEMPLATES / "viewer.html").read_text(encoding="utf-8").split('<dialog id="help"')[1]
    explained = set(re.findall(r"<kbd>(.*?)</kbd>", help_text))
    table = TEXT.split("## Keys")[1].split("## Correct")[0]
    for key in set(keys) - elsewhere - {"?"}:
        assert written.get(key, key) in explained, key
        assert written.get(key, key) in table or key == "Escape", key
