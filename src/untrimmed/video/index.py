"""Where decoding can begin: the keyframes of a file, found in one pass over its packets without decoding.

Seeking by time alone lands wrong in many files: some demuxers look up the time at which a frame is decoded, others
the one at which it is shown, and the two differ where frames are bidirectional or missing. The index knows both
of every keyframe; a seek is checked by what comes out, and tried again further back if it overshot.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from untrimmed.video.stream import Report, Shown, Source

_MARGIN = 16
"""Frames that a keyframe must lie before the target where the container keeps no times of showing."""


@dataclass(frozen=True)
class KeyframeIndex:
    """The keyframes of a video stream, in the order of the file.

    Args:
        pts: (N,) int64, the ticks at which they are shown, rising.
        dts: (N,) int64, the ticks at which they are decoded; that of showing where the file does not say.
        trusted: whether the times of the packets can be relied on; if not, decoding begins at the start.
        margin: ticks by which a keyframe must precede what is looked for.
    """

    pts: NDArray[np.int64]
    dts: NDArray[np.int64]
    trusted: bool
    margin: int = 0

    @classmethod
    def build(cls, source: Source, report: Report) -> KeyframeIndex:
        """Read all packets of a file once; the file is at its start again afterwards."""
        source.rewind()
        keys: list[tuple[int, int]] = []
        trusted, last = True, None
        for packet in source.packets(report):
            if packet.dts is not None:
                trusted = trusted and (last is None or packet.dts >= last)
                last = packet.dts
            trusted = trusted and packet.pts is not None
            if trusted and packet.is_keyframe:
                keys.append((packet.pts, packet.pts if packet.dts is None else packet.dts))
        source.rewind()
        table = np.array(keys, dtype=np.int64).reshape(-1, 2)
        trusted = trusted and bool((np.diff(table[:, 0]) > 0).all())
        return cls(table[:, 0], table[:, 1], trusted, 0 if source.keeps_times else _MARGIN * source.nominal)

    def before(self, tick: int) -> int:
        """Number of the last keyframe from which the frame on screen at ``tick`` can be decoded; -1 if none."""
        return int(np.searchsorted(self.pts, tick - self.margin, side="right")) - 1 if self.trusted else -1


def frames_from(source: Source, index: KeyframeIndex, tick: int, report: Report) -> Iterator[Shown]:
    """The frames from the one on screen at ``tick`` on, or from an earlier one.

    Begins at the nearest keyframe before, or further back, or at the start of the file, whichever is the first to
    give a frame that is not after ``tick``.
    """
    number = index.before(tick)
    for back in (0, 1, 4):
        # The first keyframe is where the file begins anyway.
        if number - back < 1:
            break
        pts, dts = int(index.pts[number - back]), int(index.dts[number - back])
        for target in dict.fromkeys((pts, dts)):
            packets = _seek(source, target, pts)
            if packets is None:
                continue
            frames = source.frames(report, packets)
            first = next(frames, None)
            if first is not None and first.tick <= tick:
                return itertools.chain((first,), frames)
    source.rewind()
    return source.frames(report)


def _seek(source: Source, target: int, pts: int) -> Iterator[Any] | None:
    """The packets from the keyframe shown at ``pts`` on, None if the seek does not lead there."""
    try:
        source.container.seek(target, stream=source.stream, backward=True)
    except (av.FFmpegError, OSError):
        return None
    for packet in (packets := source.packets(_ignore)):
        if packet.is_keyframe and packet.pts is not None and packet.pts >= pts:
            return itertools.chain((packet,), packets) if packet.pts == pts else None
    return None


def _ignore(problem: str) -> None:
    """Problems of reading were told when the index was built."""
