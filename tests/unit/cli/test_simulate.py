"""``untrimmed simulate``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import untrimmed.cli
from untrimmed.formats.features import FeatureStore

TRUTH = {
    "version": "tiny",
    "database": {
        "a": {"subset": "test", "duration": 20.0, "annotations": [{"label": "run", "segment": [2, 8]}]},
        "b": {"subset": "training", "duration": 10.0, "annotations": [{"label": "jump", "segment": [1, 3]}]},
    },
}


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(TRUTH))
    return path


def simulate(*options: str) -> str:
    result = CliRunner().invoke(untrimmed.cli.app, ["simulate", *options])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_it_writes_a_folder_that_says_it_is_simulated(truth: Path, tmp_path: Path) -> None:
    folder = str(tmp_path / "features")
    options = ["--out", folder, "--channels", "8", "--fps", "30000/1001", "--stride", "4", "--difficulty", "0.25"]
    assert "simulated features of 1 videos, 8 channels, difficulty 0.25" in simulate(
        str(truth), *options, "--subset", "test"
    )
    assert "simulated features of 1 videos" in (out := simulate(str(truth), *options))
    assert "1 were there already" in out
    store = FeatureStore.open(folder)
    assert set(store.ids) == {"a", "b"}
    assert store.backbone is not None
    assert store.backbone["simulated"] is True
    assert store.backbone["options"] == {"channels": 8, "difficulty": 0.25, "seed": 0}
    assert store.grid("a").to_dict() == {"fps": "30000/1001", "stride": 4, "window": 16, "offset": 0}


def test_a_mistake_is_one_line(
    truth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["untrimmed", "simulate", str(truth), "--out", str(tmp_path / "f"), "--subset", "tset"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as caught:
        untrimmed.cli.main()
    assert caught.value.code == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: no video is in subset 'tset': did you mean 'test'? (there are: test, training)"
    ]
