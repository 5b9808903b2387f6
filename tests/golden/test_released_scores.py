"""The scores that the official scorers gave for real detections.

S-CNN (Shou et al., CVPR 2016) on THUMOS14: mAP and AP of every class as the official MATLAB kit prints them, one file
of detections per threshold. AutoLoc (Shou et al., ECCV 2018): the table of the authors, by ActivityNet's rule, with
their own truth (times as fractions of the video).
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from untrimmed.evaluation import evaluate
from untrimmed.formats import read_annotations, read_detections

TIOUS = ("0.1", "0.2", "0.3", "0.4", "0.5")


@pytest.mark.parametrize("tiou", TIOUS)
def test_scnn_by_the_thumos14_kit(shared_data: Path, tiou: str) -> None:
    folder = shared_data / "oracles" / "scnn_thumos14"
    expected = json.loads((folder / "expected.json").read_text())
    truth = read_annotations(shared_data / "thumos14" / "annotations.json")
    scores = evaluate(read_detections(folder / f"results_tiou{tiou}.json.gz"), truth, "thumos14", tious=[float(tiou)])
    assert scores.counts["instances"] == 3358
    assert scores.counts["videos"] == 213
    assert scores.mAP[0] == pytest.approx(expected["mAP"][TIOUS.index(tiou)], abs=5e-6)
    per_class = expected["per_class_AP"][tiou]
    assert set(scores.classes) == set(per_class)
    assert len(per_class) == 20
    for label, ap in zip(scores.classes, scores.ap[0], strict=True):
        assert ap == pytest.approx(per_class[label], abs=5e-5), label


def test_scnn_needs_the_rule_of_thumos14(shared_data: Path) -> None:
    """The other rule gives another number: the test above does tell them apart."""
    folder = shared_data / "oracles" / "scnn_thumos14"
    truth = read_annotations(shared_data / "thumos14" / "annotations.json")
    detections = read_detections(folder / "results_tiou0.5.json.gz")
    other = evaluate(detections, truth, "activitynet", subset="test", tious=[0.5])
    expected = json.loads((folder / "expected.json").read_text())
    assert abs(other.mAP[0] - expected["mAP"][4]) > 1e-3


def test_autoloc_by_the_rule_of_activitynet(shared_data: Path) -> None:
    folder = shared_data / "oracles" / "autoloc_thumos14"
    expected = json.loads((folder / "expected.json").read_text())
    row = next(line for line in expected["author_table"].splitlines() if "mAP " in line and "0." in line)
    published = [float(value) for value in re.findall(r"0\.\d{3}", row)]
    assert len(published) == len(expected["tiou"]) + 1
    scores = evaluate(
        read_detections(folder / "results.json.gz"),
        read_annotations(folder / "truth.json.gz"),
        "activitynet",
        subset="test",
        tious=expected["tiou"],
    )
    assert [round(float(value), 3) for value in scores.mAP] == published[:-1]
    assert round(scores.averages["all"], 3) == published[-1]
    assert scores.notes.odd["detections_in_videos_without_truth"] == 275
