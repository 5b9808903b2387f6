"""The paired bootstrap."""

from __future__ import annotations

import json

import numpy as np
import pytest

from untrimmed.errors import InputError
from untrimmed.evaluation import compare, evaluate
from untrimmed.types import Annotations, Detections, Instances, Video

VIDEOS = [f"v{i:02d}" for i in range(20)]
TRUTH = Annotations.of(
    Video(
        name,
        "validation",
        instances=Instances(np.array([[0.0, 10], [20, 30]]), ("x", "y" if i else "rare")),
    )
    for i, name in enumerate(VIDEOS)
)


def rows(good, shift=0.0):
    """Right in the first ``good`` videos, far off in the others."""
    return [
        (name, label, start + (shift if i < good else 15), start + 10 + (shift if i < good else 15), 1 - i / 100)
        for i, name in enumerate(VIDEOS)
        for label, start in (("x", 0.0), ("y" if i else "rare", 20.0))
    ]


def test_the_better_one_is_ahead():
    better, worse = Detections.of(rows(18)), Detections.of(rows(6))
    result = compare(better, worse, TRUTH, resamples=200)
    scores = [evaluate(d, TRUTH) for d in (better, worse)]
    for t, name in enumerate(("0.5", "0.55")):
        assert result.mAP[name].a == scores[0].mAP[t]
        assert result.mAP[name].b == scores[1].mAP[t]
    item = result.averages["0.5:0.05:0.95"]
    assert item.difference == pytest.approx(scores[0].averages["0.5:0.05:0.95"] - scores[1].averages["0.5:0.05:0.95"])
    assert 0 < item.low < item.difference < item.high
    assert item.better == 1.0
    assert result.per_class["x"]["mean"].better == 1.0
    swapped = compare(worse, better, TRUTH, resamples=200).averages["0.5:0.05:0.95"]
    assert (swapped.low, swapped.high) == pytest.approx((-item.high, -item.low))
    assert swapped.better == 0.0


def test_equal_results_are_a_coin_toss():
    same = Detections.of(rows(10))
    result = compare(same, same, TRUTH, resamples=50)
    for item in (*result.mAP.values(), *result.averages.values(), *result.per_class["rare"].values()):
        assert (item.difference, item.low, item.high, item.better) == (0, 0, 0, 0.5)


def test_pairing_makes_small_differences_sure():
    """A slight but constant loss is certain, though each score alone varies much more."""
    a, b = Detections.of(rows(10)), Detections.of(rows(10, shift=2.0))
    result = compare(a, b, TRUTH, tious=[0.7], resamples=300)
    alone = evaluate(a, TRUTH, tious=[0.7], resamples=300).intervals
    assert result.mAP["0.7"].better == 1.0
    assert alone.mAP[1, 0] - alone.mAP[0, 0] > 0.2
    assert compare(a, b, TRUTH, tious=[0.6], resamples=300).mAP["0.6"].better == 0.5


def test_videos_that_one_result_alone_names_share_one_draw():
    extra = [("ghost", "x", 0.0, 10.0, 2.0), *rows(10)]
    result = compare(Detections.of(rows(10)), Detections.of(extra), TRUTH, tious=[0.5], resamples=200)
    item = result.per_class["x"]["0.5"]
    # In every resample that holds the ghost, B has a false positive on top; in the others they are equal.
    missing = (1 - 1 / 21) ** 21
    assert item.better == pytest.approx(1 - missing / 2, abs=0.08)
    assert item.low == 0.0
    assert result.notes["b"].odd["detections_in_videos_without_truth"] == 1


def test_json_and_text():
    result = compare(Detections.of(rows(18)), Detections.of(rows(6)), TRUTH, tious=[0.5, 0.7], resamples=100, seed=5)
    data = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert data["mAP"]["0.5"].keys() == {"a", "b", "difference", "interval", "a_better"}
    assert data["per_class"]["x"].keys() == {"0.5", "0.7", "mean"}
    assert (data["resamples"], data["seed"], data["level"]) == (100, 5, 0.95)
    assert data["counts"]["videos"] == 20
    text = str(result)
    assert "100 resamples of videos, seed 5" in text
    assert "P(A better)" in text
    assert "average all" in text
    assert "notes on A" not in text
    noisy = compare(Detections.of(rows(18)), Detections.of(rows(6)[:4]), TRUTH, resamples=5)
    assert "notes on B" in str(noisy)


def test_one_resample_may_lack_a_class():
    """``rare`` lives in one video: where no resample holds it there is neither interval nor probability."""
    a, b = Detections.of(rows(10)), Detections.of(rows(5))
    seed = next(s for s in range(50) if np.random.default_rng(s).integers(0, 20, 20).min() > 0)
    item = compare(a, b, TRUTH, resamples=1, seed=seed).per_class["rare"]["mean"]
    assert np.isnan(item.low)
    assert item.to_dict()["interval"] == [None, None]
    assert item.to_dict()["a_better"] is None
    assert " - .. -" in str(compare(a, b, TRUTH, resamples=1, seed=seed))


def test_errors():
    some = Detections.of(rows(5))
    with pytest.raises(InputError, match="0 resamples"):
        compare(some, some, TRUTH, resamples=0)
    with pytest.raises(InputError, match="unknown protocol"):
        compare(some, some, TRUTH, "nothing")
