"""From the command line: train, resume after being killed, detect, view; and what happens when the input is wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import untrimmed
from untrimmed.errors import InputError
from untrimmed.formats import read_annotations, read_detections, write_annotations
from untrimmed.pipeline.detector import load_model
from untrimmed.pipeline.recipe import Recipe, load
from untrimmed.pipeline.run_data import open_run_data
from untrimmed.pipeline.run_report import write_run_report
from untrimmed.pipeline.train import train
from untrimmed.training.checkpoint import load_state, save_state
from untrimmed.types import Annotations, Instances, Video

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def run(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "untrimmed", *map(str, arguments)], capture_output=True, text=True, env=ENVIRONMENT
    )
    assert done.returncode == code, done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def finished(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    run("train", tiny / "config.yaml", "--out", out, "--device", "cpu")
    return out


def test_a_run_leaves_all_its_files_and_has_learnt(finished: Path) -> None:
    names = {"config.yaml", "model.safetensors", "log.jsonl", "state"}
    names |= {"results.json", "curves.json", "metrics.json", "report.html"}
    assert {file.name for file in finished.iterdir()} == names
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["test"]["mAP"]["0.5"] > 0.5
    assert metrics["test"]["subset"] == "test"
    assert metrics["training"]["validation_mAP"] > 0.4
    assert len((finished / "log.jsonl").read_text().splitlines()) == 6
    assert "Average precision by protocol activitynet" in (finished / "report.html").read_text()


def test_a_run_folder_is_scored_as_it_was_and_knows_what_it_was_trained_on(tiny: Path, finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())
    again = json.loads(run("evaluate", finished, "--json").stdout)
    assert (again["mAP"], again["averages"]) == (metrics["test"]["mAP"], metrics["test"]["averages"])
    training = sorted(video.id for video in read_annotations(tiny / "truth.json") if video.subset == "training")
    assert read_detections(finished / "results.json").trained_on == tuple(training)
    assert load_model(finished).trained_on == tuple(training)
    assert again["training_videos"] is None  # none of them is among the test videos
    assert "videos" not in metrics["training"]


def test_a_class_agnostic_method_is_scored_as_if_there_were_one_class(tiny: Path, tmp_path: Path) -> None:
    settings = ["method.class_agnostic=true", "train.epochs=4", "train.select=best", "evaluate.protocol=activitynet"]
    printed = run("train", tiny / "config.yaml", *settings, "--out", tmp_path / "run", "--device", "cpu").stdout
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert list(metrics["test"]["per_class"]) == ["any label"]
    assert "any label" in printed
    page = (tmp_path / "run" / "report.html").read_text()
    assert "any label" in page
    assert "The detections have no labels" in page
    assert metrics["training"]["validation_mAP"] > 0
    truth = ["--truth", tiny / "truth.json", "--subset", "test", "--tiou", "0.5", "--json"]
    again = json.loads(run("evaluate", tmp_path / "run" / "results.json", *truth, "--any-label").stdout)
    assert again["mAP"]["0.5"] == metrics["test"]["mAP"]["0.5"] > 0


def test_killed_at_a_random_step_and_resumed_it_ends_with_the_same_bits(
    tiny: Path, finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "cut"
    command = [sys.executable, "-m", "untrimmed", "train", tiny / "config.yaml", "train.checkpoint_minutes=0"]
    process = subprocess.Popen([*command, "--out", out, "--device", "cpu"], env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    log = out / "log.jsonl"
    deadline = time.monotonic() + 120
    while not (log.exists() and log.read_text().count("\n") >= 2) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(np.random.default_rng().uniform(0, 0.5))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "model.safetensors").exists()
    run("train", tiny / "config.yaml", "train.checkpoint_minutes=0", "--out", out, "--device", "cpu", "--resume")
    whole, cut = load_file(finished / "model.safetensors"), load_file(out / "model.safetensors")
    assert whole.keys() == cut.keys()
    assert all(np.array_equal(whole[name], cut[name]) for name in whole)
    assert (out / "results.json").read_bytes() == (finished / "results.json").read_bytes()


def test_detect_needs_nothing_but_the_model(tiny: Path, finished: Path, tmp_path: Path) -> None:
    features = tiny / "features" / "test200.npy"
    model = tmp_path / "moved.safetensors"
    model.write_bytes((finished / "model.safetensors").read_bytes())
    out, page, subtitles = tmp_path / "found.json", tmp_path / "page.html", tmp_path / "subtitles"
    run("detect", model, features, "--out", out, "--report-to", page, "--vtt-to", subtitles, "--device", "cpu")
    found = read_detections(out)
    trained = read_detections(finished / "results.json").of_video("test200")
    # The features alone do not tell how long the video is, so what is cut at its end may differ.
    inside = trained.segments[:, 1] < 59.0
    assert found.video_ids == ("test200",)
    np.testing.assert_allclose(found.segments[: inside.sum() // 2], trained.segments[: inside.sum() // 2], atol=1e-3)
    assert "test200" in page.read_text()
    assert [file.name for file in subtitles.iterdir()] == ["test200.vtt"]


def test_detect_from_python_gives_what_the_command_gives(tiny: Path, finished: Path) -> None:
    detector = untrimmed.load_model(finished)
    found = detector.detect(tiny / "features" / "test200.npy")
    same = detector.detect(np.load(tiny / "features" / "test200.npy"), "test200")
    assert list(found.rows()) == list(same.rows())
    assert len(found) > 0


def test_one_bad_source_does_not_stop_the_others(tiny: Path, finished: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.npy"
    bad.write_bytes(b"nothing")
    good = tiny / "features" / "test201.npy"
    done = run("detect", finished, bad, good, "--out", tmp_path / "r.json", "--device", "cpu", code=1)
    assert "bad.npy" in done.stderr
    assert read_detections(tmp_path / "r.json").video_ids == ("test201",)
    done = run("detect", finished, bad, "--out", tmp_path / "none.json", "--device", "cpu", code=2)
    assert "none of the 1 sources could be read" in done.stderr
    assert not (tmp_path / "none.json").exists()


@pytest.mark.parametrize(
    ("option", "target", "message"),
    [
        ("--out", "found.foo", "should end in one of .json"),
        ("--out", "found.eaf", "elan has no form for results"),
        ("--out", "nowhere/found.json", "does not exist; make it first"),
        ("--vtt-to", "full", "is a folder that holds files"),
        ("--vtt-to", "all.vtt", "a .vtt file holds 1 video, not 3"),
        ("--report-to", "full", "is a folder, expected the name of a file"),
    ],
)
def test_targets_are_looked_at_before_anything_is_detected(
    tiny: Path, finished: Path, tmp_path: Path, option: str, target: str, message: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    sources = [tiny / "features" / f"test20{number}.npy" for number in range(3)]
    given = {"--out": tmp_path / "r.json", option: tmp_path / target}
    done = run("detect", finished, *sources, *(word for pair in given.items() for word in pair), code=2)
    assert message in done.stderr
    assert "detections in" not in done.stdout
    assert not (tmp_path / "r.json").exists()


def test_view_writes_a_page(tiny: Path, finished: Path, tmp_path: Path) -> None:
    page = tmp_path / "view.html"
    run("view", finished / "results.json", "--truth", tiny / "truth.json", "--out", page)
    assert '"test202"' in page.read_text()
    done = run("view", finished / "results.json", "--truth", tiny / "config.yaml", "--out", page, code=2)
    assert "config.yaml" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train.epoch=3"], "no key 'train.epoch' is known: did you mean 'epochs'"),
        (["method.name=vsng"], "did you mean 'vsgn'"),
        (["method.chanels=3"], "did you mean 'channels'"),
        (["data.training=train"], "did you mean 'training'"),
        (["data.features=/nowhere"], "/nowhere"),
        (["evaluate.protocol=thumos"], "did you mean 'thumos14'"),
        (["evaluate.tiou=[2]"], "evaluate.tiou is [2]: tIoU threshold 2: expected a number above 0 and at most 1"),
        (["data.test=validation", "train.select=best"], "train.select=best would choose by the videos to test with"),
        (["windows.length=0"], "windows"),
        (["--device", "cuda:77"], "device 'cuda:77' was asked for but is not present"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tiny: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    if "cuda:77" in arguments and torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    done = run("train", tiny / "config.yaml", *arguments, "--out", tmp_path / "run", code=2)
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def _with_truth(tiny: Path, folder: Path, change: Callable[[Video], Video], *overrides: str) -> Recipe:
    annotations = read_annotations(tiny / "truth.json")
    write_annotations(Annotations.of(map(change, annotations)), folder / "changed.json")
    return load(tiny / "config.yaml", [f"data.annotations={folder}/changed.json", *overrides])


def _without_instances(subset: str) -> Callable[[Video], Video]:
    return lambda video: replace(video, instances=Instances.empty()) if video.subset == subset else video


def test_what_would_fail_after_the_training_is_refused_before_it(tiny: Path, tmp_path: Path) -> None:
    def longer(video: Video) -> Video:
        return replace(video, duration=600.0) if video.id == "test200" else video

    with pytest.raises(InputError, match=r"2 videos of data.validation have no instances .*data.validation=null does"):
        open_run_data(_with_truth(tiny, tmp_path, _without_instances("validation")))
    with pytest.raises(InputError, match=r"test200: 119 snippets .* cover 59.5 s, but the video lasts 600.0 s"):
        open_run_data(_with_truth(tiny, tmp_path, longer))
    features = tmp_path / "features"
    shutil.copytree(tiny / "features", features)
    np.save(features / "test201.npy", np.zeros((119, 9), np.float32))
    with pytest.raises(InputError, match=r"test201.npy .*expected \(T, 8\)"):
        open_run_data(load(tiny / "config.yaml", [f"data.features={features}"]))
    scores = tmp_path / "scores.json"
    with pytest.raises(InputError, match=r"scores.json: no such file"):
        open_run_data(load(tiny / "config.yaml", [f"fusion.class_scores={scores}"]))
    videos = {f"validation10{number}": {"jump": 1.0} for number in range(2)}
    scores.write_text(json.dumps({"results": videos}))
    with pytest.raises(InputError, match=r"no scores of 3 videos of data.test, such as 'test200'"):
        open_run_data(load(tiny / "config.yaml", [f"fusion.class_scores={scores}"]))


def test_a_test_subset_without_truth_is_detected_in_but_not_scored(tiny: Path, tmp_path: Path) -> None:
    said: list[str] = []
    recipe = _with_truth(tiny, tmp_path, _without_instances("test"), "train.epochs=1", "data.validation=null")
    result = train(recipe, tmp_path / "run", device=torch.device("cpu"), log=said.append)
    assert result.evaluation is None
    assert result.detections is not None
    assert len(result.detections) > 0
    assert "no instances" in said[-1]
    page = write_run_report(tmp_path / "run").read_text()
    assert "The 3 videos of subset test have no instances, so the detections are not scored." in page
    assert "Average precision" not in page


def test_a_folder_that_holds_a_run_is_not_overwritten(tiny: Path, finished: Path, tmp_path: Path) -> None:
    done = run("train", tiny / "config.yaml", "--out", finished, code=2)
    assert "already holds a run" in done.stderr
    before = {file: file.read_bytes() for file in finished.rglob("*") if file.is_file()}
    done = run("train", tiny / "config.yaml", "train.seed=5", "--out", finished, "--resume", code=2)
    assert "another config: train.seed was 0, is 5" in done.stderr
    assert {file: file.read_bytes() for file in finished.rglob("*") if file.is_file()} == before


def test_a_run_from_before_the_network_changed_is_neither_used_nor_gone_on_with(
    tiny: Path, finished: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    shutil.copytree(finished, old)
    state = load_state(old / "state" / "last.pt")
    save_state(old / "state" / "last.pt", {name: value for name, value in state.items() if name != "weights_format"})
    model = old / "model.safetensors"
    model.write_bytes(model.read_bytes().replace(b"untrimmed model 2", b"untrimmed model 1", 1))
    before = {file: file.read_bytes() for file in old.rglob("*") if file.is_file()}
    done = run("train", tiny / "config.yaml", "--out", old, "--resume", code=2)
    assert "from before its network changed" in done.stderr
    assert "train again without --resume" in done.stderr
    done = run("detect", old, tiny / "features", "--out", tmp_path / "r.json", "--device", "cpu", code=2)
    assert "train again (`untrimmed train" in done.stderr
    assert {file: file.read_bytes() for file in old.rglob("*") if file.is_file()} == before


def test_what_only_decides_the_score_may_change_in_a_run_that_goes_on(
    tiny: Path, finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "again"
    shutil.copytree(finished, out)
    changes = ["evaluate.tiou=[0.1,0.4]", "evaluate.lengths=[4]"]
    run("train", tiny / "config.yaml", *changes, "--out", out, "--device", "cpu", "--resume")
    assert load_file(out / "model.safetensors").keys() == load_file(finished / "model.safetensors").keys()
    assert list(json.loads((out / "metrics.json").read_text())["test"]["mAP"]) == ["0.1", "0.4"]
    page = (out / "report.html").read_text()
    assert "up to 4 s" in page
    assert "above 4 s" in page


def test_validation_on_the_test_videos_is_said(tiny: Path, tmp_path: Path) -> None:
    changes = ["data.validation=test", "train.epochs=1"]
    done = run("train", tiny / "config.yaml", *changes, "--out", tmp_path / "run", "--device", "cpu")
    assert "validation looks at the test videos: data.validation and data.test are both 'test'" in done.stderr


def test_a_finished_run_goes_on_where_it_was_moved_to_and_without_its_log(
    tiny: Path, finished: Path, tmp_path: Path
) -> None:
    moved, truth = tmp_path / "moved", tmp_path / "truth.json"
    shutil.copytree(finished, moved)
    shutil.copy(tiny / "truth.json", truth)
    (moved / "log.jsonl").unlink()
    run("train", tiny / "config.yaml", f"data.annotations={truth}", "--out", moved, "--resume", "--device", "cpu")
    assert str(truth) in (moved / "config.yaml").read_text()
    assert (moved / "results.json").read_bytes() == (finished / "results.json").read_bytes()


def test_features_of_another_width_are_refused(tiny: Path, finished: Path, tmp_path: Path) -> None:
    wide = tmp_path / "wide.npy"
    np.save(wide, np.zeros((50, 9), np.float32))
    done = run("detect", finished, wide, "--out", tmp_path / "r.json", "--device", "cpu", code=2)
    assert "video 'wide': the features have 9 channels" in done.stderr
