"""Where one result gained over another: by hand, and against plain loops."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from untrimmed.errors import InputError
from untrimmed.evaluation import Changes, find_changes
from untrimmed.evaluation.changes import ALIKE, COUNTS, REASONS
from untrimmed.evaluation.error_analysis import analyse_errors
from untrimmed.segments import tiou_scalar
from untrimmed.types import Annotations, Detections, Instances, Video


def world(**videos: list[tuple[str, float, float]]) -> Annotations:
    return Annotations.of(
        Video(
            name,
            "validation",
            200.0,
            instances=Instances(
                np.array([item[1:] for item in items]).reshape(-1, 2), tuple(item[0] for item in items)
            ),
        )
        for name, items in videos.items()
    )


def keys(changes) -> list[tuple[str, int]]:
    return [(one.video, one.place) for one in changes]


TRUTH = world(
    v=[("x", 0, 10), ("x", 20, 30), ("y", 40, 50), ("y", 60, 70)],
    w=[("x", 0, 10), ("y", 100, 110)],
    alone=[("x", 5, 15)],
)
A = [
    *[("v", "x", 0, 10, 0.9), ("v", "x", 20, 27, 0.9), ("v", "y", 40, 50, 0.9)],
    *[("v", "x", 60, 70, 0.9), ("w", "x", 0, 4, 0.9), ("w", "y", 100, 110, 0.1)],
]
B = [
    *[("v", "x", 0, 10, 0.8), ("v", "x", 20, 30, 0.8), ("v", "y", 60, 69, 0.8)],
    *[("w", "x", 0, 9, 0.7), ("w", "y", 100, 110, 0.8), ("alone", "x", 5, 15, 0.6), ("nowhere", "x", 0, 1, 0.9)],
]


def hand(a=A, b=B, truth=TRUTH, **options) -> Changes:
    return find_changes(Detections.of(a), Detections.of(b), truth, **{"thresholds": (0.5, 0.5), **options})


def test_by_hand():
    changes = hand()
    # By difference of tIoU and then by score: of w/y and of the video that B alone has, A shows nothing.
    assert keys(changes.gained) == [("w", 1), ("alone", 0), ("v", 3), ("w", 0)]
    assert [one.a.reason for one in changes.gained] == ["low score", "nothing", "wrong label", "too little overlap"]
    assert [one.difference for one in changes.gained] == pytest.approx([1, 1, 0.9, 0.5])
    assert keys(changes.lost) == [("v", 2)]
    assert changes.lost[0].b.reason == "nothing"
    assert keys(changes.better) == [("v", 1)]
    assert (changes.better[0].a.tiou, changes.better[0].b.tiou) == pytest.approx((0.7, 1.0))
    assert changes.worse == ()
    assert changes.counts == {
        **{"instances": 7, "found_a": 3, "found_b": 6, "gained": 4, "lost": 1, "better": 1, "worse": 0},
        **{"found_both": 2, "missed_both": 0, "alike": 1},
    }
    assert changes.per_class["y"] == dict(zip(COUNTS, (3, 1, 2, 2, 1, 0, 0), strict=True))
    low, wrong = changes.gained[0], changes.gained[2]
    assert [(each.score, each.shown) for each in low.a.detections] == [(0.1, False)]
    assert [(each.label, each.start, each.end, each.tiou) for each in wrong.a.detections] == [("x", 60, 70, 1.0)]
    assert changes.reasons[0]["nothing"] == 1
    assert sum(changes.reasons[0].values()) == 4
    a, b = changes.shown
    assert (a.detections, a.right, a.wrong, b.detections, b.right, b.wrong) == (5, 3, 2, 6, 6, 0)
    assert (a.precision, a.recall, a.f1) == pytest.approx((3 / 5, 3 / 7, 6 / 12))


def test_swapped_sides_swap_everything():
    one, other = hand(), hand(B, A)
    assert keys(one.gained) == keys(other.lost)
    assert keys(one.lost) == keys(other.gained)
    assert keys(one.better) == keys(other.worse)
    assert one.reasons == other.reasons[::-1]
    assert [(each.a, each.b) for each in one.gained] == [(each.b, each.a) for each in other.lost]


def test_the_same_result_changes_nothing():
    changes = hand(A, A)
    assert (changes.gained, changes.lost, changes.better, changes.worse) == ((), (), (), ())
    assert changes.counts["alike"] == 3


def test_ties_are_ranked_by_score_and_then_by_place():
    truth = world(v=[("x", 0, 10), ("x", 20, 30), ("x", 40, 50)], u=[("x", 0, 10)])
    some = [("v", "x", 0, 10, 0.6), ("v", "x", 20, 30, 0.9), ("v", "x", 40, 50, 0.6), ("u", "x", 0, 10, 0.6)]
    changes = hand([("v", "x", 90, 99, 0.9)], some, truth)
    assert keys(changes.gained) == [("v", 1), ("u", 0), ("v", 0), ("v", 2)]
    assert keys(hand([("v", "x", 90, 99, 0.9)], some[::-1], truth).gained) == keys(changes.gained)


def test_one_detection_over_two_instances():
    truth = world(v=[("x", 0, 10), ("x", 10, 18), ("y", 0, 18)])
    changes = hand([("v", "x", 0, 18, 0.9)], [("v", "x", 0, 10, 0.9), ("v", "x", 10, 18, 0.9)], truth, tiou=0.4)
    (gained,) = changes.gained
    assert (gained.place, gained.a.reason, gained.a.tiou) == (1, "found another", pytest.approx(8 / 18))
    assert gained.others == (("x", 0.0, 10.0), ("y", 0.0, 18.0))
    assert keys(changes.better) == [("v", 0)]


def test_a_detection_that_found_an_instance_is_no_wrong_label():
    """THUMOS14 has every CliffDiving as Diving too."""
    truth = world(v=[("cliff", 0, 10), ("dive", 0, 10)])
    changes = hand([("v", "dive", 0, 10, 0.9)], [("v", "dive", 0, 10, 0.9), ("v", "cliff", 0, 10, 0.9)], truth)
    assert [one.a.reason for one in changes.gained] == ["nothing"]


def test_detections_without_label_find_nothing_but_are_seen():
    changes = hand([("v", None, 0, 10, 0.9)], B)
    assert changes.counts["found_a"] == 0
    first = next(one for one in changes.gained if (one.video, one.place) == ("v", 0))
    assert (first.a.reason, first.a.detections[0].label) == ("wrong label", None)


def test_nothing_is_found_by_empty_results():
    changes = find_changes(Detections.empty(), Detections.of(B), TRUTH)
    assert changes.counts["gained"] == changes.counts["found_b"] == 6
    assert changes.shown[0].precision == 1.0
    assert changes.shown[0].f1 == 0.0
    none = find_changes(Detections.empty(), Detections.empty(["v"]), TRUTH)
    assert none.counts["missed_both"] == 7


def test_videos_that_either_was_trained_on_are_left_out():
    trained = replace(Detections.of(A), trained_on=("v",))
    changes = find_changes(trained, Detections.of(B), TRUTH, thresholds=(0.5, 0.5))
    assert keys(changes.gained) == [("w", 1), ("alone", 0), ("w", 0)]
    assert changes.shown[1].detections == 3
    assert not changes.only_training
    every = replace(Detections.of(A), trained_on=tuple(TRUTH.videos))
    assert find_changes(every, Detections.of(B), TRUTH, thresholds=(0.5, 0.5)).only_training


def test_a_score_at_the_threshold_of_the_best_f1_is_shown():
    rows = [("v", "x", 0, 10, 0.9), ("v", "x", 20, 30, 0.3), *[("v", "x", 90, 99, 0.295)] * 9]
    changes = find_changes(Detections.of(rows), Detections.of(rows[:1]), TRUTH)
    assert changes.shown[0].threshold == pytest.approx(0.3)
    assert (changes.shown[0].right, changes.shown[0].wrong) == (2, 0)
    assert keys(changes.lost) == [("v", 1)]


def test_json():
    data = json.loads(json.dumps(hand().to_dict(), allow_nan=False))
    assert data["gained"][0]["a"]["detections"][0]["shown"] is False
    assert data["counts"]["gained"] == len(data["gained"]) == 4
    assert data["missed_because"]["a"].keys() == set(REASONS)
    assert data["shown"]["b"]["threshold"] == 0.5


def test_errors():
    with pytest.raises(InputError, match="tIoU threshold 0"):
        hand(tiou=0.0)
    with pytest.raises(InputError, match="threshold nan"):
        hand(thresholds=(0.5, float("nan")))
    with pytest.raises(InputError, match="no instances"):
        hand(truth=world(v=[]))
    with pytest.raises(InputError, match="unknown protocol"):
        hand(protocol="nothing")


# The plain way ---------------------------------------------------------------------------------------------------


def invented(seed: int) -> tuple[Detections, Detections, Annotations]:
    generator = np.random.default_rng(seed)
    videos: dict[str, list[tuple[str, float, float]]] = {}
    rows: list[list] = [[], []]
    for number in range(7):
        items = []
        for _ in range(int(generator.integers(0, 8))):
            start = round(float(generator.uniform(0, 40)), 1)
            label = ["x", "y", "z", "Ambiguous"][generator.integers(4)]
            items.append((label, start, start + round(float(generator.uniform(0, 12)), 1)))
            if generator.random() < 0.4:  # another one close to it, so that one detection may overlap both
                items.append((label, start + 3, start + 11))
        videos[f"v{number}"] = items
        for side in (0, 1):
            if number == 5 + side:  # a video of one result alone
                continue
            for _ in range(15):
                start, end = generator.uniform(0, 50), 0.0
                end = start + generator.uniform(-1, 12)
                if items and generator.random() < 0.8:
                    label, start, end = items[generator.integers(len(items))]
                    start, end = start + generator.integers(-3, 4), end + generator.integers(-3, 4)
                if generator.random() < 0.3 or not items or label == "Ambiguous":
                    label = ["x", "y", "z", "unknown", None][generator.integers(5)]
                rows[side].append(
                    (f"v{number}", label, float(start), float(end), float(generator.integers(1, 40)) / 40)
                )
    rows[1].append(("nowhere", "x", 0.0, 1.0, 0.5))
    return Detections.of(rows[0]), Detections.of(rows[1]), world(**videos)


def plain_finders(rows: list, truth: Annotations, rule: str, tiou: float) -> dict[tuple[str, int], int]:
    """Instance -> place of the row that finds it."""
    found: dict[tuple[str, int], int] = {}
    if rule == "activitynet":
        for at in sorted(range(len(rows)), key=lambda at: -rows[at][4]):
            video, label, start, end, _ = rows[at]
            best, highest = None, 0.0
            for place, (name, segment) in enumerate(
                zip(truth.videos[video].instances.labels, truth.videos[video].instances.segments, strict=True)
            ):
                overlap = tiou_scalar(start, end, *segment)
                if name == label and (video, place) not in found and overlap >= tiou and overlap > highest:
                    best, highest = place, overlap
            if best is not None:
                found[video, best] = at
        return found
    for video in truth:
        for place, (name, segment) in enumerate(zip(video.instances.labels, video.instances.segments, strict=True)):
            best, highest = None, tiou
            for at in sorted(range(len(rows)), key=lambda at: -rows[at][4]):
                overlap = tiou_scalar(rows[at][2], rows[at][3], *segment)
                if rows[at][0] == video.id and rows[at][1] == name and at not in found.values() and overlap > highest:
                    best, highest = at, overlap
            if best is not None:
                found[video.id, place] = best
    return found


def plain_answer(rows: list, shown: list[bool], finder: dict, key: tuple[str, int], truth: Annotations, strict: bool):
    """Reason, tIoU and rows of an answer at tIoU 0.5."""
    video, place = key
    label, segment = truth.videos[video].instances.labels[place], truth.videos[video].instances.segments[place]
    if key in finder:
        at = finder[key]
        return "found", tiou_scalar(rows[at][2], rows[at][3], *segment), [at]
    near = used = other = low = None
    for at, (name, own, start, end, score) in enumerate(rows):
        overlap = tiou_scalar(start, end, *segment)
        if name != video or overlap < 0.1:
            continue
        enough = overlap > 0.5 or (overlap == 0.5 and not strict)
        busy = at in finder.values()
        if shown[at] and own == label and not busy:
            near = max(near or (0,), (overlap, score, -at))
        elif shown[at] and own == label:
            used = max(used or (0,), (overlap, score, -at))
        elif shown[at] and not busy:
            other = max(other or (0,), (overlap, score, -at))
        elif not shown[at] and own == label and enough:
            low = max(low or (-9,), (score, overlap, -at))
    nearest = near or used
    if other and (other[0] > 0.5 or (other[0] == 0.5 and not strict)):
        reason = "wrong label"
    elif near:
        reason = "too little overlap"
    elif used:
        reason = "found another"
    elif low:
        reason = "low score"
    else:
        reason = "confusion" if other else "nothing"
    return reason, nearest[0] if nearest else 0.0, [-each[2] for each in (nearest, other, low) if each]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("protocol", ["activitynet", "thumos14"])
@pytest.mark.parametrize("best", [False, True])
def test_the_plain_way(seed: int, protocol: str, best: bool) -> None:
    *both, truth = invented(seed)
    changes = find_changes(*both, truth, protocol, thresholds=None if best else (0.45, 0.3))
    rows = [[row for row in one.rows() if row[0] in truth.videos] for one in both]
    cuts = [analyse_errors(one, truth, protocol).best for one in both] if best else [0.45, 0.3]
    assert [one.threshold for one in changes.shown] == cuts
    shown = [[row[4] >= cut - 1e-9 for row in every] for every, cut in zip(rows, cuts, strict=True)]
    finders = []
    for every, kept in zip(rows, shown, strict=True):
        places = [at for at, is_kept in enumerate(kept) if is_kept]
        found = plain_finders([every[at] for at in places], truth, protocol, 0.5)
        finders.append({key: places[at] for key, at in found.items()})
    expected: dict[str, list] = {"gained": [], "lost": [], "better": [], "worse": []}
    alike = missed = 0
    for video in truth:
        for place, label in enumerate(video.instances.labels):
            if label == "Ambiguous":
                continue
            key = (video.id, place)
            a, b = (
                plain_answer(rows[side], shown[side], finders[side], key, truth, protocol == "thumos14")
                for side in (0, 1)
            )
            found = (a[0] == "found", b[0] == "found")
            kind = {(False, True): "gained", (True, False): "lost"}.get(found, "")
            if found == (True, True):
                if abs(a[1] - b[1]) < ALIKE:
                    alike += 1
                else:
                    kind = "better" if b[1] > a[1] else "worse"
            missed += found == (False, False)
            if kind:
                side = 1 if kind in ("gained", "better") else 0
                score = rows[side][(a, b)[side][2][0]][4]
                expected[kind].append((-(b[1] - a[1]) * (1 if side else -1), -score, video.id, place, a, b))
    for kind, every in expected.items():
        got = [
            (
                one.video,
                one.place,
                *(
                    (each.reason, each.tiou, [(c.label, c.start, c.end, c.score, c.shown) for c in each.detections])
                    for each in (one.a, one.b)
                ),
            )
            for one in getattr(changes, kind)
        ]
        wanted = [
            (
                video,
                place,
                *(
                    (reason, share, [(*rows[side][at][1:], shown[side][at]) for at in places])
                    for side, (reason, share, places) in enumerate((a, b))
                ),
            )
            for _, _, video, place, a, b in sorted(every, key=lambda item: item[:4])
        ]
        assert got == wanted, kind
    assert (changes.counts["alike"], changes.counts["missed_both"]) == (alike, missed)
    assert sum(map(len, expected.values())) > 3


def test_the_invented_worlds_have_every_reason() -> None:
    seen = set()
    for seed in range(6):
        a, b, truth = invented(seed)
        for reasons in find_changes(a, b, truth, thresholds=(0.45, 0.3)).reasons:
            seen |= {name for name, count in reasons.items() if count}
    assert seen == set(REASONS)
