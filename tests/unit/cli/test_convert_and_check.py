"""``untrimmed convert`` and ``untrimmed check``: what they print, where, and the exit code."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import untrimmed.cli
from untrimmed.formats import read_annotations, read_detections

TRUTH = {
    "version": "tiny",
    "taxonomy": [],
    "database": {
        "a": {
            "subset": "test",
            "duration": 50.0,
            "annotations": [{"label": "run", "segment": [0, 10]}, {"label": "[jump]", "segment": [20, 25]}],
        },
        "b": {"subset": "validation", "duration": 50.0, "annotations": [{"label": "run", "segment": [5, 15]}]},
    },
}
RESULTS = {
    "version": "tiny",
    "external_data": {},
    "results": {
        "a": [
            {"label": "run", "score": 0.9, "segment": [0, 8], "id": 1},
            {"label": "fly", "score": 0.8, "segment": [0, 8], "id": 2},
        ],
        "b": [{"label": "run", "score": 0.1, "segment": [30, 40], "id": 3}],
    },
}


@pytest.fixture
def truth(tmp_path: Path) -> str:
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(TRUTH))
    return str(path)


@pytest.fixture
def results(tmp_path: Path) -> str:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(RESULTS))
    return str(path)


def run(*args: object):
    return CliRunner().invoke(untrimmed.cli.app, [str(arg) for arg in args], catch_exceptions=False)


def fails(monkeypatch, capsys, *args: object) -> str:
    """The one line on stderr."""
    monkeypatch.setattr(sys, "argv", ["untrimmed", *map(str, args)])
    with pytest.raises(SystemExit) as stop:
        untrimmed.cli.main()
    assert stop.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    return output.err


def test_convert_truth_says_what_is_lost(truth: str, tmp_path: Path) -> None:
    done = run("convert", truth, tmp_path / "out.csv")
    assert done.exit_code == 0
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"{truth} (activitynet) -> {tmp_path / 'out.csv'}: 2 videos, 3 instances",
        'not kept: the name of the truth, "tiny"',
        'not kept: the keys "taxonomy" of the whole file',
    ]
    assert read_annotations(tmp_path / "out.csv").instance_count == 3


def test_convert_one_subset_into_a_folder(truth: str, tmp_path: Path) -> None:
    done = run("convert", truth, tmp_path / "out", "--to", "thumos14", "--subset", "test")
    assert done.exit_code == 0
    assert "1 video" in done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["[jump]_test.txt", "run_test.txt"]


def test_convert_results_keeps_all_keys(results: str, tmp_path: Path) -> None:
    done = run("convert", results, tmp_path / "out.json.gz", "--min-score", 0.5)
    assert done.exit_code == 0
    assert done.stderr.endswith(": 2 videos, 2 detections\n")
    kept = json.loads(run_text(tmp_path / "out.json.gz"))
    assert [row["id"] for row in kept["results"]["a"]] == [1, 2]
    assert kept["results"]["b"] == []


def run_text(path: Path) -> str:
    from untrimmed.formats.io import read_text

    return read_text(path)


def test_convert_results_to_tables_and_subtitles(results: str, tmp_path: Path) -> None:
    assert run("convert", results, tmp_path / "out.csv", "--min-score", 0.85).exit_code == 0
    assert len(read_detections(tmp_path / "out.csv")) == 1
    done = run("convert", tmp_path / "out.csv", tmp_path / "vtt", "--to", "webvtt", "--min-score", 0)
    assert "not kept: digits of scores" in done.stderr
    assert (tmp_path / "vtt" / "a.vtt").read_text().endswith("run 0.9\n")


def test_convert_reads_epic_and_elan_as_told(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text(
        "video_id,start_timestamp,stop_timestamp,verb_class,noun_class\nv,0:00:00,0:00:01,1,2\n"
    )
    assert run("convert", tmp_path / "e.csv", tmp_path / "e.eaf", "--epic-label", "noun").exit_code == 0
    assert read_annotations(tmp_path / "e.eaf").labels == ("noun_2",)
    assert run("convert", tmp_path / "e.eaf", tmp_path / "e.json", "--tier", "actions").exit_code == 0
    assert read_annotations(tmp_path / "e.json").labels == ("noun_2",)


def test_convert_mistakes(truth: str, results: str, tmp_path: Path, monkeypatch, capsys) -> None:
    out = tmp_path / "out.json"
    for args, expected in (
        ((tmp_path / "none.json", out), "no such file"),
        ((truth, out, "--min-score", "1"), "--min-score is for results"),
        ((results, out, "--subset", "test"), "--subset is for truth"),
        ((truth, out, "--subset", "tset"), "did you mean 'test'"),
        (
            (truth, tmp_path / "out"),
            "or name one of activitynet, bsn, charades, csv, elan, epic, ssn, thumos14, turn, webvtt with",
        ),
        ((results, out, "--min-score", "nan"), "--min-score is nan, expected a finite number"),
        ((truth, tmp_path / "none" / "out.json"), "does not exist"),
        ((truth, out, "--from", "epic"), "occurs twice in the header"),
        ((truth, out, "--epic-label", "verb"), "--epic-label is for the format epic"),
        ((truth, out, "--tier", "actions"), "--tier is for the format elan"),
        ((truth, out, "--from", "csv\n"), "format 'csv ' is unknown"),
    ):
        assert expected in fails(monkeypatch, capsys, "convert", *args)
    assert not out.exists()


def test_check_is_silent_on_success(truth: str) -> None:
    done = run("check", truth)
    assert (done.exit_code, done.stdout) == (0, "no problem found in 2 videos with 3 instances\n")


def test_check_prints_a_table_and_fails_on_errors(tmp_path: Path) -> None:
    rows = [{"label": "[red]run", "segment": [20 + n, 10]} for n in range(9)]
    table = {"database": {"a": {"subset": "x", "duration": 50, "annotations": rows}}}
    (tmp_path / "t.json").write_text(json.dumps(table))
    done = run("check", tmp_path / "t.json")
    assert done.exit_code == 1
    assert "[red]run" in done.stdout
    assert done.stdout.count("swap the two") == 1
    assert "... and 3 more, 9 in all" in done.stdout
    assert done.stdout.endswith("9 errors in 1 video with 9 instances\n")
    assert "in all" not in run("check", tmp_path / "t.json", "--all").stdout
    values = json.loads(run("check", tmp_path / "t.json", "--json").stdout)
    assert (values["errors"], len(values["findings"])) == (9, 9)


def test_check_features_with_a_grid(truth: str, tmp_path: Path) -> None:
    folder = tmp_path / "features"
    folder.mkdir()
    for name in ("a", "b"):
        np.save(folder / f"{name}.npy", np.random.default_rng(0).normal(size=(250, 4)))
    assert run("check", truth, "--features", folder).exit_code == 0
    assert run("check", truth, "--features", folder, "--fps", "25", "--stride", 5).exit_code == 0
    done = run("check", truth, "--features", folder, "--fps", "30000/1001", "--stride", 5, "--window", 16)
    assert done.exit_code == 1
    assert "250 rows, expected 297 for 50 s" in done.stdout


def test_check_mistakes(truth: str, results: str, tmp_path: Path, monkeypatch, capsys) -> None:
    for args, expected in (
        ((results,), "holds results, expected truth"),
        ((truth, "--fps", "25", "--stride", "5"), "give their folder with --features"),
        ((truth, "--features", tmp_path, "--fps", "25"), "needs both --fps and --stride"),
        ((truth, "--features", tmp_path, "--offset", "3"), "needs both --fps and --stride"),
        ((truth, "--features", tmp_path, "--fps", "x", "--stride", "5"), "frame rate is 'x'"),
        ((truth, "--features", tmp_path / "none"), "there is no such folder"),
    ):
        assert expected in fails(monkeypatch, capsys, "check", *args)


def test_a_message_is_one_line_even_if_a_name_is_not(tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "t.json").write_text(json.dumps(TRUTH))
    assert "error: " in fails(monkeypatch, capsys, "convert", tmp_path / "t.json", f"{tmp_path}/a\nb/x.json")
