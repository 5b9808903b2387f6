"""Buckets drawn at random: their scores are those of the slow way, their ranges hold for buckets that mean nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from untrimmed.evaluation import diagnose
from untrimmed.evaluation.ap import average_precision, mean_ap
from untrimmed.evaluation.chance import chances_of
from untrimmed.evaluation.characteristics import ANNOTATED
from untrimmed.evaluation.overlap import build_table, match
from untrimmed.evaluation.protocols import PROTOCOLS
from untrimmed.formats import read_annotations, read_detections
from untrimmed.types import Annotations, Detections, Instances, Video

TIOUS = (0.3, 0.5, 0.7)


def data_set(
    seed: int, videos: int = 60, each: int = 4, blur: Callable[[float], float] = lambda length: 0.8, **characteristics
) -> tuple[Detections, Annotations]:
    """Videos of two classes and Ambiguous segments, with detections near most instances, whose borders are off by
    ``blur`` of the length; ``characteristics`` give the values of keys from random numbers, start and end."""
    rng = np.random.default_rng(seed)
    made, rows = [], []
    for number in range(videos):
        start = np.cumsum(rng.uniform(8, 20, each))
        segments = np.stack([start, start + rng.uniform(2, 7, each)], axis=1)
        labels = [*rng.choice(["run", "jump"], each - 1), "Ambiguous"]
        values = {name: [give(rng, *pair) for pair in segments] for name, give in characteristics.items()}
        extra = tuple({name: values[name][row] for name in values} for row in range(each))
        made.append(Video(f"v{number}", "", 200.0, instances=Instances(segments, labels, extra)))
        for (low, high), label in zip(segments, labels, strict=True):
            for _ in range(rng.integers(0, 4)):
                shift = rng.normal(0, blur(high - low), 2)
                if high + shift[1] > low + shift[0]:
                    said = label if label != "Ambiguous" else "run"
                    rows.append((f"v{number}", said, low + shift[0], high + shift[1], round(rng.random(), 2)))
    return Detections.of(rows), Annotations.of(made)


@pytest.mark.parametrize("protocol", ["activitynet", "thumos14"])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 4), videos=st.integers(1, 8))
def test_one_pass_scores_all_buckets_as_the_slow_way_does(protocol: str, seed: int, count: int, videos: int) -> None:
    found, truth = data_set(seed, videos)
    table = build_table(found, truth, PROTOCOLS[protocol], lowest=TIOUS[0])
    matching = match(table, TIOUS)
    missed = np.zeros((len(TIOUS), len(table.instance_label)), dtype=bool)
    chances = chances_of(table, matching, missed, normalizer=7.5, characteristics=1)
    bucket = np.random.default_rng(seed).integers(-1, count, len(table.instance_label))
    quick = chances.found(bucket, count)
    for number in range(count):
        inside = bucket == number
        elsewhere = np.zeros(len(table.row), dtype=bool)
        for d in range(len(table.row)):
            for t in range(len(TIOUS)):
                instance = matching.instance[t, d]
                elsewhere[d] |= instance >= 0 and not inside[instance]
        slow = mean_ap(average_precision(table, matching, positive=inside, left_out=elsewhere, normalizer=7.5)).mean()
        assert quick[number] == pytest.approx(slow, abs=1e-12, nan_ok=True)


def test_random_buckets_stand_out_no_more_often_than_is_said() -> None:
    """Data sets whose context and agreement mean nothing; the best bucket lies above the whole in each of them."""
    wrong, above = 0, 0
    for seed in range(30):
        found, truth = data_set(
            seed,
            **{
                "context-size": lambda rng, low, high: float(rng.integers(0, 7)),
                "context-distance": lambda rng, low, high: float(rng.integers(0, 4)),
                "agreement": lambda rng, low, high: float(rng.random()),
            },
        )
        reasons = diagnose(found, truth, tious=TIOUS)
        annotated = [one for one in reasons.characteristics if one.key in ANNOTATED]
        assert len(annotated) == 3
        wrong += any(one.matters for one in annotated)
        above += all(one.impact > 0 for one in annotated)
    assert above == 30
    assert wrong <= 4  # 1.5 are expected; by luck there would be more than 4 in 2 of 100 draws


def test_what_decides_stands_out() -> None:
    agreement = {"agreement": lambda rng, low, high: float(high - low > 4.5)}
    found, truth = data_set(1, blur=lambda length: 0.3 if length > 4.5 else 3.0, **agreement)
    lengths = diagnose(found, truth, tious=TIOUS, edges={"length": (4.5,)})
    for key in ("length", "agreement"):
        one = next(one for one in lengths.characteristics if one.key == key)
        assert one.matters
        assert one.worst.stands_out
        assert one.worst.average < one.worst.chance[0] < one.worst.chance[1] < one.best.average
        assert one.worst.missed.mean() > one.worst.missed_chance[1]
        assert one.to_dict(TIOUS)["stands_out"] is True


def test_what_all_instances_of_a_video_share_is_shuffled_as_whole_videos() -> None:
    """The detector is blind in every second video: by chance alone, whole videos differ, not instances."""
    rows, made = [], []
    rng = np.random.default_rng(0)
    for number in range(40):
        segments = np.stack([np.arange(10) * 10.0, np.arange(10) * 10.0 + 5], axis=1)
        extra = tuple({"agreement": float(number % 4 < 2)} for _ in range(10))
        made.append(Video(f"v{number}", "", 100.0, instances=Instances(segments, ("run",) * 10, extra)))
        if rng.random() < 0.5:
            rows += [(f"v{number}", "run", *pair, 0.5) for pair in segments.tolist()]
    reasons = diagnose(Detections.of(rows), Annotations.of(made), tious=[0.5], edges={"agreement": (0.5,)})
    agreement = next(one for one in reasons.characteristics if one.key == "agreement")
    low, high = agreement.buckets[0].chance
    assert high - low > 0.3
    assert not agreement.matters


def test_a_single_bucket_cannot_stand_out() -> None:
    found, truth = data_set(0, videos=3)
    lengths = diagnose(found, truth, "activitynet", tious=[0.5]).lengths
    assert not lengths.matters
    assert all(np.isnan(bucket.chance).all() for bucket in lengths.buckets)
    assert lengths.to_dict([0.5])["buckets"][0]["chance"] == [None, None]


def test_the_same_seed_draws_the_same() -> None:
    found, truth = data_set(3)
    first, again = (diagnose(found, truth, tious=[0.5], edges={"length": (4.5,)}).lengths for _ in range(2))
    assert [bucket.chance for bucket in first.buckets] == [bucket.chance for bucket in again.buckets]


def test_buckets_come_from_the_data_where_the_protocol_has_one(shared_data: Path) -> None:
    """SBHAR: nearly all instances are under 30 s, one bucket of ActivityNet's."""
    truth = read_annotations(shared_data / "sbhar" / "annotations.json")
    video = next(iter(truth.subset("test")))
    found = Detections.of([(video.id, video.instances.labels[0], *video.instances.segments[0].tolist(), 0.5)])
    lengths = diagnose(found, truth, subset="test", tious=[0.5]).lengths
    assert len(lengths.buckets) == 5
    assert max(bucket.instances for bucket in lengths.buckets) < 0.3 * sum(
        bucket.instances for bucket in lengths.buckets
    )


def test_the_buckets_of_detad_stay_for_its_data_set(shared_data: Path) -> None:
    truth = read_annotations(shared_data / "thumos14" / "annotations.json")
    found = read_detections(shared_data / "oracles" / "scnn_thumos14" / "results_tiou0.5.json.gz")
    reasons = diagnose(found, truth, "thumos14-papers", tious=[0.5])
    assert [bucket.range for bucket in reasons.lengths.buckets] == ["≤ 3", "3–6", "6–12", "12–18", "> 18"]
    assert reasons.characteristics[0].buckets[0].range == "≤ 0.02"
