"""Equal scores within a class: counted, and what their order can make, against all orders tried one by one."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from untrimmed.evaluation import evaluate
from untrimmed.evaluation.ap import ap_range, average_precision, tied
from untrimmed.evaluation.notes import find_ties
from untrimmed.evaluation.overlap import build_table, match
from untrimmed.evaluation.protocols import PROTOCOLS
from untrimmed.formats import read_annotations, read_detections
from untrimmed.types import Annotations, Detections, Instances, Video


def truth(*videos: str, ambiguous: bool = False) -> Annotations:
    extra = [[40, 50]] if ambiguous else []
    labels = ("run", *(["Ambiguous"] if ambiguous else []))
    return Annotations.of(Video(name, "", instances=Instances([[0, 10], *extra], labels)) for name in videos)


def table_of(rows, annotations, protocol, tious=(0.5,)):
    table = build_table(Detections.of(rows), annotations, PROTOCOLS[protocol], lowest=tious[0])
    return table, match(table, tious)


@pytest.mark.parametrize("protocol", ["activitynet", "thumos14"])
def test_two_of_one_score(protocol: str) -> None:
    rows = [("a", "run", 0, 10, 0.9), ("a", "run", 20, 30, 0.5), ("b", "run", 0, 10, 0.5), ("b", "jump", 1, 2, 0.5)]
    table, matching = table_of(rows, truth("a", "b"), protocol)
    assert table.row[tied(table)].tolist() == [1, 2]  # the score of another class is no tie
    assert average_precision(table, matching).tolist() == [[(1 + 2 / 3) / 2]]
    assert [ap.tolist() for ap in ap_range(table, matching)] == [[[(1 + 2 / 3) / 2]], [[1.0]]]
    ties = find_ties(table, matching)
    assert (ties.detections, ties.mAP) == (2, {"0.5": ((1 + 2 / 3) / 2, 1.0)})


def test_excused_detections_stand_in_nobodys_way() -> None:
    rows = [("a", "run", 41, 42, 0.5), ("a", "run", 0, 10, 0.5), ("a", "run", 20, 30, 0.5)]
    table, matching = table_of(rows, truth("a", ambiguous=True), "thumos14")
    assert matching.dropped.sum() == 1
    assert [ap.tolist() for ap in ap_range(table, matching)] == [[[0.5]], [[1.0]]]


def test_without_ties_the_order_is_that_of_the_scores() -> None:
    rows = [("a", "run", 20, 30, 0.9), ("b", "run", 0, 10, 0.5)]
    table, matching = table_of(rows, truth("a", "b"), "activitynet")
    assert find_ties(table, matching).to_dict() == {"detections": 0, "mAP": {}}
    assert [ap.tolist() for ap in ap_range(table, matching)] == [[[0.25]]] * 2
    empty, nothing = table_of([], truth("a"), "activitynet")
    assert [ap.tolist() for ap in ap_range(empty, nothing)] == [[[0.0]]] * 2
    assert not tied(empty).any()


detection = st.tuples(
    st.sampled_from("ab"), st.sampled_from([(0, 10), (2, 10), (20, 30), (41, 45)]), st.sampled_from([0.2, 0.5])
)


@pytest.mark.parametrize("protocol", ["activitynet", "thumos14", "thumos14-papers"])
@settings(max_examples=60, deadline=None)
@given(given_rows=st.lists(detection, min_size=1, max_size=6))
def test_the_range_is_that_of_all_orders_with_one_matching(protocol, given_rows) -> None:
    """AP by a loop over every order of equal scores, with the flags of the matching held."""
    rows = [(video, "run", *segment, score) for video, segment, score in given_rows]
    tious = (0.5, 0.9)
    table, matching = table_of(rows, truth("a", "b", ambiguous=True), protocol, tious)
    lowest, highest = ap_range(table, matching)
    for t in range(len(tious)):
        flags = [
            (float(table.scores[d]), bool(matching.instance[t, d] >= 0))
            for d in range(len(table.row))
            if not matching.dropped[t, d]
        ]
        groups = [[flag for score, flag in flags if score == wanted] for wanted in (0.5, 0.2)]
        values = [
            slow_area([*first, *second], 2, table.protocol.rule == "activitynet")
            for first in set(itertools.permutations(groups[0]))
            for second in set(itertools.permutations(groups[1]))
        ]
        assert highest[t, 0] == pytest.approx(max(values), abs=1e-12)
        assert lowest[t, 0] == pytest.approx(min(values), abs=1e-12)


def slow_area(flags: list[bool], positives: int, interpolated: bool) -> float:
    precision = [sum(flags[: place + 1]) / (place + 1) for place in range(len(flags))]
    points = [place for place, flag in enumerate(flags) if flag]
    if interpolated:
        return sum(max(precision[place:]) for place in points) / positives
    return sum(precision[place] for place in points) / positives


def test_real_detections_with_many_ties(shared_data: Path) -> None:
    """S-CNN's: 21.65 in the order of the file, 21.35 in the reverse."""
    annotations = read_annotations(shared_data / "thumos14" / "annotations.json")
    found = read_detections(shared_data / "oracles" / "scnn_thumos14" / "results_tiou0.5.json.gz")
    result = evaluate(found, annotations, "thumos14-papers", tious=[0.5])
    assert result.notes.ties.detections == 7270
    assert result.counts["detections_used"] == 24244
    low, high = result.notes.ties.mAP["0.5"]
    backwards = evaluate(found.select(np.arange(len(found))[::-1]), annotations, "thumos14-papers", tious=[0.5])
    assert (round(100 * result.mAP[0], 2), round(100 * backwards.mAP[0], 2)) == (21.65, 21.35)
    assert low < backwards.mAP[0] < result.mAP[0] < high
    assert (
        "- 7270 detections of 24244 share their score with another of their class: by order alone, mAP can lie"
        in str(result)
    )
