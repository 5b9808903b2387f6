"""The world in pieces: what they hold, and that they are what they are called."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from untrimmed.demo.pieces import FEATURES, PIECES, cut_world
from untrimmed.demo.settings import WorldSettings
from untrimmed.demo.world import VIDEOS, render_world
from untrimmed.formats.feature_writer import FeatureWriter
from untrimmed.formats.features import FeatureStore
from untrimmed.grid import SnippetGrid
from untrimmed.video.decode import read_frames

SMALL = WorldSettings(seed=3, training=3, validation=1, test=2, duration=(20.0, 24.0), size=(96, 80))


def test_pieces_are_those_seconds_of_their_recordings(tmp_path: Path) -> None:
    truth = render_world(tmp_path, SMALL)
    grid = SnippetGrid(25, 5, 8)
    with FeatureWriter(tmp_path / FEATURES, backbone={"name": "made up"}) as writer:
        for video in truth:
            assert video.duration is not None
            rows = np.arange(grid.count(round(video.duration * 25)), dtype=np.float32)[:, None]
            writer.add(video.id, rows, grid, video.duration)
    pieces, features = cut_world(tmp_path, truth, FeatureStore.open(tmp_path / FEATURES))
    assert len(pieces) == 2 * len(truth)
    shown = sorted((tmp_path / PIECES / VIDEOS).iterdir())
    assert [path.stem for path in shown] == sorted(pieces.subset("test").videos)
    for path in shown:
        piece = pieces.videos[path.stem]
        begun, source = piece.extra["recording_start"], piece.extra["recording"]
        assert features.window(piece.id, 0, 1)[0, 0] == round(begun * 5)
        assert piece.duration is not None
        with read_frames(tmp_path / VIDEOS / f"{source}.mp4", start=begun, stop=begun + piece.duration) as frames:
            whole = [image for _, image in frames]
        with read_frames(path) as frames:
            part = [image for _, image in frames]
        assert len(part) == len(whole)
        # Encoded twice, so not quite the same, but more like that frame than any other.
        apart = [np.abs(part[-1].astype(int) - image).mean() for image in whole]
        assert int(np.argmin(apart)) == len(whole) - 1
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / PIECES).rglob("*")}
    cut_world(tmp_path, truth, FeatureStore.open(tmp_path / FEATURES))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / PIECES).rglob("*")} == before
