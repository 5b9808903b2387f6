"""The diagnosis against a slow one, written from the definitions of DETAD (Alwassel et al., ECCV 2018) loop by loop."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from untrimmed.evaluation.diagnosis import diagnose
from untrimmed.formats import read_annotations, read_detections
from untrimmed.types import Annotations, Detections, Instances, Video

ERROR_TYPES = ("true positive", "double detection", "wrong label", "localization", "confusion", "background")
AMBIGUOUS = "Ambiguous"


@dataclass(frozen=True)
class Truth:
    video: str
    label: str
    start: float
    end: float
    values: dict[str, float | None]


@dataclass(frozen=True)
class Found:
    video: str
    label: str
    start: float
    end: float
    score: float


class Oracle:
    """One threshold of one data set, with everything found by search."""

    def __init__(self, truth: list[Truth], excuses: list[Truth], found: list[Found], rule: str, tiou: float) -> None:
        self.truth, self.rule, self.tiou = truth, rule, tiou
        self.classes = sorted({one.label for one in truth})
        self.normalizer = len(truth) / len(self.classes)
        self.found = [one for one in found if one.label in self.classes]
        self.ranking = {label: self._ranked(label) for label in self.classes}
        self.here = {video: [g for g, one in enumerate(truth) if one.video == video] for video in self.videos()}
        self.kinds: dict[tuple[int, float], str] = {}
        self.match: dict[int, int] = {}
        (self._match_activitynet if rule == "activitynet" else self._match_thumos14)()
        self.excused = {
            d
            for d, one in enumerate(self.found)
            if d not in self.match
            and any(e.video == one.video and min(e.end, one.end) > max(e.start, one.start) for e in excuses)
        }

    def videos(self) -> set[str]:
        return {one.video for one in (*self.truth, *self.found)}

    def overlap(self, d: int, g: int) -> float:
        one, other = self.found[d], self.truth[g]
        if one.video != other.video:
            return 0.0
        inter = min(one.end, other.end) - max(one.start, other.start)
        return inter / ((one.end - one.start) + (other.end - other.start) - inter) if inter > 0 else 0.0

    def _ranked(self, label: str) -> list[int]:
        rows = [d for d, one in enumerate(self.found) if one.label == label]
        if self.rule == "activitynet":
            return sorted(rows, key=lambda d: -self.found[d].score)
        return sorted(rows, key=lambda d: (-self.found[d].score, self.found[d].video))

    def _instances(self, label: str, video: str) -> list[int]:
        return [g for g in self.here[video] if self.truth[g].label == label]

    def _match_activitynet(self) -> None:
        taken: set[int] = set()
        for label in self.classes:
            for d in self.ranking[label]:
                for g in sorted(self._instances(label, self.found[d].video), key=lambda g: -self.overlap(d, g)):
                    if self.overlap(d, g) >= self.tiou and g not in taken:
                        self.match[d] = g
                        taken.add(g)
                        break

    def _match_thumos14(self) -> None:
        for g, one in enumerate(self.truth):
            rows = [
                d
                for d in self.ranking[one.label]
                if self.found[d].video == one.video and d not in self.match and self.overlap(d, g) > self.tiou
            ]
            if rows:
                self.match[max(rows, key=lambda d: self.overlap(d, g))] = g

    def reaches(self, overlap: float) -> bool:
        return overlap >= self.tiou if self.rule == "activitynet" else overlap > self.tiou

    def kind(self, d: int, background: float) -> str:
        if (d, background) not in self.kinds:
            self.kinds[d, background] = self._kind(d, background)
        return self.kinds[d, background]

    def _kind(self, d: int, background: float) -> str:
        if d in self.match:
            return "true positive"
        overlaps = {g: self.overlap(d, g) for g in self.here[self.found[d].video]}
        best = max(overlaps.values(), default=0.0)
        nearest = {self.truth[g].label for g, overlap in overlaps.items() if overlap == best}
        same = self.found[d].label in nearest
        if self.reaches(best):
            return "double detection" if same else "wrong label"
        if best >= background:
            return "localization" if same else "confusion"
        return "background"

    def positives(self, label: str) -> int:
        return sum(one.label == label for one in self.truth)

    def counted(self, label: str) -> list[int]:
        return [d for d in self.ranking[label] if d not in self.excused]

    def slice(self, label: str, number: int) -> list[int]:
        size = self.positives(label)
        return self.counted(label)[number * size : (number + 1) * size]

    def average_precision(self, rows: list[int], positives: int) -> float:
        """AP_N of detections in order, each found or false."""
        right = wrong = 0
        precision = []
        for d in rows:
            right, wrong = right + (d in self.match), wrong + (d not in self.match)
            weight = right / positives * self.normalizer
            precision.append(weight / (weight + wrong))
        at = precision
        if self.rule == "activitynet":
            at = list(itertools.accumulate(reversed(precision), max))[::-1]
        return sum(value for d, value in zip(rows, at, strict=True) if d in self.match) / positives

    def mean_ap(self, keep: dict[str, list[int]]) -> float:
        return sum(self.average_precision(keep[label], self.positives(label)) for label in self.classes) / len(
            self.classes
        )

    def bucket_map(self, members: set[int], left_out: set[int] | None = None) -> float:
        values = []
        for label in self.classes:
            positives = sum(self.truth[g].label == label for g in members)
            if positives:
                rows = [d for d in self.counted(label) if d not in self.match or self.match[d] in members]
                rows = [d for d in rows if d not in (left_out or ())]
                values.append(self.average_precision(rows, positives))
        return sum(values) / len(values) if values else math.nan

    def missed(self, floor: float) -> set[int]:
        hit: set[int] = set()
        for label in self.classes:
            right = wrong = 0
            for d in self.counted(label):
                right, wrong = right + (d in self.match), wrong + (d not in self.match)
                weight = right / self.positives(label) * self.normalizer
                if d in self.match and weight / (weight + wrong) > floor:
                    hit.add(self.match[d])
        return set(range(len(self.truth))) - hit


def in_bucket(value: float | None, edges: list[float], number: int) -> bool:
    low = edges[number - 1] if number else -math.inf
    high = edges[number] if number < len(edges) else math.inf
    return value is not None and low < value <= high


def flatten(annotations: Annotations) -> tuple[list[Truth], list[Truth]]:
    real, excuses = [], []
    for video in annotations:
        labels = video.instances.labels
        count = sum(label != AMBIGUOUS for label in labels)
        for row, (label, (start, end)) in enumerate(zip(labels, video.instances.segments.tolist(), strict=True)):
            extra = video.instances.extra[row] if video.instances.extra else {}
            values = {
                "coverage": round(round(end - start, 9) / video.duration, 9) if video.duration else None,
                "length": round(end - start, 9),
                "num-instances": float(count),
                **{key: extra.get(key) for key in ("context-size", "context-distance", "agreement")},
            }
            (excuses if label == AMBIGUOUS else real).append(Truth(video.id, label, start, end, values))
    return real, excuses


EDGES = {
    "activitynet": {
        "coverage": [0.2, 0.4, 0.6, 0.8],
        "length": [30, 60, 120, 180],
        "num-instances": [1, 4, 8],
        "context-size": [0, 1, 2, 3, 4, 5],
        "context-distance": [0, 1, 2],
        "agreement": [0.2, 0.4, 0.6, 0.8],
    },
    "thumos14": {
        "coverage": [0.02, 0.04, 0.06, 0.08],
        "length": [3, 6, 12, 18],
        "num-instances": [1, 40, 80],
        "context-size": [0, 1, 2, 3, 4, 5],
        "context-distance": [0, 1, 2],
        "agreement": [0.2, 0.4, 0.6, 0.8],
    },
}


def close(ours: float, theirs: float) -> None:
    assert (math.isnan(ours) and math.isnan(theirs)) or ours == pytest.approx(theirs, abs=1e-12), (ours, theirs)


def check(
    annotations: Annotations,
    detections: Detections,
    protocol: str,
    tious: tuple[float, ...],
    edges: dict[str, list[float]] | None = None,
    *,
    slices: int = 10,
    background: float = 0.1,
    floor: float = 0.05,
) -> None:
    """Hold every number of the fast diagnosis to the slow one."""
    ours = diagnose(
        detections,
        annotations,
        protocol,
        subset="all",
        tious=tious,
        edges=edges,
        slices=slices,
        background=background,
        floor=floor,
    )
    truth, excuses = flatten(annotations)
    if protocol == "activitynet":
        assert not excuses
    found = [
        Found(detections.video_ids[v], detections.labels[c], start, end, score)
        for v, c, (start, end), score in zip(
            detections.video, detections.label, detections.segments.tolist(), detections.scores.tolist(), strict=True
        )
    ]
    used = EDGES[protocol] | (edges or {})
    told = [key for key in used if any(one.values[key] is not None for one in truth)]
    assert [one.key for one in ours.characteristics] == told
    oracles = [Oracle(truth, excuses, found, protocol, tiou) for tiou in ours.tious]
    for t, oracle in enumerate(oracles):
        assert ours.normalizer == oracle.normalizer
        every = {label: oracle.counted(label) for label in oracle.classes}
        close(ours.mAP_N[t], oracle.mean_ap(every))
        missed = oracle.missed(floor)
        close(ours.missed[t], len(missed) / len(truth))

        for number in range(slices):
            kinds = [oracle.kind(d, background) for label in oracle.classes for d in oracle.slice(label, number)]
            assert ours.false_positives.counts[t, number].tolist() == [kinds.count(kind) for kind in ERROR_TYPES]
        best = {label: [d for number in range(slices) for d in oracle.slice(label, number)] for label in oracle.classes}
        base = oracle.mean_ap(best)
        close(ours.false_positives.mAP_N[t], base)
        for k, kind in enumerate(ERROR_TYPES[1:]):
            without = {label: [d for d in rows if oracle.kind(d, background) != kind] for label, rows in best.items()}
            close(ours.false_positives.gains[t, k], oracle.mean_ap(without) - base)

        for one in ours.characteristics:
            inner = used[one.key]
            assert len(one.buckets) == len(inner) + 1
            assert one.unknown == sum(each.values[one.key] is None for each in truth)
            for number, bucket in enumerate(one.buckets):
                members = {g for g, each in enumerate(truth) if in_bucket(each.values[one.key], inner, number)}
                assert bucket.instances == len(members)
                close(bucket.mAP_N[t], oracle.bucket_map(members))
                close(bucket.missed[t], len(members & missed) / len(members) if members else math.nan)

    for one in ours.characteristics:
        for number, bucket in enumerate(one.buckets):
            members = {g for g, each in enumerate(truth) if in_bucket(each.values[one.key], used[one.key], number)}
            elsewhere = {d for oracle in oracles for d, g in oracle.match.items() if g not in members}
            values = [oracle.bucket_map(members, elsewhere) for oracle in oracles]
            close(bucket.average, sum(values) / len(values))
            if one.key == "length":
                share = len(members) / len(truth)
                close(ours.contributions[number], bucket.average * share if members else 0.0)


VIDEOS, LABELS = ("a", "b", "c"), ("walk", "run", "sit")
# Few places, so that detections meet instances, tie, and meet thresholds exactly; two that are empty and reversed.
SEGMENTS = st.sampled_from(
    [(0.0, 4.0), (0.0, 5.0), (0.0, 8.0), (2.0, 6.0), (4.0, 8.0), (4.0, 12.0), (9.0, 10.0), (4.0, 4.0), (8.0, 4.0)]
)
CONTEXT = st.one_of(st.none(), st.integers(0, 3))


@st.composite
def annotations(draw: st.DrawFn, ambiguous: bool) -> Annotations:
    labels = (*LABELS, AMBIGUOUS) if ambiguous else LABELS
    videos = []
    for name in VIDEOS[: draw(st.integers(1, 3))]:
        rows = draw(st.lists(st.tuples(st.sampled_from(labels), SEGMENTS, CONTEXT), max_size=6))
        keyed = draw(st.booleans())
        instances = Instances(
            np.array([segment for _, segment, _ in rows]).reshape(-1, 2),
            tuple(label for label, _, _ in rows),
            tuple({"context-size": size, "agreement": None if size is None else size / 3} for *_, size in rows)
            if keyed
            else (),
        )
        videos.append(Video(name, "test", draw(st.sampled_from([None, 0.0, 10.0, 12.5])), None, instances))
    if not any(label != AMBIGUOUS for video in videos for label in video.instances.labels):
        videos.append(Video("d", "test", 20.0, None, Instances(np.array([[2.0, 6.0]]), ("walk",))))
    return Annotations.of(videos)


DETECTIONS = st.lists(
    st.tuples(
        st.sampled_from(("a", "a", "a", *VIDEOS, "d", "elsewhere")),
        st.sampled_from((*LABELS[:2], *LABELS, "unknown")),
        SEGMENTS,
        st.sampled_from((0.1, 0.3, 0.5, 0.5, 0.9)),
    ),
    max_size=30,
).map(lambda rows: Detections.of((video, label, *segment, score) for video, label, segment, score in rows))

OPTIONS = {
    "tious": st.sampled_from([(0.5,), (0.1, 0.5), (0.25, 0.5, 0.75), (0.05, 1.0)]),
    "slices": st.integers(1, 4),
    "background": st.sampled_from([0.1, 0.3, 1.0]),
    "floor": st.sampled_from([0.0, 0.05, 0.37]),
    "edges": st.sampled_from([None, {"length": [2, 5]}, {"num-instances": [], "coverage": [0.3]}]),
}


@settings(max_examples=150, deadline=None)
@given(truth=annotations(ambiguous=False), detections=DETECTIONS, **OPTIONS)
@example(
    truth=Annotations.of([Video("a", "test", None, None, Instances(np.array([[0.0, 4.0]]), ("walk",)))]),
    detections=Detections.empty(),
    tious=(0.5,),
    slices=1,
    background=0.1,
    floor=0.05,
    edges=None,
)
def test_activitynet_as_defined(
    truth: Annotations,
    detections: Detections,
    tious: tuple[float, ...],
    slices: int,
    background: float,
    floor: float,
    edges: dict[str, list[float]] | None,
) -> None:
    check(truth, detections, "activitynet", tious, edges, slices=slices, background=background, floor=floor)


@settings(max_examples=150, deadline=None)
@given(truth=annotations(ambiguous=True), detections=DETECTIONS, **OPTIONS)
def test_thumos14_as_defined(
    truth: Annotations,
    detections: Detections,
    tious: tuple[float, ...],
    slices: int,
    background: float,
    floor: float,
    edges: dict[str, list[float]] | None,
) -> None:
    check(truth, detections, "thumos14", tious, edges, slices=slices, background=background, floor=floor)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["thumos14", "activitynet"])
def test_real_detections(shared_data: Path, protocol: str) -> None:
    folder = shared_data / "oracles" / "scnn_thumos14"
    truth = read_annotations(shared_data / "thumos14" / "annotations.json").subset("test")
    if protocol == "activitynet":
        truth = Annotations.of(
            Video(
                video.id,
                video.subset,
                video.duration,
                None,
                video.instances.select([label != AMBIGUOUS for label in video.instances.labels]),
            )
            for video in truth
        )
    detections = read_detections(folder / "results_tiou0.5.json.gz")
    check(truth, detections, protocol, (0.5,), EDGES["thumos14"])
