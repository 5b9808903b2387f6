from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from untrimmed.demo.baseline import LinearSettings, detect_linear, fit_linear, permute_labels
from untrimmed.errors import InputError
from untrimmed.evaluation import evaluate
from untrimmed.formats.features import ArrayFeatures
from untrimmed.grid import SnippetGrid
from untrimmed.types import Annotations, Instances, Video

GRID = SnippetGrid(Fraction(10), 2, 4)
LABELS = ("left", "right")


def made(noise: float, videos: int = 6, seed: int = 0) -> tuple[ArrayFeatures, Annotations]:
    """Features whose first two columns say which class is on, under noise."""
    rng = np.random.default_rng(seed)
    arrays, truth = {}, []
    for number in range(videos):
        name, steps = f"v{number}", 150
        rows = rng.normal(0, noise, (steps, 5)).astype(np.float32)
        starts = np.arange(2.0, 26.0, 6.0) + rng.uniform(0, 2, 4)
        segments = np.stack([starts, starts + rng.uniform(1, 3, 4)], axis=1)
        labels = tuple(str(label) for label in rng.choice(LABELS, 4))
        centres = np.asarray(GRID.steps_to_seconds(np.arange(steps) + 0.5))
        for (start, end), label in zip(segments, labels, strict=True):
            rows[(centres >= start) & (centres < end), LABELS.index(label)] += 1
        arrays[name] = rows
        subset = "training" if number % 2 == 0 else "test"
        truth.append(Video(name, subset, 30.2, instances=Instances(segments, labels)))
    durations = {video.id: 30.2 for video in truth}
    return ArrayFeatures(arrays, GRID, durations), Annotations.of(truth)


def score(features: ArrayFeatures, truth: Annotations, learnt: Annotations) -> float:
    model = fit_linear(features, learnt)
    found = detect_linear(model, features, [video.id for video in truth.subset("test")])
    return float(evaluate(found, truth, subset="test", tious=(0.5,)).mAP[0])


def test_what_a_snippet_shows_is_found_and_labels_without_meaning_are_of_no_use() -> None:
    features, truth = made(0.1)
    assert score(features, truth, truth.subset("training")) > 0.95
    many, truth = made(0.1, videos=40)
    assert score(many, truth, permute_labels(truth.subset("training"), 1)) < 0.7


def test_thresholds_at_many_heights_find_runs_inside_one_another() -> None:
    features, truth = made(0.4)
    model = fit_linear(features, truth)
    one = detect_linear(model, features, features.ids, LinearSettings(thresholds=(0.5,)))
    many = detect_linear(model, features, features.ids)
    assert len(many) > len(one) > 10
    lengths = many.segments[:, 1] - many.segments[:, 0]
    assert (lengths >= 0.3).all()
    assert ((many.segments >= 0) & (many.segments <= 30.2)).all()
    assert ((many.scores > 0) & (many.scores < 1)).all()


def test_probabilities_sum_to_one_and_column_zero_is_the_background() -> None:
    features, truth = made(0.1)
    model = fit_linear(features, truth)
    assert model.labels == LABELS
    rows = np.array([[0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 1, 0, 0, 0]], dtype=np.float32)
    table = model.probabilities(rows)
    assert table.sum(axis=1) == pytest.approx(1)
    assert table.argmax(axis=1).tolist() == [0, 1, 2]


def test_fit_is_the_minimum_of_its_loss() -> None:
    features, truth = made(0.5)
    settings = LinearSettings(decay=0.01, iterations=500)
    model = fit_linear(features, truth, settings)

    def loss(coefficients: np.ndarray) -> float:
        total, count = 0.0, 0
        moved = type(model)(model.labels, model.mean, model.scale, coefficients)
        for video in truth:
            table = moved.probabilities(features.window(video.id, 0, 150))
            for step in range(150):
                centre = float(GRID.steps_to_seconds(step + 0.5))
                inside = [
                    label
                    for (start, end), label in zip(video.instances.segments, video.instances.labels, strict=True)
                    if start <= centre < end
                ]
                total -= np.log(table[step, 1 + LABELS.index(inside[0]) if inside else 0])
                count += 1
        return total / count + 0.01 * float((coefficients[:-1] ** 2).sum())

    best = loss(model.coefficients)
    rng = np.random.default_rng(0)
    for _ in range(4):
        assert loss(model.coefficients + rng.normal(0, 0.05, model.coefficients.shape)) > best


def test_one_step_and_no_detection() -> None:
    features, truth = made(0.1)
    model = fit_linear(features, truth)
    short = ArrayFeatures({"a": np.zeros((1, 5), np.float32)}, GRID)
    assert len(detect_linear(model, short, ["a"])) == 0
    assert detect_linear(model, short, ["a"]).video_ids == ("a",)


def test_annotations_without_instance_are_refused() -> None:
    features, _ = made(0.1)
    with pytest.raises(InputError, match="no instance"):
        fit_linear(features, Annotations.of([Video("v0", "training", 30.0)]))


def test_permuting_moves_labels_and_nothing_else() -> None:
    _, truth = made(0.1, videos=30)
    mixed = permute_labels(truth, 5)
    assert [video.id for video in mixed] == [video.id for video in truth]
    before = [label for video in truth for label in video.instances.labels]
    after = [label for video in mixed for label in video.instances.labels]
    assert before != after
    assert sorted(before) == sorted(after)
    for one, other in zip(truth, mixed, strict=True):
        assert np.array_equal(one.instances.segments, other.instances.segments)
        assert (one.subset, one.duration) == (other.subset, other.duration)
    assert after == [label for video in permute_labels(truth, 5) for label in video.instances.labels]
    assert after != [label for video in permute_labels(truth, 6) for label in video.instances.labels]
