"""The video stream of a file as frames with trustworthy times: what the rest of ``video/`` is built on.

What files in the field do, and what is made of it:

* AVI keeps no presentation times, and the demuxer's guesses reach the frames out of order. A decoder returns frames
  in the order in which they are shown, so the times of neighbouring frames are sorted over the frames.
* A time is missing (raw H.264): the frame follows the one before it by the nominal frame duration.
* The clock starts again (concatenated recordings) or leaps by more than an hour: the rest is shifted so that it
  follows on.
* Data is damaged or cut off: what can be decoded is used.

Each of these but the first is told to the caller as a *problem*, one line of text.
"""

from __future__ import annotations

import contextlib
import heapq
import math
from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from untrimmed.errors import InputError

Report = Callable[[str], None]

_REORDER = 8
"""Frames over which times are sorted; encoders put at most a few bidirectional frames in a row."""

_DEFAULT_RATE = Fraction(25)
_LEAP_SECONDS = 3600
_SLACK_SECONDS = Fraction(1, 1000)
_NOT_VIDEO = ("tty", "lavfi")
"""Demuxers that make a video out of a text file."""


class Shown(NamedTuple):
    """A decoded frame, the tick at which it comes on screen, and for how many ticks it says it stays."""

    tick: int
    ticks: int
    frame: Any


class Source:
    """An open file and its video stream. A context manager.

    Args:
        path: the file.
        threads: for decoding; 0 lets the decoder choose.

    Attributes:
        stream: the video stream (never a cover picture).
        tick: seconds of one unit of the stream's times.
        rate: average frames a second as the file declares or suggests; 25 if it says nothing usable.
        nominal: ticks of one frame at that rate, at least 1.
        read: packets of the stream that were read since it was opened.

    Raises:
        InputError: if there is no such file, it is no video that can be read, or it has no video stream.
    """

    def __init__(self, path: str | Path, threads: int = 1) -> None:
        self.path = Path(path)
        self._threads = threads
        self._open()
        self.tick: Fraction = self.stream.time_base or Fraction(1, 90000)
        declared = self.stream.average_rate or self.stream.guessed_rate
        self.has_rate = bool(declared and 0 < declared <= 1000)
        self.rate: Fraction = declared if self.has_rate else _DEFAULT_RATE
        self.nominal = max(1, round(1 / (self.rate * self.tick)))

    def _open(self) -> None:
        self.read = 0
        self.container = _open(self.path)
        try:
            self.stream = _video_stream(self.container, self.path)
        except InputError:
            self.container.close()
            raise
        self.stream.thread_count = self._threads
        self.stream.thread_type = "NONE" if self._threads == 1 else "AUTO"

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.container.close()

    def rewind(self) -> None:
        """Go to the start of the file by opening it again: the one seek that no file gets wrong."""
        self.container.close()
        self._open()

    @property
    def keeps_times(self) -> bool:
        """Whether the container stores when a frame is shown, not only when it is decoded."""
        return "avi" not in self.container.format.name.split(",")

    def declared_seconds(self) -> float | None:
        """Duration of the video as the header has it, None if it does not say."""
        if self.stream.duration:
            return float(self.stream.duration * self.tick)
        seconds = float(self.container.duration / av.time_base) if self.container.duration else None
        with contextlib.suppress(ValueError):
            hours, minutes, rest = self.stream.metadata.get("DURATION", "").split(":")
            seconds = int(hours) * 3600 + int(minutes) * 60 + float(rest)
        # Unlike a stream's own duration, these count from the zero of the file's clock.
        start = max(0.0, float((self.stream.start_time or 0) * self.tick))
        return None if seconds is None else max(0.0, seconds - start)

    def packets(self, report: Report) -> Iterator[Any]:
        """The stream's packets from where the file stands; data that cannot be read ends them."""
        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.FFmpegError, OSError) as error:
                report(f"reading stopped at damaged data ({_reason(error)})")
                return
            # The demuxer ends with an empty packet that would flush the decoder; `frames` does that itself.
            if packet.size:
                self.read += 1
                yield packet

    def frames(self, report: Report, packets: Iterator[Any] | None = None) -> Iterator[Shown]:
        """The frames in the order they are shown, times never falling.

        Args:
            report: is told the problems met, at the latest when the frames end.
            packets: to decode; from where the file stands if None.
        """
        clock = _Clock(self)
        waiting: deque[Any] = deque()
        ticks: list[int] = []
        last = None
        for frame in self._decode(self.packets(report) if packets is None else packets, report):
            waiting.append(frame)
            heapq.heappush(ticks, clock.tick_of(frame, report))
            if len(waiting) > _REORDER:
                last = _pop(waiting, ticks, last)
                yield last
        while waiting:
            last = _pop(waiting, ticks, last)
            yield last
        if clock.missing:
            report(
                f"{clock.missing} frames carry no time; each was taken to follow the one before it at "
                f"{float(self.rate):.6g} frames/s"
            )

    def _decode(self, packets: Iterator[Any], report: Report) -> Iterator[Any]:
        lost = damaged = 0
        for packet in packets:
            try:
                frames = packet.decode()
            except (av.FFmpegError, OSError):
                lost += 1
                continue
            for frame in frames:
                damaged += bool(frame.is_corrupt)
                yield frame
        try:
            rest = self.stream.codec_context.decode(None)
        except (av.FFmpegError, OSError):
            rest = []
        yield from rest
        if lost:
            report(f"{lost} packets could not be decoded and were left out")
        if damaged:
            report(f"{damaged} frames are damaged and may look wrong")


class _Clock:
    """Turns the time a frame carries, if any, into a tick that continues the ones before it."""

    def __init__(self, source: Source) -> None:
        self._tick, self._nominal = source.tick, source.nominal
        self._back = max(round(1 / source.tick), 2 * _REORDER * source.nominal)
        self._ahead = round(_LEAP_SECONDS / source.tick)
        self._shift = 0
        self._previous: int | None = None
        self._highest: int | None = None
        self.missing = 0

    def tick_of(self, frame: Any, report: Report) -> int:
        raw = frame.dts if frame.pts is None else frame.pts
        if raw is None:
            self.missing += 1
            tick = 0 if self._previous is None else self._previous + self._nominal
        else:
            tick = raw + self._shift
        if self._highest is not None and not -self._back < tick - self._highest < self._ahead:
            leap = float((tick - self._highest) * self._tick)
            report(f"the clock of the file leaps by {leap:.6g} s; what follows was moved to follow on")
            self._shift += self._highest + self._nominal - tick
            tick = self._highest + self._nominal
        self._previous = tick
        self._highest = tick if self._highest is None else max(self._highest, tick)
        return tick


def _pop(waiting: deque[Any], ticks: list[int], last: Shown | None) -> Shown:
    frame, tick = waiting.popleft(), heapq.heappop(ticks)
    return Shown(tick if last is None else max(tick, last.tick), frame.duration or 0, frame)


class Picture:
    """Turns decoded frames into upright RGB arrays of one size.

    Args:
        first: the first frame of the stream; later frames of another size are scaled to the same result.
        short_side: pixels of the shorter side of the result; None keeps the size. Pixels are taken as square.
    """

    def __init__(self, first: Any, short_side: int | None = None) -> None:
        self._reformatter = VideoReformatter()
        self.turn, self.exact = orientation(first)
        width, height = scaled_size(first.width, first.height, short_side)
        self._stored = (width, height)
        self.size = (height, width) if self.turn.swaps else (width, height)
        # AREA averages what one pixel covers; it means nothing when a frame is made larger.
        self._interpolation = "AREA" if width <= first.width else "BILINEAR"

    def rgb(self, frame: Any) -> NDArray[np.uint8]:
        """The frame as (H, W, 3) uint8, contiguous, with :attr:`size` being (W, H)."""
        width, height = self._stored
        image = self._reformatter.reformat(
            frame, width, height, "rgb24", interpolation=self._interpolation, threads=1
        ).to_ndarray()
        return np.ascontiguousarray(self.turn.apply(image))


class Turn(NamedTuple):
    """How a stored picture is made upright: mirrored, then turned by quarter turns counter-clockwise."""

    mirrored: bool = False
    quarters: int = 0

    @property
    def swaps(self) -> bool:
        """Whether width and height change places."""
        return self.quarters % 2 == 1

    def apply(self, image: NDArray[Any]) -> NDArray[Any]:
        return np.rot90(image[:, ::-1] if self.mirrored else image, self.quarters)


def orientation(frame: Any) -> tuple[Turn, bool]:
    """How to make a frame upright by its display matrix, and whether that is exactly what the matrix says.

    The matrix maps a stored point (x right, y down) to ``(a x + c y, b x + d y)``; only the eight that keep the
    axes can be followed, any other is left alone.
    """
    matrix = next((data for data in frame.side_data if data.type.name == "DISPLAYMATRIX"), None)
    if matrix is None:
        return Turn(), True
    a, b, _, c, d = np.frombuffer(bytes(matrix), dtype=np.int32)[:5]
    axes = (int(np.sign(a)), int(np.sign(b)), int(np.sign(c)), int(np.sign(d)))
    if axes not in _TURNS:
        return Turn(), False
    return _TURNS[axes], True


_TURNS = {
    (1, 0, 0, 1): Turn(),
    (0, -1, 1, 0): Turn(False, 1),
    (-1, 0, 0, -1): Turn(False, 2),
    (0, 1, -1, 0): Turn(False, 3),
    (-1, 0, 0, 1): Turn(True, 0),
    (0, 1, 1, 0): Turn(True, 1),
    (1, 0, 0, -1): Turn(True, 2),
    (0, -1, -1, 0): Turn(True, 3),
}
"""Sign of (a, b, c, d) of the display matrix -> what makes the picture upright."""


def due_tick(seconds: float | Fraction, tick: Fraction) -> int:
    """The last tick that counts as reached at a time, both from the same origin.

    Files round times to ticks, often of a millisecond: one tick more is allowed, if it is no longer than that.
    """
    exact = seconds if isinstance(seconds, Fraction) else Fraction(repr(float(seconds)))
    return math.floor(exact / tick) + (1 if tick <= _SLACK_SECONDS else 0)


def scaled_size(width: int, height: int, short_side: int | None) -> tuple[int, int]:
    """Width and height with the shorter side of the given length and the same shape, to the nearest pixel.

    Raises:
        InputError: for a short side below 1.
    """
    if short_side is None:
        return width, height
    if short_side < 1:
        raise InputError(f"short side is {short_side}, expected a number of pixels above 0")
    short = min(width, height)
    return max(1, round(width * short_side / short)), max(1, round(height * short_side / short))


def _open(path: Path) -> Any:
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected a video file")
    if not path.is_file():
        raise InputError(f"{path}: no such video file")
    if not path.stat().st_size:
        raise InputError(f"{path}: the file is empty, expected a video")
    try:
        # Only files: a playlist must not make us read from the network.
        container = av.open(str(path.absolute()), options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError(
            f"{path}: not a video that can be read ({_reason(error)}); if it plays elsewhere, convert it, "
            "e.g. to an mp4 with H.264"
        ) from None
    if container.format.name in _NOT_VIDEO:
        container.close()
        raise InputError(f"{path}: is a text file, expected a video")
    return container


def _video_stream(container: Any, path: Path) -> Any:
    streams = [stream for stream in container.streams.video if "attached_pic" not in str(stream.disposition)]
    if not streams:
        others = sorted({stream.type for stream in container.streams})
        held = f"only {', '.join(others)}" if others else "no stream at all"
        raise InputError(f"{path}: has no video stream ({held}); leave it out, or give the file with the pictures")
    stream = streams[0]
    if stream.codec_context is None:
        raise InputError(f"{path}: its video codec is not supported; convert it, e.g. to an mp4 with H.264")
    return stream


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
