"""What is found in the places that a command line names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from untrimmed.errors import InputError
from untrimmed.formats.feature_writer import FeatureWriter
from untrimmed.grid import SnippetGrid
from untrimmed.pipeline.sources import find_sources, videos_among

ROWS = np.zeros((4, 2), np.float32)


def store(folder: Path, *names: str) -> Path:
    writer = FeatureWriter(folder, backbone={"name": "made up"})
    for name in names:
        writer.add(name, ROWS, SnippetGrid(10, 2, 2), 0.8)
    return folder


def test_folders_of_features_are_known_by_their_index(tmp_path: Path) -> None:
    inside = store(tmp_path / "deep" / "features", "a", "odd name/é")
    (tmp_path / "clip.mp4").touch()
    np.save(tmp_path / "x%2Fy.npy", ROWS)
    found = find_sources([tmp_path])
    assert found == {"a": inside, "odd name/é": inside, "clip": tmp_path / "clip.mp4", "x/y": tmp_path / "x%2Fy.npy"}
    assert videos_among(found) == {"clip": tmp_path / "clip.mp4"}
    assert find_sources([inside]) == {"a": inside, "odd name/é": inside}
    assert find_sources([inside / "a.npy"]) == {"a": inside / "a.npy"}


def test_files_with_one_name_are_told_apart(tmp_path: Path) -> None:
    for name in ("a.avi", "a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    assert list(find_sources([tmp_path])) == ["a.avi", "a.mp4", "b"]


def test_two_folders_of_features_with_one_video_are_refused(tmp_path: Path) -> None:
    places = [store(tmp_path / "one", "a"), store(tmp_path / "two", "a")]
    with pytest.raises(InputError, match=r"one and .*two: both hold video 'a'; detect in them separately"):
        find_sources(places)
    assert find_sources([places[0], places[0]]) == {"a": places[0]}


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no video \(.*\) or features"):
        find_sources([tmp_path])
    with pytest.raises(InputError, match="no such file or folder"):
        find_sources([tmp_path / "absent"])
