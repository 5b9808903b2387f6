"""What the check says of proposals: one finding a video and kind, however many there are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

import untrimmed.cli
from untrimmed.formats import write_annotations, write_detections
from untrimmed.formats.check import check
from untrimmed.formats.check_proposals import MANY, check_proposals
from untrimmed.types import Annotations, Detections, Instances, Video

TRUTH = Annotations.of(
    [
        Video("a", "test", 40.0, instances=Instances([[4, 12]], ("wave",))),
        Video("b", "test", 30.0, instances=Instances([[4, 12]], ("wave",))),
        Video("c", "training", 30.0, instances=Instances([[4, 12]], ("wave",))),
    ]
)


def found(*rows: tuple[str, float, float], score: float = 0.5) -> dict[str, list[tuple[str, str]]]:
    given = Detections.of((video, None, start, end, score) for video, start, end in rows)
    kinds: dict[str, list[tuple[str, str]]] = {}
    for each in check_proposals(given, TRUTH):
        kinds.setdefault(f"{each.severity}: {each.what}", []).append((each.video, each.value))
    return kinds


def test_nothing_is_wrong() -> None:
    assert found(("a", 0, 40), ("b", 1, 30.5), ("c", -0.5, 3)) == {}


def test_every_kind() -> None:
    assert found(("x", 0, 1), ("y", 0, 1))["error: proposals of another data set"][0][1].startswith(
        "none of 2 videos with proposals is in the truth, e.g. x: there are: a, b, c"
    )
    kinds = found(
        ("a", 3, 2), ("a", 41, 42), ("a", 39, 42), ("a", 5, 5), ("a", 1, 9), ("a", 1, 9), ("a", -3, 4), ("x", 0, 1)
    )
    length = ", video ends at 40"
    assert kinds == {
        "warning: proposals of a video that the truth lacks": [("x", "1 proposal")],
        "warning: no proposals": [("b", "subset 'test'")],
        "note: subset without proposals": [("", "none of the videos of subset 'training' has any")],
        "error: proposals that end before they start": [("a", f"1 of 7, e.g. [3, 2]{length}")],
        "error: proposals outside the video": [("a", f"1 of 7, e.g. [41, 42]{length}")],
        "error: proposals that reach more than 1 s out of the video": [("a", f"2 of 7, e.g. [39, 42]{length}")],
        "warning: proposals of no length": [("a", f"1 of 7, e.g. [5, 5]{length}")],
        "warning: proposals that repeat another": [("a", f"1 of 7, e.g. [1, 9]{length}")],
    }


def test_none_at_all() -> None:
    (only,) = check_proposals(Detections.empty(["a"]), TRUTH)
    assert (only.severity, only.what) == ("error", "proposals of another data set")
    assert only.value == "none of 0 videos with proposals is in the truth"


def test_fractions_and_millions_are_one_line() -> None:
    count = 2_000_000
    rng = np.random.default_rng(0)
    segments = np.sort(rng.random((count, 2)), axis=1)
    given = Detections(("a",), (), np.zeros(count, int), np.full(count, -1), segments, rng.random(count))
    kinds = {each.what: each.value for each in check_proposals(given, TRUTH) if each.video == "a"}
    assert kinds.keys() == {"proposals that look like fractions of the video", f"more than {MANY} proposals"}
    assert all(value.startswith("2000000 of 2000000, e.g. [") for value in kinds.values())


def test_labels_are_said() -> None:
    given = Detections.of([("a", "wave", 0, 4, 1), ("b", "wave", 0, 4, 1), ("c", "wave", 0, 4, 1)])
    (only,) = check_proposals(given, TRUTH)
    assert (only.severity, only.what, only.value) == ("note", "proposals with labels", "3 of 3 have one")


def test_the_report_and_the_command(tmp_path: Path) -> None:
    given = Detections.of([("a", None, 3, 2, 1), ("b", None, 0, 4, 1), ("c", None, 0, 4, 1)])
    assert check(TRUTH, proposals=given).count("error") == 1
    assert check(TRUTH).count("error") == 0
    write_annotations(TRUTH, tmp_path / "truth.json")
    write_detections(given, tmp_path / "p.json")
    command = ["check", str(tmp_path / "truth.json"), "--json"]
    done = CliRunner().invoke(untrimmed.cli.app, [*command, "--proposals", str(tmp_path / "p.json")])
    assert done.exit_code == 1
    assert json.loads(done.stdout)["counts"] == {"proposals that end before they start": 1}
    (tmp_path / "list.txt").write_text("a 30 900\nb 30 90\nc 30 90\n")
    (tmp_path / "fps.json").write_text('{"a": 30, "b": 30, "c": 30}')
    lists = ["--proposals", str(tmp_path / "list.txt"), "--fps-table", str(tmp_path / "fps.json")]
    assert CliRunner().invoke(untrimmed.cli.app, [*command, *lists]).exit_code == 0
    assert CliRunner().invoke(untrimmed.cli.app, [*command, *lists[2:]]).exit_code != 0
