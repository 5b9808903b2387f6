"""Which videos a recipe takes: a subset that is not there is named with file, setting and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from untrimmed.errors import InputError
from untrimmed.recipe import DataSettings, split
from untrimmed.types import Annotations, Video


def settings(**given: str | None) -> DataSettings:
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
