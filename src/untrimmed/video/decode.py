"""From a video file to frames at a wanted rate, by their timestamps and in constant memory.

Time 0 is the moment the first frame of the video stream comes on screen. A frame stays there until the next one
comes, the last one for the duration it carries. Asked for ``fps`` frames a second, output frame ``k`` shows what is on
screen at ``k / fps``: source frames are repeated or left out as their times require, at a constant rate, at a
variable one, and across gaps alike::

    source     |a    |b |c           |d     |              variable frame rate
    k / fps    ^0   ^1   ^2   ^3   ^4   ^5
    output      a    a    c    c    d    d

Files keep times in ticks, often of a millisecond; a frame that is due within one tick (of at most a millisecond)
counts as being on screen, or else rounding would double one frame and drop the next.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from untrimmed.errors import InputError
from untrimmed.grid import SnippetGrid, exact_fps
from untrimmed.video.index import KeyframeIndex, frames_from
from untrimmed.video.stream import Picture, Shown, Source, due_tick

_SHORTFALL_SECONDS = 0.5
_SHORTFALL_SHARE = 0.02
_LONG_GAP_SECONDS = 10.0


class VideoWarning(UserWarning):
    """A video could be used only in part, or its times had to be repaired."""


@dataclass(frozen=True)
class VideoInfo:
    """What a file says of its video; :func:`probe`.

    Attributes:
        path: the file.
        duration: seconds from the first frame to the end of the last, as the header declares (or as counted, if
            it was scanned); None if unknown.
        fps: average frames a second; None if unknown.
        width: pixels, upright (after rotation).
        height: pixels, upright.
        rotation: degrees counter-clockwise by which the stored picture is turned: 0, 90, 180 or 270.
        frames: their number; None if unknown.
        codec: e.g. ``"h264"``.
        problems: what is wrong with the file, a line each.
    """

    path: Path
    duration: float | None
    fps: Fraction | None
    width: int
    height: int
    rotation: int
    frames: int | None
    codec: str
    problems: tuple[str, ...] = ()


def probe(path: str | Path, *, scan: bool = False) -> VideoInfo:
    """Look at a video file.

    Args:
        path: the file.
        scan: decode the whole file, for the true duration and number of frames, and all of its problems; without
            it only the header is read and the first frame decoded.

    Returns:
        What was found out.

    Raises:
        InputError: if it is no readable video, has no video stream, or not one frame can be decoded.
    """
    frames = Frames(path, warn=False)
    try:
        if scan:
            frames.drain()
    finally:
        frames.close()
    return frames.info


def read_frames(
    path: str | Path,
    *,
    fps: float | Fraction | None = None,
    short_side: int | None = None,
    start: float = 0.0,
    stop: float | None = None,
    threads: int = 1,
    warn: bool = True,
) -> Frames:
    """The frames of a video, one after the other; memory does not grow with the length of the video.

    Args:
        path: the file.
        fps: frames a second of the result, constant; None for the frames of the file at their own times.
        short_side: pixels of the shorter side of the result; None keeps the size.
        start: seconds; only frames with a time in ``[start, stop)`` come. Frames before are not decoded, but for
            those since the last keyframe.
        stop: seconds; None for all.
        threads: for decoding; 0 lets the decoder choose.
        warn: issue a :class:`VideoWarning` for each problem. They are in ``.problems`` in any case.

    Returns:
        An iterator of ``(time, rgb)``: seconds, and (H, W, 3) uint8, contiguous, upright. It is a context manager,
        too; its :attr:`~Frames.info` tells what is known, at the end with the measured duration.

    Raises:
        InputError: if it is no readable video, has no video stream, not one frame can be decoded, or an argument
            is out of its range.
    """
    return Frames(path, fps=fps, short_side=short_side, start=start, stop=stop, threads=threads, warn=warn)


class Frames(Iterator[tuple[float, NDArray[np.uint8]]]):
    """The iterator that :func:`read_frames` returns.

    Attributes:
        info: what is known of the video. Its duration, number of frames and problems are the measured ones once
            the iterator has come to the end of the file.
        problems: what went wrong up to now, a line each.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        fps: float | Fraction | None = None,
        short_side: int | None = None,
        start: float = 0.0,
        stop: float | None = None,
        threads: int = 1,
        warn: bool = True,
    ) -> None:
        if not (math.isfinite(start) and start >= 0) or (stop is not None and not stop >= start):
            raise InputError(f"{path}: frames in [{start}, {stop}) s were asked for, expected 0 <= start <= stop")
        self._grid = None if fps is None else SnippetGrid(exact_fps(fps), 1, 1)
        self._start, self._stop = start, math.inf if stop is None else stop
        self._warn = warn
        self.problems: list[str] = []
        self._source = Source(path, threads)
        try:
            self._shown = self._source.frames(self._report)
            self._first = self._first_frame()
            self._origin = self._first.tick
            self._picture = Picture(self._first.frame, short_side)
            self.info = self._header()
        except InputError:
            self._source.close()
            raise
        self._output = self._native() if self._grid is None else self._resampled(self._grid)

    def __iter__(self) -> Frames:
        return self

    def __next__(self) -> tuple[float, NDArray[np.uint8]]:
        return next(self._output)

    def __enter__(self) -> Frames:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the iterator ends."""
        self._output.close()
        self._source.close()

    def drain(self) -> None:
        """Decode what is left without making pictures of it, for the measured :attr:`info`."""
        for _ in self._spans():
            pass

    def _first_frame(self) -> Shown:
        first = next(self._shown, None)
        if first is None:
            why = f" ({self.problems[0]})" if self.problems else ""
            raise InputError(f"{self._source.path}: not one frame can be decoded{why}; leave it out or replace it")
        return first

    def _header(self) -> VideoInfo:
        source, picture = self._source, self._picture
        if not picture.exact:
            self._report("its rotation is no multiple of 90 degrees; the picture is left as it is stored")
        first = self._first.frame
        return VideoInfo(
            path=source.path,
            duration=source.declared_seconds(),
            fps=source.rate if source.has_rate else None,
            width=first.height if picture.turn.swaps else first.width,
            height=first.width if picture.turn.swaps else first.height,
            rotation=90 * picture.turn.quarters,
            frames=source.stream.frames or None,
            codec=source.stream.codec_context.name,
            problems=tuple(self.problems),
        )

    def _native(self) -> Generator[tuple[float, NDArray[np.uint8]]]:
        for shown, begin, _ in self._spans():
            time = float(begin * self._source.tick)
            if time >= self._stop:
                return
            if time >= self._start:
                yield time, self._picture.rgb(shown.frame)

    def _resampled(self, grid: SnippetGrid) -> Generator[tuple[float, NDArray[np.uint8]]]:
        number = grid.frame_at(self._start, "ceil")
        stop = math.inf if self._stop == math.inf else grid.frame_at(self._stop, "ceil")
        for shown, _, end in self._spans():
            image = None
            while number < stop and due_tick(number / grid.fps, self._source.tick) < end:
                # A repeated picture is the caller's own as well.
                image = self._picture.rgb(shown.frame) if image is None else image.copy()
                yield grid.frame_to_seconds(number), image
                number += 1
            if number >= stop:
                return

    def _spans(self) -> Iterator[tuple[Shown, int, int]]:
        """Every frame with the ticks since the first at which it comes on screen and leaves it."""
        current, frames, counted = self._first, self._shown, 1
        if self._start > 0:
            index = KeyframeIndex.build(self._source, self._report)
            tick = self._origin + due_tick(self._start, self._source.tick)
            frames = frames_from(self._source, index, tick, self._report)
            current = next(frames)
        longest = 0
        for shown in frames:
            longest = max(longest, shown.tick - current.tick)
            yield current, current.tick - self._origin, shown.tick - self._origin
            current = shown
            counted += 1
        end = current.tick - self._origin + (current.ticks or self._source.nominal)
        yield current, current.tick - self._origin, end
        self._finish(float(end * self._source.tick), float(longest * self._source.tick), counted)

    def _finish(self, measured: float, longest: float, counted: int) -> None:
        declared, listed = self.info.duration, self._source.stream.frames
        if declared is not None and declared - measured > max(_SHORTFALL_SECONDS, _SHORTFALL_SHARE * declared):
            self._report(
                f"the pictures end at {measured:.2f} s, but the header says {declared:.2f} s; "
                "the file may be cut off or damaged"
            )
        elif self._start == 0 and listed - self._source.read > max(2, _SHORTFALL_SHARE * listed):
            self._report(
                f"holds {self._source.read} frames of the {listed} that the header lists; "
                "the file may be cut off or damaged"
            )
        if longest > _LONG_GAP_SECONDS:
            self._report(f"one frame stays on screen for {longest:.1f} s")
        frames = counted if self._start == 0 else self.info.frames
        self.info = replace(self.info, duration=measured, frames=frames, problems=tuple(self.problems))

    def _report(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)
            if self._warn:
                warnings.warn(f"{self._source.path}: {problem}", VideoWarning, stacklevel=2)
