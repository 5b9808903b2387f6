"""HACS Segments v1.1: its file is read as it is, and scored by its protocol."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from untrimmed.errors import InputError
from untrimmed.evaluation import evaluate
from untrimmed.formats import read_annotations, write_annotations
from untrimmed.pipeline import recipe
from untrimmed.types import Detections

FILE = {
    "version": "1.1.1",
    "taxonomy": [{"parentName": "Personal Care", "nodeName": "Shaving"}],
    "database": {
        "train0": {
            "subset": "training",
            "duration": 118.48,
            "url": "https://example.org/watch?v=train0",
            "annotations": [
                {"segment": [10.2, 31.5], "label": "Shaving"},
                {"segment": [40.0, 52.75], "label": "Shaving"},
            ],
        },
        "valid0": {
            "subset": "validation",
            "duration": 60.0,
            "url": "https://example.org/watch?v=valid0",
            "annotations": [{"segment": [10.0, 20.0], "label": "Shaving"}],
        },
        "test0": {"subset": "testing", "duration": 90.5, "url": "https://example.org/watch?v=test0", "annotations": []},
    },
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "HACS_segments_v1.1.1.json"
    file.write_text(json.dumps(FILE))
    return file


def test_it_is_read_and_written_whole(path: Path, tmp_path: Path) -> None:
    truth = read_annotations(path)
    assert truth.videos["train0"].instances.segments.tolist() == [[10.2, 31.5], [40.0, 52.75]]
    assert [(video.id, video.subset, video.duration) for video in truth] == [
        ("train0", "training", 118.48),
        ("valid0", "validation", 60.0),
        ("test0", "testing", 90.5),
    ]
    assert [video.id for video in truth.subset("validation")] == ["valid0"]
    write_annotations(truth, tmp_path / "copy.json")
    assert json.loads((tmp_path / "copy.json").read_text()) == FILE


def test_durations_in_quotes(path: Path) -> None:
    path.write_text(path.read_text().replace("118.48", '"118.480000"'))
    assert read_annotations(path).videos["train0"].duration == 118.48
    for wrong in ("1:58", "nan", "1e999", "-1"):
        path.write_text(json.dumps(FILE).replace("118.48", f'"{wrong}"'))
        with pytest.raises(InputError, match=r"train0.*duration"):
            read_annotations(path)


def test_its_protocol_scores_the_validation_subset(path: Path) -> None:
    # A detection of tIoU 0.8 counts at 0.5, 0.55 ... 0.8: seven of the ten thresholds.
    found = Detections.of([("valid0", "Shaving", 10.0, 18.0, 0.9)])
    score = evaluate(found, read_annotations(path), "hacs")
    assert score.subset == "validation"
    assert float(score.mAP.mean()) == pytest.approx(0.7)


def test_the_shipped_config_names_its_protocol_and_subsets() -> None:
    plan = recipe.load("hacs/segtad")
    assert (plan.evaluate.protocol, plan.data.training, plan.data.validation) == ("hacs", "training", "validation")
