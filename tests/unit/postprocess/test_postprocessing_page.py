"""The examples of docs/postprocessing.md run and print what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from untrimmed.pipeline import recipe
from untrimmed.postprocess import PostProcess

PAGE = Path(__file__).resolve().parents[3] / "docs" / "postprocessing.md"


def test_python_examples(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("[0.9")
    assert float(printed[0].strip("[]").split()[1]) == pytest.approx(0.32, abs=0.005)
    assert printed[1].startswith("[0 2] ")
    assert printed[-1] == printed[0]  # as if all had been found in one window


def test_the_section_of_a_config_is_one() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    settings = PostProcess.from_dict(yaml.safe_load(block)["postprocess"])
    assert settings == recipe.load("thumos14/vsgn").postprocess


def test_shell_examples_name_options_that_exist() -> None:
    from typer.main import get_command

    from untrimmed.cli import app

    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("untrimmed ")]
    assert len(lines) == 4
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for line in lines:
        _, name, *words = line.split()
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known
