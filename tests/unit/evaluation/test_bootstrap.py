"""Draws, intervals, and the threads that share the work."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from untrimmed.errors import InputError
from untrimmed.evaluation.ap import weighted_average_precision
from untrimmed.evaluation.bootstrap import bootstrap_ap, draw_weights, interval, pair
from untrimmed.evaluation.overlap import build_table, match
from untrimmed.evaluation.protocols import PROTOCOLS
from untrimmed.types import Annotations, Detections, Instances, Video


def test_draws_are_resamples_of_the_videos_and_repeat():
    weights = draw_weights(50, 400, seed=3)
    assert weights.shape == (400, 50)
    assert (weights.sum(axis=1) == 50).all()
    assert (weights == draw_weights(50, 400, seed=3)).all()
    assert not (weights == draw_weights(50, 400, seed=4)).all()
    # A video is missing from a resample with probability (1 - 1/50)^50.
    assert (weights == 0).mean() == pytest.approx(0.98**50, abs=0.01)
    with pytest.raises(InputError, match="at least 1"):
        draw_weights(0)


@given(
    st.lists(st.floats(-1, 1), min_size=1, max_size=30),
    st.integers(0, 5),
    st.sampled_from([0.5, 0.9, 0.95]),
)
def test_interval_is_that_of_quantiles(values, missing, level):
    samples = np.array([np.nan] * missing + values)[:, None]
    low, high = interval(samples, level)[:, 0]
    expected = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    np.testing.assert_allclose([low, high], expected, atol=1e-12)


def test_interval_of_nothing():
    assert pair(interval(np.full((5, 1), np.nan))[:, 0]) == [None, None]
    assert pair(np.array([0.25, 0.5])) == [0.25, 0.5]
    with pytest.raises(InputError, match="confidence level"):
        interval(np.zeros((3, 1)), 95)


def test_threads_change_nothing():
    generator = np.random.default_rng(0)
    videos = [f"v{i}" for i in range(9)]
    truth = Annotations.of(
        Video(name, "test", instances=Instances(np.array([[0.0, 1.0], [2.0, 3.0]]), ("x", "y"))) for name in videos
    )
    rows = [
        (str(generator.choice(videos)), str(generator.choice(["x", "y"])), start, start + 1, float(score))
        for start, score in zip(generator.integers(0, 3, 60).tolist(), generator.random(60), strict=True)
    ]
    table = build_table(Detections.of(rows), truth, PROTOCOLS["thumos14"], lowest=0.3)
    matching, weights = match(table, [0.3, 0.5]), draw_weights(9, 5)
    whole = weighted_average_precision(table, matching, weights)
    assert np.isfinite(whole).all()
    np.testing.assert_array_equal(bootstrap_ap(table, matching, weights), whole)
