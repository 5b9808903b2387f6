"""The examples of ``docs/video.md`` and ``docs/features.md`` run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.mark.parametrize(
    ("page", "blocks", "said"),
    [("video.md", 2, "on screen at 2.345 s since 2.32 s"), ("features.md", 2, "['clip'] 14 (2, ")],
)
def test_examples_run(page: str, blocks: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    assert len(found) == blocks
    exec(compile("\n".join(found), page, "exec"), {})
    assert said in capsys.readouterr().out
