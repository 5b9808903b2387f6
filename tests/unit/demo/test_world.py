from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from untrimmed.demo.actions import ACTIONS
from untrimmed.demo.settings import Difficulty, WorldSettings
from untrimmed.demo.world import plan_world, render_world, world_annotations
from untrimmed.errors import InputError
from untrimmed.formats.activitynet import read_truth

TINY = WorldSettings(seed=3, training=2, validation=0, test=1, duration=(5.0, 6.0), size=(96, 80))


def test_default_world_has_every_class_in_every_subset_and_a_valid_truth() -> None:
    settings = WorldSettings()
    truth = world_annotations(plan_world(settings), settings)
    assert truth.subsets == ("test", "training", "validation")
    for name, count in settings.subsets.items():
        part = truth.subset(name)
        assert len(part) == count
        assert part.labels == ACTIONS
    assert truth.instance_count / len(truth) > 4
    for video in truth:
        segments = video.instances.segments
        assert video.duration is not None
        assert (segments[:, 0] > 0).all()
        assert (segments[:, 1] < video.duration).all()
        assert (segments[1:, 0] - segments[:-1, 1] > 0.4).all()
        lengths = segments[:, 1] - segments[:, 0]
        assert ((lengths > 0.499) & (lengths < 20.001)).all()


def test_the_default_world_is_the_one_that_was_measured() -> None:
    # The figures of docs/demo.md and docs/results belong to this world: if it is changed, they are to be measured anew.
    truth = world_annotations(plan_world(WorldSettings()), WorldSettings())
    assert truth.instance_count == 368
    first = truth.videos["training_000"].instances
    assert first.labels == ("burpee", "squat", "bow", "wave", "jump")
    assert first.segments[:2].tolist() == [[7.732, 9.697], [10.523, 14.956]]
    looks = Difficulty()
    assert (looks.view, looks.bystander, looks.clutter, looks.shake, looks.light) == (65.0, 0.15, 0.3, 0.35, 0.5)
    assert (looks.noise, looks.restlessness, looks.size) == (2.0, 1.0, 0.2)


def test_plans_depend_on_the_seed_alone_and_not_on_how_many_videos_follow() -> None:
    def starts(settings: WorldSettings) -> list[list[tuple[str, float]]]:
        return [[(act.kind, act.start) for act in plan.script.instances] for plan in plan_world(settings)]

    few = replace(WorldSettings(), training=3, validation=0, test=2)
    assert starts(few) == starts(few)
    assert starts(few) != starts(replace(few, seed=1))
    assert starts(few)[:3] == starts(replace(few, training=6))[:3]


def test_videos_play_for_the_annotated_time_and_the_truth_is_on_file(tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []
    truth = render_world(tmp_path, TINY, progress=lambda count, of: done.append((count, of)))
    assert done == [(1, 3), (2, 3), (3, 3)]
    on_file = read_truth(tmp_path / "annotations.json")
    assert [video.id for video in on_file] == ["training_000", "training_001", "test_000"]
    for video, written in zip(truth, on_file, strict=True):
        assert np.array_equal(video.instances.segments, written.instances.segments)
        assert video.instances.labels == written.instances.labels
        assert (video.duration, video.fps, video.subset) == (written.duration, written.fps, written.subset)
        with av.open(str(tmp_path / "videos" / f"{video.id}.mp4")) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264"
            assert stream.average_rate == TINY.fps
            pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert video.duration is not None
        assert len(pictures) == round(video.duration * TINY.fps)
        assert pictures[0].shape == (80, 96, 3)
        assert pictures[0].std() > 10
    assert len(list(tmp_path.rglob("*"))) == 5


def test_same_seed_gives_the_same_bytes_also_from_two_processes(tmp_path: Path) -> None:
    def contents(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}

    render_world(tmp_path / "one", TINY)
    render_world(tmp_path / "two", TINY, processes=2)
    render_world(tmp_path / "other", replace(TINY, seed=4))
    assert len(contents(tmp_path / "one")) == 4
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert contents(tmp_path / "one") != contents(tmp_path / "other")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: WorldSettings(size=(161, 144)), "even width and height"),
        (lambda: WorldSettings(training=-1), "training is -1"),
        (lambda: WorldSettings(duration=(9.0, 8.0)), "duration"),
        (lambda: Difficulty(hesitation=1.5), "hesitation is 1.5, expected 0.0 to 1.0"),
        (lambda: Difficulty(tempo=0.5), "tempo is 0.5"),
        (lambda: Difficulty(noise=float("nan")), "noise"),
        (lambda: render_world(Path("unused"), TINY, processes=0), "processes is 0"),
    ],
)
def test_settings_out_of_range_are_named(make: Callable[[], object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        make()


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot make this folder"):
        render_world(tmp_path / "file", TINY)
