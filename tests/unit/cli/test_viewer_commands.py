"""``untrimmed view``, ``annotate`` and ``suggest``: what they write, and what they say of wrong input."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from untrimmed.cli import app, main
from untrimmed.formats import read_annotations, write_annotations, write_detections
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


def film(file: Path, frames: int = 15) -> None:
    file.parent.mkdir(exist_ok=True)
    with VideoWriter(file, fps=10, size=(32, 32)) as writer:
        for _ in range(frames):
            writer.write(np.zeros((32, 32, 3), np.uint8))


def index_of(page: Path) -> Any:
    return json.loads(page.read_text().split('id="index">')[1].split("</script>")[0])


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


@pytest.fixture
def missed(tmp_path: Path) -> Path:
    """Truth of three subsets, and results that lack a whole video of the one they touch."""
    one, two = Instances([[1, 2]], ("x",)), Instances([[1, 2], [3, 4]], ("x", "x"))
    videos = [Video("a", "test", 9.0, instances=one), Video("b", "test", 9.0, instances=two)]
    videos += [Video("v", "validation", 9.0, instances=two), Video("t", "training", 9.0, instances=one)]
    write_annotations(Annotations.of(videos), tmp_path / "truth.json")
    write_detections(Detections.of([("a", "x", 1.0, 2.0, 0.9)]), tmp_path / "test.json")
    both = Detections.of([("a", "x", 1.0, 2.0, 0.9), ("v", "x", 1.0, 2.0, 0.8), ("new", "x", 1.0, 2.0, 0.95)])
    write_detections(both, tmp_path / "both.json")
    (tmp_path / "none.json").write_text('{"results": {}}')
    return tmp_path


@pytest.mark.parametrize(
    ("results", "options", "subset", "videos"),
    [
        ("test.json", (), "test", ["a", "b"]),
        ("test.json", ("--subset", "all"), "all", ["a", "b", "v", "t"]),
        ("both.json", (), "validation", ["a", "v", "new"]),
        ("both.json", ("--subset", "test"), "test", ["a", "v", "new", "b"]),
    ],
)
def test_view_scores_what_evaluate_scores(
    missed: Path, results: str, options: tuple[str, ...], subset: str, videos: list[str]
) -> None:
    truth = ("--truth", missed / "truth.json")
    run("view", missed / results, *truth, *options, "--out", missed / "page.html")
    scores = json.loads(run("evaluate", missed / results, *truth, "--subset", subset, "--json"))
    shown = missed.joinpath("page.html").read_text().split("mAP at tIoU 0.5 (%)</dt><dd>")[1].split("<")[0]
    assert shown == f"{100 * scores['mAP']['0.5']:.2f}"
    index = index_of(missed / "page.html")
    assert [one["id"] for one in index["videos"]] == videos
    assert sum(index["sweeps"][0]["instances"]) == scores["counts"]["instances"]
    judged = [one["id"] for one in index["videos"] if one["sets"] != [None]]
    assert sorted(judged) == sorted(name for name in "abvt" if name in videos and _in(missed, name, subset))


def _in(folder: Path, name: str, subset: str) -> bool:
    return subset in ("all", read_annotations(folder / "truth.json").videos[name].subset)


def test_view_of_results_that_found_nothing(missed: Path) -> None:
    run("view", missed / "none.json", "--truth", missed / "truth.json", "--out", missed / "page.html")
    videos = index_of(missed / "page.html")["videos"]
    assert [(one["id"], one["sets"]) for one in videos] == [("v", [[0.0, 2, 0]])]


def test_view_asks_the_files_how_long_they_are(files: Path) -> None:
    film(files / "videos" / "a.mp4", 25)
    (files / "videos" / "b.mp4").write_bytes(b"no film")
    write_detections(Detections.of([("a", "x", 0.0, 1.0, 0.9), ("b", "x", 0.0, 1.5, 0.9)]), files / "two.json")
    run("view", files / "two.json", "--video", files / "videos", "--out", files / "page.html", "--new-subset", "mine")
    videos = index_of(files / "page.html")["videos"]
    assert [(one["duration"], one["sure"], one["subset"]) for one in videos] == [
        (pytest.approx(2.5), True, "mine"),
        (1.5, False, "mine"),
    ]
    assert "b.mp4" in files.joinpath("page.html").read_text().split('class="note">')[1].split("</p>")[0]


def test_view_says_what_is_odd(files: Path) -> None:
    write_detections(Detections.of([("a", "X", 1.0, 2.1, 0.9)]), files / "case.json")
    for brief in ((), ("--brief",)):
        run("view", files / "case.json", "--truth", files / "truth.json", "--out", files / "page.html", *brief)
        text = files.joinpath("page.html").read_text()
        assert "did you mean &#39;x&#39;?" in text.split('id="bench"')[0]
        assert index_of(files / "page.html")["unscored"] == 1
    run(
        *("view", files / "results.json", "--compare", files / "case.json"),
        *("--truth", files / "truth.json", "--out", files / "page.html"),
    )
    assert "case.json: 1 detection with a label that no instance has" in files.joinpath("page.html").read_text()


def test_view_tells_files_of_one_name_apart(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (files / "r1" / "x").mkdir(parents=True)
    (files / "r2" / "x").mkdir(parents=True)
    for name in ("r1", "r2"):
        (files / name / "x" / "results.json").write_bytes((files / "results.json").read_bytes())
    page = files / "page.html"
    run("view", files / "r1" / "x" / "results.json", "--compare", files / "r2" / "x" / "results.json", "--out", page)
    assert index_of(page)["sets"] == ["r1/x/results.json", "r2/x/results.json"]
    run("view", files / "results.json", "--compare", files / "results.json", "--out", page)
    assert index_of(page)["sets"] == ["results.json", "results.json"]
    monkeypatch.chdir(files / "run")
    run("view", ".", "--out", page)
    assert "<title>run</title>" in page.read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--threshold", "nan"), "threshold nan: expected a score"),
        (("--tiou", "3"), "tIoU threshold 3"),
        (("--protocol", "nonsense"), "unknown protocol 'nonsense'"),
        (("--subset", "test"), "--truth"),
        (("--serve", "--embed"), "leave out one of them"),
        (("--compare", "other.json"), "have no video in common"),
    ],
)
def test_view_refuses_nonsense_also_without_truth(
    files: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(files)
    write_detections(Detections.of([("b", "x", 1.0, 2.1, 0.9)]), files / "other.json")
    assert said in fails(monkeypatch, capsys, "view", "results.json", *options)
    assert not (files / "view.html").exists()


def test_annotate_goes_on_when_classes_and_videos_are_added(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, keys = files / "page.html", []
    film(files / "videos" / "a.mp4")
    for more in ((), ("--classes", "wave"), ("--subset", "mine"), ("--truth", files / "truth.json")):
        run("annotate", files / "videos", "--out", page, *more)
        keys.append(index_of(page)["key"])
        film(files / "videos" / f"new {len(keys)}.mp4")
    film(files / "elsewhere" / "a.mp4")
    monkeypatch.chdir(files)
    run("annotate", "elsewhere", "--out", page)
    keys.append(index_of(page)["key"])
    assert keys[0] == keys[1] == keys[2]
    assert len(set(keys)) == 3


def test_annotate_refuses_a_name_that_is_no_text(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    film(files / "videos" / "a.mp4")
    os.rename(files / "videos" / "a.mp4", os.fsencode(files / "videos") + b"/caf\xe9.mp4")
    said = fails(monkeypatch, capsys, "annotate", files / "videos")
    assert "caf" in said
    assert "no UTF-8 text; rename" in said


def test_annotate_knows_videos_classes_and_what_was_annotated(files: Path) -> None:
    videos = files / "videos"
    for name in ("a", "new"):
        film(videos / f"{name}.mp4")
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
    index = index_of(page)
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
    assert "no video" in fails(monkeypatch, capsys, "annotate", files / "run")


def test_suggest_prints_and_writes(files: Path) -> None:
    out = files / "suggestions.json"
    text = run("suggest", files / "results.json", "--truth", files / "truth.json", "--out", out)
    assert "not detected" in text
    assert json.loads(out.read_text())["videos"][0]["video"] == "a"
    printed = json.loads(run("suggest", files / "results.json", "--compare", files / "results.json", "--json"))
    assert {one["disagreeing"] for one in printed["segments"]} == {0.0}


def test_suggest_refuses_what_does_not_belong_together(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_annotations(Annotations.of([Video("b", "test", 9.0)]), files / "truth of others.json")
    write_detections(Detections.of([("b", "x", 1.0, 2.1, 0.9)]), files / "others.json")
    for option, other in (("--truth", "truth of others.json"), ("--compare", "others.json")):
        said = fails(monkeypatch, capsys, "suggest", files / "results.json", option, files / other)
        assert f"{other}: have no video in common ('a'" in said
