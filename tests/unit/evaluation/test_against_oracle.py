"""The fast evaluator against slow ones that are written straight from the rules, one pair at a time."""

from __future__ import annotations

import os
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from untrimmed.evaluation.ap import average_precision, mean_ap, weighted_average_precision
from untrimmed.evaluation.overlap import build_table, match, pairs_in_video
from untrimmed.evaluation.protocols import PROTOCOLS, clean_tious
from untrimmed.evaluation.recall import average_recall, recall_at_k
from untrimmed.types import Annotations, Detections, Instances, Video

PROTOCOL_NAMES = ("activitynet", "thumos14")
TIOUS = (0.1, 0.2, 0.25, 0.3, 0.5, 0.6, 0.75, 0.9, 1.0)


# ---------------------------------------------------------------------------------------------- the oracles


def slow_tiou(a, b) -> float:
    """Whole seconds only: exact, then rounded once."""
    inter = min(a[1], b[1]) - max(a[0], b[0])
    if inter <= 0:
        return 0.0
    return float(Fraction(int(inter), int((a[1] - a[0]) + (b[1] - b[0]) - inter)))


def slow_flags_activitynet(rows, instances, label, tiou):
    """(score rank order) 1 right, 0 wrong; rows are (video, label, start, end, score), instances without score."""
    ranked = sorted((row for row in rows if row[1] == label), key=lambda row: -row[4])
    taken, flags, found = set(), [], []
    for row in ranked:
        tried = [
            (slow_tiou(row[2:4], item[2:4]), number)
            for number, item in enumerate(instances)
            if item[0] == row[0] and item[1] == label
        ]
        tried.sort(key=lambda pair: -pair[0])
        flag, which = 0, None
        for overlap, number in tried:
            if overlap >= tiou and overlap > 0 and number not in taken:
                taken.add(number)
                flag, which = 1, number
                break
        flags.append(flag)
        found.append(which)
    return flags, found


def slow_flags_thumos14(rows, instances, label, tiou):
    scored = []
    for video in sorted({row[0] for row in rows} | {item[0] for item in instances}):
        here = sorted((row for row in rows if row[0] == video and row[1] == label), key=lambda row: -row[4])
        free = dict.fromkeys(range(len(here)))
        finder = {}
        for number, item in enumerate(instances):
            if item[0] != video or item[1] != label:
                continue
            best, best_overlap = None, tiou
            for place in free:
                overlap = slow_tiou(here[place][2:4], item[2:4])
                if overlap > best_overlap:
                    best, best_overlap = place, overlap
            if best is not None:
                del free[best]
                finder[best] = number
        for place, row in enumerate(here):
            excused = any(
                item[0] == video and item[1] == "Ambiguous" and slow_tiou(row[2:4], item[2:4]) > 0 for item in instances
            )
            if place in finder:
                scored.append((row[4], 1, finder[place]))
            elif not excused:
                scored.append((row[4], 0, None))
    scored.sort(key=lambda item: -item[0])
    return [flag for _, flag, _ in scored], [number for _, _, number in scored]


def slow_area(flags, positives, interpolated):
    precision, recall, right = [], [], 0
    for seen, flag in enumerate(flags, start=1):
        right += flag
        precision.append(right / seen)
        recall.append(right / positives)
    if not interpolated:
        return sum(p for p, flag in zip(precision, flags, strict=True) if flag) / positives
    precision, recall = [0.0, *precision, 0.0], [0.0, *recall, 1.0]
    for i in reversed(range(len(precision) - 1)):
        precision[i] = max(precision[i], precision[i + 1])
    return sum((recall[i] - recall[i - 1]) * precision[i] for i in range(1, len(recall)))


def slow_ap(name, rows, instances, tiou, wanted=None):
    """Label -> AP. ``wanted``: instance numbers to be found; the detections of others are taken out."""
    rule = slow_flags_activitynet if name == "activitynet" else slow_flags_thumos14
    result = {}
    for label in sorted({item[1] for item in instances} - {"Ambiguous"}):
        flags, found = rule(rows, instances, label, tiou)
        mine = [n for n, item in enumerate(instances) if item[1] == label and (wanted is None or n in wanted)]
        if wanted is not None:
            flags = [f for f, n in zip(flags, found, strict=True) if n is None or n in wanted]
        result[label] = slow_area(flags, len(mine), name == "activitynet") if mine else np.nan
    return result


def slow_recall_at_k(rows, instances, tiou, k, labels):
    values = []
    for label in labels:
        hits = total = 0
        for video in {item[0] for item in instances}:
            truth = [item for item in instances if item[:2] == (video, label)]
            ranked = sorted((row for row in rows if row[:2] == (video, label)), key=lambda row: -row[4])
            first = ranked[: k * len(truth)]
            hits += sum(any(max(slow_tiou(r[2:4], t[2:4]), -1) >= tiou for r in first) for t in truth)
            total += len(truth)
        values.append(hits / total)
    return float(np.mean(values))


def slow_average_recall(rows, instances, tious, largest):
    """eval_proposal.py, in words: every video retrieves the same share of its proposals."""
    videos = sorted({item[0] for item in instances})
    ranked = {v: sorted((row for row in rows if row[0] == v), key=lambda row: -row[4]) for v in videos}
    ratio = largest * len(videos) / len(rows)
    kept = {v: ranked[v][: min(int(len(ranked[v]) * ratio), len(ranked[v]))] for v in videos}
    retrieved = sum(map(len, kept.values()))
    recall = np.zeros((len(tious), largest))
    for step in range(largest):
        share = (step + 1) / float(largest) * (largest * float(len(videos)) / max(retrieved, 1))
        for t, tiou in enumerate(tious):
            hits = 0
            for item in instances:
                pool = kept[item[0]]
                pool = pool[: min(int(len(pool) * share), len(pool))]
                hits += any(slow_tiou(row[2:4], item[2:4]) >= tiou for row in pool)
            recall[t, step] = hits / len(instances)
    return recall


# ------------------------------------------------------------------------------------------- random problems

VIDEOS = ("b", "a", "d", "c")
seconds = st.integers(0, 10)
scores = st.sampled_from([0.1, 0.2, 0.2000001, 0.5, 0.9])
detection = st.tuples(
    st.sampled_from((*VIDEOS, "elsewhere")), st.sampled_from(["x", "y", "z", "unknown"]), seconds, seconds, scores
)
instance = st.tuples(st.sampled_from(VIDEOS), st.sampled_from(["x", "x", "y", "Ambiguous"]), seconds, seconds)


@st.composite
def problems(draw):
    """Detections and instances with many ties, duplicates, empty videos, reversed and zero-length segments."""
    rows = draw(st.lists(detection, max_size=25))
    rows += draw(st.lists(st.sampled_from(rows), max_size=4)) if rows else []
    instances = [draw(instance.filter(lambda item: item[1] != "Ambiguous")), *draw(st.lists(instance, max_size=12))]
    instances += draw(st.lists(st.sampled_from(instances), max_size=2))
    return rows, instances


def annotations(instances, videos=VIDEOS) -> Annotations:
    """In the order of ``videos``, each with its instances in the order given."""
    return Annotations.of(
        Video(
            name,
            "test",
            100.0,
            instances=Instances(
                np.array([item[2:4] for item in instances if item[0] == name], dtype=float).reshape(-1, 2),
                tuple(item[1] for item in instances if item[0] == name),
            ),
        )
        for name in videos
    )


def fast_ap(name, rows, instances, tious, videos=VIDEOS, **options):
    table = build_table(Detections.of(rows), annotations(instances, videos), PROTOCOLS[name], lowest=tious[0])
    ap = average_precision(table, match(table, tious), **options)
    return [dict(zip(table.classes, row, strict=True)) for row in ap]


# More examples for a thorough run: UNTRIMMED_EXAMPLES=2000.
many = settings(
    max_examples=int(os.environ.get("UNTRIMMED_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.parametrize("name", PROTOCOL_NAMES)
@many
@given(problem=problems(), tious=st.sets(st.sampled_from(TIOUS), min_size=1).map(clean_tious))
@example(problem=([], [("a", "x", 0, 1)]), tious=(0.5,))
@example(problem=([("a", "x", 0, 1, 0.5)], [("a", "x", 0, 2)]), tious=(0.5,))
@example(problem=([("a", "x", 0, 9, 0.5)], [("a", "x", 0, 10)]), tious=(0.9,))
@example(problem=([("a", "x", 3, 3, 0.5)], [("a", "x", 3, 3)]), tious=(0.1,))
def test_ap_is_that_of_the_rule(name, problem, tious):
    rows, instances = problem
    for tiou, fast in zip(tious, fast_ap(name, rows, instances, tious), strict=True):
        slow = slow_ap(name, rows, instances, tiou)
        assert fast.keys() == slow.keys()
        for label, value in slow.items():
            assert fast[label] == pytest.approx(value, abs=1e-12), (tiou, label)


@pytest.mark.parametrize("name", PROTOCOL_NAMES)
@many
@given(problem=problems(), data=st.data())
def test_ap_of_some_instances_leaves_out_what_found_the_others(name, problem, data):
    rows, instances = problem
    # The table numbers instances anew; a length is what both sides can tell them apart by.
    longest = data.draw(st.integers(0, 10))
    wanted = {n for n, item in enumerate(instances) if item[3] - item[2] <= longest}
    table = build_table(Detections.of(rows), annotations(instances), PROTOCOLS[name], lowest=0.3)
    fast = average_precision(table, match(table, [0.3]), positive=table.lengths <= longest)[0]
    slow = slow_ap(name, rows, instances, 0.3, wanted)
    np.testing.assert_allclose(fast, [slow[label] for label in table.classes], atol=1e-12)


@pytest.mark.parametrize("name", PROTOCOL_NAMES)
@many
@given(problem=problems(), copies=st.tuples(*[st.integers(0, 3)] * 5), data=st.data())
def test_weights_are_copies_of_videos(name, problem, copies, data):
    rows, instances = problem
    if name == "thumos14":
        # There, ties between copies keep the order of the videos; without ties nothing is left to chance.
        ranks = data.draw(st.permutations(range(len(rows))))
        rows = [(*row[:4], float(rank)) for row, rank in zip(rows, ranks, strict=True)]
    count = dict(zip((*VIDEOS, "elsewhere"), copies, strict=True))
    table = build_table(Detections.of(rows), annotations(instances), PROTOCOLS[name], lowest=0.3)
    weights = np.array([[count[video] for video in table.videos]], dtype=np.int32)
    fast = weighted_average_precision(table, match(table, [0.3]), weights)[0, 0]

    copied_rows = [(f"{row[0]}{i}", *row[1:]) for row in rows for i in range(count[row[0]])]
    copied = [(f"{item[0]}{i}", *item[1:]) for item in instances for i in range(count[item[0]])]
    slow = slow_ap(name, copied_rows, copied, 0.3)
    np.testing.assert_allclose(fast, [slow.get(label, np.nan) for label in table.classes], atol=1e-12)


@many
@given(problem=problems(), normalizer=st.sampled_from([0.5, 3.0, 40.0]))
def test_normalised_precision(problem, normalizer):
    rows, instances = problem
    fast = fast_ap("activitynet", rows, instances, [0.3], normalizer=normalizer)[0]
    for label, value in fast.items():
        flags, _ = slow_flags_activitynet(rows, instances, label, 0.3)
        positives = sum(item[1] == label for item in instances)
        right = wrong = 0
        points = []
        for flag in flags:
            right, wrong = right + flag, wrong + 1 - flag
            recall = right / positives
            if flag:
                points.append(recall * normalizer / (recall * normalizer + wrong))
        slow = sum(max(points[i:]) for i in range(len(points))) / positives
        assert value == pytest.approx(slow, abs=1e-12)


@many
@given(problem=problems(), lowest=st.sampled_from([0.1, 0.5]))
def test_table_holds_every_pair_once(problem, lowest):
    rows, instances = problem
    table = build_table(Detections.of(rows), annotations(instances), PROTOCOLS["thumos14"], lowest=lowest)
    names = [(table.videos[v], table.classes[k]) for v, k in zip(table.video, table.label, strict=True)]
    owners = [
        (table.videos[v], table.classes[k]) for v, k in zip(table.instance_video, table.instance_label, strict=True)
    ]
    for pairs, same in ((table.pairs, slice(0, 2)), (pairs_in_video(table, lowest=lowest), slice(0, 1))):
        for d in range(len(table.row)):
            slow = {
                g: slow_tiou(table.segments[d], table.instance_segments[g])
                for g in range(len(owners))
                if owners[g][same] == names[d][same]
            }
            ranked = sorted((g for g in slow if slow[g] >= lowest), key=lambda g: -slow[g])
            part = slice(pairs.start[d], pairs.start[d + 1])
            assert ranked == pairs.instance[part].tolist()
            assert [slow[g] for g in ranked] == pairs.tiou[part].tolist()
    # Every detection of the table is the row it says it is, each once.
    given_rows = [rows[i] for i in table.row]
    assert [(row[0], row[1]) for row in given_rows] == names
    assert len(set(table.row.tolist())) == sum(row[1] in table.classes for row in rows)
    assert sum(table.unknown.values()) == len(rows) - len(table.row)


@pytest.mark.parametrize("name", PROTOCOL_NAMES)
@many
@given(problem=problems(), k=st.sampled_from([1, 2, 5]))
def test_recall_at_k(name, problem, k):
    rows, instances = problem
    table = build_table(Detections.of(rows), annotations(instances), PROTOCOLS[name], lowest=0.5)
    fast = recall_at_k(table, (0.5, 0.75), (k,))
    for t, tiou in enumerate((0.5, 0.75)):
        assert fast.mean[0, t] == pytest.approx(slow_recall_at_k(rows, instances, tiou, k, table.classes))


@many
@given(problem=problems(), largest=st.sampled_from([1, 3, 10]))
def test_average_recall(problem, largest):
    rows, instances = problem
    fast = average_recall(
        Detections.of(rows), annotations(instances), tious=(0.5, 0.75), largest=largest, ignored=("Ambiguous",)
    )
    real = [item for item in instances if item[1] != "Ambiguous"]
    slow = slow_average_recall(rows, real, (0.5, 0.75), largest) if rows else np.zeros((2, largest))
    np.testing.assert_allclose(fast.recall, slow, atol=1e-12)
    area = np.trapezoid(slow.mean(axis=0), np.arange(1, largest + 1)) / largest
    assert fast.area == pytest.approx(100 * area)


# ------------------------------------------------------------------------------------- what must not matter


@pytest.mark.parametrize("name", PROTOCOL_NAMES)
@many
@given(problem=problems(), factor=st.sampled_from([0.25, 2.0, 1024.0]))
def test_the_unit_of_time_does_not_matter(name, problem, factor):
    rows, instances = problem
    scaled = [(*row[:2], row[2] * factor, row[3] * factor, row[4]) for row in rows]
    truth = [(*item[:2], item[2] * factor, item[3] * factor) for item in instances]
    assert fast_ap(name, scaled, truth, [0.1, 0.5]) == fast_ap(name, rows, instances, [0.1, 0.5])


@many
@given(problem=problems(), data=st.data())
def test_the_order_of_videos_does_not_matter_to_thumos14(problem, data):
    rows, instances = problem
    order = data.draw(st.permutations((*VIDEOS, "elsewhere")))
    moved = sorted(rows, key=lambda row: order.index(row[0]))
    videos = [video for video in order if video in VIDEOS]
    assert fast_ap("thumos14", moved, instances, [0.3], videos) == fast_ap("thumos14", rows, instances, [0.3])


@many
@given(problem=problems(), data=st.data())
def test_the_order_of_the_file_does_not_matter_without_ties(problem, data):
    rows, instances = problem
    rows = [(*row[:4], float(i)) for i, row in enumerate(rows)]
    moved = data.draw(st.permutations(rows))
    assert fast_ap("activitynet", moved, instances, [0.3]) == fast_ap("activitynet", rows, instances, [0.3])


@pytest.mark.parametrize("name", PROTOCOL_NAMES)
@many
@given(problem=problems())
def test_only_the_order_of_scores_matters(name, problem):
    rows, instances = problem
    other = [(*row[:4], 3 * row[4] ** 3 - 7) for row in rows]
    assert fast_ap(name, other, instances, [0.3]) == fast_ap(name, rows, instances, [0.3])


@pytest.mark.parametrize("name", PROTOCOL_NAMES)
@many
@given(problem=problems())
def test_a_useless_class_changes_no_other(name, problem):
    rows, instances = problem
    before = fast_ap(name, rows, instances, [0.3])[0]
    after = fast_ap(name, rows, [*instances, ("a", "useless", 1, 2)], [0.3])[0]
    assert after.pop("useless") == 0.0
    assert after == before


@pytest.mark.parametrize("name", PROTOCOL_NAMES)
@many
@given(problem=problems())
def test_unknown_labels_change_nothing(name, problem):
    rows, instances = problem
    more = [row for pair in zip(rows, rows, strict=True) for row in (pair[0], (pair[1][0], None, *pair[1][2:]))]
    assert fast_ap(name, more, instances, [0.3]) == fast_ap(name, rows, instances, [0.3])


@pytest.mark.parametrize("name", PROTOCOL_NAMES)
@many
@given(problem=problems(), label=st.sampled_from(["x", "y"]))
def test_a_false_positive_at_the_end_changes_nothing(name, problem, label):
    rows, instances = problem
    before = mean_ap(np.array([list(fast_ap(name, rows, instances, [0.3])[0].values())]))
    more = [*rows, ("elsewhere", label, 0, 5, -1.0)]
    assert mean_ap(np.array([list(fast_ap(name, more, instances, [0.3])[0].values())])) == before


@pytest.mark.parametrize("name", PROTOCOL_NAMES)
@many
@given(problem=problems())
def test_the_truth_itself_is_perfect(name, problem):
    _, instances = problem
    real = [item for item in instances if item[1] != "Ambiguous" and item[3] > item[2]]
    if real:
        rows = [(*item, 0.5) for item in real]
        tious = [0.5, 0.95]
        for per_class in fast_ap(name, rows, real, tious):
            assert all(value == pytest.approx(1.0) for value in per_class.values())
