"""The baseline of the experiments with proposals: so many windows, evenly spread, of the best lengths."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from untrimmed.evaluation.recall import average_recall
from untrimmed.types import Annotations, Instances, Video

FILE = Path(__file__).resolve().parents[2] / "experiments" / "sliding_windows.py"


@pytest.fixture(scope="module")
def sliding() -> Any:
    spec = importlib.util.spec_from_file_location("sliding_windows", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("count", [1, 2, 7, 100])
@pytest.mark.parametrize("lengths", [(4.0,), (2.0, 5.0, 90.0), (200.0,)])
def test_exactly_so_many_windows_within_the_video(sliding: Any, count: int, lengths: tuple[float, ...]) -> None:
    found = sliding.windows(60.0, lengths, count)
    assert found.shape == (count, 2)
    assert (found[:, 0] >= 0).all()
    assert (found[:, 1] <= 60.0 + 1e-9).all()
    sizes = set(np.diff(found, axis=1)[:, 0].round(6).tolist())
    assert sizes <= {min(length, 60.0) for length in lengths}


def test_windows_by_hand(sliding: Any) -> None:
    # Of 2 s twice as many as of 4 s.
    assert sliding.windows(10.0, (2.0, 4.0), 6).tolist() == [
        *([s, s + 2] for s in np.linspace(0, 8, 4)),
        *([s, s + 4] for s in (0.0, 6.0)),
    ]
    assert sliding.windows(10.0, (4.0,), 1).tolist() == [[3.0, 7.0]]


def test_the_lengths_are_those_that_find_the_most(sliding: Any) -> None:
    rng = np.random.default_rng(0)
    videos = []
    for name in "ab":
        start = rng.uniform(0, 80, 12)
        segments = np.stack((start, start + rng.uniform(3, 15, 12)), axis=1)
        videos.append(Video(name, duration=100.0, instances=Instances(segments, ("x",) * 12)))
    truth = Annotations.of(videos)
    durations = sliding.durations_of(truth)
    assert durations == {"a": 100.0, "b": 100.0}

    def recall(lengths: tuple[float, ...]) -> float:
        return average_recall(sliding.proposals(durations, lengths, 30), truth, largest=30).at(30)

    best = sliding.best_lengths(truth, 30)
    sizes = np.concatenate([np.diff(video.instances.segments, axis=1)[:, 0] for video in truth])
    for low, high, ratio in itertools.islice(
        itertools.product(sliding.SHORTEST, sliding.LONGEST, sliding.RATIOS), 0, None, 17
    ):
        other = sliding.ladder(float(np.percentile(sizes, low)), float(np.percentile(sizes, high)), ratio)
        assert recall(best) >= recall(other)
    found = sliding.proposals(durations, best, 30)
    assert len(found) == 60
    assert (found.label == -1).all()
