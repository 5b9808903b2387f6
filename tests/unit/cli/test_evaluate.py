"""``untrimmed evaluate`` and ``untrimmed compare``, and options that take several numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import untrimmed.cli
from untrimmed.cli.values import numbers, spread
from untrimmed.errors import InputError

TRUTH = {
    "version": "tiny",
    "database": {
        "a": {
            "subset": "test",
            "duration": 50.0,
            "annotations": [{"label": "run", "segment": [0, 10]}, {"label": "jump", "segment": [20, 25]}],
        },
        "b": {"subset": "test", "duration": 50.0, "annotations": [{"label": "run", "segment": [5, 15]}]},
        "c": {"subset": "validation", "duration": 50.0, "annotations": [{"label": "run", "segment": [5, 15]}]},
    },
}
RESULTS = {
    "version": "tiny",
    "external_data": {},
    "results": {
        "a": [
            {"label": "run", "score": 0.9, "segment": [0, 8]},
            {"label": "fly", "score": 0.8, "segment": [0, 8]},
        ],
        "b": [{"label": "run", "score": 0.7, "segment": [30, 40]}],
    },
}


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    results, truth = tmp_path / "results.json", tmp_path / "truth.json"
    results.write_text(json.dumps(RESULTS))
    truth.write_text(json.dumps(TRUTH))
    return str(results), str(truth)


def run(*args: str):
    return CliRunner().invoke(untrimmed.cli.app, list(args))


def fails(monkeypatch, capsys, *args: str) -> str:
    """The one line on stderr."""
    monkeypatch.setattr(sys, "argv", ["untrimmed", *args])
    with pytest.raises(SystemExit) as stop:
        untrimmed.cli.main()
    assert stop.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    return output.err


def test_text(files):
    result = run("evaluate", files[0], "--truth", files[1], "--subset", "test", "--tiou", "0.5", "0.75")
    assert result.exit_code == 0, result.output
    assert f"results     {files[0]}\ntruth       {files[1]}\nprotocol    activitynet\n" in result.output
    assert "1 detection with a label that no instance has" in result.output
    assert "percent at tIoU" in result.output


def test_json(files):
    result = run("evaluate", files[0], "--truth", files[1], "--subset", "test", "--json", "--ci", "--resamples", "10")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["subset"] == "test"
    assert list(data["mAP"])[:2] == ["0.5", "0.55"]
    assert data["mAP"]["0.5"] == 0.25
    assert data["ignored"]["unknown_labels"] == {"fly": 1}
    assert data["intervals"]["resamples"] == 10
    assert data["truth_file"] == files[1]


@pytest.mark.parametrize(
    "tiou",
    [
        ("--tiou", "0.3", "0.4", "0.5"),
        ("--tiou", "0.3", "--tiou", "0.4", "--tiou", "0.5"),
        ("--tiou", "0.3,0.4,0.5"),
        ("--tiou=0.3,0.4", "0.5"),
        ("--tiou", "0.3 0.4 0.5"),
        ("--tiou", "0.3:0.1:0.5"),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_several_thresholds(files, tiou, first):
    others = (files[0], "--truth", files[1], "--subset=test", "--json", "--lengths", "5", "20")
    result = run("evaluate", *(tiou + others if first else others + tiou))
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert list(data["mAP"]) == ["0.3", "0.4", "0.5"]
    assert [group["up_to"] for group in data["lengths"]] == [5.0, 20.0, None]


def test_compare(files):
    result = run("compare", files[0], files[0], "--truth", files[1], "--subset", "test", "--resamples", "20")
    assert result.exit_code == 0, result.output
    assert "P(A better)" in result.output
    args = ("--truth", files[1], "--subset", "test", "--tiou", "0.5", "0.7", "--resamples", "20", "--json")
    data = json.loads(run("compare", files[0], files[0], *args).stdout)
    assert list(data["mAP"]) == ["0.5", "0.7"]
    assert data["mAP"]["0.5"]["a_better"] == 0.5
    assert (data["a"], data["b"]) == (files[0], files[0])


def test_compare_writes_a_page(files, tmp_path, monkeypatch, capsys):
    page, args = tmp_path / "page.html", ("--truth", files[1], "--subset", "test", "--resamples", "20")
    other = tmp_path / "other.json"
    run_a = {"label": "run", "segment": [5, 15], "score": 0.9}
    other.write_text(json.dumps({**RESULTS, "results": {"b": [run_a]}}))
    result = run("compare", files[0], str(other), *args, "--report", str(page))
    assert result.exit_code == 0, result.output
    assert result.output.rstrip().endswith(f"page: {page}")
    text = page.read_text(encoding="utf-8")
    assert "other.json" in text
    assert "at tIoU 0.5." in text
    data = json.loads(
        run("compare", files[0], str(other), *args, "--report", str(page), "--at", "0.3", "--json").stdout
    )
    assert data["page"] == str(page)
    assert data["changes"]["tiou"] == 0.3
    assert data["changes"]["counts"]["instances"] == 3
    assert "at tIoU 0.3." in page.read_text(encoding="utf-8")
    assert "changes" not in json.loads(run("compare", files[0], str(other), *args, "--json").stdout)
    assert "name it with --report" in fails(monkeypatch, capsys, "compare", files[0], files[0], *args, "--at", "0.3")
    assert "tIoU threshold 2" in fails(
        monkeypatch, capsys, "compare", files[0], str(other), *args, "--report", str(page), "--at", "2"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--protocol", "activitinet"), "did you mean 'activitynet'"),
        (("--subset", "tst"), "did you mean 'test'"),
        (("--subset", "test", "--tiou", "half"), "--tiou: 'half' is not a number"),
        (("--subset", "test", "--tiou", "1.5"), "tIoU threshold 1.5"),
        (("--subset", "test", "--lengths", "5", "3"), "rising numbers of seconds"),
    ],
)
def test_mistakes(files, monkeypatch, capsys, options, message):
    without = {**TRUTH, "database": {k: v for k, v in TRUTH["database"].items() if v["subset"] == "test"}}
    Path(files[1]).write_text(json.dumps(without))
    assert message in fails(monkeypatch, capsys, "evaluate", files[0], "--truth", files[1], *options)


def test_the_only_subset_with_instances_is_the_default(files):
    without = {**TRUTH, "database": {k: v for k, v in TRUTH["database"].items() if v["subset"] == "test"}}
    Path(files[1]).write_text(json.dumps(without))
    assert json.loads(run("evaluate", files[0], "--truth", files[1], "--json").stdout)["subset"] == "test"


def test_labels_that_are_no_classes(files):
    args = ("--truth", files[1], "--subset", "test", "--json")
    assert json.loads(run("evaluate", files[0], *args, "--ignore-label", "jump").stdout)["mAP"]["0.5"] == 0.5
    both = json.loads(run("evaluate", files[0], *args, "--ignore-label", "jump", "--ignore-label=jump").stdout)
    assert list(both["per_class"]) == ["run"]
    assert both["ignored"]["segments_of_ignored_labels"] == {"jump": 1}


def test_empty_results(files, monkeypatch, capsys):
    Path(files[0]).write_text(json.dumps({**RESULTS, "results": {"a": []}}))
    args = ("--truth", files[1], "--subset", "test")
    assert "holds no detections" in fails(monkeypatch, capsys, "evaluate", files[0], *args)
    assert "holds no detections" in fails(monkeypatch, capsys, "compare", files[0], files[0], *args)


def test_spread_stops_at_what_is_no_number():
    options = ["--tiou", "--lengths"]
    assert spread(["--tiou", "0.3", "0.4", "file.json", "0.5"], options) == [
        *("--tiou", "0.3", "--tiou", "0.4", "file.json", "0.5")
    ]
    assert spread(["--tiou", "0.3", "--json", "0.4"], options) == ["--tiou", "0.3", "--json", "0.4"]
    assert spread(["--tiou", "0.3", "--lengths", "-5", "7"], options) == [
        *("--tiou", "0.3", "--lengths", "-5", "--lengths", "7")
    ]
    assert spread(["--tiou", "0.3", "--", "0.4"], options) == ["--tiou", "0.3", "--", "0.4"]
    assert spread(["--tiou", "0.3", "./0.5", "inf", "nan"], options) == ["--tiou", "0.3", "./0.5", "inf", "nan"]
    assert spread(["--tiou"], options) == ["--tiou"]


def test_ranges_have_no_rounding_noise():
    assert numbers(["0.5:0.05:0.95"], "--tiou") == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
    assert numbers(["0.1:0.2:0.4", "0.9"], "--tiou") == [0.1, 0.3, 0.9]
    assert numbers(None, "--tiou") is None
    assert numbers([], "--tiou") is None


@pytest.mark.parametrize(
    "wrong",
    ["x", "0.5:0.9", "0.5:0:0.9", "0.9:0.1:0.5", "0:0.000001:1", "nan", "inf", "1e999", "0.1:nan:1", " , ", "0.5:"],
)
def test_what_is_no_number(wrong):
    with pytest.raises(InputError, match="--tiou"):
        numbers([wrong], "--tiou")


def test_starts_without_torch_and_scipy(files):
    """In a process of its own, because others here have imported them. Afterwards both can be imported."""
    code = (
        "import sys; from untrimmed.cli import main; sys.argv = ['untrimmed', *sys.argv[1:]]\n"
        "try: main()\nexcept SystemExit: pass\n"
        "assert not {'torch', 'scipy.linalg'} & sys.modules.keys()\n"
        "import scipy.linalg.cython_blas, numba.np.arraymath, torch"
    )
    args = ["evaluate", files[0], "--truth", files[1], "--subset", "test", "--ci", "--resamples", "5"]
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
