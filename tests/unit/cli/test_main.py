"""What all commands have in common: help that says all it was written with, one line for what the system refuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from untrimmed import cli
from untrimmed.config import header, shipped

COMMANDS = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_shows_every_word_in_brackets(name: str) -> None:
    command = COMMANDS[name]
    written = " ".join([command.help or "", *(getattr(each, "help", None) or "" for each in command.params)])
    shown = CliRunner().invoke(cli.app, [name, "--help"]).stdout
    for word in re.findall(r"\[[^\]]*\]", written):
        assert word in shown


def test_help_names_the_extra_of_export() -> None:
    assert "untrimmed[onnx]" in CliRunner().invoke(cli.app, ["export", "--help"]).stdout


def test_what_the_system_refuses_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise PermissionError(13, "Permission denied", "/somewhere")

    monkeypatch.setattr(cli, "app", refuse)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: /somewhere: Permission denied\n"


def test_configs_says_whole_sentences() -> None:
    lines = CliRunner().invoke(cli.app, ["configs"]).stdout.splitlines()
    assert len([line for line in lines if not line.startswith(" ")]) == len(shipped())
    assert "test 28.90 on average." in next(line for line in lines if "29.65 at 0.75" in line)
    assert not [line for line in lines if line.rstrip().endswith((",", ";", " by", " with the"))]


def test_a_header_is_read_by_its_words(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(
        "# A method\n# on data.\n# Published: 1.0 at\n#            0.5.\n# Needs:     much.\n\n# not this\na: 1\n"
    )
    assert header(file) == {"": "A method on data.", "Published": "1.0 at 0.5.", "Needs": "much."}
