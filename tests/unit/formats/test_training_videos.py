"""Result files that know which videos their model was trained on, and what keeps that knowledge."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from untrimmed.formats import read, read_detections, write_detections
from untrimmed.postprocess import Nms, PostProcess, apply, fuse, fuse_class_scores
from untrimmed.types import Detections

FOUND = replace(
    Detections.of([("a", "run", 0.0, 1.0, 0.5), ("b", "run", 0.0, 1.0, 0.4)]), trained_on=("b", "elsewhere")
)


@pytest.mark.parametrize("trained_on", [None, (), ("b", "elsewhere")])
def test_json_keeps_it_where_other_programs_look_past(tmp_path: Path, trained_on: tuple[str, ...] | None) -> None:
    file = tmp_path / "results.json"
    assert write_detections(replace(FOUND, trained_on=trained_on), file) == ()
    assert read_detections(file).trained_on == trained_on
    content = json.loads(file.read_text())
    assert set(content) == {"version", "external_data", "results"}  # what ActivityNet's own code asks for
    content = read(file)
    write_detections(read_detections(file), tmp_path / "again.json", extra=content.extra)
    assert (tmp_path / "again.json").read_text() == file.read_text()


def test_csv_says_that_it_cannot(tmp_path: Path) -> None:
    assert "which videos the model was trained on" in write_detections(FOUND, tmp_path / "results.csv")
    assert read_detections(tmp_path / "results.csv").trained_on is None


@pytest.mark.parametrize(
    "external", [None, [], "Kinetics", {"training_videos": 200}, {"training_videos": [1]}, {"used": True}]
)
def test_what_others_write_there_is_not_taken_for_it(tmp_path: Path, external: object) -> None:
    file = tmp_path / "results.json"
    file.write_text(json.dumps({"external_data": external, "results": {"a": []}}))
    assert read_detections(file).trained_on is None


def test_what_is_made_of_detections_keeps_it() -> None:
    assert FOUND.select([0]).trained_on == FOUND.trained_on
    assert FOUND.of_video("a").trained_on == FOUND.trained_on
    assert pickle.loads(pickle.dumps(FOUND)).trained_on == FOUND.trained_on
    assert apply(FOUND, PostProcess(nms=(Nms.of("hard:0.5"),))).trained_on == FOUND.trained_on
    fused = fuse_class_scores(FOUND, {"a": {"run": 1.0}, "b": {"run": 1.0}})
    assert fused.trained_on == FOUND.trained_on
    other = replace(FOUND, trained_on=("c",))
    assert fuse([FOUND, other]).trained_on == ("b", "c", "elsewhere")
    assert fuse([replace(FOUND, trained_on=None), other]).trained_on == ("c",)
    assert fuse([replace(FOUND, trained_on=None)]).trained_on is None
