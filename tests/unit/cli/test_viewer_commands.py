"""``untrimmed view``, ``annotate`` and ``suggest``: what they write, and what they say of wrong input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from untrimmed.cli import app, main
from untrimmed.formats import write_annotations, write_detections
from untrimmed.types import Annotations, Detections, Instances, Video
from untrimmed.video.write import VideoWriter


@pytest.fixture
def files(tmp_path: Path) -> Path:
    truth = Annotations.of([Video("a", "test", 9.0, instances=Instances([[1, 2], [5, 6]], ("x", "y")))])
    write_annotations(truth, tmp_path / "truth.json")
    found = Detections.of([("a", "x", 1.0, 2.1, 0.9), ("a", "y", 3.0, 4.0, 0.4)])
    write_detections(found, tmp_path / "results.json")
    (tmp_path / "run").mkdir()
    write_detections(found, tmp_path / "run" / "results.json")
    curves = {"version": 1, "videos": {"a": {"start": 0.0, "step": 1.0, "curves": {"start": [0.1, 0.2]}}}}
    (tmp_path / "run" / "curves.json").write_text(json.dumps(curves))
    return tmp_path


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    monkeypatch.setattr("sys.argv", ["untrimmed", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert len(said.strip().splitlines()) == 1
    return said


def test_view_has_scores_with_intervals_and_diagnosis(files: Path) -> None:
    page = files / "page.html"
    run("view", files / "results.json", "--truth", files / "truth.json", "--out", page)
    text = page.read_text()
    assert "95 % interval" in text
    assert "Diagnosis: why it errs" in text
    assert "95 % interval, low" in text
    run("view", files / "results.json", "--truth", files / "truth.json", "--out", page, "--brief")
    assert "interval" not in page.read_text().split('<script type="module">')[0]


def test_view_finds_results_and_curves_of_a_run_and_compares(files: Path) -> None:
    page = files / "page.html"
    run("view", files / "run", "--compare", files / "results.json", "--out", page)
    text = page.read_text()
    assert '"curves":[{"start":0.0,"step":1.0,"curves":{"start":[100,200]}},null]' in text
    assert '"sets":["run","results.json"]' in text


def test_view_refuses_what_does_not_belong_together(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_annotations(Annotations.of([Video("b", "test", 9.0)]), files / "other.json")
    said = fails(monkeypatch, capsys, "view", files / "results.json", "--truth", files / "other.json")
    assert "no video in common" in said
    (files / "run" / "curves.json").write_text("[]")
    assert "curves.json: expected curves" in fails(monkeypatch, capsys, "view", files / "run")
    assert "protocol" in fails(
        monkeypatch, capsys, "view", files / "results.json", "--truth", files / "truth.json", "--protocol", "thumos"
    )


def test_annotate_knows_videos_classes_and_what_was_annotated(files: Path) -> None:
    videos = files / "videos"
    videos.mkdir()
    for name in ("a", "new"):
        with VideoWriter(videos / f"{name}.mp4", fps=10, size=(32, 32)) as writer:
            for _ in range(15):
                writer.write(np.zeros((32, 32, 3), np.uint8))
    page = files / "page.html"
    run(
        "annotate",
        videos,
        "--classes",
        "clap, wave",
        "--truth",
        files / "truth.json",
        "--out",
        page,
        "--subset",
        "mine",
    )
    text = page.read_text()
    index = json.loads(text.split('id="index">')[1].split("</script>")[0])
    assert index["labels"] == ["clap", "wave", "x", "y"]
    assert [(one["id"], one["subset"], one["source"]) for one in index["videos"]] == [
        ("a", "test", "videos/a.mp4"),
        ("new", "mine", "videos/new.mp4"),
    ]
    assert index["videos"][1]["duration"] == pytest.approx(1.5)


def test_annotate_needs_videos(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(files / "run" / "features.npy", np.zeros((2, 2)))
    assert "holds no video" in fails(monkeypatch, capsys, "annotate", files / "run")


def test_suggest_prints_and_writes(files: Path) -> None:
    out = files / "suggestions.json"
    text = run("suggest", files / "results.json", "--truth", files / "truth.json", "--out", out)
    assert "not detected" in text
    assert json.loads(out.read_text())["videos"][0]["video"] == "a"
    printed = json.loads(run("suggest", files / "results.json", "--compare", files / "results.json", "--json"))
    assert {one["disagreeing"] for one in printed["segments"]} == {0.0}
