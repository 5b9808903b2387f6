"""``untrimmed diagnose``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import untrimmed.cli

TRUTH = {
    "version": "tiny",
    "database": {
        "a": {
            "subset": "validation",
            "duration": 50.0,
            "annotations": [
                {"label": "run", "segment": [0, 10], "context-size": 3},
                {"label": "jump", "segment": [20, 25], "context-size": None},
            ],
        },
        "b": {"subset": "test", "duration": 50.0, "annotations": [{"label": "run", "segment": [5, 15]}]},
    },
}
RESULTS = {
    "version": "tiny",
    "external_data": {},
    "results": {
        "a": [
            {"label": "run", "score": 0.9, "segment": [0, 8]},
            {"label": "jump", "score": 0.8, "segment": [0, 8]},
        ],
    },
}


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    results, truth = tmp_path / "results.json", tmp_path / "truth.json"
    results.write_text(json.dumps(RESULTS))
    truth.write_text(json.dumps(TRUTH))
    return str(results), str(truth)


def fails(monkeypatch, capsys, *args: str) -> str:
    """The one line on stderr."""
    monkeypatch.setattr(sys, "argv", ["untrimmed", "diagnose", *args])
    with pytest.raises(SystemExit) as stop:
        untrimmed.cli.main()
    assert stop.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_page_numbers_and_summary(files: tuple[str, str], tmp_path: Path) -> None:
    results, truth = files
    out = tmp_path / "why"
    done = CliRunner().invoke(untrimmed.cli.app, ["diagnose", results, "--truth", truth, "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "activitynet, subset validation: 1 videos, 2 instances, 2 of 2 detections" in done.output
    assert done.output.rstrip().endswith(f"page: {out / 'index.html'}")
    assert "Diagnosis of results.json" in (out / "index.html").read_text()
    numbers = json.loads((out / "diagnosis.json").read_text())
    assert [one["name"] for one in numbers["characteristics"]] == [
        "coverage",
        "length",
        "num-instances",
        "context-size",
    ]


def test_options_and_json(files: tuple[str, str], tmp_path: Path) -> None:
    results, truth = files
    args = ["diagnose", results, "--truth", truth, "--out", str(tmp_path / "why"), "--json", "--subset", "all"]
    args += ["--tiou", "0.3", "0.5", "0.7", "--at", "0.7", "--lengths", "6", "--coverage", "0.1", "0.3"]
    done = CliRunner().invoke(untrimmed.cli.app, [*args, "--instances", "1", "--protocol", "hacs"])
    assert done.exit_code == 0, done.output
    numbers = json.loads(done.output)
    assert (numbers["protocol"], numbers["subset"], numbers["tiou"]) == ("hacs", "all", [0.3, 0.5, 0.7])
    assert numbers["shown_tiou"] == 0.7
    buckets = {one["name"]: [bucket["instances"] for bucket in one["buckets"]] for one in numbers["characteristics"]}
    assert buckets["length"] == [1, 2]
    assert buckets["coverage"] == [1, 2, 0]
    assert buckets["num-instances"] == [1, 2]


def test_mistakes_are_one_line(files: tuple[str, str], tmp_path: Path, monkeypatch, capsys) -> None:
    results, truth = files
    rest = ["--truth", truth, "--out", str(tmp_path / "why")]
    assert "did you mean 'thumos14'" in fails(monkeypatch, capsys, results, *rest, "--protocol", "thumos")
    assert "is not among the thresholds" in fails(monkeypatch, capsys, results, *rest, "--at", "0.33")
    assert "cannot be made a folder" in fails(monkeypatch, capsys, results, "--truth", truth, "--out", truth)
    empty = tmp_path / "empty.json"
    empty.write_text(json.dumps(RESULTS | {"results": {}}))
    assert "holds no detections" in fails(monkeypatch, capsys, str(empty), *rest)
    assert not (tmp_path / "why").exists()


def test_neither_help_nor_work_imports_torch(files: tuple[str, str], tmp_path: Path) -> None:
    results, truth = files
    code = (
        "import sys; from untrimmed.cli import app\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit: print('torch' in sys.modules, file=sys.stderr)"
    )
    for args in (["--help"], [results, "--truth", truth, "--out", str(tmp_path / "why")]):
        done = subprocess.run(
            [sys.executable, "-c", code, "diagnose", *args], capture_output=True, text=True, check=True
        )
        assert done.stderr.strip() == "False"
