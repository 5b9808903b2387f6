"""Cutting: nothing is lost but what lies between pieces, times are those of the recording, test cuts see no truth."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from untrimmed.cli import app
from untrimmed.errors import InputError
from untrimmed.formats import read_annotations
from untrimmed.formats.features import ArrayFeatures, FeatureStore
from untrimmed.grid import SnippetGrid
from untrimmed.pipeline.cut import cut, cut_annotations, cut_features
from untrimmed.types import Annotations, Instances, Video

GRID = SnippetGrid(fps=10, stride=5, window=10)


def recording(*instances: tuple[float, float, str], duration: float = 100.0, **more: object) -> Video:
    segments = np.array([each[:2] for each in instances], dtype=float).reshape(-1, 2)
    return Video("r", "test", duration, instances=Instances(segments, tuple(each[2] for each in instances)), **more)  # type: ignore[arg-type]


def test_instances_are_clipped_and_keys_kept() -> None:
    video = Video(
        "r",
        "test",
        100.0,
        instances=Instances([(5, 10), (35, 55), (90, 100)], ("a", "b", "c"), ({"x": 1}, {"x": 2}, {})),
        extra={"subject": 7},
    )
    pieces = cut(Annotations.of([video], "v1", {"key": "kept"}), 40.0)
    assert [(piece.start, piece.end) for piece in pieces] == [(0, 40), (40, 80), (80, 100)]
    assert [piece.video.id for piece in pieces] == ["r_00", "r_01", "r_02"]
    assert [piece.video.instances.segments.tolist() for piece in pieces] == [[[5, 10], [35, 40]], [[0, 15]], [[10, 20]]]
    assert [piece.video.labels for piece in pieces] == [("a", "b"), ("b",), ("c",)]
    assert [extra["x"] for extra in pieces[0].video.instances.extra] == [1, 2]
    assert pieces[1].video.extra == {"subject": 7, "recording": "r", "recording_start": 40.0}
    assert (pieces[1].video.subset, pieces[1].video.duration) == ("test", 40.0)
    truth = cut_annotations(Annotations.of([video], "v1", {"key": "kept"}), pieces)
    assert (len(truth), truth.version, truth.extra["key"]) == (3, "v1", "kept")


@settings(deadline=None)
@given(st.floats(0.5, 400), st.floats(1, 90))
def test_pieces_cover_a_recording_without_overlap_and_none_is_a_sliver(duration: float, length: float) -> None:
    pieces = cut(Annotations.of([recording(duration=duration)]), length)
    assert pieces[0].start == 0
    assert pieces[-1].end == duration
    for left, right in itertools.pairwise(pieces):
        assert left.end == right.start
        assert left.end - left.start == pytest.approx(length)
    if len(pieces) > 1:
        assert length / 2 - 1e-6 <= pieces[-1].end - pieces[-1].start <= 1.5 * length + 1e-6


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 99), st.floats(0.1, 30)), max_size=8))
def test_fixed_cuts_know_nothing_of_the_truth(instances: list[tuple[float, float]]) -> None:
    with_truth = recording(*((start, min(start + long, 100.0), "a") for start, long in instances))
    expected = [(piece.start, piece.end) for piece in cut(Annotations.of([recording()]), 30.0)]
    assert [(piece.start, piece.end) for piece in cut(Annotations.of([with_truth]), 30.0)] == expected


def test_cuts_at_background_are_moved_to_where_nothing_is_under_way() -> None:
    video = recording((30, 45, "a"), (45, 60, "b"), (70, 95, "c"))
    pieces = cut(Annotations.of([video]), 40.0, at_background=["test"])
    # 40 lies in a: the nearest free moment is its end, where b begins. 80 lies in c, which begins at 70.
    assert [piece.end for piece in pieces] == [45, 70, 100]
    assert sum(len(piece.video.instances) for piece in pieces) == 3
    far = recording((10, 95, "a"))
    assert [piece.end for piece in cut(Annotations.of([far]), 40.0, at_background=["test"])] == [40, 80, 100]
    within = recording((30, 50, "a"), (45, 60, "b"))
    assert [piece.end for piece in cut(Annotations.of([within]), 40.0, at_background=["test"])] == [30, 80, 100]


def test_with_features_cuts_at_background_are_strides_at_which_nothing_is_under_way() -> None:
    features = ArrayFeatures({"r": np.ones((200, 2), np.float32)}, GRID, {"r": 100.0})

    def cuts(*instances: tuple[float, float, str]) -> list[float]:
        pieces = cut(Annotations.of([recording(*instances)]), 40.0, at_background=["test"], features=features)
        return [piece.end for piece in pieces[:-1]]

    assert cuts((30, 41.2, "a"), (43, 55, "b")) == [41.5, 80]
    assert cuts((30.1, 41.2, "a"), (41.4, 55, "b"))[0] == 30  # no stride lies in the gap from 41.2 to 41.4
    assert cuts((20, 41.2, "a"), (41.2, 70, "b")) == [41, 80]  # one after the other, nothing else within reach


def test_what_a_cut_leaves_of_an_instance_is_shown_by_a_snippet_or_left_out() -> None:
    features = ArrayFeatures({"r": np.ones((200, 2), np.float32)}, GRID, {"r": 100.0})
    video = recording((20, 41.2, "a"), (41.2, 70, "b"), (79.8, 80.2, "c"), (85, 85.1, "d"), (85.1, 99, "e"))
    pieces = cut(Annotations.of([video]), 40.0, at_background=["test"], features=features)
    assert [piece.video.labels for piece in pieces] == [("a",), ("b",), ("c", "d", "e")]
    assert [piece.end for piece in pieces] == [41, 79.5, 100]
    # Test cuts know nothing of the truth, and clip what they meet.
    fixed = cut(Annotations.of([video]), 40.0, features=features)
    assert [piece.video.labels for piece in fixed] == [("a",), ("a", "b", "c"), ("c", "d", "e")]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 12), st.floats(0.05, 25)), max_size=12))
def test_no_label_of_a_piece_cut_at_background_rests_on_less_than_a_stride(rows: list[tuple[float, float]]) -> None:
    instances, at = [], 0.0
    for gap, long in rows:
        if at + gap + long <= 100:
            instances.append((at + gap, at + gap + long, "a"))
            at += gap + long
    video = recording(*instances)
    features = ArrayFeatures({"r": np.ones((200, 2), np.float32)}, GRID, {"r": 100.0})
    pieces = cut(Annotations.of([video]), 20.0, at_background=["test"], features=features)
    whole = [end - start for start, end, _ in instances]
    for piece in pieces:
        assert piece.start * 2 == round(piece.start * 2)
        for start, end in piece.video.instances.segments:
            inside = [
                n for n, (a, b, _) in enumerate(instances) if a - 1e-6 <= piece.start + (start + end) / 2 <= b + 1e-6
            ]
            assert any(end - start >= min(0.5, whole[n] / 2) - 1e-6 for n in inside)
    # Every instance is somewhere.
    for start, end, _ in instances:
        assert any(
            min(b, end) - max(a, start) > 0 for piece in pieces for a, b in piece.video.instances.segments + piece.start
        )


def test_features_of_a_piece_are_what_its_frames_would_have_given(tmp_path: Path) -> None:
    frames = 1003
    rows = np.array([GRID.snippet_frames(step) for step in range(GRID.count(frames))], dtype=np.float32)
    features = ArrayFeatures({"r": rows}, GRID, {"r": frames / 10})
    pieces = cut(Annotations.of([recording(duration=frames / 10)]), 33.3, features=features)
    cut_features(pieces, features, tmp_path)
    store = FeatureStore.open(tmp_path)
    assert [piece.start for piece in pieces] == [0, 33.0, 66.5]
    for piece in pieces:
        length = store.length(piece.video.id)
        shown = store.window(piece.video.id, 0, length)
        begin, end = round(piece.start * 10), round(piece.end * 10)
        own = [GRID.snippet_frames(step) for step in range(GRID.count(end - begin))]
        assert (shown - begin).tolist() == [list(map(float, each)) for each in own]
        assert store.grid(piece.video.id) == GRID
        assert store.duration(piece.video.id) == pytest.approx(piece.end - piece.start)


@pytest.mark.parametrize(
    ("video", "length", "message"),
    [
        (Video("r"), 10.0, "its duration is not known"),
        (Video("r", duration=50.0, video_labels=("run",)), 10.0, r"labels without segments \(run\)"),
        (Video("r", duration=50.0), 0.0, "expected finite seconds above 0"),
    ],
)
def test_what_cannot_be_cut_is_said(video: Video, length: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        cut(Annotations.of([video]), length)


def test_an_unknown_subset_is_said() -> None:
    with pytest.raises(InputError, match="did you mean 'test'"):
        cut(Annotations.of([recording()]), 10.0, at_background=["tets"])


def test_pieces_without_a_snippet_are_said(tmp_path: Path) -> None:
    features = ArrayFeatures({"r": np.ones((20, 2), np.float32)}, GRID)
    pieces = cut(Annotations.of([recording()]), 40.0, features=features)
    with pytest.raises(InputError, match=r"video r_01: \[40.0, 80.0\) s of r hold no whole snippet"):
        cut_features(pieces, features, tmp_path)


@pytest.mark.parametrize("length", [float("inf"), float("nan"), -1.0])
def test_lengths_that_are_none(length: float) -> None:
    with pytest.raises(InputError, match="expected finite seconds above 0"):
        cut(Annotations.of([recording()]), length)


def test_pieces_beyond_number() -> None:
    with pytest.raises(InputError, match=r"^video r: its 100.0 s would make more than 100,000 pieces of 1e-09 s"):
        cut(Annotations.of([recording()]), 1e-9)


def test_the_folder_of_pieces_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text("video,label,start,end\nr,a,0,1\n")
    arguments = ["cut", str(tmp_path / "truth.csv"), "--length", "40", "--out", str(tmp_path / "truth.csv")]
    failed = CliRunner().invoke(app, arguments).exception
    assert isinstance(failed, InputError)
    assert str(failed) == f"{tmp_path / 'truth.csv'}: is a file, expected a folder to write into"


def test_the_command(tmp_path: Path) -> None:
    truth = {
        "database": {
            "r": {
                "subset": "training",
                "duration": 100,
                "subject": 3,
                "annotations": [{"label": "a", "segment": [38, 47]}, {"label": "b", "segment": [60, 70]}],
            },
            "t": {"subset": "test", "duration": 90, "annotations": [{"label": "a", "segment": [38, 47]}]},
        }
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "features").mkdir()
    for name in ("r", "t"):
        np.save(tmp_path / "features" / f"{name}.npy", np.ones((200 if name == "r" else 180, 3), np.float32))
    arguments = ["cut", str(tmp_path / "truth.json"), "--length", "40", "--background", "training"]
    arguments += ["--features", str(tmp_path / "features"), "--fps", "10", "--stride", "5", "--window", "5"]
    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "2 recordings with 3 instances cut into 5 videos with 4" in result.output.replace("\n", " ")
    pieces = read_annotations(tmp_path / "out" / "annotations.json")
    assert pieces.videos["r_00"].duration == 38.0
    assert pieces.videos["t_00"].duration == 40.0
    assert pieces.videos["r_00"].extra["subject"] == 3
    store = FeatureStore.open(tmp_path / "out" / "features")
    assert {name: store.length(name) for name in store.ids} == {
        "r_00": 76,
        "r_01": 84,
        "r_02": 40,
        "t_00": 80,
        "t_01": 100,
    }


def test_nothing_that_is_there_is_written_over(tmp_path: Path) -> None:
    truth = tmp_path / "annotations.json"
    truth.write_text('{"database": {"r": {"duration": 100, "annotations": [{"label": "a", "segment": [38, 47]}]}}}')
    (tmp_path / "features").mkdir()
    np.save(tmp_path / "features" / "r.npy", np.ones((200, 3), np.float32))
    grid = ["--features", str(tmp_path / "features"), "--fps", "10", "--stride", "5", "--window", "5"]

    def cut_into(folder: str, *more: str, length: int = 40, source: Path = truth) -> str:
        arguments = ["cut", str(source), "--length", str(length), "--out", str(tmp_path / folder), *more]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0 or isinstance(result.exception, InputError)
        return str(result.exception or "")

    before = truth.read_text()
    assert f"{truth}: is what is to be cut; choose another folder with --out" in cut_into(".")
    moved = tmp_path / "recordings.json"
    moved.write_text(before)
    truth.unlink()
    assert f"{tmp_path / 'features'}: is what is to be cut" in cut_into(".", *grid, source=moved)
    assert [file.name for file in (tmp_path / "features").iterdir()] == ["r.npy"]
    assert not truth.exists()
    assert cut_into("out", *grid, source=moved) == ""
    assert "annotations.json: is there already" in cut_into("out", *grid, length=50, source=moved)
    (tmp_path / "out" / "annotations.json").unlink()
    assert "features: is there already" in cut_into("out", *grid, length=50, source=moved)
    assert len(FeatureStore.open(tmp_path / "out" / "features").ids) == 3
