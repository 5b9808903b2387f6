"""Every command in the documentation names a command, options and a config that there are; those of the pages on data
sets leave results to score."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from untrimmed.cli import app
from untrimmed.pipeline.recipe import load

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = get_command(app).commands  # type: ignore[attr-defined]


def commands_of(page: Path) -> list[list[str]]:
    """Each as its words, beginning with ``untrimmed``; of all blocks, whatever language they say they are in."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines = [re.sub(r"^torchrun .* -m (?=untrimmed )", "", line) for line in lines]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("untrimmed ")]


WRITTEN = [(page, words) for page in PAGES for words in commands_of(page)]


@pytest.mark.parametrize(("page", "words"), WRITTEN, ids=lambda each: each.stem if isinstance(each, Path) else None)
def test_command_and_options_exist(page: Path, words: list[str]) -> None:
    if words[1].startswith("-"):
        return
    assert words[1] in COMMANDS
    known = {name for param in COMMANDS[words[1]].params for name in (*param.opts, *param.secondary_opts)}
    assert {word.partition("=")[0] for word in words[2:] if word.startswith("--")} <= known | {"--help"}


def test_there_are_commands() -> None:
    assert len(WRITTEN) > 90
    assert {page.name for page, words in WRITTEN} >= {"README.md", "scale.md", "evaluation.md", "viewer.md"}
    assert commands_of(ROOT / "docs" / "scale.md")[0][:2] == ["untrimmed", "train"]


@pytest.mark.parametrize(
    ("page", "words"),
    [(page, words) for page, words in WRITTEN if words[1] == "train" and re.fullmatch(r"[\w+]+/[\w+]+", words[2])],
    ids=lambda each: each.stem if isinstance(each, Path) else None,
)
def test_configs_exist_and_take_what_is_given(page: Path, words: list[str]) -> None:
    recipe = load(words[2], [word for word in words[3:] if re.match(r"[a-z]\S*=", word)])
    if page.parent.name == "datasets":
        # The next line scores or fuses run/results.json, and features that are imported have a grid of their own.
        assert recipe.data.test is not None
        imported = any(other[1] == "import-features" for there, other in WRITTEN if there == page)
        assert (recipe.data.grid is None) == imported
        labelled = not dict(recipe.method).get("class_agnostic", False)
        assert labelled or any(other[1] == "fuse" for there, other in WRITTEN if there == page)
