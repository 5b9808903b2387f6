"""``torchrun ... untrimmed train``: one run, written once, that can be continued and used like any other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from untrimmed.pipeline.detector import load_model
from untrimmed.training.log import read_log


def torchrun(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    return subprocess.run(
        [*command, "untrimmed", "train", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_run_of_two_processes_is_written_once(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = torchrun(tiny / "config.yaml", "train.epochs=2", "train.ema=0.9", "--out", out, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert [record["epoch"] for record in read_log(out / "log.jsonl")] == [1, 2]
    assert done.stderr.count("epoch 2/2") == 1
    assert done.stdout.count("the run is in") == 1
    for name in ("config.yaml", "model.safetensors", "results.json", "metrics.json", "report.html"):
        assert (out / name).is_file()
    assert load_model(out).classes == ("jump", "wave")
    again = torchrun(tiny / "config.yaml", "train.epochs=2", "train.ema=0.9", "--out", out, "--device", "cpu")
    assert again.returncode != 0
    assert "already holds a run" in again.stderr
