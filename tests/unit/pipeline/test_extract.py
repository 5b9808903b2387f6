"""Extraction: the same bits however it runs, resumable, and no bad video stops the others."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from untrimmed.backbones import make_backbone, recipe_of
from untrimmed.errors import InputError
from untrimmed.formats.features import INDEX, FeatureStore
from untrimmed.pipeline.extract import extract, find_videos
from untrimmed.pipeline.extract_job import Outcome, Progress, extract_features, open_frames
from untrimmed.video import VideoWriter, probe

FAST = {"name": "motion", "options": {"fps": 10}}


def render(path: Path, seconds: float = 2.0, seed: int = 0) -> Path:
    """A small video in which a bright square goes about before noise."""
    rng = np.random.default_rng(seed)
    back = rng.integers(0, 120, (64, 96, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, fps=10, size=(96, 64), preset="ultrafast") as writer:
        for number in range(round(seconds * 10)):
            image = back.copy()
            left, top = 20 + round(15 * np.sin(number / 3 + seed)), 20 + round(9 * np.cos(number / 2))
            image[top : top + 16, left : left + 16] = 230
            writer.write(image)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos of different lengths, one of them in a folder inside; and what is no video."""
    made = tmp_path_factory.mktemp("videos")
    render(made / "a.mp4", 2.0, 1)
    render(made / "b.MKV".lower(), 3.1, 2)
    render(made / "inner" / "c.mp4", 1.4, 3)
    (made / "notes.txt").write_text("no video")
    (made / ".hidden.mp4").write_text("no video")
    return made


def content(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(store.glob("*.npy"))}


def test_a_folder_becomes_a_store(folder: Path, tmp_path: Path) -> None:
    outcome = extract([folder], FAST, tmp_path / "out")
    assert sorted(outcome.done) == ["a", "b", "c"]
    assert outcome == Outcome(done=outcome.done)
    store = FeatureStore.open(tmp_path / "out")
    backbone = make_backbone(FAST)
    assert store.backbone == backbone.spec()
    assert make_backbone(store.backbone).spec() == backbone.spec()
    assert store.channels == backbone.channels
    assert store.grid("a") == backbone.grid
    assert store.duration("b") == pytest.approx(3.1)
    for video_id in store.ids:
        duration = store.duration(video_id)
        assert duration is not None
        assert store.length(video_id) == backbone.grid.expected_count(duration)
    alone = extract_features(folder / "a.mp4", backbone)
    np.testing.assert_array_equal(alone.features, store.window("a", 0, store.length("a")))
    assert (alone.grid, alone.info.duration) == (backbone.grid, pytest.approx(2.0))


def test_two_processes_give_the_same_bits_as_one(folder: Path, tmp_path: Path) -> None:
    extract([folder], FAST, tmp_path / "one", workers=1)
    outcome = extract([folder], FAST, tmp_path / "two", workers=2)
    assert sorted(outcome.done) == ["a", "b", "c"]
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert len(content(tmp_path / "one")) == 3


def test_what_is_there_is_skipped_unless_its_file_changed(folder: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    for name in ("a.mp4", "b.mkv"):
        videos.mkdir(exist_ok=True)
        (videos / name).write_bytes((folder / name).read_bytes())
    extract([videos], FAST, tmp_path / "out")
    again = extract([videos], FAST, tmp_path / "out", workers=2)
    assert again == Outcome(skipped=["a", "b"])
    render(videos / "b.mkv", 1.0, 9)
    third = extract([videos], FAST, tmp_path / "out")
    assert (third.done, third.skipped) == (["b"], ["a"])
    assert FeatureStore.open(tmp_path / "out").duration("b") == pytest.approx(1.0)
    with pytest.raises(InputError, match="write to another folder"):
        extract([videos], "motion", tmp_path / "out")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_video_does_not_stop_the_others(folder: Path, tmp_path: Path, workers: int) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "empty.mp4").write_bytes(b"")
    videos = [folder / "a.mp4", bad, tmp_path / "empty.mp4", folder / "b.mkv"]
    outcome = extract(videos, FAST, tmp_path / "out", workers=workers)
    assert sorted(outcome.done) == ["a", "b"]
    assert set(outcome.failed) == {"bad", "empty"}
    assert "bad.mp4: not a video" in outcome.failed["bad"]
    assert "the file is empty" in outcome.failed["empty"]
    assert set(FeatureStore.open(tmp_path / "out").ids) == {"a", "b"}


def test_what_is_cut_off_is_used_and_told(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "b.mkv").read_bytes()
    path = tmp_path / "cut.mkv"
    path.write_bytes(whole[: len(whole) * 6 // 10])
    outcome = extract([path], FAST, tmp_path / "out")
    assert outcome.done == ["cut"]
    assert "cut off or damaged" in outcome.problems["cut"][0]
    store = FeatureStore.open(tmp_path / "out")
    duration = store.duration("cut")
    assert duration is not None
    assert 0.3 < duration < 2.8
    index = json.loads((tmp_path / "out" / INDEX).read_text())
    assert index["videos"]["cut"]["info"]["problems"] == list(outcome.problems["cut"])


def test_a_video_shorter_than_a_snippet_has_one(tmp_path: Path) -> None:
    features, _, info = extract_features(render(tmp_path / "short.mp4", 0.2), make_backbone(FAST))
    assert features.shape == (1, make_backbone(FAST).channels)
    assert info.duration == pytest.approx(0.2)


def test_rows_stream_as_the_frames_come(folder: Path) -> None:
    backbone = make_backbone(FAST)
    with open_frames(folder / "b.mkv", backbone) as frames:
        taken = 0

        def counted():
            nonlocal taken
            for frame in frames:
                taken += 1
                yield frame

        rows = backbone.stream(counted())
        first = next(rows)
        assert taken == backbone.grid.window
        next(rows)
        assert taken == backbone.grid.window + backbone.grid.stride
    whole = extract_features(folder / "b.mkv", backbone).features
    np.testing.assert_array_equal(first, whole[0])


def test_progress_ends_at_the_whole(folder: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    extract([folder], FAST, tmp_path / "out", progress=told.append)
    assert (told[-1].finished, told[-1].videos, told[-1].done) == (3, 3, 3)
    assert told[-1].share == pytest.approx(1)
    assert told[-1].seconds == pytest.approx(6.5)
    assert told[-1].rate > 0
    assert [step.share for step in told] == sorted(step.share for step in told)


def test_time_left_follows_the_pace() -> None:
    assert Progress(0, 4, 0, 0.25, 50.0, 10.0).left == pytest.approx(30)
    assert Progress(0, 4, 0, 0.0, 0.0, 0.5).left is None
    assert Progress(1, 4, 1, 0.25, 50.0, 10.0).rate == 5


class _Break(Exception):
    """Stands for whatever breaks an extraction off."""


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_finished_stays_after_an_interruption(folder: Path, tmp_path: Path, workers: int) -> None:
    def stop_after_one(progress: Progress) -> None:
        if progress.done:
            raise _Break

    with pytest.raises(_Break):
        extract([folder], FAST, tmp_path / "out", workers=workers, progress=stop_after_one)
    kept = FeatureStore.open(tmp_path / "out").ids
    assert len(kept) == 1
    assert not list((tmp_path / "out").glob("*.tmp"))
    assert not multiprocessing.active_children()
    outcome = extract([folder], FAST, tmp_path / "out", workers=workers)
    assert outcome.skipped == list(kept)
    assert len(outcome.done) == 2


def test_a_process_that_dies_costs_at_most_its_video(folder: Path, tmp_path: Path) -> None:
    """A decoder may crash on a damaged file: here a worker is killed from outside."""
    long = render(tmp_path / "long.mp4", 60)
    killed: list[int] = []

    def kill_once(progress: Progress) -> None:
        children = [child for child in multiprocessing.active_children() if child.pid]
        if children and not killed and progress.seconds > 0:
            killed.append(children[0].pid or 0)
            os.kill(killed[0], signal.SIGKILL)

    outcome = extract([folder, long], FAST, tmp_path / "out", workers=2, progress=kill_once)
    assert killed
    assert set(outcome.done) == {"a", "b", "c", "long"}
    assert outcome.failed == {}


def test_a_full_disk_stops_with_a_message(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save: Callable[..., None] = np.save
    written = []

    def full(*values: object, **options: object) -> None:
        written.append(1)
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        save(*values, **options)

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(InputError, match="No space left on device"):
        extract([folder], FAST, tmp_path / "out")
    monkeypatch.undo()
    assert len(FeatureStore.open(tmp_path / "out").ids) == 1


OWN_BACKBONES = '''
import numpy as np
from untrimmed.grid import SnippetGrid


class Brightness:
    """Mean colours, times a factor."""

    channels, short_side = 3, 32
    grid = SnippetGrid(10, 5, 5)

    def __init__(self, factor=1.0):
        self.factor = factor

    def spec(self):
        return {"name": "brightness", "weights_sha256": None, "options": {"factor": str(self.factor)}}

    def stream(self, frames):
        held = []
        for _, image in frames:
            held.append(image.mean((0, 1)) * self.factor)
            if len(held) == 5:
                yield np.mean(held, axis=0, dtype=np.float32)
                held = []


class Unpacked(Brightness):
    """One that cannot be made in another process."""

    def __setstate__(self, state):
        raise RuntimeError("no licence here")
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module with backbones of one's own, which other processes can import too."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "own_backbones.py").write_text(OWN_BACKBONES)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "own_backbones", raising=False)
    return importlib.import_module("own_backbones")


def test_a_backbone_of_ones_own_in_other_processes(folder: Path, own: Any, tmp_path: Path) -> None:
    extract([folder], own.Brightness(), tmp_path / "one")
    outcome = extract([folder], own.Brightness(), tmp_path / "two", workers=2)
    assert sorted(outcome.done) == ["a", "b", "c"]
    assert content(tmp_path / "one") == content(tmp_path / "two")
    unsendable = own.Brightness(lambda: 1.0)
    with pytest.raises(InputError, match="backbone 'brightness': cannot be sent to other processes"):
        recipe_of(unsendable)


def test_processes_that_cannot_begin_blame_no_video(folder: Path, own: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="processes cannot begin: unexpected RuntimeError: no licence here"):
        extract([folder], own.Unpacked(), tmp_path / "out", workers=2)


@pytest.mark.parametrize("workers", [1, 2])
def test_values_that_cannot_be_kept_cost_their_video_alone(
    folder: Path, own: Any, tmp_path: Path, workers: int
) -> None:
    videos = [tmp_path / "black.mp4", folder / "a.mp4"]
    with VideoWriter(videos[0], fps=10, size=(96, 64), preset="ultrafast") as writer:
        for _ in range(10):
            writer.write(np.zeros((64, 96, 3), np.uint8))
    outcome = extract(videos, own.Brightness(6e2 * 10), tmp_path / "out", workers=workers, dtype="float16")
    assert outcome.done == ["black"]
    assert outcome.failed == {"a": "video 'a': holds values above 65504, the most of float16; keep float32"}


def test_finding_videos(folder: Path, tmp_path: Path) -> None:
    assert find_videos([folder]) == {
        "a": folder / "a.mp4",
        "b": folder / "b.mkv",
        "c": folder / "inner" / "c.mp4",
    }
    assert list(find_videos([folder / "a.mp4", folder])) == ["a", "b", "c"]
    assert find_videos([folder / "notes.txt"]) == {"notes": folder / "notes.txt"}
    with pytest.raises(InputError, match="no such file or folder"):
        find_videos([folder / "absent.mp4"])
    (tmp_path / "bare").mkdir()
    with pytest.raises(InputError, match=r"bare: no video in this folder \(.*\.mp4"):
        find_videos([tmp_path / "bare"])
    with pytest.raises(InputError, match="no video was given"):
        find_videos([])
    (tmp_path / "a.avi").write_bytes(b"x")
    assert list(find_videos([folder, tmp_path / "a.avi"])) == ["a.mp4", "b", "c", "a.avi"]


def test_ids_can_be_given(folder: Path, tmp_path: Path) -> None:
    outcome = extract({"x/1": folder / "a.mp4", "x/2": folder / "inner" / "c.mp4"}, FAST, tmp_path / "out")
    assert sorted(outcome.done) == ["x/1", "x/2"]
    assert set(FeatureStore.open(tmp_path / "out").ids) == {"x/1", "x/2"}


def test_misuse(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="workers is 0"):
        extract([folder], FAST, tmp_path, workers=0)
    with pytest.raises(InputError, match="no video was given"):
        extract({}, FAST, tmp_path)
    with pytest.raises(InputError, match="did you mean 'motion'"):
        extract([folder], "motoin", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_backbones_by_spec() -> None:
    spec = make_backbone("motion").spec()
    assert make_backbone(spec).spec() == spec
    assert json.loads(json.dumps(spec)) == spec
    for wrong, message in (
        ("i3", "backbone 'i3' is not known"),
        ({"name": 3}, "expected a name or"),
        ({"name": "motion", "option": {}}, "unknown key 'option': did you mean 'options'"),
        ({"name": "motion", "options": {"strid": 2}}, "did you mean 'stride'"),
        ({"name": "motion", "weights_sha256": "ab"}, "have the checksum None, expected ab"),
        ({"name": "motion", "options": {"revision": -1}}, "extract"),
    ):
        with pytest.raises(InputError, match=message):
            make_backbone(wrong)  # type: ignore[arg-type]


@pytest.mark.slow
def test_every_real_clip(shared_data: Path, tmp_path: Path) -> None:
    begun = time.monotonic()
    outcome = extract([shared_data / "videos"], "motion", tmp_path / "out", workers=2)
    assert time.monotonic() - begun < 120
    assert {"mmaction2_test.avi", "mmaction2_test.mp4"} < set(outcome.done)
    assert len(outcome.done) == 9
    assert outcome.failed == outcome.problems == {}
    store = FeatureStore.open(tmp_path / "out")
    for video_id, path in find_videos([shared_data / "videos"]).items():
        rows = store.window(video_id, 0, store.length(video_id))
        assert np.isfinite(rows).all()
        assert rows.std(axis=0).max() > 0.01
        assert store.duration(video_id) == pytest.approx(probe(path).duration, abs=0.01)
