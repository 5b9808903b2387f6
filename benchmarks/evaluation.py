"""Evaluation: ``python -m benchmarks.evaluation``.

Two sizes, made from the real truth (``UNTRIMMED_DATA``, else ``../shared/data``) with seeded detections around it:

- THUMOS14 test: 213 videos x 200 detections = 42,600, 5 tIoUs;
- ActivityNet 1.3 validation: 4,728 videos x 100 detections and 200 more = 473,000, 10 tIoUs.

*Plain* is the same rule as the official scorers write it, one class, video and detection at a time in numpy, without
their pandas frames: a fair opponent, several times faster than the scripts in the field. It gives the same numbers
(checked here). Whole processes are timed from start to exit, with reading the JSON, compile cache warm.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from benchmarks.common import best_time, report
from numpy.typing import NDArray

from untrimmed.evaluation.ap import average_precision, mean_ap
from untrimmed.evaluation.bootstrap import bootstrap_ap, draw_weights
from untrimmed.evaluation.chance import chances_of
from untrimmed.evaluation.overlap import Matching, Table, build_table, match
from untrimmed.evaluation.protocols import PROTOCOLS, Protocol
from untrimmed.evaluation.scoring import evaluate
from untrimmed.formats import read_annotations, read_detections
from untrimmed.segments import tiou as all_tious
from untrimmed.types import Annotations, Detections, Video

DATA = Path(os.environ.get("UNTRIMMED_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


def invent(truth: Annotations, per_video: int, extra: int, labels: Sequence[str], path: Path, seed: int = 0) -> None:
    """Write a result file: in each video half of the detections near its instances, the others anywhere."""
    generator = np.random.default_rng(seed)
    results: dict[str, list[dict[str, object]]] = {}
    for place, video in enumerate(truth):
        count = per_video + (place < extra)
        real = [i for i, label in enumerate(video.instances.labels) if label in labels]
        duration = video.duration or 1.0
        near = count // 2 if real else 0
        picked = generator.choice(real, near) if real else np.empty(0, dtype=int)
        centers = video.instances.segments[picked]
        moved = centers + generator.normal(0, 0.2, (near, 2)) * np.diff(centers, axis=1).clip(1)
        anywhere = np.sort(generator.uniform(0, duration, (count - near, 2)), axis=1)
        segments = np.round(np.concatenate([np.sort(moved.clip(0, duration), axis=1), anywhere]), 3)
        # The detections of a video share few labels, as they do once video-level classes are multiplied in.
        names = [*(video.instances.labels[i] for i in picked), *generator.choice(labels[:20], count - near)]
        scores = np.round(generator.beta(0.6, 4, count) * np.linspace(1, 0.5, count), 6)
        results[video.id] = [
            {"label": str(name), "score": float(score), "segment": segment.tolist()}
            for name, score, segment in zip(names, scores, segments, strict=True)
        ]
    path.write_text(json.dumps({"version": "invented", "external_data": {}, "results": results}))


def plain_map(
    detections: Detections, truth: Annotations, protocol: Protocol, tious: Sequence[float]
) -> NDArray[np.float64]:
    """mAP per threshold, the plain way: class by class."""
    classes = [label for label in truth.labels if label != protocol.ambiguous]
    names = np.array(detections.labels)[detections.label]
    analyse_errors = _detections_claim if protocol.rule == "activitynet" else _instances_claim
    columns = []
    for label in classes:
        mine = np.flatnonzero(names == label)
        mine = mine[np.argsort(-detections.scores[mine], kind="stable")]
        instances = {video.id: _of_class(video, label) for video in truth}
        columns.append(analyse_errors(detections, mine, instances, truth, tious))
    mean: NDArray[np.float64] = np.asarray(columns).mean(axis=0)
    return mean


def _of_class(video: Video, label: str) -> NDArray[np.float64]:
    return video.instances.segments[[name == label for name in video.instances.labels]]


def _detections_claim(
    detections: Detections,
    mine: NDArray[np.int64],
    instances: dict[str, NDArray[np.float64]],
    truth: Annotations,
    tious: Sequence[float],
) -> list[float]:
    """ActivityNet's rule for the detections ``mine`` of one class."""
    taken = {name: np.zeros((len(tious), len(part)), dtype=bool) for name, part in instances.items()}
    right = np.zeros((len(tious), len(mine)), dtype=bool)
    for place, row in enumerate(mine):
        name = detections.video_ids[detections.video[row]]
        here = instances.get(name)
        if here is None or not len(here):
            continue
        overlaps = all_tious(detections.segments[row], here)
        order = np.argsort(-overlaps, kind="stable")
        for t, tiou in enumerate(tious):
            for g in order:
                if overlaps[g] < tiou:
                    break
                if not taken[name][t, g]:
                    taken[name][t, g] = right[t, place] = True
                    break
    positives = sum(map(len, instances.values()))
    areas = []
    for flags in right:
        recall = np.concatenate([[0], np.cumsum(flags) / positives, [1]])
        precision = np.concatenate([[0], np.cumsum(flags) / np.arange(1, len(flags) + 1), [0]])
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        areas.append(float((np.diff(recall) * precision[1:]).sum()))
    return areas


def _instances_claim(
    detections: Detections,
    mine: NDArray[np.int64],
    instances: dict[str, NDArray[np.float64]],
    truth: Annotations,
    tious: Sequence[float],
) -> list[float]:
    """The rule of THUMOS14 for the detections ``mine`` of one class."""
    videos = {name: i for i, name in enumerate(detections.video_ids)}
    flags: list[list[NDArray[np.bool_]]] = [[] for _ in tious]
    scores: list[list[NDArray[np.float64]]] = [[] for _ in tious]
    for name in sorted(instances):
        rows = mine[detections.video[mine] == videos.get(name, -1)]
        if not len(rows):
            continue
        here = detections.segments[rows]
        overlaps = all_tious(instances[name][:, None], here[None])
        excused = (all_tious(_of_class(truth.videos[name], "Ambiguous")[:, None], here[None]) > 0).any(axis=0)
        for t, tiou in enumerate(tious):
            free = np.ones(len(rows), dtype=bool)
            for overlap in overlaps:
                best = np.argmax(np.where(free, overlap, -1))
                if free[best] and overlap[best] > tiou:
                    free[best] = False
            counted = ~free | ~excused
            flags[t].append(~free[counted])
            scores[t].append(detections.scores[rows][counted])
    positives = sum(map(len, instances.values()))
    areas = []
    for part, values in zip(flags, scores, strict=True):
        right = np.concatenate(part)[np.argsort(-np.concatenate(values), kind="stable")]
        areas.append(float((np.cumsum(right) / np.arange(1, len(right) + 1))[right].sum() / positives))
    return areas


_LAUNCH = """
import resource, subprocess, sys, time
begin = time.perf_counter()
code = subprocess.call([sys.executable, "-m", "untrimmed", *sys.argv[1:]], stdout=subprocess.DEVNULL)
seconds, usage = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
print(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
sys.exit(code)
"""
"""A process counts the memory of the one it was forked from, so a small one starts the command."""


def process(*command: str) -> dict[str, float]:
    """Seconds, also of the processor alone, and peak memory: the fastest of three runs, caches warm."""
    runs = []
    for _ in range(4):
        done = subprocess.run([sys.executable, "-c", _LAUNCH, *command], stdout=subprocess.PIPE, text=True, check=True)
        seconds, cpu, peak = map(float, done.stdout.split())
        runs.append((seconds, cpu, peak))
    seconds, cpu, peak = min(runs[1:])
    return {"ours s": seconds, "CPU s": cpu, "peak MiB": peak}


def timed(function: Callable[[], object], repeat: int = 5) -> dict[str, float]:
    """Seconds, and seconds of the processor, of the fastest call."""
    begin = time.process_time()
    seconds = best_time(function, repeat, warm=0)
    return {"ours s": seconds, "CPU s": (time.process_time() - begin) / repeat}


def bucket_scores(table: Table, matching: Matching) -> dict[str, float]:
    """Five buckets of instances: all in one pass, as often drawn at random, and each by itself."""
    normalizer = len(table.instance_label) / len(table.classes)
    bucket = np.random.default_rng(0).integers(0, 5, len(table.instance_label))
    missed = np.zeros((len(matching.tious), len(bucket)), dtype=bool)
    found = chances_of(table, matching, missed, normalizer=normalizer, characteristics=1).found

    def plain() -> NDArray[np.float64]:
        scores = []
        for inside in (bucket == number for number in range(5)):
            elsewhere = ((matching.instance >= 0) & ~inside[matching.instance]).any(axis=0)
            ap = average_precision(table, matching, positive=inside, left_out=elsewhere, normalizer=normalizer)
            scores.append(mean_ap(ap).mean())
        return np.array(scores)

    if not np.allclose(found(bucket, 5), plain(), atol=1e-12):
        raise SystemExit(f"buckets in one pass: {found(bucket, 5)}, one by one {plain()}")
    ours, theirs = timed(lambda: found(bucket, 5)), best_time(plain, 5, warm=0)
    return {**ours, "plain s": theirs, "ratio": theirs / ours["ours s"]}


def measure(name: str, protocol: Protocol, results: Path, truth: Path, limit: float) -> list[dict[str, object]]:
    """The rows of one size; ``limit``: seconds the whole process may take."""
    annotations, detections = read_annotations(truth), read_detections(results)
    part, tious = annotations.subset(protocol.subset), protocol.tious
    compared = [protocol.compared(tiou) for tiou in tious]

    def fast() -> NDArray[np.float64]:
        table = build_table(detections, part, protocol, lowest=tious[0])
        return mean_ap(average_precision(table, match(table, tious)))

    begin = time.perf_counter()
    plain = plain_map(detections, part, protocol, compared)
    plain_seconds = time.perf_counter() - begin
    if not np.allclose(fast(), plain, atol=1e-12):
        raise SystemExit(f"{name}: mAP {fast()}, but the plain way gives {plain}")
    ours = timed(fast)
    table = build_table(detections, part, protocol, lowest=tious[0])
    matching, weights = match(table, tious), draw_weights(len(table.videos))
    command = ["evaluate", str(results), "--truth", str(truth), "--protocol", protocol.name]
    size = f"{name}: {len(detections):,} detections, {len(tious)} tIoUs"
    return [
        {"what": f"{size}: mAP", **ours, "plain s": plain_seconds, "ratio": plain_seconds / ours["ours s"]},
        {
            "what": f"{size}: all of `evaluate`, after loading",
            **timed(lambda: evaluate(detections, annotations, protocol)),
            "at most s": 1,
        },
        {"what": f"{size}: 1,000 resamples", **timed(lambda: bootstrap_ap(table, matching, weights), 3)},
        {
            "what": f"{size}: five buckets of instances, of which the diagnosis draws 400",
            **bucket_scores(table, matching),
        },
        {"what": f"{size}: `untrimmed evaluate`, process", **process(*command), "at most s": limit},
        {"what": f"{size}: the same with --ci", **process(*command, "--ci"), "at most s": limit + 5},
    ]


def main() -> None:
    """Measure, print, keep."""
    sizes = (
        ("THUMOS14", PROTOCOLS["thumos14"], DATA / "thumos14" / "annotations.json", 200, 0, 2),
        ("ActivityNet", PROTOCOLS["activitynet"], DATA / "activitynet13" / "annotations.json.gz", 100, 200, 6),
    )
    for _, _, source, *_ in sizes:
        if not source.exists():
            raise SystemExit(f"{source} is absent: set UNTRIMMED_DATA to the folder of the real data")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, protocol, source, per_video, extra, limit in sizes:
            truth = read_annotations(source).subset(protocol.subset)
            labels = [label for label in truth.labels if label != protocol.ambiguous]
            results = Path(folder) / f"{name}.json"
            invent(truth, per_video, extra, labels, results)
            rows += measure(name, protocol, results, source, limit)
        results, source = Path(folder) / "THUMOS14.json", sizes[0][2]
        small = Path(folder) / "small.json"
        content = json.loads(results.read_text())
        small.write_text(json.dumps({**content, "results": dict(list(content["results"].items())[:5])}))
        scored = ["--truth", str(source)]
        page = ["--out", str(Path(folder) / "diagnosis")]
        rows += [
            {
                "what": "1,000 detections: `untrimmed evaluate`, process",
                **process("evaluate", str(small), *scored),
                "at most s": 1.5,
            },
            {
                "what": "THUMOS14: 42,600 detections: `untrimmed diagnose`, process",
                **process("diagnose", str(results), *scored, *page),
                "at most s": 8,
            },
            {"what": "`untrimmed --help`, process", **process("--help"), "at most s": 0.5},
        ]
    report("evaluation", "Evaluation (plain: the official rule, one detection at a time, in numpy)", rows)


if __name__ == "__main__":
    main()
