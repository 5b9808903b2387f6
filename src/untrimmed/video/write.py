"""A small H.264 writer, for rendered scenes and test files: the same frames always give the same bytes."""

from __future__ import annotations

import os
import secrets
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
from numpy.typing import NDArray

from untrimmed.errors import InputError
from untrimmed.grid import exact_fps

_FORMATS = {".mp4": "mp4", ".mkv": "matroska"}
_TICK = Fraction(1, 90000)
_KEYFRAME_SECONDS = 2


class VideoWriter:
    """Writes RGB pictures to an H.264 file that every browser plays. A context manager.

    The file appears under its name only when the block ends without an error. Encoding runs in one thread, so that
    the bytes depend on the pictures alone.

    Args:
        path: of the file to write, ``.mp4`` or ``.mkv``; what is there is replaced.
        fps: frames a second. None for a variable rate: then every frame is given its time.
        size: (width, height) of the pictures. H.264 as browsers play it knows even sizes only: an odd side gets its
            last row or column once more.
        crf: quality, 0 (lossless) to 51 (worst); 18-28 is usual.
        preset: speed of x264, ``"ultrafast"`` to ``"veryslow"``.

    Raises:
        InputError: for a folder that does not exist, another suffix, or a value outside these ranges.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        fps: float | Fraction | None,
        size: tuple[int, int],
        crf: int = 20,
        preset: str = "veryfast",
    ) -> None:
        self.path = Path(path)
        self.size = size
        if self.path.suffix.lower() not in _FORMATS:
            raise InputError(f"{path}: is no name of a video to write, expected one in {' or '.join(_FORMATS)}")
        if not self.path.parent.is_dir():
            raise InputError(f"{path}: folder {self.path.parent} does not exist; make it first")
        if min(size) < 1 or not 0 <= crf <= 51:
            raise InputError(f"{path}: {size = } and {crf = }, expected at least 1 x 1 pixels and a crf of 0-51")
        self._padding = (size[1] % 2, size[0] % 2)
        self._temporary = self.path.with_name(f".{self.path.name[:100]}.{secrets.token_hex(6)}.tmp")
        self._count = 0
        self._last = -1
        rate = None if fps is None else exact_fps(fps)
        self._tick = _TICK if rate is None else 1 / rate
        self._constant = rate is not None
        try:
            self._start(rate or Fraction(25), crf, preset)
        except (av.FFmpegError, OSError) as error:
            self._temporary.unlink(missing_ok=True)
            raise self._failed(error) from None

    def _start(self, rate: Fraction, crf: int, preset: str) -> None:
        kind = _FORMATS[self.path.suffix.lower()]
        # Index first, so that a browser can seek before it has all of the file.
        flags = {"movflags": "+faststart"} if kind == "mp4" else {}
        self._container: Any = av.open(
            str(self._temporary.absolute()), "w", format=kind, options={"fflags": "+bitexact", **flags}
        )
        options = {"crf": str(crf), "preset": preset}
        self._stream: Any = self._container.add_stream("libx264", rate=rate, options=options)
        self._stream.width = self.size[0] + self._padding[1]
        self._stream.height = self.size[1] + self._padding[0]
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = self._tick
        self._stream.codec_context.thread_count = 1
        self._stream.codec_context.gop_size = max(1, round(_KEYFRAME_SECONDS * rate))

    def write(self, rgb: NDArray[np.uint8], time: float | None = None) -> None:
        """Add a picture.

        Args:
            rgb: (H, W, 3) uint8 of the writer's size.
            time: seconds at which it comes on screen, above that of the picture before; exactly where the writer
                has no ``fps``.

        Raises:
            InputError: if the picture or the time does not fit, or the disk is full.
        """
        expected = (self.size[1], self.size[0], 3)
        if rgb.shape != expected or rgb.dtype != np.uint8:
            raise InputError(f"{self.path}: {rgb.shape = } of {rgb.dtype}, expected {expected} of uint8")
        if (time is None) != self._constant:
            raise InputError(f"{self.path}: a time is given with every picture where fps is None, and only there")
        tick = self._count if time is None else round(time / self._tick)
        if tick <= self._last:
            raise InputError(f"{self.path}: picture {self._count} at {time} s is not after the one before it")
        if any(self._padding):
            rgb = np.pad(rgb, ((0, self._padding[0]), (0, self._padding[1]), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        frame.pts, frame.time_base = tick, self._tick
        self._last = tick
        self._count += 1
        self._encode(frame)

    def close(self) -> None:
        """Finish the file and give it its name.

        Raises:
            InputError: if no picture was written, or the disk is full.
        """
        try:
            if not self._count:
                raise InputError(f"{self.path}: no picture was written to it")
            self._encode(None)
            self._container.close()
            os.replace(self._temporary, self.path)
        except (av.FFmpegError, OSError) as error:
            raise self._failed(error) from None
        finally:
            self.discard()

    def discard(self) -> None:
        """Give up: nothing is left under the name that was not there before."""
        try:
            self._container.close()
        except (av.FFmpegError, OSError):
            # The file is thrown away: it does not matter that its end could not be written.
            pass
        finally:
            self._temporary.unlink(missing_ok=True)

    def _encode(self, frame: Any) -> None:
        try:
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
        except (av.FFmpegError, OSError) as error:
            raise self._failed(error) from None

    def _failed(self, error: Exception) -> InputError:
        return InputError(f"{self.path}: cannot be written: {getattr(error, 'strerror', None) or error}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()
