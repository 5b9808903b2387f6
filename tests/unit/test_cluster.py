"""Ray: the same files as without, a worker killed in the middle, a video that kills every worker."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

pytest.importorskip("ray", reason="needs the extra [ray]")

from untrimmed.backbones import make_backbone
from untrimmed.cluster import answers, extract_with_ray
from untrimmed.errors import InputError
from untrimmed.extract import extract, find_videos
from untrimmed.video import VideoWriter

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Deadly:
    """Answers with the file's name; dies on one file always, and on another the first time."""

    def __init__(self, marks: Path) -> None:
        self.marks = marks

    def __call__(self) -> Callable[[str, str], Any]:
        return self.answer

    def answer(self, video_id: str, path: str) -> str:
        if video_id == "bomb":
            os.kill(os.getpid(), signal.SIGKILL)
        if video_id == "once" and not (self.marks / "begun").exists():
            (self.marks / "begun").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return Path(path).name


@pytest.mark.slow
def test_the_same_files_as_without_though_a_worker_is_killed(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for number in range(4):
        back = np.random.default_rng(number).integers(0, 255, (64, 96, 3), dtype=np.uint8)
        with VideoWriter(videos / f"v{number}.mp4", fps=10, size=(96, 64), preset="ultrafast") as writer:
            for frame in range(150):
                writer.write(np.roll(back, frame, axis=1))
    (videos / "bad.mp4").write_bytes(bytes(range(256)))
    backbone = make_backbone({"name": "motion", "options": {"fps": 10}})
    killed: list[int] = []

    def kill_one() -> None:
        until = time.monotonic() + 100
        while time.monotonic() < until and not killed:
            for process in psutil.Process().children(recursive=True):
                try:
                    name = " ".join(process.cmdline())
                    # Only one that is at work: Ray shows in the name of a process what it is doing.
                    if name.startswith("ray::MapWorker") and "__init__" not in name and "." in name:
                        process.kill()
                        killed.append(process.pid)
                        break
                except psutil.Error:
                    continue
            time.sleep(0.01)

    thread = threading.Thread(target=kill_one, daemon=True)
    thread.start()
    outcome = extract_with_ray(find_videos([videos]), backbone, tmp_path / "ray", workers=2)
    thread.join()
    assert killed
    assert sorted(outcome.done) == ["v0", "v1", "v2", "v3"]
    assert "not a video that can be read" in outcome.failed["bad"]
    extract([videos], backbone, tmp_path / "plain", workers=1)
    files = {path.name: path.read_bytes() for path in (tmp_path / "plain").glob("*.npy")}
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "ray").glob("*.npy")}
    assert len(files) == 4


@pytest.mark.slow
def test_a_video_that_kills_every_worker_is_given_up_and_the_others_are_done(tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.mp4" for name in ("a", "bomb", "c", "once")}
    found = dict(answers(files, Deadly(tmp_path), "local", 2))
    assert set(found) == set(files)
    assert (found["a"], found["c"], found["once"]) == ("a.mp4", "c.mp4", "once.mp4")
    assert "died 3 times" in found["bomb"].reason


def test_no_ray_at_an_address(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be reached"):
        list(answers({"a": tmp_path / "a.mp4"}, Deadly(tmp_path), "127.0.0.1:1", 1))
    assert list(answers({}, Deadly(tmp_path), "local", 1)) == []
