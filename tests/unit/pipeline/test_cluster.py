"""Ray: the same files and detections as without, workers that are killed or cannot begin."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

pytest.importorskip("ray", reason="needs the extra [ray]")

from untrimmed.backbones import Backbone, make_backbone
from untrimmed.errors import InputError
from untrimmed.methods.catalog import make_method
from untrimmed.pipeline.cluster import (
    _Worker,
    answers,
    detect_with_ray,
    device_of_workers,
    extract_with_ray,
)
from untrimmed.pipeline.detect import detect_one
from untrimmed.pipeline.detector import Detector, load_model
from untrimmed.pipeline.extract import extract, find_videos
from untrimmed.pipeline.recipe import recipe_of
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

    def __call__(self, device: str) -> Callable[[str, str], Any]:
        return self.answer

    def answer(self, video_id: str, path: str) -> str:
        if video_id == "bomb":
            os.kill(os.getpid(), signal.SIGKILL)
        if video_id == "once" and not (self.marks / "begun").exists():
            (self.marks / "begun").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return Path(path).name


class Unready:
    """What no worker can make."""

    def __call__(self, device: str) -> Callable[[str, str], Any]:
        raise RuntimeError(f"no weights on this {device}")


def render(path: Path, seed: int = 0, frames: int = 150) -> Path:
    path.parent.mkdir(exist_ok=True)
    back = np.random.default_rng(seed).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    with VideoWriter(path, fps=10, size=(96, 64), preset="ultrafast") as writer:
        for frame in range(frames):
            writer.write(np.roll(back, frame, axis=1))
    return path


def small_model(folder: Path, backbone: Backbone) -> Path:
    """A model file of a small network that has learnt nothing."""
    method = {"name": "vsgn", "channels": 16, "norm_groups": 4, "levels": 3, "anchor_sizes": [6, 9]}
    recipe = recipe_of(
        {
            "data": {"annotations": "a", "features": "f"},
            "windows": {"kind": "self_stitching", "length": 64, "short": 0.4, "gap": 4},
            "method": method,
        },
        "",
    )
    settings = dict(recipe.method)
    torch.manual_seed(0)
    network = make_method(settings.pop("name"), settings, backbone.channels, 2).eval()
    spec, grid = backbone.spec(), backbone.grid
    Detector(network, recipe, ("a", "b"), backbone.channels, None, spec, grid).save(folder / "model.safetensors")
    return folder / "model.safetensors"


@contextmanager
def unless_too_busy() -> Iterator[None]:
    """Ray gives its own processes half a minute to start, which cannot be changed."""
    try:
        yield
    except InputError as error:
        if "timed out during startup" in str(error):
            pytest.skip("this machine is too busy for Ray to start in time")
        raise


def test_extraction_gives_the_same_files_as_without(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    for number in range(3):
        render(videos / f"v{number}.mp4", number, 20)
    (videos / "bad.mp4").write_bytes(bytes(range(256)))
    backbone = make_backbone({"name": "motion", "options": {"fps": 10}})
    with unless_too_busy():
        outcome = extract_with_ray(find_videos([videos]), backbone, tmp_path / "ray")
    plain = extract([videos], backbone, tmp_path / "plain")
    assert sorted(outcome.done) == sorted(plain.done) == ["v0", "v1", "v2"]
    assert outcome.failed == plain.failed
    for name in ("v0.npy", "v1.npy", "v2.npy"):
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()


def test_detection_gives_what_it_gives_without(tmp_path: Path) -> None:
    backbone = make_backbone({"name": "motion", "options": {"fps": 10}})
    model = small_model(tmp_path, backbone)
    extract({"of store": render(tmp_path / "videos" / "v0.mp4", 0, 40)}, backbone, tmp_path / "features")
    files = {
        "of store": tmp_path / "features",
        "v1": render(tmp_path / "videos" / "v1.mp4", 1, 40),
        "bad": tmp_path / "bad.npy",
    }
    files["bad"].write_bytes(b"nothing")
    with unless_too_busy():
        found = dict(detect_with_ray(model, files))
    detector = load_model(model)
    assert set(found) == set(files)
    for video_id, path in files.items():
        alone = detect_one(detector, video_id, path)
        assert (found[video_id].duration, found[video_id].failed) == (alone.duration, alone.failed)
        if alone.failed is None:
            assert len(alone.found.scores) > 0
            for mine, other in zip(found[video_id].found, alone.found, strict=True):
                np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)
    assert "no readable .npy file" in str(found["bad"].failed)


def test_a_worker_that_cannot_begin_says_why() -> None:
    worker = _Worker(Unready(), "cpu", None)
    answer = pickle.loads(worker({"id": "a", "path": "a.mp4"})["answer"])
    assert answer.reason == "unexpected RuntimeError: no weights on this cpu"


@pytest.mark.slow
def test_workers_that_cannot_begin_are_an_error_of_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="workers cannot begin: unexpected RuntimeError: no weights on this cpu"):
        list(answers({"a": tmp_path / "a.mp4", "b": tmp_path / "b.mp4"}, Unready(), "local", 1))


def test_a_worker_has_a_gpu_where_one_is_wanted() -> None:
    wanted = [("auto", 0), ("auto", 2), ("cuda", 1), ("cuda:1", 1), ("cpu", 2), ("mps", 0)]
    found = [device_of_workers(device, gpus) for device, gpus in wanted]
    assert found == ["cpu", "cuda", "cuda", "cuda", "cpu", "mps"]
    with pytest.raises(InputError, match="device 'cuda' was asked for, but Ray knows of no GPU"):
        device_of_workers("cuda", 0)


@pytest.mark.slow
def test_the_same_files_as_without_though_a_worker_is_killed(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    for number in range(4):
        render(videos / f"v{number}.mp4", number)
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


def test_a_ray_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(**_: object) -> None:
        raise Exception("The current node timed out during startup.\nMore of it")

    monkeypatch.setattr("ray.init", slow)
    with pytest.raises(InputError, match=r"Ray at 'local' cannot be reached \(The current node timed out"):
        list(answers({"a": tmp_path / "a.mp4"}, Unready(), "local", 1))


def test_no_ray_at_an_address(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be reached"):
        list(answers({"a": tmp_path / "a.mp4"}, Deadly(tmp_path), "127.0.0.1:1", 1))
    assert list(answers({}, Deadly(tmp_path), "local", 1)) == []
