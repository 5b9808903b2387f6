"""Judgements of single detections agree with the plain way, at every threshold."""

from __future__ import annotations

import numpy as np
import pytest

from untrimmed.errors import InputError
from untrimmed.evaluation.error_analysis import STEPS, analyse_errors, score_cuts
from untrimmed.evaluation.false_positives import ERROR_TYPES
from untrimmed.segments import tiou_scalar
from untrimmed.types import Annotations, Detections, Instances, Video


def invented(seed: int) -> tuple[Detections, Annotations]:
    generator = np.random.default_rng(seed)
    videos, rows = [], []
    for number in range(6):
        count = int(generator.integers(0, 6))
        starts = generator.uniform(0, 50, count)
        segments = np.stack([starts, starts + generator.uniform(1, 12, count)], axis=1)
        labels = tuple("xyz"[place] for place in generator.integers(3, size=count))
        videos.append(Video(f"v{number}", "test", 70.0, instances=Instances(segments, labels)))
        for _ in range(25):
            start = generator.uniform(0, 50)
            if count and generator.random() < 0.7:
                start = starts[generator.integers(count)] + generator.normal(0, 1)
            label = "xyzw"[generator.integers(4)]
            rows.append((f"v{number}", label, start, start + generator.uniform(1, 12), float(generator.random())))
    rows.append(("not in the truth", "x", 0.0, 1.0, 0.9))
    return Detections.of(rows), Annotations.of(videos)


def plain_matches(detections: Detections, truth: Annotations, tiou: float) -> dict[int, tuple[str, int]]:
    """Row -> the instance it finds, by the rule of ActivityNet, one detection at a time."""
    taken: set[tuple[str, int]] = set()
    found = {}
    rows = list(detections.rows())
    for row in sorted(range(len(rows)), key=lambda row: -rows[row][4]):
        video_id, label, start, end, _ = rows[row]
        if video_id not in truth.videos:
            continue
        instances = truth.videos[video_id].instances
        shares = [
            (tiou_scalar(start, end, *segment), place)
            for place, (name, segment) in enumerate(zip(instances.labels, instances.segments.tolist(), strict=True))
            if name == label and (video_id, place) not in taken
        ]
        best = max(shares, default=(0.0, -1), key=lambda share: share[0])
        if best[0] >= tiou:
            taken.add((video_id, best[1]))
            found[row] = (video_id, best[1])
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tiou", [0.3, 0.5])
def test_kinds_finders_and_sweeps_are_those_of_the_plain_way(seed: int, tiou: float) -> None:
    detections, truth = invented(seed)
    judged = analyse_errors(detections, truth, "activitynet", tiou=tiou)
    matches = plain_matches(detections, truth, tiou)
    assert set(np.flatnonzero(judged.kinds == 0).tolist()) == set(matches)
    finders = {place: detections.scores[row] for row, place in matches.items()}
    for video in truth:
        assert judged.found[video.id] == [finders.get((video.id, place)) for place in range(len(video.instances))]
    known = set(truth.labels)
    scored = [video_id in truth.videos and label in known for video_id, label, *_ in detections.rows()]
    np.testing.assert_array_equal(judged.kinds >= 0, scored)
    for cut in (0.0, 0.25, 0.5, 0.83, 1.0):
        place = int(np.argmin(np.abs(judged.cuts - cut)))
        above = detections.scores >= cut
        right = (judged.kinds == 0) & above
        assert judged.right[:, place].sum() == right.sum()
        assert judged.wrong[:, place].sum() == ((judged.kinds > 0) & above).sum()
        for k, name in enumerate(judged.classes):
            mine = detections.label == detections.labels.index(name)
            assert judged.right[k, place] == (right & mine).sum()
        if above.any():
            precision, recall = judged.at(cut)
            assert (
                precision == pytest.approx(right.sum() / max((above & (judged.kinds >= 0)).sum(), 1)) or not right.any()
            )
            assert recall == pytest.approx(right.sum() / judged.instances.sum())


@pytest.mark.parametrize("seed", range(4))
def test_a_threshold_changes_no_match_of_what_stays(seed: int) -> None:
    detections, truth = invented(seed)
    whole = analyse_errors(detections, truth, "activitynet")
    rows = np.flatnonzero(detections.scores >= 0.4)
    cut = analyse_errors(detections.select(rows), truth, "activitynet")
    np.testing.assert_array_equal(cut.kinds == 0, whole.kinds[rows] == 0)


def test_average_precision_of_a_video() -> None:
    truth = Annotations.of(
        [Video("a", "", 9.0, instances=Instances([[0, 1], [4, 5]], ("x", "y"))), Video("empty", "", 9.0)]
    )
    rows = [("a", "x", 0, 1, 0.9), ("a", "x", 7, 8, 0.8), ("a", "y", 4, 5, 0.7), ("empty", "x", 0, 1, 0.5)]
    judged = analyse_errors(Detections.of(rows), truth)
    assert judged.ap["a"] == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert judged.ap["empty"] is None
    assert [ERROR_TYPES[kind] for kind in judged.kinds] == [
        "true positive",
        "background",
        "true positive",
        "background",
    ]
    assert judged.best == pytest.approx(0.51)


def test_ambiguous_segments_need_not_be_found() -> None:
    truth = Annotations.of([Video("a", "", 9.0, instances=Instances([[0, 1], [4, 5]], ("x", "Ambiguous")))])
    judged = analyse_errors(Detections.of([("a", "x", 4, 5, 0.9)]), truth)
    assert judged.found["a"] == [None, float("inf")]
    assert judged.kinds.tolist() == [-1]


@pytest.mark.parametrize(
    ("scores", "ends"),
    [
        ([], (0.0, 1.0)),
        ([0.3], (0.0, 0.5)),
        ([0.9], (0.0, 1.0)),
        ([1.0], (0.0, 1.0)),
        ([3e-4], (0.0, 5e-4)),
        ([12.0], (0.0, 20.0)),
        ([-3.0, 0.5], (-5.0, 0.5)),
        ([-3.0, -1.0], (-5.0, 1.0)),
        ([0.0], (0.0, 1.0)),
    ],
)
def test_cuts_are_round_and_hold_all_scores(scores: list[float], ends: tuple[float, float]) -> None:
    cuts = score_cuts(np.array(scores))
    assert len(cuts) == STEPS + 1
    assert (cuts[0], cuts[-1]) == pytest.approx(ends)
    assert (np.diff(cuts) > 0).all()


def test_what_cannot_be_judged() -> None:
    with pytest.raises(InputError, match="no instances"):
        analyse_errors(Detections.of([("a", "x", 0, 1, 0.9)]), Annotations.of([Video("a", "", 9.0)]))
    detections, truth = invented(0)
    with pytest.raises(InputError, match="tIoU"):
        analyse_errors(detections, truth, tiou=0.0)
