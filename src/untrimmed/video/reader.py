"""Any frame of a video by its time, exactly: the same picture that reading from the start would show."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from untrimmed.errors import InputError
from untrimmed.video.index import KeyframeIndex, frames_from
from untrimmed.video.stream import Picture, Shown, Source, due_tick


class FrameReader:
    """Random access to the frames of a file. A context manager.

    Opening reads the file once without decoding it, to know its keyframes. Times are those of
    :func:`untrimmed.video.read_frames`: 0 is when the first frame comes on screen.

    Args:
        path: the file.
        short_side: pixels of the shorter side of the pictures; None keeps the size.
        threads: for decoding; 0 lets the decoder choose.

    Attributes:
        problems: what went wrong up to now, a line each.

    Raises:
        InputError: if it is no readable video, has no video stream, or not one frame can be decoded.
    """

    def __init__(self, path: str | Path, *, short_side: int | None = None, threads: int = 1) -> None:
        self.problems: list[str] = []
        self._source = Source(path, threads)
        try:
            first = next(self._source.frames(self._report), None)
            if first is None:
                raise InputError(f"{path}: not one frame can be decoded")
            self._picture = Picture(first.frame, short_side)
            self._origin = first.tick
            self._index = KeyframeIndex.build(self._source, self._report)
        except InputError:
            self._source.close()
            raise
        self._frames = self._source.frames(self._report)
        self._current: Shown = next(self._frames)
        self._next: Shown | None = next(self._frames, None)

    def __enter__(self) -> FrameReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def frame_at(self, seconds: float) -> tuple[float, NDArray[np.uint8]]:
        """The frame that is on screen at a time.

        Args:
            seconds: at least 0; from the end of the video on it is the last frame.

        Returns:
            When that frame came on screen, in seconds, and the picture, (H, W, 3) uint8, contiguous, upright.

        Raises:
            InputError: for a time below 0 or not finite.
        """
        if not (math.isfinite(seconds) and seconds >= 0):
            raise InputError(f"{self._source.path}: a frame at {seconds} s was asked for, expected 0 or more")
        tick = self._origin + due_tick(seconds, self._source.tick)
        index = self._index
        if tick < self._current.tick or index.before(tick) > max(0, index.before(self._current.tick)):
            self._frames = frames_from(self._source, index, tick, self._report)
            self._current, self._next = next(self._frames), next(self._frames, None)
        while self._next is not None and self._next.tick <= tick:
            self._current, self._next = self._next, next(self._frames, None)
        time = float((self._current.tick - self._origin) * self._source.tick)
        return time, self._picture.rgb(self._current.frame)

    def _report(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)
