"""Subsets from folds."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from untrimmed.errors import InputError
from untrimmed.types import Annotations, Instances, Video

FILE = Path(__file__).resolve().parents[2] / "experiments" / "folds.py"


@pytest.fixture(scope="module")
def folds() -> Any:
    spec = importlib.util.spec_from_file_location("folds", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def truth(**of_last: Any) -> Annotations:
    return Annotations.of(
        [
            Video("a", "other", 10.0, instances=Instances([[1.0, 2.0]], ("jump",)), extra={"fold": 1}),
            Video("b", "other", 10.0, instances=Instances([[3.0, 5.0]], ("wave",)), extra={"fold": 2, **of_last}),
            Video("c", "other", 10.0, instances=Instances([[3.0, 5.0]], ("wave",)), extra={"fold": 1, **of_last}),
        ]
    )


def test_one_fold_is_tested_and_the_others_trained_on(folds: Any) -> None:
    found = folds.with_subsets(truth(), "fold", "2")
    assert [(video.id, video.subset) for video in found] == [("a", "training"), ("b", "test"), ("c", "training")]
    for video, before in zip(found, truth(), strict=True):
        assert video.instances.labels == before.instances.labels
        assert video.instances.segments.tolist() == before.instances.segments.tolist()


def test_a_fold_that_is_not_there_is_refused(folds: Any) -> None:
    with pytest.raises(InputError, match="no video has fold 3; there are 1, 2"):
        folds.with_subsets(truth(), "fold", "3")
    with pytest.raises(InputError, match="video a: has no key 'part', expected the fold it belongs to"):
        folds.with_subsets(truth(), "part", "1")
