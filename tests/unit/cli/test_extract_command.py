"""``untrimmed extract`` on the command line: what it prints, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from untrimmed import cli
from untrimmed.formats.features import INDEX, FeatureStore
from untrimmed.video import VideoWriter


def render(path: Path, seconds: float) -> Path:
    rng = np.random.default_rng(0)
    back = rng.integers(0, 255, (64, 96, 3), dtype=np.uint8)
    with VideoWriter(path, fps=10, size=(96, 64), preset="ultrafast") as writer:
        for number in range(round(seconds * 10)):
            writer.write(np.roll(back, number, axis=1))
    return path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["untrimmed", "extract", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_videos_to_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    render(tmp_path / "a.mp4", 2)
    render(tmp_path / "b.mp4", 1.5)
    out = tmp_path / "out"
    options = ("--out", out, "--workers", 1, "--fps", 10, "--stride", 2, "--window", 4)
    assert run(monkeypatch, tmp_path, *options) == 0
    assert capsys.readouterr().out == f"{out}: 2 videos extracted\n"
    store = FeatureStore.open(out)
    assert set(store.ids) == {"a", "b"}
    assert (store.grid("a").fps, store.grid("a").stride, store.grid("a").window) == (10, 2, 4)
    assert run(monkeypatch, tmp_path / "a.mp4", *options) == 0
    assert capsys.readouterr().out == f"{out}: 0 videos extracted, 1 there already\n"


def test_bad_videos_are_named_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    render(tmp_path / "good.mp4", 1)
    (tmp_path / "bad.mp4").write_bytes(bytes(range(256)) * 9)
    assert run(monkeypatch, tmp_path, "--out", tmp_path / "out", "--workers", 1) == 1
    said = capsys.readouterr()
    assert f"1 video failed:\n  bad: {tmp_path / 'bad.mp4'}: not a video that can be read" in said.err
    assert said.out.endswith(": 1 video extracted, 1 failed\n")
    assert FeatureStore.open(tmp_path / "out").ids == ("good",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.mp4"], "absent.mp4: no such file or folder"),
        (["."], "no video in this folder"),
        (["a.mp4", "--backbone", "motoin"], "did you mean 'motion'"),
        (["a.mp4", "--fps", "fast"], "frame rate is 'fast'"),
        (["a.mp4", "--backbone", "i3d", "--weights", "no.pt"], "no file of weights no.pt; published: rgb_imagenet.pt"),
        (["a.mp4", "--streams", "rgb"], "unknown option 'streams'"),
        (["a.mp4", "--dtype", "int8"], "not as 'int8'"),
        (["a.mp4", "--device", "cuda"], "backbone 'motion' computes on the CPU; leave --device out"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if arguments[0] == "a.mp4":
        render(tmp_path / "a.mp4", 0.3)
    assert run(monkeypatch, *arguments, "--out", "out") == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to a process group")
def test_ctrl_c_keeps_what_is_finished(tmp_path: Path) -> None:
    render(tmp_path / "short.mp4", 1)
    whole = render(tmp_path / "x.mp4", 20).read_bytes()
    for number in range(12):
        (tmp_path / f"long{number}.mp4").write_bytes(whole)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "untrimmed", "extract", str(tmp_path), "--out", str(out), "--workers", "2"]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not (out / INDEX).exists() and time.monotonic() < until and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    done = FeatureStore.open(out).ids
    assert 1 <= len(done) < 14
    for video_id in done:
        FeatureStore.open(out).window(video_id, 0, FeatureStore.open(out).length(video_id))
