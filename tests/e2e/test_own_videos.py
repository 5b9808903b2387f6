"""A stranger's path: every command of docs/own_videos.md, one after the other, on a folder of videos, with a Python
that has what a plain installation has, and nothing compiled yet."""

from __future__ import annotations

import importlib.metadata
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


PLAIN = """
import sys
from importlib.machinery import PathFinder
absent = {absent}
class Plain(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in absent else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Plain
"""
"""Start-up code of a Python that has nothing but what ``pip install untrimmed`` brings."""


def required(name: str, seen: set[str]) -> set[str]:
    """The distributions that one needs, without extras, by their names in lower case with dashes."""
    if name not in seen:
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            return seen
        seen.add(name)
        for need in needs:
            if "extra ==" not in need:
                required(re.split(r"[^\w.-]", need)[0].lower().replace("_", "-"), seen)
    return seen


def extras() -> set[str]:
    """Modules that are installed here and that a plain installation lacks."""
    kept = required("untrimmed", set())
    owners = importlib.metadata.packages_distributions()
    return {module for module, names in owners.items() if not {each.lower().replace("_", "-") for each in names} & kept}


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
    start = tmp_path / "start"
    start.mkdir()
    missing = extras()
    assert {"scipy", "pytest"} <= missing
    assert not {"numpy", "torch", "numba", "untrimmed"} & missing
    (start / "sitecustomize.py").write_text(PLAIN.format(absent=sorted(missing)))
    plain = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(start), "NUMBA_CACHE_DIR": str(tmp_path / "compiled")}
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
            env={**os.environ, **plain},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    for name in ("run/report.html", "results.json", "view.html"):
        assert (tmp_path / name).is_file()
