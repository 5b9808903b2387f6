"""Videos as a fixed number of segments, each shown by one snippet: the input of weakly supervised methods.

The video is divided into T bins of equal length, and step t shows one snippet whose cell lies in bin t::

    snippets   0    1    2    3    4    5    6    7    8    9        n = 10
    bins       |--------0--------|--------1--------|--------2--------|        T = 3: 0-3.3, 3.3-6.7, 6.7-10

In training the snippet is drawn at random, a new one each epoch; in inference it is the one at the middle of the bin.
The authors of BaS-Net take the one at the left edge, which shifts everything that is found by half a bin. Where the
video has fewer snippets than bins, snippets are repeated, as in their code; neither mixes two snippets into one.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from untrimmed.data.windows import Part, Window, make_window
from untrimmed.grid import SnippetGrid
from untrimmed.types import Video


def sampled(
    video: Video, length: int, grid: SnippetGrid, steps: int, rng: np.random.Generator | None = None
) -> list[Window]:
    """One window of ``steps`` steps that shows the whole video; none for a video without snippets.

    Args:
        video: with its instances in seconds.
        length: snippets of the video.
        grid: where they lie in time.
        steps: T, at least 1.
        rng: draws a snippet of each bin; None takes the middle of each.
    """
    if length == 0:
        return []
    place = np.full(steps, 0.5) if rng is None else rng.random(steps)
    picks = np.minimum((np.arange(steps) + place) * (length / steps), length - 1).astype(np.int64)
    return [make_window(video, length, grid, steps, [Part(0, length, 0, steps, picks=tuple(picks.tolist()))])]


class Segments(BaseModel):
    """A fixed number of segments of the whole video, in one window: random within bins in training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["segments"] = "segments"
    length: int = Field(750, ge=1, description="T, steps of the window")
    least: int | None = Field(
        None,
        ge=1,
        description="in inference a video of n snippets has n steps, but at least this many and at most `length`; "
        "None: always `length`",
    )

    @model_validator(mode="after")
    def _check(self) -> Segments:
        if self.least is not None and self.least > self.length:
            raise ValueError(f"least is {self.least}, expected at most length = {self.length}")
        return self

    def training(
        self, video: Video, length: int, grid: SnippetGrid, rng: np.random.Generator | None = None
    ) -> list[Window]:
        return sampled(video, length, grid, self.length, rng)

    def inference(
        self, video: Video, length: int, grid: SnippetGrid, rng: np.random.Generator | None = None
    ) -> list[Window]:
        steps = self.length if self.least is None else min(max(length, self.least), self.length)
        return sampled(video, length, grid, steps)
