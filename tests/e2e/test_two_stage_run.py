"""A generator and a method that judges its proposals, with GCM: one process, two, one file, two streams."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from untrimmed import cli
from untrimmed.formats import read_detections
from untrimmed.pipeline.detector import load_model
from untrimmed.training.log import read_log


def run(*arguments: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["untrimmed", *map(str, arguments)])
        with contextlib.suppress(SystemExit):
            cli.main()


@pytest.fixture(scope="module")
def proposals(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a small BMN."""
    out = tmp_path_factory.mktemp("generator") / "bmn"
    sizes = ["channels=16", "base_channels=8", "matching_channels=16", "map_channels=8", "bins=4", "max_proposal=20"]
    windows = "windows={kind: sliding, length: 64, stride: 32}"
    changes = ["method.name=bmn", *(f"method.{size}" for size in sizes), windows, "train.epochs=3", "data.test=null"]
    names = ["method={name: bmn}", *changes[1:]]
    run("train", tiny / "config.yaml", *names, "--out", out, "--device", "cpu")
    return out


def two_stage(tiny: Path, proposals: Path, name: str, *more: str) -> list[object]:
    settings = {
        "ssn": "{name: ssn, context: {name: gcm, hidden: 8}, hidden: 16, kernel: 3, dropout: 0.0, drawn_foreground: 4}",
        "cbr": "{name: cbr, context: {name: gcm, hidden: 8}, proposals: given, hidden: 32, dropout: 0.0, looks: 2, "
        "unit: 2, weight_offsets: 0.2, every_class: true}",
    }[name]
    changes = [f"method={settings}", "windows={kind: whole}", f"data.proposals={proposals}", *more]
    return ["train", tiny / "config.yaml", *changes, "--device", "cpu"]


@pytest.mark.parametrize("name", ["ssn", "cbr"])
def test_a_run_judges_what_the_generator_found_and_its_one_file_detects(
    tiny: Path, proposals: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "run"
    run(*two_stage(tiny, proposals, name, "train.epochs=60"), "--out", out)
    made = read_detections(out / "proposals.json")
    assert len(made.video_ids) == 13
    found = read_detections(out / "results.json")
    assert json.loads((out / "metrics.json").read_text())["test"]["mAP"]["0.3"] > 0.4
    alone = tmp_path / "alone.safetensors"
    (out / "model.safetensors").rename(alone)
    run("detect", alone, tiny / "features" / "test200.npy", "--out", tmp_path / "again.json")
    again = read_detections(tmp_path / "again.json")
    rows = found.video == found.video_ids.index("test200")
    np.testing.assert_allclose(again.scores, found.scores[rows], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(again.segments, found.segments[rows], atol=1e-3)


def test_two_processes_train_on_the_proposals_that_the_first_one_made(
    tiny: Path, proposals: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    done = subprocess.run(
        [*command, "untrimmed", *map(str, two_stage(tiny, proposals, "ssn", "train.epochs=2")), "--out", str(out)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("proposals of") <= 1 + done.stderr.count("from ")
    assert [record["epoch"] for record in read_log(out / "log.jsonl")] == [1, 2]
    assert (out / "proposals.json").is_file()
    assert load_model(out).proposer is not None


def test_two_streams_judge_the_proposals_of_the_first(tiny: Path, proposals: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        run(*two_stage(tiny, proposals, "ssn", "train.epochs=2", f"train.seed={seed}"), "--out", tmp_path / str(seed))
    source, found = tiny / "features" / "test200.npy", []
    for more in ([], ["--with", tmp_path / "1", "--weights", 2, 3], ["--with", tmp_path / "0"]):
        run("detect", tmp_path / "0", source, *more, "--out", tmp_path / "found.json")
        found.append(read_detections(tmp_path / "found.json"))
    alone, both, twice = found
    np.testing.assert_allclose(twice.scores, alone.scores, rtol=1e-5)
    assert not np.allclose(both.scores, alone.scores, rtol=1e-3)
