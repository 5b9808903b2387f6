"""The windowings a config may name: each has ``training`` and ``inference``, which cut a video into windows."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from untrimmed.data.segments import Segments
from untrimmed.data.stitching import SelfStitching
from untrimmed.data.windows import Window, rescaled, sliding, whole
from untrimmed.grid import SnippetGrid
from untrimmed.types import Video


class WholeVideo(BaseModel):
    """The video as it is, in one window."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["whole"] = "whole"

    def training(
        self, video: Video, length: int, grid: SnippetGrid, rng: np.random.Generator | None = None
    ) -> list[Window]:
        return whole(video, length, grid)

    def inference(
        self, video: Video, length: int, grid: SnippetGrid, rng: np.random.Generator | None = None
    ) -> list[Window]:
        return self.training(video, length, grid, rng)


class RescaledVideo(BaseModel):
    """The video interpolated to a fixed number of steps, in one window."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["rescaled"] = "rescaled"
    length: int = Field(ge=1, description="steps of the window")

    def training(
        self, video: Video, length: int, grid: SnippetGrid, rng: np.random.Generator | None = None
    ) -> list[Window]:
        return rescaled(video, length, grid, self.length)

    def inference(
        self, video: Video, length: int, grid: SnippetGrid, rng: np.random.Generator | None = None
    ) -> list[Window]:
        return self.training(video, length, grid, rng)


class SlidingWindows(BaseModel):
    """Windows of a fixed number of steps that slide over the video."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["sliding"] = "sliding"
    length: int = Field(ge=1, description="steps of a window")
    stride: int = Field(ge=1, description="snippets from one window to the next in training")
    inference_stride: int | None = Field(None, ge=1, description="the same in inference; None: as in training")
    coverage: float = Field(
        0.5, ge=0, le=1, description="share of an instance that a window must show for it to be a target"
    )
    keep_empty: bool = Field(False, description="train also on windows without any target")
    whole_targets: bool = Field(
        False, description="targets reach past the window as far as their instances do; false: they are clipped to it"
    )

    def training(
        self, video: Video, length: int, grid: SnippetGrid, rng: np.random.Generator | None = None
    ) -> list[Window]:
        return self._slide(video, length, grid, self.stride, self.keep_empty)

    def inference(
        self, video: Video, length: int, grid: SnippetGrid, rng: np.random.Generator | None = None
    ) -> list[Window]:
        return self._slide(video, length, grid, self.inference_stride or self.stride, True)

    def _slide(self, video: Video, length: int, grid: SnippetGrid, stride: int, keep_empty: bool) -> list[Window]:
        return sliding(video, length, grid, self.length, stride, self.coverage, keep_empty, self.whole_targets)


WindowSettings = Annotated[
    WholeVideo | RescaledVideo | SlidingWindows | SelfStitching | Segments, Field(discriminator="kind")
]
"""Any of them, told apart by ``kind``: ``{kind: self_stitching, length: 1280}`` in a config."""
