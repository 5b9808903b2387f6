"""``untrimmed curves``: figures of curves over truth."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from untrimmed.cli import app
from untrimmed.errors import InputError
from untrimmed.formats import write_annotations, write_detections
from untrimmed.formats.curves import Curves, write_curves
from untrimmed.report import curve_figures, plots
from untrimmed.types import Annotations, Detections, Instances, Video


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    instances = Instances(np.array([[1.0, 2.0], [4.0, 5.5], [7.0, 8.0]]), ("jump", "spin", "jump"))
    truth = Annotations.of([Video("v/1", "test", 10.0, None, instances)], version="x")
    write_annotations(truth, tmp_path / "truth.json")
    wave = np.linspace(0, 1, 50, dtype=np.float32)
    for run in ("one", "two"):
        (tmp_path / run).mkdir()
        names = {"jump": wave, "start": wave} if run == "one" else {"jump": 1 - wave, "spin": wave}
        write_curves({"v/1": Curves(0.0, 0.2, names)}, tmp_path / run / "curves.json")
    return tmp_path


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["curves", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_a_figure_for_each_class_of_the_truth_with_a_curve_of_each_model(folder: Path) -> None:
    truth, out = folder / "truth.json", folder / "out"
    assert "2 figures of 1 videos" in run(
        folder / "one", folder / "two" / "curves.json", "--truth", truth, "--out", out
    )
    texts = [set(re.findall(r">([^<>]+)</text>", (out / f"v_1-{number}.svg").read_text())) for number in range(2)]
    assert {"truth", "one", "two"} <= texts[0]
    assert {"truth", "two"} <= texts[1]
    assert "one" not in texts[1]


def test_detections_of_the_runs_that_have_them_are_blocks_below(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[object] = []
    real = curve_figures.over_truth
    monkeypatch.setattr(curve_figures, "over_truth", lambda *given: (rows.append(given[6]), real(*given))[1])
    segments = np.array([[1.0, 2.1], [4.0, 5.0], [6.9, 8.0], [0.0, 9.0], [0.0, 3.0]])
    labels, of_video = np.array([0, 1, 0, 0, 0]), np.array([0, 0, 0, 0, 1])
    scores = np.array([0.9, 0.95, 0.7, 0.2, 0.99])
    found = Detections(("v/1", "v/2"), ("jump", "spin"), of_video, labels, segments, scores)
    write_detections(found, folder / "two" / "results.json")
    truth, out = folder / "truth.json", folder / "out"
    run(folder / "one", folder / "two", "--truth", truth, "--out", out)
    # Two instances of jump, one of spin; the second run is blue also where the first has no curve.
    assert rows == [[(plots.BLUE, [(1.0, 2.1), (6.9, 8.0)])], [(plots.BLUE, [(4.0, 5.0)])]]
    run(folder / "one", folder / "two", "--truth", truth, "--out", out, "--label", "start")
    assert rows[2:] == [[]]
    assert curve_figures.best(found, "v/1", None, 2) == [(4.0, 5.0), (1.0, 2.1)]
    assert curve_figures.best(found, "v/3", None, 2) == curve_figures.best(found, "v/1", "swim", 2) == []


def test_only_the_classes_and_videos_asked_for(folder: Path) -> None:
    truth, out = folder / "truth.json", folder / "out"
    run(folder / "one", "--truth", truth, "--out", out, "--label", "start", "--video", "v/1")
    assert [file.name for file in out.iterdir()] == ["v_1-0.svg"]


def test_a_curve_that_is_of_no_class_is_drawn_over_all_instances(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[object] = []
    monkeypatch.setattr(curve_figures, "over_truth", lambda *given: drawn.append(given[3]))
    video = Video("v", "test", 10.0, None, Instances(np.array([[1.0, 2.0], [4.0, 5.5]]), ("jump", "spin")))
    wanted = ["jump", "action", "swim"]
    models = {"one": Curves(0.0, 0.2, {name: np.zeros(50, dtype=np.float32) for name in wanted})}
    curve_figures.class_figures(video, models, wanted, ["jump", "spin", "swim"])
    assert drawn == [[(1.0, 2.0)], [(1.0, 2.0), (4.0, 5.5)], []]


def test_what_is_wrong_is_said(folder: Path) -> None:
    truth = folder / "truth.json"
    with pytest.raises(InputError, match="has no video 'v/2': did you mean 'v/1'"):
        run(folder / "one", "--truth", truth, "--video", "v/2")
    with pytest.raises(InputError, match="one: no curve of 'jmp': did you mean 'jump'"):
        run(folder / "one", "--truth", truth, "--label", "jmp")
    write_curves({"v/1": Curves(0.0, 0.2, {"action": np.zeros(50, dtype=np.float32)})}, folder / "one" / "curves.json")
    with pytest.raises(InputError, match=r"occurs in 1 videos of .*curves of action"):
        run(folder / "one", "--truth", truth)
    with pytest.raises(InputError, match="at most 5"):
        run(*[folder / "one"] * 6, "--truth", truth)
    (folder / "one" / "curves.json").write_text('{"version": 1, "videos": {}}')
    with pytest.raises(InputError, match="no video that all of one"):
        run(folder / "one", "--truth", truth)
