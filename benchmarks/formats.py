"""Reading and writing large files: ``python -m benchmarks.formats``.

A results file of ActivityNet's size: 4,728 videos x 100 detections with random times and scores, 52 MB of JSON. CPU
time, since the work has one thread. *Plain* is what the official scorers do before they score: ``json.load``, then a
loop that appends each detection's fields to lists, unchecked.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from benchmarks.common import peak_memory, report

from untrimmed.formats import read_annotations, read_detections, write_annotations, write_detections
from untrimmed.types import Annotations, Detections, Instances, Video

VIDEOS, EACH, CLASSES = 4728, 100, 200


def results() -> Detections:
    generator = np.random.default_rng(0)
    rows = VIDEOS * EACH
    return Detections(
        video_ids=tuple(f"v_{number:09d}" for number in range(VIDEOS)),
        labels=tuple(f"Action number {number}" for number in range(CLASSES)),
        video=np.repeat(np.arange(VIDEOS), EACH),
        label=np.concatenate([np.arange(CLASSES), generator.integers(0, CLASSES, rows - CLASSES)]),
        segments=np.sort(generator.uniform(0, 200, (rows, 2)), axis=1),
        scores=generator.uniform(size=rows),
    )


def truth() -> Annotations:
    generator = np.random.default_rng(0)
    segments = np.sort(generator.uniform(0, 200, (4 * VIDEOS, 1, 2)), axis=2)
    return Annotations.of(
        Video(f"v_{number:09d}", "training", 200.0, instances=Instances(segment, ("Action",)))
        for number, segment in enumerate(segments)
    )


def plain(path: Path) -> tuple[list[str], list[str], list[float], list[float], list[float]]:
    with path.open() as file:
        content = json.load(file)
    columns: tuple[list[str], list[str], list[float], list[float], list[float]] = ([], [], [], [], [])
    for video_id, rows in content["results"].items():
        for row in rows:
            fields = (video_id, row["label"], float(row["segment"][0]), float(row["segment"][1]), row["score"])
            for column, value in zip(columns, fields, strict=True):
                column.append(value)  # type: ignore[arg-type]
    return columns


def cpu_seconds(function: Callable[[], object], repeat: int = 3) -> float:
    """Least CPU time of several calls."""
    times = []
    for _ in range(repeat):
        begin = time.process_time()
        function()
        times.append(time.process_time() - begin)
    return min(times)


def reading(path: str) -> Callable[[], object]:
    return lambda: read_detections(path)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found, known = results(), truth()
        rows: list[dict[str, object]] = []
        for file in ("results.json", "results.json.gz", "results.csv"):
            path = folder / file
            write = cpu_seconds(lambda path=path: write_detections(found, path), repeat=1)
            row: dict[str, object] = {"what": f"{len(found)} detections, {file.partition('.')[2]}"}
            row |= {"read s": cpu_seconds(lambda path=path: read_detections(path)), "write s": write}
            if file == "results.json":
                theirs = cpu_seconds(lambda path=path: plain(path))
                row |= {"plain read s": theirs, "ratio": theirs / float(str(row["read s"]))}
            row["peak MiB"] = peak_memory(reading, str(path))
            rows.append(row)
        path = folder / "truth.json"
        write = cpu_seconds(lambda: write_annotations(known, path), repeat=1)
        row = {"what": f"truth of {len(known)} videos, json", "write s": write}
        rows.append(row | {"read s": cpu_seconds(lambda: read_annotations(path))})
    report("formats", "CPU time of large files; peak memory over that of the process", rows)


if __name__ == "__main__":
    main()
