"""Run folders in the commands that score: truth, subset, thresholds, protocol and ignored labels from their configs."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from untrimmed.cli import app, main
from untrimmed.formats import write_annotations, write_detections
from untrimmed.types import Annotations, Detections, Instances, Video

FOUND = Detections.of([("a", "run", 0, 10, 0.9), ("b", "run", 0, 6.5, 0.8), ("c", "run", 0, 10, 0.7)])
CONFIG: dict[str, Any] = {
    "data": {"annotations": "truth.json", "features": "features", "test": "probe", "ignore_labels": ["rest"]},
    "method": {"name": "vsgn"},
    "evaluate": {"protocol": "thumos14-papers", "tiou": [0.5, 0.7], "lengths": [4, 12]},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A truth and a run, whose annotations are named from the folder of the test."""
    videos = [
        Video("a", "probe", 20.0, instances=Instances([[0, 10], [12, 14]], ("run", "rest"))),
        Video("b", "probe", 20.0, instances=Instances([[0, 10]], ("run",))),
        Video("c", "test", 20.0, instances=Instances([[0, 10]], ("run",))),
    ]
    write_annotations(Annotations.of(videos, "mine"), tmp_path / "truth.json")
    make_run(tmp_path / "run", CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_run(place: Path, config: Any, detections: Detections = FOUND) -> None:
    place.mkdir()
    (place / "config.yaml").write_text(yaml.safe_dump(config))
    write_detections(detections, place / "results.json")


def run(*words: object) -> str:
    done = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object) -> str:
    monkeypatch.setattr("sys.argv", ["untrimmed", *map(str, words)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_evaluate_takes_everything_from_the_run(folder: Path) -> None:
    scores = json.loads(run("evaluate", "run", "--json"))
    assert (scores["subset"], scores["protocol"], scores["tiou"]) == ("probe", "thumos14-papers", [0.5, 0.7])
    assert scores["truth_file"] == "truth.json"
    assert list(scores["per_class"]) == ["run"]
    assert [group["up_to"] for group in scores["lengths"]] == [4.0, 12.0, None]
    assert scores["mAP"] == {"0.5": 1.0, "0.7": 0.5}


def test_the_command_line_comes_first(folder: Path) -> None:
    write_annotations(Annotations.of([Video("a", "other", instances=Instances([[0, 9]], ("run",)))]), folder / "o.json")
    options = ("--truth", "o.json", "--subset", "other", "--tiou", "0.9", "--lengths", "5")
    scores = json.loads(run("evaluate", "run", *options, "--json"))
    assert (scores["subset"], scores["tiou"], scores["mAP"]) == ("other", [0.9], {"0.9": 1.0})
    assert scores["protocol"] == "thumos14-papers"
    other = json.loads(run("evaluate", "run", "--protocol", "activitynet", "--json"))
    assert len(other["tiou"]) == 10  # those of the protocol that was asked for


def test_diagnose_and_compare_take_it_too(folder: Path) -> None:
    reasons = json.loads(run("diagnose", "run", "--out", "why", "--json"))
    assert (reasons["subset"], reasons["tiou"]) == ("probe", [0.5, 0.7])
    lengths = next(one for one in reasons["characteristics"] if one["name"] == "length")
    assert [bucket["range"] for bucket in lengths["buckets"]] == ["≤ 4", "4–12", "> 12"]
    difference = json.loads(run("compare", "run", "run/results.json", "--resamples", "10", "--json"))
    assert (difference["subset"], difference["tiou"]) == ("probe", [0.5, 0.7])
    assert difference["mAP"]["0.7"]["a"] == difference["mAP"]["0.7"]["b"] == 0.5


def test_view_scores_a_run_as_evaluate_does(folder: Path) -> None:
    run("view", "run", "--out", "page.html")
    assert shown(folder / "page.html", "mAP at tIoU all (%)") == "75.00"
    assert json.loads(run("evaluate", "run", "--json"))["averages"] == {"all": 0.75}


@pytest.mark.parametrize(
    "options", [(), ("--subset", "test"), ("--ignore-label", "rest"), ("--protocol", "activitynet")]
)
@pytest.mark.parametrize("trained_on", [None, ("a",), ("a", "b", "c")])
def test_view_and_evaluate_of_one_result_have_the_same_averages(folder: Path, options, trained_on) -> None:
    write_detections(replace(FOUND, trained_on=trained_on), folder / "results.json")
    words = ("results.json", "--truth", "truth.json", *options)
    scores = json.loads(run("evaluate", *words, "--json"))
    where = " on training videos" if scores["only_training_videos"] else ""
    run("view", *words, "--out", "page.html")
    for name, value in scores["averages"].items():
        assert shown(folder / "page.html", f"mAP{where} at tIoU {name} (%)") == f"{100 * value:.2f}"


def test_view_shows_training_videos_apart(folder: Path) -> None:
    write_detections(replace(FOUND, trained_on=("a",)), folder / "results.json")
    run("view", "results.json", "--truth", "truth.json", "--subset", "all", "--out", "page.html")
    text = (folder / "page.html").read_text()
    assert "Apart: training videos" in text
    assert "1 video that the model was trained on, with 1 detection: not in these scores." in text
    index = json.loads(text.split('id="index">')[1].split("</script>")[0])
    assert index["apart"] is True
    assert [one["training"] for one in index["videos"]] == [True, False, False]
    assert sum(index["sweeps"][0]["instances"]) == 2


def shown(page: Path, name: str) -> str:
    return page.read_text().split(f"{name}</dt><dd>")[1].split("<")[0]


def test_a_run_without_labels_is_scored_as_segments_of_any(folder: Path) -> None:
    make_run(folder / "blind", CONFIG, replace(FOUND, label=FOUND.label * 0 - 1))
    scores = json.loads(run("evaluate", "blind", "--json"))
    assert scores["mAP"] == {"0.5": 1.0, "0.7": 0.5}
    assert list(scores["per_class"]) == ["any label"]
    run("view", "blind", "--out", "page.html")
    assert shown(folder / "page.html", "mAP at tIoU all (%)") == "75.00"
    assert json.loads(run("compare", "blind", "blind", "--resamples", "5", "--json"))["mAP"]["0.7"]["a"] == 0.5
    assert json.loads(run("diagnose", "blind", "--out", "why", "--json"))["evaluation"]["mAP"] == scores["mAP"]


def test_what_is_wrong_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "name the annotations with --truth" in fails(monkeypatch, capsys, "evaluate", "run/results.json")
    (folder / "empty").mkdir()
    assert "neither a result file nor the folder of a run" in fails(monkeypatch, capsys, "evaluate", "empty")
    make_run(folder / "other", {**CONFIG, "data": {**CONFIG["data"], "test": "test"}})
    said = fails(monkeypatch, capsys, "compare", "run", "other")
    assert "run says probe and other says test: name one with --subset" in said
    assert "in subset 'rest'" in fails(monkeypatch, capsys, "compare", "run", "other", "--subset", "rest")
    (folder / "other" / "results.json").unlink()
    assert "the run has no results" in fails(monkeypatch, capsys, "evaluate", "other")
    (folder / "run" / "config.yaml").write_text("method: {name: vsgn}\n")
    assert "it has no section 'data'" in fails(monkeypatch, capsys, "evaluate", "run")
    make_run(folder / "moved", {**CONFIG, "data": {**CONFIG["data"], "annotations": "gone.json"}})
    said = fails(monkeypatch, capsys, "evaluate", "moved")
    assert "gone.json: the annotations of the run are not there; name them with --truth" in said
    assert "page.html" in run("view", "moved", "--out", "page.html")  # which can do without
    assert "no instance has the label 'rset'" in fails(
        monkeypatch, capsys, "evaluate", "run/results.json", "--truth", "truth.json", "--ignore-label", "rset"
    )


def test_annotations_beside_the_run_are_found(folder: Path) -> None:
    (folder / "truth.json").rename(folder / "run" / "truth.json")
    assert json.loads(run("evaluate", "run", "--json"))["truth_file"] == "run/truth.json"


def test_a_run_is_scored_without_torch(folder: Path) -> None:
    code = "import sys; from untrimmed.cli import app\ntry: app(['evaluate', 'run'])\nexcept SystemExit: pass\n"
    code += "print([name for name in ('torch', 'matplotlib') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
