"""Videos as a fixed number of segments, each shown by one snippet: the input of weakly supervised methods.

The video is divided into T bins of equal length, and step t shows one snippet whose cell lies in bin t::

    snippets   0    1    2    3    4    5    6    7    8    9        n = 10
    bins       |--------0--------|--------1--------|--------2--------|        T = 3: 0-3.3, 3.3-6.7, 6.7-10

In training the snippet is drawn at random, a new one each epoch; in inference it is the one at the middle of the bin.
The released code of the weakly supervised hosts takes the one at the left edge (``pick: left``). As that of BaS-Net, UM
and DGAM also takes a step's value for that of its left edge (``align: left`` of its proposals), the two belong
together: one alone shifts everything that is found by half a bin, both by half a snippet. Where the video has fewer
snippets than bins, snippets are repeated, as in their code; neither mixes two snippets into one.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from untrimmed.data.windows import Part, Window, make_window
from untrimmed.grid import SnippetGrid
from untrimmed.types import Video


def sampled(
    video: Video,
    length: int,
    grid: SnippetGrid,
    steps: int,
    rng: np.random.Generator | None = None,
    place: float = 0.5,
) -> list[Window]:
    """One window of ``steps`` steps that shows the whole video; none for a video without snippets.

    Args:
        video: with its instances in seconds.
        length: snippets of the video.
        grid: where they lie in time.
        steps: T, at least 1.
        rng: draws a snippet of each bin; None takes the one at ``place``.
        place: in [0, 1), of a bin: 0 its left edge, 0.5 its middle.
    """
    if length == 0:
        return []
    places = np.full(steps, place) if rng is None else rng.random(steps)
    picks = np.minimum((np.arange(steps) + places) * (length / steps), length - 1).astype(np.int64)
    return [make_window(video, length, grid, steps, [Part(0, length, 0, steps, picks=tuple(picks.tolist()))])]


class Segments(BaseModel):
    """A fixed number of segments of the whole video, in one window: random within bins in training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["segments"] = "segments"
    length: int = Field(750, ge=1, description="T, steps of the window")
    least: int | None = Field(
        None,
        ge=1,
        description="in inference a video of n snippets has n steps, but at least this many and at most `most`; "
        "None: always `length`",
    )
    most: int | None = Field(None, ge=1, description="steps of a video in inference, with `least`; None: `length`")
    pick: Literal["middle", "left"] = Field(
        "middle", description="the snippet that stands for a bin in inference: at its middle, or its left edge"
    )

    @model_validator(mode="after")
    def _check(self) -> Segments:
        if self.least is None and self.most is not None:
            raise ValueError(f"most is {self.most}, but without `least` every video has `length` steps")
        if self.least is not None and self.least > self._most:
            name = "length" if self.most is None else "most"
            raise ValueError(f"least is {self.least}, expected at most {name} = {self._most}")
        return self

    @property
    def _most(self) -> int:
        return self.length if self.most is None else self.most

    def training(
        self, video: Video, length: int, grid: SnippetGrid, rng: np.random.Generator | None = None
    ) -> list[Window]:
        return sampled(video, length, grid, self.length, rng)

    def inference(
        self, video: Video, length: int, grid: SnippetGrid, rng: np.random.Generator | None = None
    ) -> list[Window]:
        steps = self.length if self.least is None else min(max(length, self.least), self._most)
        return sampled(video, length, grid, steps, place=0.5 if self.pick == "middle" else 0.0)
