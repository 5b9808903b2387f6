"""A stranger's path: every command of docs/own_videos.md, one after the other, on a folder of videos."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from untrimmed.video import VideoWriter

PAGE = Path(__file__).resolve().parents[2] / "docs" / "own_videos.md"


def commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def render(path: Path, seed: int) -> None:
    back = np.random.default_rng(seed).integers(0, 120, (90, 120, 3), dtype=np.uint8)
    with VideoWriter(path, fps=15, size=(120, 90), preset="ultrafast") as writer:
        for number in range(120):
            image = back.copy()
            left = 50 + round(20 * np.sin(number / 4)) if 30 <= number < 75 else 50
            image[30:60, left : left + 15] = 230
            writer.write(image)


@pytest.mark.slow
def test_every_command_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    rows = ["video,label,start,end,duration,subset"]
    for number in range(4):
        render(tmp_path / "videos" / f"v{number}.mp4", number)
        rows.append(f"v{number},{('jump', 'spin')[number % 2]},2.0,5.0,8.0,{'training' if number < 2 else 'test'}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    lines = commands()
    assert len(lines) >= 8
    assert lines[0].startswith("untrimmed convert elan/")
    # Somebody has labelled with ELAN.
    lines.insert(0, "untrimmed convert labels.csv elan/ --to elan")
    for line in lines:
        program, *arguments = shlex.split(line, comments=True)
        assert program == "untrimmed"
        if arguments[0] == "train":
            arguments.append("train.epochs=1")
        done = subprocess.run(
            [sys.executable, "-m", "untrimmed", *arguments],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    for name in ("run/report.html", "results.json", "view.html"):
        assert (tmp_path / name).is_file()
