"""The examples of docs/data.md run and print what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from untrimmed.cli import app
from untrimmed.data.segments import Segments
from untrimmed.data.settings import RescaledVideo, SlidingWindows, WholeVideo
from untrimmed.data.stitching import SelfStitching

PAGE = Path(__file__).resolve().parents[3] / "docs" / "data.md"


def test_python_examples(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "3 windows of 2 videos with 2 instances; no window in 1 video: v2"
    assert printed[1].startswith("torch.Size([2, 32, 160]) [0, 1, 2] ")
    seconds, piece = printed[-1].split("]] ")
    assert piece == "[0, 1]"
    times = [float(number) for number in re.findall(r"[\d.]+", seconds)]
    assert times == pytest.approx([10, 14, 10, 14], abs=1e-4)


def test_shell_examples_name_options_that_exist() -> None:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("untrimmed ")]
    assert lines
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for line in lines:
        _, name, *words = line.split()
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known


def test_the_table_lists_every_windowing_and_its_settings() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|([^|]*)\|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    for settings in (WholeVideo, RescaledVideo, SlidingWindows, SelfStitching, Segments):
        fields = dict(settings.model_fields)
        listed = re.findall(r"`(\w+)`", rows.pop(fields.pop("kind").default))
        assert listed == list(fields)
    assert list(rows) == ["kind"]
