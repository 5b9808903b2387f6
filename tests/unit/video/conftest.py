"""Tiny videos whose pictures say which frame they are: frame ``i`` shows the bits of ``i`` as eight bars."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import av
import numpy as np
import pytest

WIDTH, HEIGHT = 64, 48
X264 = {"x264-params": "keyint=20:min-keyint=20:scenecut=0:bframes=3:b-adapt=0:open-gop=1:threads=1"}


def picture(number: int) -> np.ndarray:
    image = np.full((HEIGHT, WIDTH, 3), 40, dtype=np.uint8)
    for bit in range(8):
        if number >> bit & 1:
            image[:, bit * WIDTH // 8 : (bit + 1) * WIDTH // 8] = 220
    return image


class MakeClip(Protocol):
    def __call__(
        self,
        name: str,
        *,
        frames: int = 60,
        codec: str = "libx264",
        rate: int | Fraction = 25,
        options: dict[str, str] | None = None,
        skip: Container[int] = (),
        shift: int = 0,
        ticks: Sequence[int] | None = None,
        base: Fraction | None = None,
        turn: int | None = None,
    ) -> Path: ...


@pytest.fixture
def make_clip(tmp_path: Path) -> MakeClip:
    """Encode ``frames`` pictures into ``tmp_path / name``; the container follows from the name.

    ``skip`` leaves frames out, ``shift`` delays all by that many frames, ``ticks`` gives each its own time in units
    of ``base``, ``turn`` writes a rotation in degrees into the header.
    """

    def make(
        name: str,
        *,
        frames: int = 60,
        codec: str = "libx264",
        rate: int | Fraction = 25,
        options: dict[str, str] | None = None,
        skip: Container[int] = (),
        shift: int = 0,
        ticks: Sequence[int] | None = None,
        base: Fraction | None = None,
        turn: int | None = None,
    ) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w", format="h264" if name.endswith(".h264") else None) as container:
            stream = container.add_stream(codec, rate=rate, options=dict(X264 if options is None else options))
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            stream.codec_context.thread_count = 1
            if base is not None:
                stream.codec_context.time_base = base
            if turn is not None:
                stream.set_display_rotation(turn)
            for number in range(frames):
                if number in skip:
                    continue
                frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
                frame.pts = shift + number if ticks is None else ticks[number]
                frame.time_base = base or 1 / Fraction(rate)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return make


@pytest.fixture(scope="session")
def number_of() -> Callable[[np.ndarray], int]:
    """Which frame a picture of such a clip is, at any size."""

    def read(image: np.ndarray) -> int:
        bars = np.array_split(image.mean(axis=(0, 2)), 8)
        return sum(1 << bit for bit, bar in enumerate(bars) if bar[len(bar) // 3 : -(len(bar) // 3)].mean() > 130)

    return read
