"""Average recall and recall at k: cases by hand, and their arguments."""

from __future__ import annotations

import numpy as np
import pytest

from untrimmed.errors import InputError
from untrimmed.evaluation.overlap import build_table
from untrimmed.evaluation.protocols import DENSE, PROTOCOLS
from untrimmed.evaluation.recall import average_recall, recall_at_k
from untrimmed.types import Annotations, Detections, Instances, Video

TRUTH = Annotations.of(
    [
        Video("v", "test", instances=Instances(np.array([[0.0, 10], [20, 30]]), ("x", "y"))),
        Video("w", "test", instances=Instances(np.array([[0.0, 10]]), ("x",))),
        Video("background", "test"),
    ]
)


def test_labels_do_not_matter_to_average_recall():
    rows = [("v", None, 0, 10, 0.9), ("v", "z", 20, 30, 0.8), ("w", "y", 0, 10, 0.1)]
    result = average_recall(Detections.of(rows), TRUTH)
    assert result.tious == DENSE
    assert result.at(100) == 1.0
    # Three proposals in two videos: an average of one takes a share of 2/3 of each, so one of v and none of w.
    assert result.at(1) == pytest.approx(1 / 3)
    assert result.recall.shape == (10, 100)


def test_area_of_perfect_proposals():
    rows = [("v", None, 0, 10, 0.9), ("w", None, 0, 10, 0.9)]
    truth = Annotations.of(
        Video(name, "test", instances=Instances(np.array([[0.0, 10]]), ("x",))) for name in ("v", "w")
    )
    result = average_recall(Detections.of(rows), truth)
    assert result.average.tolist() == [1.0] * 100
    # The curve begins at one proposal per video: 99 of 100 is the most there is, as in the challenge.
    assert result.area == pytest.approx(99.0)
    assert str(result).startswith("AR@1 100.00  AR@5 100.00")
    assert result.to_dict()["at"].keys() == {"1", "5", "10", "50", "100"}


def test_the_share_is_counted_over_videos_with_instances():
    rows = [("v", None, 0, 10, 0.9), ("v", None, 20, 30, 0.8), ("v", None, 50, 60, 0.7), ("v", None, 50, 60, 0.6)]
    rows.append(("w", None, 0, 10, 0.5))
    # Five proposals for two such videos: one per video on average is 2/5 of each, so one of v and none of w.
    assert average_recall(Detections.of(rows), TRUTH, largest=1).average.tolist() == [pytest.approx(1 / 3)]


def test_no_proposals():
    result = average_recall(Detections.empty(), TRUTH)
    assert result.area == 0.0
    assert average_recall(Detections.of([("elsewhere", "x", 0, 1, 0.5)]), TRUTH).area == 0.0


def test_short_curve():
    result = average_recall(Detections.empty(), TRUTH, largest=7)
    assert result.to_dict()["at"] == {"1": 0.0, "5": 0.0}
    with pytest.raises(InputError, match="goes to 7"):
        result.at(50)


def test_recall_at_k_by_hand():
    rows = [("v", "x", 50, 60, 0.9), ("v", "x", 0, 10, 0.8), ("v", "y", 20, 30, 0.1), ("w", "x", 0, 6, 0.5)]
    table = build_table(Detections.of(rows), TRUTH, PROTOCOLS["activitynet"], lowest=0.5)
    result = recall_at_k(table, (0.5, 0.75), (1, 2))
    assert result.per_class.tolist() == [[[0.5, 1.0], [0.0, 1.0]], [[1.0, 1.0], [0.5, 1.0]]]
    assert result.to_dict() == {"1": {"0.5": 0.75, "0.75": 0.5}, "2": {"0.5": 1.0, "0.75": 0.75}}


def test_errors():
    table = build_table(Detections.empty(), TRUTH, PROTOCOLS["activitynet"], lowest=0.5)
    for ks in ((), (0, 1)):
        with pytest.raises(InputError, match="at least 1"):
            recall_at_k(table, (0.5,), ks)
    with pytest.raises(InputError, match="at least 1"):
        average_recall(Detections.empty(), TRUTH, largest=0)
    with pytest.raises(InputError, match="no instances"):
        average_recall(Detections.empty(), Annotations.of([Video("v", "test")]))
