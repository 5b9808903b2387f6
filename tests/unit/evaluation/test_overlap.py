"""The table and the matching, on cases small enough to check by hand."""

from __future__ import annotations

import numpy as np
import pytest

from untrimmed.errors import InputError
from untrimmed.evaluation.overlap import build_table, match, pairs_in_video
from untrimmed.evaluation.protocols import PROTOCOLS
from untrimmed.types import Annotations, Detections, Instances, Video


def truth(**videos):
    return Annotations.of(
        Video(
            name,
            "test",
            instances=Instances(
                np.array([row[1:] for row in rows], dtype=float).reshape(-1, 2), [row[0] for row in rows]
            ),
        )
        for name, rows in videos.items()
    )


def found(rule, rows, instances, *tious):
    """Per threshold and row of the input, the place of the instance found, or None."""
    table = build_table(Detections.of(rows), truth(v=instances), PROTOCOLS[rule], lowest=min(tious))
    matching = match(table, tious)
    result = []
    for instance in matching.instance:
        line = dict.fromkeys(range(len(rows)))
        line |= {int(row): int(table.instance_index[g]) for row, g in zip(table.row, instance, strict=True) if g >= 0}
        result.append([line[i] for i in range(len(rows))])
    return result


def test_activitynet_tries_the_next_instance_when_the_best_is_taken():
    instances = [("x", 0, 10), ("x", 2, 10)]
    rows = [("v", "x", 0, 10, 0.9), ("v", "x", 0, 10, 0.8), ("v", "x", 0, 10, 0.7)]
    assert found("activitynet", rows, instances, 0.5) == [[0, 1, None]]


def test_thumos14_lets_each_instance_claim_its_best_detection():
    instances = [("x", 0, 10), ("x", 2, 10)]
    rows = [("v", "x", 0, 9, 0.9), ("v", "x", 2, 10, 0.8), ("v", "x", 0, 10, 0.1)]
    # The first instance takes the detection that fits best, though its score is the lowest.
    assert found("thumos14", rows, instances, 0.5) == [[None, 1, 0]]


def test_a_threshold_met_exactly():
    instances, rows = [("x", 0, 10)], [("v", "x", 0, 5, 0.9)]
    assert found("activitynet", rows, instances, 0.5) == [[0]]
    assert found("thumos14", rows, instances, 0.5) == [[None]]
    assert found("thumos14", rows, instances, 0.4, 0.5) == [[0], [None]]


def test_activitynet_accepts_what_its_0_9_accepts():
    below = 0.8999999999999999
    assert found("activitynet", [("v", "x", 0, below, 0.9)], [("x", 0, 1)], 0.9) == [[0]]
    assert found("thumos14", [("v", "x", 0, below, 0.9)], [("x", 0, 1)], 0.9) == [[None]]


def test_ties_of_score_keep_their_order():
    instances = [("x", 0, 10)]
    rows = [("v", "x", 0, 9, 0.5), ("v", "x", 0, 10, 0.5)]
    assert found("activitynet", rows, instances, 0.5) == [[0, None]]
    # Equal overlap, equal score: the first detection of the file.
    assert found("thumos14", [("v", "x", 0, 10, 0.5)] * 2, instances, 0.5) == [[0, None]]


def test_ties_of_overlap_take_the_first_instance():
    instances, rows = [("x", 0, 10), ("x", 10, 20)], [("v", "x", 5, 15, 0.5)]
    assert found("activitynet", rows, instances, 0.3) == [[0]]
    assert found("activitynet", [*rows, ("v", "x", 5, 15, 0.4)], instances, 0.3) == [[0, 1]]


def test_order_of_ties_over_videos():
    rows = [("b", "x", 0, 1, 0.5), ("a", "x", 0, 1, 0.5), ("b", "x", 1, 2, 0.9)]
    instances = truth(b=[("x", 0, 1)], a=[("x", 0, 1)])
    orders = {}
    for rule in ("activitynet", "thumos14"):
        table = build_table(Detections.of(rows), instances, PROTOCOLS[rule], lowest=0.5)
        orders[rule] = table.row[table.order].tolist()
    assert orders == {"activitynet": [2, 0, 1], "thumos14": [2, 1, 0]}


def test_ambiguous_excuses_only_what_found_nothing():
    instances = [("x", 0, 10), ("Ambiguous", 20, 30), ("Ambiguous", 5, 6), ("Ambiguous", 40, 40)]
    rows = [
        ("v", "x", 0, 10, 0.9),  # finds the instance, though it touches an Ambiguous segment
        ("v", "x", 29, 50, 0.8),  # touches one
        ("v", "x", 30, 39, 0.7),  # begins where it ends
        ("v", "x", 39, 41, 0.6),  # holds one without length
        ("v", "x", 25, 22, 0.5),  # is reversed
        ("w", "x", 20, 30, 0.4),  # is in another video
    ]
    table = build_table(Detections.of(rows), truth(v=instances), PROTOCOLS["thumos14"], lowest=0.5)
    matching = match(table, [0.5])
    assert table.classes == ("x",)
    assert table.row[matching.dropped[0]].tolist() == [1]
    assert sorted(table.row[matching.false_positive[0]].tolist()) == [2, 3, 4, 5]
    assert table.ambiguous_count == 3
    # By ActivityNet's rule it excuses nothing, and is no class either.
    other = build_table(Detections.of(rows), truth(v=instances), PROTOCOLS["activitynet"], lowest=0.5)
    assert other.classes == ("x",)
    assert not other.ambiguous.any()
    assert (other.ambiguous_count, other.ignored) == (0, {"Ambiguous": 3})
    assert (table.ambiguous_count, table.ignored) == (3, {})
    assert not match(other, [0.5]).dropped.any()


def test_what_is_left_out_is_counted():
    rows = [("v", "X", 0, 1, 0.5), ("v", None, 0, 1, 0.5), ("v", "X", 0, 1, 0.5), ("w", "x", 0, 1, 0.5)]
    table = build_table(
        Detections.of(rows, video_ids=["silent"]), truth(v=[("x", 0, 1)]), PROTOCOLS["activitynet"], lowest=0.5
    )
    assert table.unknown == {"X": 2}
    assert table.unlabelled == 1
    assert table.row.tolist() == [3]
    assert table.videos == ("v", "w")
    assert table.in_truth.tolist() == [True, False]


def test_no_detections_at_all():
    table = build_table(Detections.empty(["v"]), truth(v=[("x", 0, 1)]), PROTOCOLS["thumos14"], lowest=0.1)
    assert match(table, [0.1, 0.5]).instance.shape == (2, 0)
    assert len(pairs_in_video(table, lowest=0.1).tiou) == 0


def test_pairs_in_a_video_cross_classes():
    rows = [("v", "x", 0, 10, 0.9), ("w", "x", 0, 10, 0.9)]
    table = build_table(
        Detections.of(rows),
        truth(v=[("y", 0, 9), ("x", 0, 5), ("y", 9, 10)], w=[]),
        PROTOCOLS["activitynet"],
        lowest=0.1,
    )
    pairs = pairs_in_video(table, lowest=0.2)
    assert pairs.start.tolist() == [0, 2, 2]
    assert pairs.tiou.tolist() == [0.9, 0.5]
    assert [table.classes[table.instance_label[g]] for g in pairs.instance] == ["y", "x"]
    assert table.pairs.tiou.tolist() == [0.5]


def test_lengths_have_no_rounding_noise():
    table = build_table(Detections.empty(), truth(v=[("x", 1.4, 4.4)]), PROTOCOLS["thumos14"], lowest=0.1)
    assert 4.4 - 1.4 > 3.0
    assert table.lengths.tolist() == [3.0]


def test_errors():
    instances, rows = truth(v=[("x", 0, 1)]), Detections.of([("v", "x", 0, 1, 0.5)])
    protocol = PROTOCOLS["activitynet"]
    with pytest.raises(InputError, match="no instances"):
        build_table(rows, truth(v=[]), protocol, lowest=0.5)
    with pytest.raises(InputError, match="above 0 and at most 1"):
        build_table(rows, instances, protocol, lowest=0.0)
    table = build_table(rows, instances, protocol, lowest=0.5)
    with pytest.raises(InputError, match=r"0\.4 is below the 0.5"):
        match(table, [0.4, 0.6])
    with pytest.raises(InputError, match="above 0 and at most 1"):
        pairs_in_video(table, lowest=2.0)
