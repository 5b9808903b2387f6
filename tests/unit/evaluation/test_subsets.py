"""Which videos are scored: the default subset, and videos that the model was trained on, which are scored apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from untrimmed.errors import InputError
from untrimmed.evaluation import PROTOCOLS, compare, diagnose, evaluate
from untrimmed.evaluation.error_analysis import analyse_errors
from untrimmed.evaluation.subsets import pick_subset, scope_of, with_common_training
from untrimmed.types import Annotations, Detections, Instances, Video

ACTIVITYNET = PROTOCOLS["activitynet"]


def truth(**subsets: str) -> Annotations:
    """A video of each name in the subset, with one instance; without, where the subset is followed by ``?``."""
    instance = Instances([[0, 10]], ("run",))
    return Annotations.of(
        Video(name, subset.rstrip("?"), 60.0, instances=Instances.empty() if subset.endswith("?") else instance)
        for name, subset in subsets.items()
    )


@pytest.mark.parametrize(
    ("annotations", "video_ids", "name"),
    [
        ({"a": "validation", "b": "training"}, (), "validation"),
        ({"a": "validation", "b": "training"}, ("a", "b"), "validation"),
        ({"a": "validation", "b": "training"}, ("b",), "training"),  # the results say nothing of the others
        ({"a": "validation", "b": "training"}, ("elsewhere",), "validation"),
        ({"a": "test", "b": "validation?"}, (), "test"),  # the only one that can be scored
        ({"a": "test", "b": "testing?"}, ("b",), "test"),
        ({"a": "test", "b": "training"}, ("a", "b"), "test"),  # training only if it is all there is
        ({"a": "test", "b": "training"}, ("b",), "training"),
        ({"a": "test", "b": "dev", "c": "rest"}, ("a", "b"), "dev + test"),
    ],
)
def test_the_default_subset(annotations: dict[str, str], video_ids: tuple[str, ...], name: str) -> None:
    chosen, part = pick_subset(truth(**annotations), ACTIVITYNET, None, video_ids)
    assert chosen == name
    assert {video.subset for video in part} == set(name.split(" + "))


def test_there_is_no_default_among_several() -> None:
    with pytest.raises(InputError, match="'validation', the default of protocol activitynet; name another"):
        pick_subset(truth(a="test", b="training"), ACTIVITYNET, None, ("elsewhere",))


TRUTH = truth(old="training", older="training", new="test", newer="test")
ROWS = [
    ("old", "run", 0, 10, 0.9),
    ("older", "run", 0, 10, 0.8),
    ("new", "run", 30, 40, 0.7),
    ("new", "run", 0, 10, 0.6),
]
PLAIN = Detections.of([*ROWS, ("newer", "run", 0, 10, 0.5)])
FOUND = replace(PLAIN, trained_on=("old", "older", "of another data set"))


def test_training_videos_are_scored_apart() -> None:
    result = evaluate(FOUND, TRUTH, tious=[0.5])
    assert result.subset == "test"
    assert result.mAP.tolist() == [pytest.approx(2 / 3)]
    assert (result.counts["videos"], result.counts["instances"]) == (2, 2)
    assert (result.counts["detections"], result.counts["detections_used"]) == (5, 3)
    assert result.counts["detections_apart"] == 2
    assert not result.only_training
    assert result.training is not None
    assert result.training.mAP.tolist() == [1.0]
    values = result.to_dict()
    assert values["training_videos"]["mAP"] == {"0.5": 1.0}
    assert values["training_videos"]["counts"]["videos"] == 2
    assert "apart: 2 videos that the model was trained on, which test nothing" in str(result)
    assert "- 2 videos that the model was trained on, with 2 detections: not in these scores" in str(result)


@pytest.mark.parametrize("subset", ["all", "test"])
def test_they_are_in_no_headline_whatever_subset_is_asked_for(subset: str) -> None:
    result = evaluate(FOUND, TRUTH, subset=subset, tious=[0.5], resamples=20)
    assert result.mAP.tolist() == [pytest.approx(2 / 3)]
    assert result.notes.odd["detections_in_videos_without_truth"] == 0  # those of other subsets are not wrong
    assert (result.training is not None) == (subset == "all")
    assert result.average_recall.recall[:, -1].tolist() == [1.0] * 10


def test_if_all_are_training_videos_that_is_said() -> None:
    result = evaluate(FOUND, TRUTH, subset="training", tious=[0.5, 0.7])
    assert result.only_training
    assert result.mAP.tolist() == [1.0, 1.0]
    assert result.to_dict()["only_training_videos"] is True
    text = str(result)
    assert "mAP on training videos" in text
    assert "average mAP on training videos all" in text
    assert "- 2 videos, and the model was trained on all of them: these are no scores of a test" in text


def test_without_the_knowledge_nothing_changes() -> None:
    result = evaluate(PLAIN, TRUTH, subset="all", tious=[0.5])
    assert result.counts["videos"] == 4
    assert result.training is None
    assert result.to_dict()["training_videos"] is None
    known = replace(PLAIN, trained_on=())
    assert evaluate(known, TRUTH, subset="all", tious=[0.5]).mAP.tolist() == result.mAP.tolist()


def test_diagnosis_and_judgement_leave_them_out() -> None:
    reasons = diagnose(FOUND, TRUTH, subset="all", tious=[0.5])
    assert [bucket.instances for bucket in reasons.lengths.buckets] == [2, 0, 0, 0, 0]
    assert reasons.false_positives.counts[0].sum(axis=0).tolist() == [2, 0, 0, 0, 0, 1]
    judged = analyse_errors(FOUND, TRUTH)
    assert judged.instances.tolist() == [2]
    assert (judged.right[0, 0], judged.wrong[0, 0]) == (2, 1)
    assert judged.kinds.tolist() == [0, 0, 5, 0, 0]  # each is judged for itself all the same
    assert not judged.only_training
    alone = analyse_errors(FOUND, TRUTH.subset("training"))
    assert (alone.instances.tolist(), alone.only_training) == ([2], True)


def test_a_comparison_leaves_out_what_either_was_trained_on() -> None:
    other = replace(PLAIN, trained_on=("newer",))
    result = compare(FOUND, other, TRUTH, subset="all", tious=[0.5], resamples=10)
    assert result.counts["videos"] == 1
    assert result.mAP["0.5"].a == result.mAP["0.5"].b == 0.5
    assert all("not in these scores" in item.sentences[0] for item in result.notes.values())
    only = compare(FOUND, other, TRUTH, subset="training", tious=[0.5], resamples=10)
    assert only.only_training
    assert "A or B was trained on these videos" in str(only)


def test_the_knowledge_of_several() -> None:
    both = with_common_training((PLAIN, FOUND, replace(PLAIN, trained_on=("newer",))))
    assert {each.trained_on for each in both} == {("old", "older", "of another data set", "newer")}
    assert with_common_training((PLAIN, PLAIN)) == (PLAIN, PLAIN)


def test_a_scope_without_videos_of_training_keeps_everything() -> None:
    scope = scope_of(TRUTH, ACTIVITYNET, "test", PLAIN)
    assert scope.tested(PLAIN) is PLAIN
    assert len(scope.trained(PLAIN)) == 0
    assert scope.notes(PLAIN) == ()
    assert list(scope.whole.videos) == ["new", "newer"]
    empty = Detections.empty()
    assert len(scope_of(TRUTH, ACTIVITYNET, "test", empty).tested(empty)) == 0
    assert np.array_equal(scope_of(TRUTH, ACTIVITYNET, "all", FOUND).trained(FOUND).scores, [0.9, 0.8])
