"""The data set: the same windows whatever was asked before, and nothing left out in silence."""

from __future__ import annotations

import pickle
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from untrimmed.data.batch import collate
from untrimmed.data.dataset import LocalizationDataset, class_numbers, video_generator
from untrimmed.data.load_window import Standardise
from untrimmed.data.settings import WholeVideo
from untrimmed.data.stitching import SelfStitching
from untrimmed.data.windows import Window
from untrimmed.errors import InputError
from untrimmed.formats.features import ArrayFeatures
from untrimmed.grid import SnippetGrid
from untrimmed.types import Annotations, Instances, Video

GRID = SnippetGrid(fps=10, stride=10, window=10)  # a step is a second
CUT = SelfStitching(length=40, short=0.4, gap=3)


def truth() -> Annotations:
    long = Instances([(3, 6), (20, 28), (50, 55)], ("run", "jump", "run"))
    return Annotations.of(
        [
            Video("long", duration=70.0, instances=long),
            Video("short", duration=12.0, instances=Instances([(2, 4)], ("jump",))),
            Video("none", duration=30.0),
        ]
    )


def features(channels: int = 4) -> ArrayFeatures:
    rng = np.random.default_rng(0)
    lengths = {"long": 70, "short": 12, "none": 30}
    return ArrayFeatures({name: rng.normal(size=(length, channels)) for name, length in lengths.items()}, GRID)


def dataset(**change: Any) -> LocalizationDataset:
    options: dict[str, Any] = {
        "annotations": truth(),
        "features": features(),
        "windowing": CUT.training,
        "classes": ("jump", "run"),
        "seed": 7,
    }
    return LocalizationDataset(**{**options, **change})


def cuts(windows: tuple[Window, ...]) -> list[tuple[Any, ...]]:
    return [(window.video_id, window.parts, window.segments.tolist(), window.rows.tolist()) for window in windows]


def test_windows_carry_features_targets_and_the_labels_of_their_video() -> None:
    data = dataset(windowing=WholeVideo().training)
    sample = data[0]
    assert (sample.video_id, sample.features.shape) == ("long", (4, 70))
    np.testing.assert_array_equal(sample.features.T.numpy(), data.features.window("long", 0, 70))
    assert sample.targets.segments.tolist() == [[3, 6], [20, 28], [50, 55]]
    assert sample.targets.labels.tolist() == [1, 0, 1]
    assert [one.video_labels.tolist() for one in data if one.video_labels is not None] == [[1, 1], [1, 0], [0, 0]]
    assert len(data) == 3


def test_an_epoch_is_the_same_whatever_was_asked_before() -> None:
    first = dataset()
    expected = {epoch: cuts(first.windows(epoch)) for epoch in (0, 1, 2)}
    other = dataset()
    random.seed(1)
    np.random.seed(2)  # noqa: NPY002  # the global generator must make no difference
    for epoch in (2, 0, 1, 2):
        assert cuts(other.windows(epoch)) == expected[epoch]
    assert expected[0] != expected[1]
    assert cuts(dataset(seed=8).windows(0)) != expected[0]


def test_the_windows_of_a_video_do_not_depend_on_the_others() -> None:
    alone = dataset(annotations=Annotations.of([truth().videos["long"]]))
    assert cuts(alone.windows(3)) == [cut for cut in cuts(dataset().windows(3)) if cut[0] == "long"]


def test_no_global_random_state_is_touched() -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # type: ignore[union-attr, index]  # noqa: NPY002
    data = dataset()
    assert len(list(data)) > 3
    assert torch.get_rng_state().equal(before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # type: ignore[index]  # noqa: NPY002
    assert random.getstate() == before[2]


def test_set_epoch_and_epoch_numbers_speak_of_the_same_windows() -> None:
    data = dataset()
    data.set_epoch(5)
    by_epoch = data[1]
    data.set_epoch(0)
    assert data[(5, 1)].features.equal(by_epoch.features)
    assert not data[1].features.equal(by_epoch.features)
    assert data[np.int64(1)].features.equal(data[1].features)  # type: ignore[index]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_worker_processes_see_the_epoch_that_is_asked_for() -> None:
    data = dataset()
    keys = [(epoch, number) for epoch in (0, 1) for number in range(4)]
    loader = DataLoader(data, batch_size=4, sampler=keys, collate_fn=collate, num_workers=1)
    got = torch.cat([batch.features for batch in loader])
    assert got.equal(torch.cat([collate([data[key]]).features for key in keys]))


def test_it_can_be_sent_to_another_process() -> None:
    data = dataset(standardise=Standardise(np.zeros(4), np.ones(4)))
    there = pickle.loads(pickle.dumps(data))
    assert cuts(there.windows(4)) == cuts(data.windows(4))
    assert there[2].features.equal(data[2].features)


def test_standardisation_is_applied() -> None:
    shift = Standardise.measure(features(), ["long", "short"])
    plain, scaled = (
        dataset(windowing=WholeVideo().training),
        dataset(windowing=WholeVideo().training, standardise=shift),
    )
    expected = (plain[0].features.T - torch.from_numpy(shift.mean)) / torch.from_numpy(shift.std)
    torch.testing.assert_close(scaled[0].features.T, expected)


def test_what_an_epoch_leaves_out_is_told() -> None:
    videos = [*truth(), Video("gone", duration=5.0, instances=Instances([(1, 2)], ("run",)))]
    odd = Instances([(3, 6), (5, 5), (900, 905), (10, 60)], ("run",) * 4)
    videos[0] = replace(videos[0], instances=odd)
    data = dataset(annotations=Annotations.of(videos), missing="skip")
    report = data.report()
    assert data.missing == report.missing == ("gone",)
    assert data.video_ids == report.videos == ("long", "short", "none")
    assert report.empty == ("none",)
    assert (report.instances, report.unseen) == (5, 3)
    assert report.windows == len(data)
    text = str(report)
    assert f"{report.windows} windows of 3 videos with 5 instances; 3 instances fit no window" in text
    assert "no window in 1 video: none; skipped for want of features: 1 video: gone" in text


def test_nothing_left_out_is_said_in_few_words() -> None:
    data = dataset(annotations=Annotations.of([truth().videos["short"]]))
    assert str(data.report()) == "1 windows of 1 videos with 1 instances"


def test_videos_without_features_are_listed() -> None:
    extra = [Video(f"gone{number}", duration=5.0) for number in range(7)]
    with pytest.raises(InputError) as caught:
        dataset(annotations=Annotations.of([*truth(), *extra]))
    assert str(caught.value) == (
        "no features of 7 videos: gone0, gone1, gone2, gone3, gone4, ... (7 in all); extract them, or take these "
        "videos out of the annotations"
    )


def test_a_label_that_is_no_class_gets_a_suggestion() -> None:
    with pytest.raises(
        InputError, match=r"video long: label 'run' is not in the list of 2 classes: did you mean 'Run'"
    ):
        dataset(classes=("jump", "Run"))
    with pytest.raises(InputError, match="class 'run' occurs twice"):
        dataset(classes=("run", "jump", "run"))
    assert class_numbers(truth(), ("jump", "run"))["none"].shape == (0,)


@pytest.mark.parametrize(
    ("duration", "fits"), [(70.0, True), (66.0, True), (77.0, True), (30.0, False), (140.0, False)]
)
def test_features_of_another_grid_are_noticed(duration: float, fits: bool) -> None:
    clip = Annotations.of([Video("long", duration=duration)])
    if fits:
        dataset(annotations=clip)
        return
    with pytest.raises(InputError, match=r"video long: 70 snippets of grid .* cover 70.0 s, but the video lasts"):
        dataset(annotations=clip)
    dataset(annotations=clip, duration_tolerance=None)


def test_features_without_snippets_are_refused() -> None:
    class Empty(ArrayFeatures):
        def length(self, video_id: str) -> int:
            return 0

    nothing = Empty({"short": np.zeros((1, 4))}, GRID)
    with pytest.raises(InputError, match="video short: its features have no snippet"):
        dataset(annotations=Annotations.of([truth().videos["short"]]), features=nothing)


def test_random_numbers_belong_to_seed_epoch_and_video() -> None:
    draws = {
        key: video_generator(*key).integers(2**62)
        for key in [(0, 0, "a"), (1, 0, "a"), (0, 1, "a"), (0, 0, "b"), (0, 0, "")]
    }
    assert len(set(draws.values())) == len(draws)
    assert draws[(0, 1, "a")] == video_generator(0, 1, "a").integers(2**62)
