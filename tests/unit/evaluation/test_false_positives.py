"""Kinds of errors and their price, on cases small enough to do by hand."""

from __future__ import annotations

import numpy as np
import pytest

from untrimmed.errors import InputError
from untrimmed.evaluation.false_positives import ERROR_TYPES, error_types, gains, profile, ranks
from untrimmed.evaluation.overlap import Matching, Table, build_table, match
from untrimmed.evaluation.protocols import PROTOCOLS
from untrimmed.types import Annotations, Detections, Instances, Video

Row = tuple[str, str, float, float, float]


def truth(**videos: list[tuple[str, float, float]]) -> Annotations:
    return Annotations.of(
        Video(
            name,
            "test",
            100.0,
            None,
            Instances(np.array([row[1:] for row in rows]).reshape(-1, 2), [row[0] for row in rows]),
        )
        for name, rows in videos.items()
    )


def scored_truth(
    annotations: Annotations, rows: list[Row], tiou: float = 0.5, protocol: str = "activitynet", background: float = 0.1
) -> list[str]:
    """The kind of each detection, in the order given."""
    table, _, kinds = prepare(annotations, rows, tiou, protocol, background)
    names = [""] * len(rows)
    for place, row in enumerate(table.row):
        names[row] = ERROR_TYPES[kinds[0, place]] if kinds[0, place] >= 0 else "excused"
    return names


def prepare(
    annotations: Annotations, rows: list[Row], tiou: float, protocol: str = "activitynet", background: float = 0.1
) -> tuple[Table, Matching, np.ndarray]:
    table = build_table(Detections.of(rows), annotations, PROTOCOLS[protocol], lowest=tiou)
    matching = match(table, [tiou])
    return table, matching, error_types(table, matching, background)


RUN = truth(v=[("run", 0, 10), ("jump", 50, 60)])


def test_each_kind() -> None:
    rows = [
        ("v", "run", 0.0, 10.0, 0.9),
        ("v", "run", 0.0, 9.0, 0.8),
        ("v", "jump", 0.0, 9.0, 0.7),
        ("v", "run", 6.0, 16.0, 0.6),
        ("v", "jump", 6.0, 16.0, 0.5),
        ("v", "run", 30.0, 40.0, 0.4),
        ("v", "run", 9.0, 20.0, 0.3),
    ]
    assert scored_truth(RUN, rows) == [
        "true positive",
        "double detection",
        "wrong label",
        "localization",
        "confusion",
        "background",
        "background",
    ]


def test_a_detection_in_a_video_without_truth_is_background_whatever_came_before() -> None:
    # The released DETAD judges the second and later detections of such a video by the previous video's instances.
    annotations = truth(a=[("run", 0, 10)], b=[])
    rows = [("a", "run", 0.0, 10.0, 0.9), *[(name, "run", 0.0, 10.0, 0.5) for name in ("b", "b", "c", "c", "c")]]
    assert scored_truth(annotations, rows) == ["true positive", *["background"] * 5]


def test_of_two_equal_overlaps_the_own_class_counts() -> None:
    annotations = truth(v=[("cliff diving", 0, 10), ("diving", 0, 10)])
    rows = [
        ("v", "diving", 0.0, 10.0, 0.9),
        ("v", "diving", 0.0, 9.0, 0.8),
        ("v", "cliff diving", 5.0, 15.0, 0.8),
        ("v", "diving", 5.0, 15.0, 0.7),
    ]
    assert scored_truth(annotations, rows) == ["true positive", "double detection", "localization", "localization"]


def test_of_two_overlaps_the_larger_counts() -> None:
    annotations = truth(v=[("run", 0, 10), ("jump", 4, 14)])
    assert scored_truth(annotations, [("v", "run", 4.0, 15.0, 0.9)]) == ["wrong label"]


@pytest.mark.parametrize(("protocol", "kind"), [("activitynet", "wrong label"), ("thumos14", "confusion")])
def test_a_tiou_equal_to_the_threshold_is_over_it_only_for_activitynet(protocol: str, kind: str) -> None:
    assert scored_truth(RUN, [("v", "jump", 0.0, 5.0, 0.9)], protocol=protocol) == [kind]


def test_official_090_counts_as_in_the_matching() -> None:
    # 0.8999999999999999 is what ActivityNet compares with where it says 0.9.
    annotations = truth(v=[("run", 0, 10), ("jump", 90, 99)])
    rows = [("v", "run", 0.0, 9.0, 0.9), ("v", "run", 0.0, 9.0, 0.8)]
    assert scored_truth(annotations, rows, tiou=0.9) == ["true positive", "double detection"]


def test_the_border_of_background_belongs_to_localization_and_can_move() -> None:
    row = [("v", "run", 0.0, 1.0, 0.9)]
    assert scored_truth(RUN, row) == ["localization"]
    assert scored_truth(RUN, row, background=0.2) == ["background"]
    assert scored_truth(RUN, row, tiou=0.05, background=0.2) == ["true positive"]
    with pytest.raises(InputError, match="threshold"):
        scored_truth(RUN, row, background=0.0)


def test_excused_detections_have_no_kind_and_no_rank() -> None:
    annotations = truth(v=[("run", 0, 10), ("Ambiguous", 40, 50)])
    rows = [("v", "run", 41.0, 60.0, 0.9), ("v", "run", 0.0, 10.0, 0.8), ("v", "run", 70.0, 80.0, 0.7)]
    assert scored_truth(annotations, rows, protocol="thumos14") == ["excused", "true positive", "background"]
    table, _, kinds = prepare(annotations, rows, 0.5, "thumos14")
    assert ranks(table, kinds)[0, np.argsort(table.row)].tolist() == [-1, 0, 1]
    assert profile(table, kinds, ranks(table, kinds), 2)[0].tolist() == [[1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1]]


def test_slices_are_as_long_as_the_class_has_instances() -> None:
    annotations = truth(v=[("run", 0, 10), ("run", 20, 30), ("jump", 50, 60)])
    rows = [
        ("v", "run", 0.0, 10.0, 0.9),
        ("v", "run", 0.0, 9.0, 0.8),
        ("v", "run", 20.0, 30.0, 0.7),
        ("v", "run", 80.0, 90.0, 0.6),
        ("v", "run", 80.0, 90.0, 0.5),
        ("v", "jump", 50.0, 60.0, 0.1),
        ("v", "jump", 80.0, 90.0, 0.0),
    ]
    table, matching, kinds = prepare(annotations, rows, 0.5)
    rank = ranks(table, kinds)
    assert rank[0, np.argsort(table.row)].tolist() == [0, 1, 2, 3, 4, 0, 1]
    assert profile(table, kinds, rank, 3)[0].tolist() == [[2, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 2], [0, 0, 0, 0, 0, 1]]

    # run: the hits stand at ranks 1 and 3; with N = 1.5 precision is 1 and 1.5 / 2.5. jump: 1.
    base, gained = gains(table, matching, kinds, rank, 3, 1.5)
    assert base[0] == pytest.approx(((1 + 0.6) / 2 + 1) / 2)
    assert gained[0].tolist() == pytest.approx([0.1, 0.0, 0.0, 0.0, 0.0])
    # Of one slice alone, the second hit of run is not among the best.
    base, gained = gains(table, matching, kinds, rank, 1, 1.5)
    assert base[0] == pytest.approx((0.5 + 1) / 2)
    assert gained[0].tolist() == pytest.approx([0.0] * 5)


def test_no_detections_at_all() -> None:
    table = build_table(Detections.empty(), RUN, PROTOCOLS["activitynet"], lowest=0.5)
    matching = match(table, [0.5])
    kinds = error_types(table, matching)
    rank = ranks(table, kinds)
    assert kinds.shape == rank.shape == (1, 0)
    assert profile(table, kinds, rank, 4).sum() == 0
    base, gained = gains(table, matching, kinds, rank, 4, 1.0)
    assert base.tolist() == [0.0]
    assert gained.tolist() == [[0.0] * 5]
