"""Which videos a recipe takes: a subset or label that is not there is named with file, setting and the way out, and
test videos are not trained on; how results are scored is checked before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from untrimmed.errors import InputError
from untrimmed.evaluation.protocols import PROTOCOLS
from untrimmed.pipeline.recipe import DataSettings, EvaluateSettings, rules_of, scoring_of, split
from untrimmed.types import Annotations, Instances, Video


def settings(**given: Any) -> DataSettings:
    return DataSettings(annotations=Path("truth.csv"), features=Path("features"), **given)


def test_a_subset_that_no_video_has() -> None:
    annotations = Annotations.of([Video("a", "training"), Video("b", "validation")])
    with pytest.raises(
        InputError,
        match=r"^truth.csv: data.test: no video is in subset 'test': there are: training, validation; "
        r"data.test=null does without$",
    ):
        split(annotations, settings())
    parts = split(annotations, settings(test=None))
    assert {name: list(part.videos) for name, part in parts.items()} == {
        "training": ["a"],
        "validation": ["b"],
        "test": [],
    }
    with pytest.raises(InputError, match=r"data.training: no video is in subset 'train': did you mean 'training'\?"):
        split(annotations, settings(training="train", test=None))


def test_annotations_without_subsets() -> None:
    annotations = Annotations.of([Video("a"), Video("b")])
    with pytest.raises(InputError, match=r"'training': no video names one; give them the subset 'training'$"):
        split(annotations, settings())
    assert len(split(annotations, settings(training="", validation=None, test=None))["training"]) == 2


@pytest.mark.parametrize("validation", ["validation", None, {"share": 0.5}])
def test_training_videos_are_no_test_videos(validation: Any) -> None:
    annotations = Annotations.of([Video("a", "training"), Video("b", "training"), Video("c", "validation")])
    with pytest.raises(InputError, match=r"data.test: 2 videos of subset 'training' are those of data.training: a, b;"):
        split(annotations, settings(test="training", validation=validation))


def test_ignored_labels_that_no_video_has() -> None:
    odd = Video("c", "elsewhere", instances=Instances([[0, 1]], ("Ambiguous",)))
    annotations = Annotations.of([Video("a", "training"), Video("b", "validation"), odd])
    with pytest.raises(
        InputError, match=r"^truth.csv: data.ignore_labels: no video has the label 'Ambigous': did you mean 'Ambiguous'"
    ):
        split(annotations, settings(test=None, ignore_labels=("Ambigous",)))
    assert len(split(annotations, settings(test=None, ignore_labels=("Ambiguous",)))["training"]) == 1


def test_ignored_labels_are_no_classes_of_the_score_but_where_they_excuse_detections() -> None:
    data = settings(ignore_labels=("Ambiguous", "other"))
    for protocol, excusing in (("activitynet", None), ("thumos14-papers", None), ("thumos14", "Ambiguous")):
        rules = rules_of(EvaluateSettings(protocol=protocol), data)
        assert (rules.name, rules.no_classes, rules.ambiguous) == (protocol, {"Ambiguous", "other"}, excusing)
    assert rules_of(EvaluateSettings(), settings(ignore_labels=())) is PROTOCOLS["activitynet"]


def test_scoring_needs_two_sections_of_a_recipe() -> None:
    data, rules = scoring_of({"data": {"annotations": "a", "features": "f", "test": "probe"}}, "x.yaml")
    assert (data.test, rules) == ("probe", EvaluateSettings())
    with pytest.raises(InputError, match=r"x.yaml: is not the config of a run: it has no section 'data'"):
        scoring_of({"evaluate": {}}, "x.yaml")
    with pytest.raises(InputError, match=r"x.yaml: evaluate: .*did you mean 'tiou'"):
        scoring_of({"data": {"annotations": "a", "features": "f"}, "evaluate": {"tios": [0.5]}}, "x.yaml")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tiou": [2]}, "tIoU threshold 2: expected a number above 0 and at most 1"),
        ({"tiou": []}, "no tIoU threshold given"),
        ({"tiou": [float("nan")]}, "tIoU threshold nan"),
        ({"lengths": [5, 2]}, "expected rising numbers of seconds"),
        ({"lengths": [0, 2]}, "expected rising numbers of seconds above 0"),
    ],
)
def test_rules_of_the_score_are_checked_before_anything_starts(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EvaluateSettings(**given)
    assert EvaluateSettings(tiou=[0.5, 0.3], lengths=[2, 5]).tiou == (0.3, 0.5)
