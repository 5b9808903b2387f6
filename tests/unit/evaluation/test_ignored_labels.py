"""Labels that are no classes: Ambiguous by every protocol, and others that are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from untrimmed.errors import InputError
from untrimmed.evaluation import PROTOCOLS, Protocol, compare, diagnose, evaluate
from untrimmed.evaluation.error_analysis import analyse_errors
from untrimmed.evaluation.protocols import protocol_of
from untrimmed.formats import read_annotations, read_detections
from untrimmed.types import Annotations, Detections, Instances, Video

TRUTH = Annotations.of(
    [
        Video("a", "test", 60.0, instances=Instances([[0, 10], [20, 30], [40, 50]], ("run", "Ambiguous", "rest"))),
        Video("b", "test", 60.0, instances=Instances([[0, 10]], ("run",))),
    ]
)
FOUND = Detections.of(
    [("a", "run", 0, 10, 0.9), ("a", "run", 20, 30, 0.8), ("a", "rest", 40, 50, 0.7), ("b", "run", 0, 10, 0.6)]
)


@pytest.mark.parametrize("protocol", ["activitynet", "hacs", "thumos14-papers"])
def test_ambiguous_is_no_class_and_excuses_nothing(protocol: str) -> None:
    result = evaluate(FOUND, TRUTH, protocol, subset="test", tious=[0.5])
    assert result.classes == ("rest", "run")
    assert result.ap[0].tolist() == [1.0, (1 + 2 / 3) / 2]  # the detection on the Ambiguous segment is wrong
    assert result.notes.ignored["segments_of_ignored_labels"] == {"Ambiguous": 1}
    assert "- 1 segment labelled Ambiguous: no class, as if not there" in str(result)


def test_ambiguous_excuses_by_the_rule_of_thumos14_even_if_it_is_named() -> None:
    result = evaluate(FOUND, TRUTH, "thumos14", tious=[0.5], ignore=["Ambiguous"])
    assert result.ap[0].tolist() == [1.0, 1.0]
    assert result.notes.ignored["ambiguous_segments"] == 1
    assert result.notes.ignored["segments_of_ignored_labels"] == {}


def test_a_named_label_is_no_class_everywhere() -> None:
    result = evaluate(FOUND, TRUTH, "activitynet", subset="test", tious=[0.5], ignore=["rest"])
    assert result.classes == ("run",)
    assert result.mAP[0] == pytest.approx((1 + 2 / 3) / 2)
    assert result.average_recall.recall[:, -1].tolist() == [1.0] * 10  # of two instances, not four
    assert "- 1 detection with a label that is no class: ignored" in str(result)
    difference = compare(FOUND, FOUND, TRUTH, "activitynet", subset="test", tious=[0.5], resamples=5, ignore=["rest"])
    assert list(difference.per_class) == ["run"]
    reasons = diagnose(FOUND, TRUTH, "activitynet", subset="test", tious=[0.5], ignore=["rest"])
    assert reasons.evaluation.classes == ("run",)
    judged = analyse_errors(FOUND, TRUTH, PROTOCOLS["activitynet"].ignoring(["rest"]))
    assert judged.classes == ("run",)
    assert judged.found["a"] == [0.9, np.inf, np.inf]  # nobody has to find them
    assert judged.kinds.tolist() == [0, 5, -1, 0]


def test_a_label_that_no_instance_has_cannot_be_ignored() -> None:
    with pytest.raises(
        InputError, match="no instance has the label 'Rest', which is to be ignored: did you mean 'rest'"
    ):
        evaluate(FOUND, TRUTH, "activitynet", subset="test", ignore=["Rest"])


def test_a_protocol_of_ones_own_may_have_it_as_a_class() -> None:
    own = Protocol("mine", "activitynet", "test", (0.5,), (5.0,), ignored=())
    assert evaluate(FOUND, TRUTH, own).classes == ("Ambiguous", "rest", "run")


def test_the_protocol_of_the_papers() -> None:
    papers = protocol_of("thumos14-papers", TRUTH)
    assert (papers.rule, papers.subset, papers.tious) == ("activitynet", "test", (0.3, 0.4, 0.5, 0.6, 0.7))
    assert (papers.lengths, papers.no_classes) == ((3.0, 6.0, 12.0, 18.0), {"Ambiguous"})


@pytest.mark.parametrize("protocol", ["activitynet", "thumos14-papers"])
def test_real_detections_on_the_official_truth(shared_data: Path, protocol: str) -> None:
    """S-CNN's: with Ambiguous as a 21st class of AP 0 the mean would be 19.94."""
    truth = read_annotations(shared_data / "thumos14" / "annotations.json")
    found = read_detections(shared_data / "oracles" / "scnn_thumos14" / "results_tiou0.5.json.gz")
    result = evaluate(found, truth, protocol, subset="test", tious=[0.3, 0.4, 0.5, 0.6, 0.7])
    assert len(result.classes) == 20
    assert round(100 * result.averages["0.3:0.7"], 2) == 20.94
    assert round(100 * result.averages["0.3:0.7"] * 20 / 21, 2) == 19.94
