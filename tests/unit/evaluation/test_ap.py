"""Average precision: cases by hand, and its arguments."""

from __future__ import annotations

import numpy as np
import pytest

from untrimmed.errors import InputError
from untrimmed.evaluation.ap import average_precision, mean_ap, weighted_average_precision
from untrimmed.evaluation.overlap import build_table, match
from untrimmed.evaluation.protocols import PROTOCOLS
from untrimmed.types import Annotations, Detections, Instances, Video

TRUTH = Annotations.of(
    [Video("v", "test", instances=Instances(np.array([[0.0, 10], [20, 30], [40, 50]]), ("x", "x", "y")))]
)
ROWS = [("v", "x", 60, 70, 0.9), ("v", "x", 0, 10, 0.8), ("v", "x", 80, 90, 0.7), ("v", "x", 20, 30, 0.6)]


def prepared(rule):
    table = build_table(Detections.of(ROWS), TRUTH, PROTOCOLS[rule], lowest=0.5)
    return table, match(table, [0.5])


def test_areas_by_hand():
    # wrong, right, wrong, right: precision 1/2 at the first, 2/4 at the second.
    assert average_precision(*prepared("thumos14")).tolist() == [[(0.5 + 0.5) / 2, 0.0]]
    rows = [ROWS[1], ROWS[0], ROWS[2], ROWS[3]]
    for rule, second in (("thumos14", 0.5), ("activitynet", 0.5)):
        table = build_table(
            Detections.of([(*r[:4], -i) for i, r in enumerate(rows)]), TRUTH, PROTOCOLS[rule], lowest=0.5
        )
        assert average_precision(table, match(table, [0.5]))[0, 0] == (1 + second) / 2
    # Interpolation lifts a precision to the highest that follows: wrong, right, right gives 2/3 twice.
    table = build_table(Detections.of([ROWS[0], ROWS[1], ROWS[3]]), TRUTH, PROTOCOLS["activitynet"], lowest=0.5)
    assert average_precision(table, match(table, [0.5]))[0, 0] == pytest.approx(2 / 3)
    table = build_table(Detections.of([ROWS[0], ROWS[1], ROWS[3]]), TRUTH, PROTOCOLS["thumos14"], lowest=0.5)
    assert average_precision(table, match(table, [0.5]))[0, 0] == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_left_out_detections_are_as_if_they_were_not_there():
    table, matching = prepared("activitynet")
    wrong = table.scores == 0.9
    for mask in (wrong, wrong[None]):
        assert average_precision(table, matching, left_out=mask)[0, 0] == (1 + 2 / 3) / 2


def test_class_without_positive_instance_has_no_ap():
    table, matching = prepared("activitynet")
    ap = average_precision(table, matching, positive=table.instance_label == 0)
    assert np.isnan(ap[0, 1])
    assert mean_ap(ap)[0] == ap[0, 0]
    assert np.isnan(mean_ap(np.full((2, 3), np.nan))).all()


def test_weights_of_zero_take_a_video_away():
    table, matching = prepared("thumos14")
    weights = np.array([[0], [1], [2]], dtype=np.int32)
    ap = weighted_average_precision(table, matching, weights)
    assert np.isnan(ap[0]).all()
    assert ap[1, 0, 0] == 0.5
    # wrong x 2, right x 2, wrong x 2, right x 2: 1/3, 2/4, 3/7, 4/8 over four instances
    assert ap[2, 0, 0] == pytest.approx((1 / 3 + 2 / 4 + 3 / 7 + 4 / 8) / 4)


def test_errors():
    table, matching = prepared("thumos14")
    with pytest.raises(InputError, match=r"positive\.shape"):
        average_precision(table, matching, positive=np.ones(5, dtype=bool))
    with pytest.raises(InputError, match=r"left_out\.shape"):
        average_precision(table, matching, left_out=np.ones(5, dtype=bool))
    with pytest.raises(InputError, match="normalizer"):
        average_precision(table, matching, normalizer=0.0)
    with pytest.raises(InputError, match=r"weights\.shape"):
        weighted_average_precision(table, matching, np.ones((1, 5), dtype=np.int32))
