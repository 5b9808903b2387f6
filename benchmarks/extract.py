"""Motion features against decoding alone: ``python -m benchmarks.extract``.

Four H.264 videos of 320 x 240 pixels at 30 frames/s, 30 s each: noise that pans, with squares that go about before
it. *decode* is PyAV's decoder and nothing else; *frames* is reading them at the rate and size that ``motion`` takes;
*motion* is the features. Source frames a second of wall time in 1 and in 2 processes, and CPU time of one process,
which other work on the machine does not change. Last, the memory an hour of such video takes.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from benchmarks.common import peak_memory, report

from untrimmed.backbones import make_backbone
from untrimmed.pipeline.extract_job import extract_features, open_frames
from untrimmed.video import VideoWriter

VIDEOS, SECONDS, RATE, SIZE = 4, 30, 30, (320, 240)
FRAMES = VIDEOS * SECONDS * RATE
HOUR = 3600


def render(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    width, height = SIZE
    back = cv2.GaussianBlur(rng.integers(0, 255, (height + 80, width + 80, 3), dtype=np.uint8), (0, 0), 2)
    with VideoWriter(path, fps=RATE, size=SIZE) as writer:
        for number in range(SECONDS * RATE):
            left, top = (40 + round(30 * wave(number / 40 + seed)) for wave in (np.sin, np.cos))
            image = back[top : top + height, left : left + width].copy()
            for square in range(4):
                x, y = (round(100 + 60 * wave(number / (5 + 3 * square))) for wave in (np.sin, np.cos))
                image[y : y + 30, x + 20 * square : x + 20 * square + 16] = 50 * square
            writer.write(image)


def repeat(path: Path, times: int, out: Path) -> None:
    """The video over and over in one file, without encoding it again."""
    with av.open(str(out), "w") as made:
        target = None
        for number in range(times):
            with av.open(str(path)) as source:
                stream = source.streams.video[0]
                target = target or made.add_stream_from_template(stream)
                length = round(SECONDS / stream.time_base)
                for packet in source.demux(stream):
                    if packet.dts is not None:
                        packet.pts += number * length
                        packet.dts += number * length
                        packet.stream = target
                        made.mux(packet)


def decode(path: Path) -> None:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count, stream.thread_type = 1, "NONE"
        for _ in container.decode(stream):
            pass


def frames(path: Path) -> None:
    with open_frames(path, make_backbone("motion")) as reading:
        for _ in reading:
            pass


def motion(path: Path) -> None:
    extract_features(path, make_backbone("motion"))


WORK: dict[str, Callable[[Path], None]] = {"decode": decode, "frames": frames, "motion": motion}


def run(name: str, path: Path) -> float:
    """CPU seconds of one piece of work."""
    cv2.setNumThreads(1)
    begun = time.process_time()
    WORK[name](path)
    return time.process_time() - begun


def measure(pool: Any, name: str, paths: list[Path]) -> tuple[float, float]:
    """Seconds of wall and of CPU time, the least of three."""
    best = (np.inf, np.inf)
    for _ in range(3):
        begun = time.perf_counter()
        used = sum(pool.starmap(run, [(name, path) for path in paths], chunksize=1))
        best = (min(best[0], time.perf_counter() - begun), min(best[1], used))
    return best


def hour(path: str) -> Callable[[], object]:
    motion(Path(path).with_name("0.mp4"))
    return lambda: motion(Path(path))


def main() -> None:
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        paths = [Path(name) / f"{number}.mp4" for number in range(VIDEOS)]
        for number, path in enumerate(paths):
            render(path, number)
        alone: dict[int, float] = {}
        for what in WORK:
            for processes in (1, 2):
                with multiprocessing.get_context("spawn").Pool(processes) as pool:
                    # Imports and compilation are not what is measured.
                    pool.starmap(run, [(what, paths[0])] * processes, chunksize=1)
                    wall, used = measure(pool, what, paths)
                alone.setdefault(processes, wall)
                row: dict[str, object] = {"what": what, "processes": processes, "frames/s": FRAMES / wall}
                row |= {"of decode": alone[processes] / wall, "x real time": VIDEOS * SECONDS / wall}
                rows.append(row | {"CPU ms/frame": 1000 * used / FRAMES, "x real time, CPU": VIDEOS * SECONDS / used})
        whole = Path(name) / "hour.mp4"
        repeat(paths[0], HOUR // SECONDS, whole)
        rows.append({"what": "motion, one hour", "processes": 1, "peak MiB": peak_memory(hour, str(whole))})
    report("extract", "Motion features against decoding, 320 x 240 at 30 frames/s; peak memory over the process", rows)


if __name__ == "__main__":
    main()
