"""Simulated features: what is annotated shows, the same whoever asks, and harder as the difficulty rises."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from untrimmed.data.synthetic import Difficulty, SimulatedFeatures, write_simulated
from untrimmed.errors import InputError
from untrimmed.formats import read_annotations
from untrimmed.formats.features import FeatureStore
from untrimmed.grid import SnippetGrid
from untrimmed.types import Annotations, Instances, Video

GRID = SnippetGrid(fps=25, stride=5, window=10)
CLASSES = ("run", "jump", "swim", "dig")


def world(videos: int = 12, seed: int = 0) -> Annotations:
    """Videos of two minutes with ten actions each, four to eight seconds long."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(videos):
        starts = np.arange(10) * 12.0 + rng.uniform(0, 3, 10)
        segments = np.stack([starts, starts + rng.uniform(4, 8, 10)], axis=1)
        labels = tuple(str(label) for label in rng.choice(CLASSES, 10))
        made.append(Video(f"v{number}", duration=120.0, instances=Instances(segments, labels)))
    return Annotations.of(made)


SHARED = SimulatedFeatures(world(), GRID, channels=32, difficulty=0.5)


@settings(max_examples=30)
@given(st.integers(0, 598), st.integers(0, 598), st.sampled_from(["v0", "v3"]))
def test_any_window_is_a_slice_of_the_same_rows(one: int, two: int, name: str) -> None:
    start, stop = min(one, two), max(one, two)
    rows = SHARED.window(name, 0, 598)
    np.testing.assert_array_equal(SHARED.window(name, start, stop), rows[start:stop])


def test_it_reads_like_a_feature_folder() -> None:
    assert SHARED.ids == tuple(f"v{number}" for number in range(12))
    assert len(SHARED) == 12
    assert "v3" in SHARED
    assert "w" not in SHARED
    assert SHARED.channels == 32
    assert SHARED.length("v0") == GRID.expected_count(120.0) == 599
    assert SHARED.grid("v0") == GRID
    assert SHARED.duration("v0") == 120.0
    rows = SHARED.window("v0", 5, 9)
    assert rows.shape == (4, 32)
    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous
    assert SHARED.window("v0", 3, 3).shape == (0, 32)


def test_it_is_always_labelled_as_simulated() -> None:
    assert SHARED.backbone == {
        "name": "simulated",
        "weights_sha256": None,
        "simulated": True,
        "options": {"channels": 32, "difficulty": 0.5, "seed": 0},
    }


def test_it_depends_on_seed_and_names_alone() -> None:
    truth = world()
    first = SHARED.window("v1", 0, 100)
    again = SimulatedFeatures(truth, GRID, channels=32, difficulty=0.5)
    again.window("v5", 0, 10)
    np.testing.assert_array_equal(again.window("v1", 0, 100), first)
    few = Annotations.of([truth.videos["v5"], truth.videos["v1"]])
    assert few.labels == truth.labels
    np.testing.assert_array_equal(SimulatedFeatures(few, GRID, 32, 0.5).window("v1", 0, 100), first)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(SHARED)).window("v1", 0, 100), first)
    assert np.abs(SimulatedFeatures(truth, GRID, 32, 0.5, seed=1).window("v1", 0, 100) - first).max() > 0.1
    assert np.abs(SHARED.window("v2", 0, 100) - first).max() > 0.1


def test_an_action_shows_where_it_is_annotated_and_nowhere_else() -> None:
    def rows(*segments: tuple[float, float]) -> np.ndarray:
        instances = Instances(list(segments), ("run",) * len(segments))
        truth = Annotations.of([Video("v", duration=60.0, instances=instances)])
        features = SimulatedFeatures(truth, GRID, channels=16, difficulty=0.0)
        return features.window("v", 0, features.length("v"))

    nothing, action = rows(), rows((20.0, 30.0))
    changed = np.abs(action - nothing).max(axis=1)
    centres = GRID.steps_to_seconds(np.arange(len(changed)) + 0.5)
    reach = 0.2 + 0.5  # half a snippet, and the blur
    assert (changed[(centres > 20) & (centres < 30)] > 0.1).all()
    assert changed[(centres < 20 - reach) | (centres > 30 + reach)].max() < 1e-5
    np.testing.assert_array_equal(rows((70.0, 80.0), (5.0, 5.0), (9.0, 3.0)), nothing)


def test_a_class_looks_the_same_in_every_video_and_unlike_the_others() -> None:
    truth = world()
    easy = SimulatedFeatures(truth, GRID, channels=64, difficulty=0.1)
    centres = GRID.steps_to_seconds(np.arange(599) + 0.5)
    looks: dict[tuple[int, str], list[np.ndarray]] = {}
    for number, video in enumerate(truth):
        rows = easy.window(video.id, 0, 599)
        for (start, end), label in zip(video.instances.segments, video.instances.labels, strict=True):
            inside = rows[(centres >= start) & (centres < end)].mean(axis=0)
            looks.setdefault((number % 2, label), []).append(inside)
    mean = {key: np.mean(value, axis=0) for key, value in looks.items()}
    for one, two in itertools.product(CLASSES, CLASSES):
        likeness = np.corrcoef(mean[0, one], mean[1, two])[0, 1]
        assert likeness > 0.9 if one == two else likeness < 0.7


def accuracy(difficulty: float) -> float:
    """Share of snippets inside actions that a linear classifier of single snippets labels rightly."""
    truth = world()
    features = SimulatedFeatures(truth, GRID, channels=64, difficulty=difficulty)
    centres = GRID.steps_to_seconds(np.arange(599) + 0.5)
    inputs, targets = [], []
    for video in truth:
        target = np.zeros(599, dtype=np.int64)
        for (start, end), label in zip(video.instances.segments, video.instances.labels, strict=True):
            target[(centres >= start) & (centres < end)] = 1 + CLASSES.index(label)
        rows = features.window(video.id, 0, 599)
        inputs.append(np.concatenate([rows, np.ones((599, 1), np.float32)], axis=1))
        targets.append(target)
    train, test = np.concatenate(inputs[:8]), np.concatenate(inputs[8:])
    wanted, hidden = np.concatenate(targets[:8]), np.concatenate(targets[8:])
    weights = np.linalg.solve(train.T @ train + np.eye(65), train.T @ np.eye(5)[wanted])
    acting = hidden > 0
    return float(((test @ weights).argmax(axis=1)[acting] == hidden[acting]).mean())


def test_it_is_harder_as_the_difficulty_rises() -> None:
    rates = [accuracy(level) for level in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert all(left > right + 0.05 for left, right in itertools.pairwise(rates)), rates
    assert rates[0] > 0.95
    assert rates[-1] < 0.4
    parts = [Difficulty.of(level) for level in (0.0, 0.5, 1.0)]
    for name in ("noise", "blur", "likeness", "variety", "near_misses"):
        values = [getattr(part, name) for part in parts]
        assert values == sorted(values)
        assert values[0] < values[2]


def test_near_misses_lie_where_no_action_is() -> None:
    truth = Annotations.of(
        [
            Video("quiet", duration=600.0),
            Video("named", duration=1.0, instances=Instances([(0, 1)], ("run",))),
        ]
    )
    silent = Annotations.of([Video("quiet", duration=600.0)])
    rows, plain = (SimulatedFeatures(each, GRID, 16, 0.5).window("quiet", 0, 2900) for each in (truth, silent))
    changed = np.abs(rows - plain).max(axis=1) > 1e-4
    assert 0.01 < changed.mean() < 0.6


def test_a_video_shorter_than_a_snippet_has_one() -> None:
    truth = Annotations.of([Video("v", duration=0.1, instances=Instances([(0, 0.1)], ("run",)))])
    features = SimulatedFeatures(truth, GRID, channels=4)
    assert features.length("v") == 1
    assert features.window("v", 0, 1).shape == (1, 4)


def test_a_long_blur_on_fine_steps_and_none_on_coarse_ones() -> None:
    truth = world(1)
    for grid in (SnippetGrid(30, 1, 1), SnippetGrid(5, 16, 16)):
        features = SimulatedFeatures(truth, grid, channels=8, difficulty=0.4)
        rows = features.window("v0", 0, features.length("v0"))
        assert np.isfinite(rows).all()
        assert 0.3 < rows.std() < 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 0}, "channels is 0, expected at least 1"),
        ({"difficulty": 1.1}, r"difficulty is 1.1, expected a number from 0 \(easy\) to 1"),
        ({"difficulty": float("nan")}, "difficulty is nan"),
        ({"annotations": Annotations.of([Video("v")])}, "the duration of 1 videos is not known, 'v' is the first"),
    ],
)
def test_what_cannot_be_simulated_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SimulatedFeatures(**{"annotations": world(1), "grid": GRID, **options})


def test_rows_and_videos_that_do_not_exist_are_refused() -> None:
    with pytest.raises(InputError, match=r"video 'v0': snippets \[590, 600\) were asked for, but it has 599"):
        SHARED.window("v0", 590, 600)
    with pytest.raises(InputError, match="no simulated features of video 'v99': did you mean"):
        SHARED.window("v99", 0, 1)
    with pytest.raises(InputError, match="no simulated features"):
        SHARED.grid("w")


def test_a_folder_is_written_and_gone_on_with(tmp_path: Path) -> None:
    told: list[str] = []
    assert write_simulated(SHARED, tmp_path / "f", ("v0", "v1")) == 2
    assert write_simulated(SHARED, tmp_path / "f", ("v0", "v1", "v2"), told.append) == 1
    assert told == ["v0", "v1", "v2"]
    store = FeatureStore.open(tmp_path / "f")
    assert store.ids == ("v0", "v1", "v2")
    assert store.backbone == SHARED.backbone
    assert store.duration("v2") == 120.0
    np.testing.assert_array_equal(store.window("v2", 100, 300), SHARED.window("v2", 100, 300))
    other = SimulatedFeatures(world(), GRID, channels=32, difficulty=0.6)
    with pytest.raises(InputError, match="holds features with backbone"):
        write_simulated(other, tmp_path / "f")


def test_whole_data_sets_cost_nothing_until_they_are_read(shared_data: Path) -> None:
    truth = read_annotations(shared_data / "activitynet13" / "annotations.json.gz")
    features = SimulatedFeatures(truth, SnippetGrid(5, 8, 8), channels=2048)
    assert len(features) == len(truth)
    name = features.ids[1000]
    assert features.window(name, 0, features.length(name)).shape == (features.length(name), 2048)
