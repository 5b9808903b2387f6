"""Video self-stitching: the input of VSGN (Zhao, Thabet, Ghanem, ICCV 2021, section 3.2 and supplement, section 1).

A video longer than ``clip`` = gamma * L snippets is cut into short clips. A short clip of M snippets is shown twice in
one window of L steps (Eq. 1)::

    0              M      M + G                                L
    |-- original --|--G---|----------- up-scaled --------------|
                     zeros   the same M snippets on L - G - M steps

and the long video is used as it is as well, in windows of L steps, for its long actions.

Departures from the paper:

1. Algorithm 1 as printed adds a clip only when it meets the next action: the last clip is never added, and an action
   of gamma * L or more leaves the clip before it in place, which is then added a second time. Here a clip is added
   once, when it is complete.
2. Algorithm 1 moves only the *end* of a clip inward where it would cut an action, though the text says "boundary".
   Here the start is moved too. Where actions overlap each other no boundary can spare them all: the clip then keeps
   the actions it was made for whole.
3. The random offset is drawn so that the clip lies inside the sequence, so it has the full length gamma * L wherever
   no action is in the way (the paper draws freely, and the clip would then reach past the ends).
4. An action as long as gamma * L, in whole snippets, still fits a clip and gets one (the paper: shorter only).
5. Windows without any action are left out of training, as in the released code, unless ``keep_empty`` is set.
6. The last window, and in inference the last clip, is moved back to end with the video, so that none is a sliver.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from untrimmed.data.windows import Part, Window, make_window, starts
from untrimmed.grid import SnippetGrid
from untrimmed.timemap import UPSCALED
from untrimmed.types import Video

Mode = Literal["stitch", "upscale", "none"]
"""What becomes of a short clip (Table 2): stitched with its up-scaled self; replaced by it (rows b and f); or nothing,
there are no short clips then and only the videos as they are (rows a and e)."""

_ROUNDING = 1e-7
"""Steps by which seconds that mean the edge of a snippet may miss it."""


def stitched_parts(start: int, stop: int, length: int, gap: int, mode: Mode = "stitch") -> list[Part]:
    """The parts of a window of ``length`` steps that shows the short clip of snippets ``[start, stop)`` (Eq. 1).

    ``gap`` steps of zeros lie between original and up-scaled clip; ``gap + (stop - start)`` is below ``length``.
    """
    count = stop - start
    if mode == "none":
        return [Part(start, stop, 0, count)]
    if mode == "upscale":
        return [Part(start, stop, 0, length)]
    return [Part(start, stop, 0, count), Part(start, stop, count + gap, length - gap - count, UPSCALED)]


def training_clips(
    actions: ArrayLike, start: int, stop: int, clip: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Algorithm 1: short clips of one sequence, with as many actions as fit and none that is cut.

    Args:
        actions: (N, 2), the actions of the video on the step axis; those not wholly in the sequence get no clip, but
            clips avoid to cut them.
        start: first snippet of the sequence.
        stop: end of the sequence, above ``start + clip``.
        clip: greatest length of a clip in snippets.
        rng: draws where each clip begins.

    Returns:
        Half-open ranges of snippets, in the order of the actions they were made for.
    """
    spans = _whole_snippets(actions)
    spans = spans[(spans[:, 1] > start) & (spans[:, 0] < stop)]
    clips: list[tuple[int, int]] = []
    candidate: tuple[int, int] | None = None
    kept_until = start
    for row, (first, last) in enumerate(spans.tolist()):
        if candidate is not None:
            if last <= candidate[1]:
                kept_until = max(kept_until, last)
                continue
            clips.append((candidate[0], min(candidate[1], max(first, kept_until))))
            candidate = None
        if last - first <= clip and start <= first and last <= stop:
            earliest, latest = max(start, last - clip), min(first, stop - clip)
            begin = _moved_inward(int(rng.integers(earliest, latest + 1)), first, spans[:row])
            candidate, kept_until = (begin, min(begin + clip, stop)), last
    if candidate is not None:
        clips.append(candidate)
    return clips


def _whole_snippets(actions: ArrayLike) -> NDArray[np.int64]:
    """(N, 2) whole snippets that actions touch, by start, then end."""
    table = np.asarray(actions, dtype=np.float64).reshape(-1, 2)
    edges = np.floor(table[:, 0] + _ROUNDING), np.ceil(table[:, 1] - _ROUNDING)
    spans = np.stack(edges, axis=1).astype(np.int64)
    return spans[np.lexsort((spans[:, 1], spans[:, 0]))]


def _moved_inward(begin: int, first: int, earlier: NDArray[np.int64]) -> int:
    """The beginning of a clip for an action from ``first`` on, moved right until it cuts no earlier action that ends
    by then."""
    while True:
        cut = earlier[(earlier[:, 0] < begin) & (earlier[:, 1] > begin) & (earlier[:, 1] <= first)]
        if not len(cut):
            return begin
        begin = int(cut[:, 1].max())


class SelfStitching(BaseModel):
    """Windows of L steps for VSGN; the defaults are those of the paper, for both of its data sets.

    :meth:`training` and :meth:`inference` are windowings (see :mod:`untrimmed.data.windows`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["self_stitching"] = "self_stitching"
    length: int = Field(1280, ge=2, description="L, steps of the network's input")
    short: float = Field(0.4, gt=0, lt=1, description="gamma: a clip is short up to this share of L")
    gap: int = Field(30, ge=0, description="G, steps of zeros between the clips; 0: none (rows c and g of Table 2)")
    mode: Mode = Field("stitch", description="stitch, upscale (rows b and f) or none (rows a and e)")
    stride: int | None = Field(
        None, ge=1, description="snippets between the windows of a video longer than L; None: L / 4"
    )
    clip_stride: int | None = Field(
        None, ge=1, description="snippets between short clips in inference; None: as long as a clip, they tile"
    )
    coverage: float = Field(
        1.0, ge=0, le=1, description="share of an instance that a window must show for it to be a target"
    )
    keep_empty: bool = Field(False, description="train also on long windows and whole videos without any target")

    @model_validator(mode="after")
    def _check(self) -> SelfStitching:
        if self.clip < 1:
            raise ValueError(f"short is {self.short} of length {self.length}: not one snippet; raise either")
        if self.mode == "stitch" and self.clip + self.gap >= self.length:
            raise ValueError(
                f"a short clip of {self.clip} snippets and a gap of {self.gap} leave nothing of {self.length} steps "
                "for the up-scaled clip; lower short or gap"
            )
        return self

    @property
    def clip(self) -> int:
        """Gamma * L, the longest short clip, in snippets."""
        return math.floor(self.length * self.short + _ROUNDING)

    def training(self, video: Video, length: int, grid: SnippetGrid, rng: np.random.Generator) -> list[Window]:
        """The sequences of a video (every L / 4 snippets, if it is longer than L), and the short clips of each."""
        if self._is_short(length):
            return [window for window in self.inference(video, length, grid, rng) if self._wanted(window)]
        windows = []
        actions = _seen_steps(video, grid, length)
        for start in starts(length, self.length, self._stride) if length else []:
            stop = min(start + self.length, length)
            sequence = self._window(video, length, grid, [Part(start, stop, 0, stop - start)])
            if self._wanted(sequence):
                windows.append(sequence)
            if self.mode != "none":
                cuts = training_clips(actions, start, stop, self.clip, rng)
                windows += [self._stitched(video, length, grid, *cut) for cut in cuts]
        return windows

    def inference(
        self, video: Video, length: int, grid: SnippetGrid, rng: np.random.Generator | None = None
    ) -> list[Window]:
        """The whole video, in windows of L if it is longer, and short clips of fixed length over all of it."""
        if length == 0:
            return []
        if self._is_short(length):
            return [self._stitched(video, length, grid, 0, length)]
        cuts = [(start, min(start + self.length, length)) for start in starts(length, self.length, self._stride)]
        windows = [self._window(video, length, grid, [Part(*cut, 0, cut[1] - cut[0])]) for cut in cuts]
        if self.mode != "none":
            begins = starts(length, self.clip, self.clip_stride or self.clip)
            windows += [self._stitched(video, length, grid, begin, begin + self.clip) for begin in begins]
        return windows

    @property
    def _stride(self) -> int:
        return self.stride or max(1, self.length // 4)

    def _is_short(self, length: int) -> bool:
        return 0 < length <= self.clip and self.mode != "none"

    def _wanted(self, window: Window) -> bool:
        return self.keep_empty or len(window.segments) > 0

    def _stitched(self, video: Video, length: int, grid: SnippetGrid, start: int, stop: int) -> Window:
        return self._window(video, length, grid, stitched_parts(start, stop, self.length, self.gap, self.mode))

    def _window(self, video: Video, length: int, grid: SnippetGrid, parts: list[Part]) -> Window:
        return make_window(video, length, grid, self.length, parts, self.coverage)


def _seen_steps(video: Video, grid: SnippetGrid, length: int) -> NDArray[np.float64]:
    """(N, 2) the instances that have a length within the snippets of the video, clipped to them, in steps."""
    seen = np.clip(grid.seconds_to_steps(video.instances.segments), 0, length)
    return seen[seen[:, 1] > seen[:, 0]]
