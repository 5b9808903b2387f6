"""The windowings a config may name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from untrimmed.data.settings import RescaledVideo, SlidingWindows, WholeVideo, WindowSettings
from untrimmed.data.stitching import SelfStitching
from untrimmed.grid import SnippetGrid
from untrimmed.types import Instances, Video

GRID = SnippetGrid(fps=1, stride=1, window=1)
ADAPTER: TypeAdapter[Any] = TypeAdapter(WindowSettings)
EVERY = (
    WholeVideo(),
    RescaledVideo(length=9),
    SlidingWindows(length=8, stride=2, inference_stride=4),
    SelfStitching(length=64, gap=2),
)


@pytest.mark.parametrize("settings", EVERY, ids=lambda settings: settings.kind)
def test_each_comes_back_from_plain_values_and_cuts(settings: BaseModel) -> None:
    again = ADAPTER.validate_python(settings.model_dump())
    assert again == settings
    clip = Video("v", instances=Instances([(3, 6)], ("run",)))
    for cut in (again.training, again.inference):
        windows = cut(clip, 20, GRID, np.random.default_rng(0))
        assert windows
        assert all(window.video_id == "v" and len(window.parts) for window in windows)
        assert windows[0].rows.tolist()[:1] == [0]
        assert cut(clip, 0, GRID, np.random.default_rng(0)) == []


def test_sliding_windows_may_slide_at_another_stride_in_inference() -> None:
    sliding = SlidingWindows(length=8, stride=2, inference_stride=4)
    assert [window.parts[0].source_start for window in sliding.inference(Video("v"), 20, GRID)] == [0, 4, 8, 12]
    assert len(SlidingWindows(length=8, stride=2).inference(Video("v"), 20, GRID)) == 7


def test_sliding_windows_train_on_what_holds_a_target() -> None:
    clip = Video("v", instances=Instances([(3, 6)], ("run",)))
    sliding = SlidingWindows(length=8, stride=4, coverage=1.0)
    assert [window.parts[0].source_start for window in sliding.training(clip, 20, GRID)] == [0]
    everything = SlidingWindows(length=8, stride=4, coverage=1.0, keep_empty=True)
    assert len(everything.training(clip, 20, GRID)) == 4


def test_an_unknown_kind_or_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="'whole', 'rescaled', 'sliding', 'self_stitching'"):
        ADAPTER.validate_python({"kind": "stiched"})
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        ADAPTER.validate_python({"kind": "whole", "length": 3})
