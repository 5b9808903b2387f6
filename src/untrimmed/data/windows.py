"""Windows: which snippets of a video a model is given, where it finds them, and what they show.

Everything here is pure: lengths and instances in, windows out; no feature is touched. A :class:`Window` of T steps is
a list of :class:`Part` objects, each a run of snippets put on a run of steps::

    snippets   0         a=======b                     n
                         |        \\
    steps      0---------first=====first+steps---------T      steps == b - a: copied, else interpolated

Steps that no part covers are zero, of clip 0. The :class:`~untrimmed.timemap.TimeMap` of a window has one piece for
each part, so an instance becomes one target in every part that shows it.

A windowing takes ``(video, length, grid, rng)``, where ``length`` is the number of snippets, and returns a list of
windows. ``rng`` is used by the random ones only. The settings in :mod:`untrimmed.data.settings` are such callables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from untrimmed.errors import InputError
from untrimmed.grid import SnippetGrid
from untrimmed.timemap import ORIGINAL, Piece, TimeMap
from untrimmed.types import Video

_ROUNDING = 1e-6
"""Share of an instance that rounding may take from a window, or leave in one it only touches."""


@dataclass(frozen=True)
class Part:
    """Snippets ``[source_start, source_stop)`` of the video on steps ``[first, first + steps)`` of the window.

    Args:
        source_start: first snippet, at least 0.
        source_stop: end of the snippets, above ``source_start``.
        first: first step, at least 0.
        steps: number of steps, at least 1. As many as snippets: they are copied; else interpolated linearly with
            half-pixel centres.
        clip: :data:`~untrimmed.timemap.ORIGINAL`, or :data:`~untrimmed.timemap.UPSCALED` for the second showing of
            snippets that the window shows at their own speed too. A window with one showing only is original,
            also where it is interpolated: clips tell showings apart.
        picks: the snippet that each step shows, of those of the part; None: all of them, copied or interpolated.
            Step s of n is to show one whose cell touches ``[s / n, (s + 1) / n)`` of the part, for the time map says
            so.
    """

    source_start: int
    source_stop: int
    first: int
    steps: int
    clip: int = ORIGINAL
    picks: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not (0 <= self.source_start < self.source_stop and self.first >= 0 and self.steps >= 1):
            raise InputError(
                f"Part: snippets [{self.source_start}, {self.source_stop}) on {self.steps} steps from {self.first} "
                "on; both must begin at 0 or later and have a length above 0"
            )
        if self.picks is None:
            return
        inside = all(self.source_start <= pick < self.source_stop for pick in self.picks)
        if len(self.picks) != self.steps or not inside:
            raise InputError(
                f"Part: {len(self.picks)} picks for {self.steps} steps, expected one a step, each in snippets "
                f"[{self.source_start}, {self.source_stop})"
            )

    @property
    def stop(self) -> int:
        """End of the steps."""
        return self.first + self.steps


@dataclass(frozen=True, eq=False)
class Window:
    """One model input.

    Args:
        video_id: the video it is cut from.
        length: T, its steps.
        parts: in the order of their steps, without overlap, within the steps.
        map: where the steps lie in the video: one piece a part.
        segments: (M, 2) float64, the instances it shows, in steps.
        rows: (M,) int64, which instance of the video each is.
    """

    video_id: str
    length: int
    parts: tuple[Part, ...]
    map: TimeMap
    segments: NDArray[np.float64]
    rows: NDArray[np.int64]

    @property
    def clip(self) -> NDArray[np.uint8]:
        """(T,) which clip each step shows; 0 where it shows none."""
        clip = np.zeros(self.length, dtype=np.uint8)
        for part in self.parts:
            clip[part.first : part.stop] = part.clip
        return clip


class Windowing(Protocol):
    """Cuts a video of ``length`` snippets into windows."""

    def __call__(self, video: Video, length: int, grid: SnippetGrid, rng: np.random.Generator) -> list[Window]: ...


def make_window(
    video: Video,
    length: int,
    grid: SnippetGrid,
    steps: int,
    parts: Sequence[Part],
    coverage: float = 0.0,
    whole_targets: bool = False,
) -> Window:
    """A window of ``steps`` steps from its parts.

    Args:
        video: with its instances in seconds.
        length: snippets of the video.
        grid: where they lie in time.
        steps: T.
        parts: in order, within the snippets and the steps.
        coverage: share of an instance that a part must show for it to become a target there, in [0, 1]; what lies
            outside the snippets of the video does not count as missing.
        whole_targets: a target reaches past its part as far as its instance does; else it is clipped to the part.

    Raises:
        InputError: if a part reaches outside the video or the window.
    """
    for part in parts:
        if part.source_stop > length or part.stop > steps:
            raise InputError(
                f"video {video.id}: a part of snippets [{part.source_start}, {part.source_stop}) on steps "
                f"[{part.first}, {part.stop}) does not fit {length} snippets and {steps} steps"
            )
    time_map = TimeMap(tuple(_piece(part, grid) for part in parts))
    seen = np.clip(video.instances.segments, grid.steps_to_seconds(0), grid.steps_to_seconds(length))
    least = max(coverage * (1 - _ROUNDING), _ROUNDING)
    segments, rows, _ = time_map.segments_to_steps(seen, min_coverage=least, clip=not whole_targets)
    return Window(video.id, steps, tuple(parts), time_map, segments, rows)


def _piece(part: Part, grid: SnippetGrid) -> Piece:
    return Piece(
        part.first,
        part.stop,
        grid.steps_to_seconds(part.source_start),
        grid.steps_to_seconds(part.source_stop),
        part.clip,
    )


def starts(length: int, window: int, stride: int) -> list[int]:
    """First snippets of windows that slide over a video.

    ::

        0       stride  2*stride      length
        |---- window ----|
                |---- window ----|
                      |---- window ----|     the last is moved back to end with the video

    All windows are whole: none is a sliver at the end, and every snippet is in one (if ``stride <= window``). A video
    no longer than a window has one, which starts at 0.
    """
    if length <= window:
        return [0]
    return [*range(0, length - window, stride), length - window]


def whole(video: Video, length: int, grid: SnippetGrid, coverage: float = 0.0) -> list[Window]:
    """The video as it is: one window of as many steps as snippets; none for a video without snippets."""
    if length == 0:
        return []
    return [make_window(video, length, grid, length, [Part(0, length, 0, length)], coverage)]


def rescaled(video: Video, length: int, grid: SnippetGrid, steps: int, coverage: float = 0.0) -> list[Window]:
    """The video interpolated to ``steps`` steps, however long it is: one window."""
    if length == 0:
        return []
    return [make_window(video, length, grid, steps, [Part(0, length, 0, steps)], coverage)]


def sliding(
    video: Video,
    length: int,
    grid: SnippetGrid,
    steps: int,
    stride: int,
    coverage: float = 0.0,
    keep_empty: bool = True,
    whole_targets: bool = False,
) -> list[Window]:
    """Windows of ``steps`` steps every ``stride`` snippets, as :func:`starts` places them.

    Args:
        coverage: share of an instance that a window must show for it to become a target, in [0, 1].
        keep_empty: also windows that no instance falls into.
        whole_targets: see :func:`make_window`.

    A video shorter than a window has one, with zeros at its end.
    """
    windows = []
    for start in starts(length, steps, stride) if length else []:
        shown = min(steps, length - start)
        parts = [Part(start, start + shown, 0, shown)]
        window = make_window(video, length, grid, steps, parts, coverage, whole_targets)
        if keep_empty or len(window.segments):
            windows.append(window)
    return windows
