"""``untrimmed import-features`` on the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from untrimmed import cli
from untrimmed.formats.features import FeatureStore


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["untrimmed", "import-features", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    np.save(folder / "v_a.npy", np.ones((8, 3)))
    np.save(folder / "v_b.npy", np.ones((6, 3)))
    database = {name: {"duration": 4.0, "subset": "training", "annotations": []} for name in "ac"}
    (tmp_path / "truth.json").write_text(json.dumps({"version": "1", "database": database}))
    return folder


def test_with_a_grid(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--out", tmp_path / "out", "--fps", 30, "--stride", 4, "--window", 16, "--name", "i3d")
    assert run(monkeypatch, source, *options) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out'}: 2 videos imported\n"
    store = FeatureStore.open(tmp_path / "out")
    assert (store.grid("v_a").fps, store.grid("v_a").stride, store.grid("v_a").window) == (30, 4, 16)
    assert store.backbone == {"name": "imported", "weights_sha256": None, "options": {"from": "i3d"}}


def test_without_a_grid_it_says_what_it_assumed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, source, "--out", tmp_path / "out", "--truth", tmp_path / "truth.json") == 0
    said = capsys.readouterr().err
    assert "warning: " in said
    assert "to cover it evenly, 0.5 to 0.5 s a row" in said
    assert "1 without features: c" in said
    assert "1 left out: not in the annotations: v_b" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fps", "30"], "--fps and --stride belong together"),
        (["--layout", "XY"], "--layout is 'XY'"),
        ([], "times are unknown"),
    ],
)
def test_mistakes_are_one_line(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    assert run(monkeypatch, source, "--out", tmp_path / "out", *options) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
