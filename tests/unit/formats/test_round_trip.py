"""Whatever the types can hold comes back from the lossless formats: any names, any finite times."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from untrimmed.errors import InputError
from untrimmed.formats import read_annotations, read_detections, write_annotations, write_detections
from untrimmed.types import Annotations, Detections, Instances, Video

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
times = st.floats(allow_nan=False, allow_infinity=False)
rows = st.lists(st.tuples(names, times, times), max_size=4)


@st.composite
def truths(draw: st.DrawFn) -> Annotations:
    videos = []
    for video_id in draw(st.lists(names, unique=True, max_size=4)):
        instances = draw(rows)
        segments = np.array([row[1:] for row in instances], dtype=float).reshape(-1, 2)
        videos.append(
            Video(
                video_id,
                draw(st.sampled_from(["", "training", "test"])),
                draw(st.none() | st.floats(0, 1e9)),
                instances=Instances(segments, tuple(row[0] for row in instances)),
            )
        )
    return Annotations.of(videos)


@st.composite
def results(draw: st.DrawFn) -> Detections:
    video_ids = draw(st.lists(names, unique=True, min_size=1, max_size=4))
    label = names if draw(st.booleans()) else st.none()
    found = draw(st.lists(st.tuples(st.sampled_from(video_ids), label, times, times, times), max_size=6))
    return Detections.of(found, video_ids)


def contents(truth: Annotations) -> dict[str, object]:
    return {
        video.id: (video.subset, video.duration, video.instances.labels, video.instances.segments.tolist())
        for video in truth
    }


def table(found: Detections) -> list[tuple[object, ...]]:
    """All rows, video by video, as the JSON form orders them."""
    order = sorted(range(len(found)), key=lambda row: found.video_ids[found.video[row]])
    return [
        (
            found.video_ids[found.video[row]],
            None if found.label[row] < 0 else found.labels[found.label[row]],
            *found.segments[row].tolist(),
            float(found.scores[row]),
        )
        for row in order
    ]


@pytest.mark.parametrize("name", ["t.json", "t.json.gz", "t.csv", "t.tsv"])
@given(truth=truths())
@settings(max_examples=60, deadline=None)
def test_truth(tmp_path_factory: pytest.TempPathFactory, name: str, truth: Annotations) -> None:
    path = tmp_path_factory.mktemp("truth") / name
    write_annotations(truth, path)
    assert contents(read_annotations(path)) == contents(truth)


@pytest.mark.parametrize("name", ["r.json", "r.json.gz", "r.csv", "r.tsv"])
@given(found=results())
@settings(max_examples=60, deadline=None)
def test_results(tmp_path_factory: pytest.TempPathFactory, name: str, found: Detections) -> None:
    path = tmp_path_factory.mktemp("results") / name
    write_detections(found, path)
    again = read_detections(path)
    assert table(again) == table(found)
    assert set(again.video_ids) == set(found.video_ids)


@given(truth=truths())
@settings(max_examples=60, deadline=None)
def test_elan_to_the_millisecond_or_an_error(tmp_path_factory: pytest.TempPathFactory, truth: Annotations) -> None:
    path: Path = tmp_path_factory.mktemp("elan") / "out"
    try:
        write_annotations(truth, path, "elan")
    except InputError:
        return
    if not len(truth):
        return
    again = read_annotations(path)
    for video in truth:
        other = again.videos[video.id]
        assert (other.subset, other.duration) == (video.subset, video.duration)
        ours = [
            (label, *pair)
            for label, pair in zip(video.instances.labels, video.instances.segments.tolist(), strict=True)
        ]
        theirs = [
            (label, *pair)
            for label, pair in zip(other.instances.labels, other.instances.segments.tolist(), strict=True)
        ]
        for a, b in zip(sorted(ours), sorted(theirs), strict=True):
            assert a[0] == b[0]
            assert math.isclose(a[1], b[1], abs_tol=5.1e-4)
            assert math.isclose(a[2], b[2], abs_tol=5.1e-4)
