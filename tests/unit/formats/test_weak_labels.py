"""Labels of whole videos: in files, in types, and on the way to a batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from untrimmed.data.batch import collate
from untrimmed.data.dataset import LocalizationDataset
from untrimmed.data.segments import Segments
from untrimmed.errors import InputError
from untrimmed.formats import read_annotations, write_annotations
from untrimmed.formats.activitynet import truth_of
from untrimmed.formats.features import ArrayFeatures
from untrimmed.grid import SnippetGrid
from untrimmed.pipeline.recipe import DataSettings, split
from untrimmed.types import Annotations, Instances, Video


def truth() -> Annotations:
    weak = Video("weak", "training", 20.0, video_labels=("run", "jump"))
    mixed = Video("mixed", "training", 20.0, instances=Instances([(1, 4)], ("spin",)), video_labels=("run", "spin"))
    return Annotations.of([weak, mixed, Video("none", "test", 20.0)])


def test_labels_of_a_video_are_those_of_both_kinds() -> None:
    assert [video.labels for video in truth()] == [("jump", "run"), ("run", "spin"), ()]
    assert truth().labels == ("spin",)
    assert truth().video_labels == ("jump", "run", "spin")
    with pytest.raises(InputError, match="label 3 is a int, expected text"):
        Video("v", video_labels=(3,))  # type: ignore[arg-type]


def test_a_file_keeps_them(tmp_path: Path) -> None:
    assert write_annotations(truth(), tmp_path / "t.json") == ()
    again = read_annotations(tmp_path / "t.json")
    assert [video.video_labels for video in again] == [("run", "jump"), ("run", "spin"), ()]
    assert again.videos["mixed"].instances.labels == ("spin",)


@pytest.mark.parametrize(("value", "place"), [("run", 'labels: is "run"'), ([3], r"labels\[0\]")])
def test_labels_of_the_wrong_form_are_placed(value: Any, place: str) -> None:
    with pytest.raises(InputError, match=rf"database\.a\.{place}"):
        truth_of({"database": {"a": {"labels": value}}}, "t.json")


def test_a_format_without_them_says_so(tmp_path: Path) -> None:
    lost = write_annotations(truth(), tmp_path / "t.csv")
    assert "labels without segment of 2 videos" in lost


def test_they_reach_the_batch() -> None:
    features = ArrayFeatures({name: np.ones((20, 2)) for name in ("weak", "mixed")}, SnippetGrid(1, 1, 1))
    classes = ("jump", "run", "spin")
    data = LocalizationDataset(truth().subset("training"), features, Segments(length=8).training, classes)
    batch = collate(list(data))
    assert batch.video_labels is not None
    assert batch.video_labels.tolist() == [[1, 1, 0], [0, 1, 1]]
    assert [len(each) for each in batch.targets] == [0, 1]
    with pytest.raises(InputError, match="video weak: label 'jump' is not in the list"):
        LocalizationDataset(truth().subset("training"), features, Segments(length=8).training, ("run", "spin"))


def test_ignored_labels_go_too() -> None:
    data = DataSettings(annotations=Path("a"), features=Path("f"), validation=None, ignore_labels=("run",))
    assert [video.labels for video in split(truth(), data)["training"]] == [("jump",), ("spin",)]
