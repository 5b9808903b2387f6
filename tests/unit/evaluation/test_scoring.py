"""The whole evaluation of a small, odd pair of files: numbers, names, sentences."""

from __future__ import annotations

import json

import numba
import numpy as np
import pytest

from untrimmed.errors import InputError
from untrimmed.evaluation import PROTOCOLS, Protocol, evaluate
from untrimmed.evaluation.any_label import without_labels
from untrimmed.types import Annotations, Detections, Instances, Video


def video(name, subset, *rows):
    segments = np.array([row[1:] for row in rows], dtype=float).reshape(-1, 2)
    return Video(name, subset, 100.0, instances=Instances(segments, [row[0] for row in rows]))


TRUTH = Annotations.of(
    [
        video("a", "test", ("run", 0, 10), ("run", 20, 22), ("Ambiguous", 40, 50), ("jump", 60, 60)),
        video("b", "test", ("jump", 9, 3), ("jump", 9, 3), ("swim", 0, 30)),
        video("silent", "test"),
        video("other", "validation", ("run", 0, 1)),
    ],
    version="odd",
)
ROWS = [
    ("a", "run", 0, 9, 0.9),
    ("a", "run", 41, 42, 0.8),  # on Ambiguous
    ("a", "Run", 0, 9, 0.7),  # label of another case
    ("a", None, 20, 22, 0.7),
    ("other", "run", 0, 1, 0.6),  # other subset
    ("nowhere", "run", 0, 1, 0.5),
    ("b", "jump", 5, 5, 0.4),
    ("b", "jump", 9, 3, 0.3),
    ("a", "run", 20, 22, 0.2),
]


def scores(**options):
    return evaluate(Detections.of(ROWS), TRUTH, **options)


def test_numbers():
    result = scores(tious=[0.5, 0.1])
    assert result.protocol == "thumos14"
    assert result.subset == "test"
    assert result.classes == ("jump", "run", "swim")
    assert result.ap.tolist() == [[0.0, (1 + 2 / 4) / 2, 0.0]] * 2
    assert result.mAP.tolist() == [0.25] * 2
    assert result.averages == {"all": 0.25}
    assert result.instances.tolist() == [3, 2, 1]
    assert result.detections.tolist() == [2, 5, 0]
    assert result.counts == {
        "videos": 3,
        "videos_with_instances": 2,
        "classes": 3,
        "instances": 6,
        "detections": 9,
        "detections_used": 7,
        "detections_apart": 0,
    }


def test_everything_odd_is_counted_and_named():
    notes = scores(tious=[0.5]).notes
    assert notes.ignored == {
        "detections_with_unknown_label": 1,
        "unknown_labels": {"Run": 1},
        "detections_without_label": 1,
        "detections_on_ambiguous": {"0.5": 1},
        "ambiguous_segments": 1,
        "segments_of_ignored_labels": {},
    }
    assert notes.odd == {
        "detections_in_videos_without_truth": 2,
        "of_these_in_other_subsets": 1,
        "zero_length_detections": 1,
        "reversed_detections": 1,
        "zero_length_instances": 1,
        "reversed_instances": 2,
        "repeated_instances": 1,
        "videos_without_detections": 1,
        "classes_without_detections": 1,
    }
    text = str(notes)
    assert len(text.splitlines()) == len(notes.sentences) == 11
    for part in (
        "- 1 detection with a label that no instance has (1 label): ignored; most often 'Run', did you mean 'run'?",
        "- 1 detection without label: ignored",
        "- 1 segment labelled Ambiguous: unmatched detections that touch one are dropped (1 at 0.5)",
        "- 2 detections in videos that the subset lacks (1 in other subsets), e.g. nowhere: false positives",
        "- 1 class without any detection: AP 0",
    ):
        assert part in text


def test_nothing_odd_needs_no_notes():
    truth = Annotations.of([video("a", "validation", ("run", 0, 10))])
    result = evaluate(Detections.of([("a", "run", 0, 10, 1.0)]), truth)
    assert result.notes.sentences == ()
    assert "notes" not in str(result)
    assert result.averages == {"0.5:0.05:0.95": 1.0}


def test_length_groups():
    result = scores(tious=[0.5])
    assert [group.name for group in result.lengths] == ["XS", "S", "M", "L", "XL"]
    assert [group.instances for group in result.lengths] == [4, 0, 1, 0, 1]
    # Up to 3 s: the detection that found the long instance is neither right nor wrong; two wrong ones come first.
    assert result.lengths[0].mAP.tolist() == [(0 + 1 / 3 / 1) / 2]
    assert result.lengths[2].mAP.tolist() == [1.0]
    assert np.isnan(result.lengths[1].mAP).all()
    two = scores(tious=[0.5], lengths=[2])
    assert [(group.name, group.low, group.high, group.instances) for group in two.lengths] == [
        ("length", -np.inf, 2.0, 4),
        ("length", 2.0, np.inf, 2),
    ]
    assert len(scores(lengths=[]).lengths) == 1


def test_json_has_the_promised_keys_and_no_nan():
    result = json.loads(json.dumps(scores(tious=[0.5, 0.1], resamples=20).to_dict(), allow_nan=False))
    assert {"protocol", "subset", "mAP", "averages", "per_class", "counts", "ignored"} <= result.keys()
    assert result["mAP"] == {"0.1": 0.25, "0.5": 0.25}
    assert result["per_class"]["run"] == {"0.1": 0.75, "0.5": 0.75}
    assert result["counts"]["per_class"]["jump"] == {"instances": 3, "detections": 2}
    assert result["ignored"]["unknown_labels"] == {"Run": 1}
    assert result["lengths"][0] == {
        "name": "XS",
        "above": None,
        "up_to": 3.0,
        "instances": 4,
        "mAP": {"0.1": 1 / 6, "0.5": 1 / 6},
    }
    assert result["lengths"][1]["mAP"]["0.5"] is None
    assert result["truth"] == "odd"
    assert result["intervals"]["resamples"] == 20
    low, high = result["intervals"]["averages"]["all"]
    assert 0 <= low <= 0.25 <= high <= 1


def test_text():
    text = str(scores(tious=[0.1, 0.2, 0.3, 0.4, 0.5], resamples=20))
    lines = text.splitlines()
    assert lines[0] == "protocol    thumos14"
    assert "subset      test of odd" in lines
    assert "videos      3, 2 with instances" in lines
    assert "detections  7 of 9 used" in lines
    assert any(line.split() == ["mAP", *["25.00"] * 5] for line in lines)
    assert any(line.startswith("average mAP 0.1:0.5  25.00  ") and " .. " in line for line in lines)
    assert any(line.split() == ["run", "2", "5", *["75.00"] * 5] for line in lines)
    assert "mAP, S" in text
    assert all(len(line) == len(line.rstrip()) for line in lines)


def test_one_threshold_has_no_average():
    result = scores(tious=[0.5])
    assert result.averages == {}
    assert "average mAP" not in str(result)
    assert result.intervals is None


def test_intervals_depend_on_the_seed_alone():
    first, again, other = (scores(resamples=50, seed=seed).intervals for seed in (1, 1, 2))
    assert first.mAP.tolist() == again.mAP.tolist()
    assert first.level == 0.95
    assert not np.array_equal(first.mAP, other.mAP)


def test_no_detections_score_nothing():
    result = evaluate(Detections.empty(), TRUTH, "thumos14")
    assert (result.mAP == 0).all()
    assert result.notes.odd["videos_without_detections"] == 3


def test_a_protocol_of_ones_own():
    own = Protocol("mine", "activitynet", "test", (0.25,), (5.0,), ambiguous="Ambiguous")
    result = evaluate(Detections.of(ROWS), TRUTH, own)
    assert result.protocol == "mine"
    assert result.tious == (0.25,)
    assert "Ambiguous" not in result.classes
    assert PROTOCOLS["hacs"].rule == "activitynet"


@pytest.mark.parametrize("lengths", [[0], [-1, 2], [3, 2], [2, 2], [float("inf")], [float("nan")]])
def test_wrong_lengths(lengths):
    with pytest.raises(InputError, match="rising numbers of seconds"):
        scores(lengths=lengths)


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="kernels that are not compiled warn of the overflow")
def test_the_largest_numbers_there_are():
    truth = Annotations.of([video("a", "test", ("run", -1e308, 1e308), ("run", 0, 5e-324), ("run", 0, 1e308))])
    rows = [("a", "run", -1e308, 1e308, 1.7e308), ("a", "run", 0, 5e-324, -1.7e308), ("a", "run", 0, 1e308, 0.0)]
    result = evaluate(Detections.of(rows), truth, "activitynet", subset="test", resamples=5)
    assert np.isfinite(result.ap).all()
    assert "run" in str(result)


def test_any_label_takes_all_labels_for_one_and_leaves_ambiguous():
    one = {"run": "x", "jump": "x", "swim": "x", "Run": "x", None: "x"}
    truth = Annotations.of(
        [
            video(item.id, item.subset, *((one.get(label, label), *segment) for label, segment in rows_of(item)))
            for item in TRUTH
        ]
    )
    plain = evaluate(Detections.of([(v, one[label], *rest) for v, label, *rest in ROWS]), truth)
    found = scores(any_label=True)
    assert found.classes == ("any label",)
    assert found.counts["detections_used"] == plain.counts["detections_used"] == len(ROWS)
    np.testing.assert_array_equal(found.ap, plain.ap)
    assert found.ap[0] > scores().mAP[0]
    proposals = Detections.of([(v, None, *rest) for v, _, *rest in ROWS])
    np.testing.assert_array_equal(evaluate(proposals, TRUTH, any_label=True).ap, plain.ap)
    assert without_labels(proposals)
    assert not without_labels(Detections.of(ROWS))
    assert not without_labels(Detections.of([]))


def rows_of(item):
    return zip(item.instances.labels, item.instances.segments.tolist(), strict=True)
