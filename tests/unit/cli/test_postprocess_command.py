"""``untrimmed postprocess`` and ``untrimmed fuse``, as a user types them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from untrimmed import cli
from untrimmed.formats import read_detections

RESULTS = {
    "version": "VERSION 1.3",
    "results": {
        "a": [
            {"label": "run", "score": 0.9, "segment": [0, 4]},
            {"label": "run", "score": 0.8, "segment": [1, 5]},
            {"label": "jump", "score": 0.7, "segment": [1, 5]},
            {"label": "jump", "score": 0.6, "segment": [0, 70]},
        ],
        "b": [{"label": "run", "score": 0.05, "segment": [3, 4]}],
    },
}


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["untrimmed", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    if stop.value.code != 0:
        raise stop.value


def rows(path: Path) -> list[tuple[str, str, float, float, float]]:
    found = read_detections(path)
    return [
        (found.video_ids[video], found.labels[label], start, end, round(score, 9))
        for video, label, (start, end), score in zip(
            found.video, found.label, found.segments.tolist(), found.scores.tolist(), strict=True
        )
    ]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(RESULTS))
    return path


def test_postprocess(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    options = ["--nms", "hard:0.5", "--nms", "linear:0.5:agnostic", "--floor", "0.1", "--max-length", "50"]
    command(monkeypatch, "postprocess", results, out, *options)
    assert rows(out) == [("a", "run", 0, 4, 0.9), ("a", "jump", 1, 5, round(0.7 * 0.4, 9))]
    assert read_detections(out).video_ids == ("a", "b")
    assert capsys.readouterr().out == f"{out}: 2 of 5 detections in 2 videos\n"


def test_postprocess_with_a_second_more(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """[0, 4) and [1, 5): tIoU 3/5, with a second more 4/6."""
    out = tmp_path / "out.csv"
    for nms, runs in (("hard:0.62", 2), ("hard:0.62:+1", 1)):
        command(monkeypatch, "postprocess", results, out, "--nms", nms)
        assert sum(row[:2] == ("a", "run") for row in rows(out)) == runs


def test_postprocess_limits_alone(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.csv"
    command(monkeypatch, "postprocess", results, out, "--nms", "none", "--keep", "1")
    assert rows(out) == [("a", "run", 0, 4, 0.9), ("b", "run", 3, 4, 0.05)]
    command(monkeypatch, "postprocess", results, out, "--nms", "none", "--keep", "0", "--candidates", "3")
    assert len(rows(out)) == 4
    assert "note: a: 1 of 4 candidates left out before suppression (the limit is 3)\n" in capsys.readouterr().out


def test_postprocess_with_durations(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, truth = tmp_path / "out.json", tmp_path / "truth.json"
    lasting = {name: {"duration": 100.0, "subset": "test", "annotations": []} for name in ("a", "b")}
    truth.write_text(json.dumps({"database": lasting}))
    options = ["--nms", "gaussian:0.75:0.5:0.25", "--durations", truth]
    command(monkeypatch, "postprocess", results, out, *options)
    kept = {row[:4]: row[4] for row in rows(out)}
    # Both 4 s long in the same class, tIoU 0.6 above 0.51.
    assert kept[("a", "run", 1, 5)] == pytest.approx(0.8 * np.exp(-0.36 / 0.75))


def test_fuse_files(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other, out = tmp_path / "other.csv", tmp_path / "fused.json"
    other.write_text("video,label,start,end,score\na,run,0,4,0.3\nc,run,2,3,0.4\n")
    command(monkeypatch, "fuse", results, other, "--weights", 3, 1, "--out", out)
    found = {row[:4]: row[4] for row in rows(out)}
    assert found[("a", "run", 0, 4)] == pytest.approx(0.75 * 0.9 + 0.25 * 0.3)
    assert found[("a", "run", 1, 5)] == pytest.approx(0.75 * 0.8)
    assert found[("c", "run", 2, 3)] == pytest.approx(0.25 * 0.4)
    assert len(found) == 6


def test_fuse_class_scores(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scores, out = tmp_path / "classes.json", tmp_path / "fused.json"
    scores.write_text(json.dumps({"class": ["run", "jump"], "results": {"a": [0.5, 0.2], "b": [0.1, 0.9]}}))
    options = ["--class-scores", scores, "--top-k", 1, "--out", out]
    command(monkeypatch, "fuse", results, *options)
    assert rows(out) == [("a", "run", 0, 4, 0.45), ("a", "run", 1, 5, 0.4)]
    assert "2 detections" in capsys.readouterr().out
    command(monkeypatch, "fuse", results, *options, "--rule", "geometric", "--weight", "1")
    assert [row[4] for row in rows(out)] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["postprocess", "{results}", "{out}", "--nms", "hrd:0.5"], "did you mean 'hard'"),
        (["postprocess", "{results}", "{out}", "--voting", "2"], "voting is 2.0"),
        (["postprocess", "{out}", "{out}"], "no such file"),
        (["postprocess", "{results}", "{out}", "--nms", "gaussian:0.7:0.6:0.2"], "a: its duration is not known"),
        (["fuse", "{results}", "--out", "{out}"], "nothing to fuse it with"),
        (["fuse", "{results}", "--out", "{out}", "--weights", "1", "2"], "2 for 1 files"),
        (["fuse", "{results}", "--out", "{out}", "--class-scores", "{results}"], "video a: scores are a list"),
    ],
)
def test_mistakes_are_one_line(
    results: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    out = tmp_path / "out.json"
    with pytest.raises(SystemExit) as stop:
        command(monkeypatch, *(text.format(results=results, out=out) for text in arguments))
    assert stop.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err
    assert not out.exists()
