"""Scores of proposals against a slow loop written from their definitions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import untrimmed.cli
from untrimmed.errors import InputError
from untrimmed.evaluation import average_recall, evaluate_proposals, recall_of_all
from untrimmed.evaluation.protocols import DENSE
from untrimmed.formats import write_annotations, write_detections
from untrimmed.segments import tiou_scalar
from untrimmed.types import Annotations, Detections, Instances, Video


def made(seed: int, proposals: int = 40) -> tuple[Detections, Annotations]:
    """Five videos, one without instances and one without proposals, and proposals in a video of no truth."""
    rng = np.random.default_rng(seed)
    videos, rows = [], []
    for number in range(5):
        starts = rng.uniform(0, 80, size=0 if number == 3 else 4)
        segments = np.stack([starts, starts + rng.uniform(1, 20, len(starts))], axis=1)
        videos.append(Video(f"v{number}", "validation", 100.0, instances=Instances(segments, ("x",) * len(starts))))
        for _ in range(0 if number == 2 else rng.integers(1, proposals)):
            start = rng.uniform(0, 80)
            rows.append((f"v{number}", None, start, start + rng.uniform(-1, 25), float(rng.integers(0, 9))))
    rows.append(("elsewhere", None, 0.0, 9.0, 1.0))
    return Detections.of([rows[i] for i in rng.permutation(len(rows))]), Annotations.of(videos)


def slow_recall(proposals: Detections, truth: Annotations, tiou: float) -> float:
    hits = []
    for video in truth:
        for start, end in video.instances.segments.tolist():
            best = [
                tiou_scalar(low, high, start, end) for name, _, low, high, _ in proposals.rows() if name == video.id
            ]
            hits.append(max(best, default=0.0) >= tiou)
    return float(np.mean(hits))


@pytest.mark.parametrize("seed", range(5))
def test_recall_of_all_against_a_loop(seed: int) -> None:
    proposals, truth = made(seed)
    tious = (0.1, 0.5, 0.7)
    expected = [slow_recall(proposals, truth, tiou) for tiou in tious]
    assert recall_of_all(proposals, truth, tious).tolist() == pytest.approx(expected, abs=1e-12)
    assert expected[0] > 0
    scores = evaluate_proposals(proposals, truth, tious=tious)
    assert scores.recall.tolist() == pytest.approx(expected, abs=1e-12)


def test_at_or_above_counts() -> None:
    truth = Annotations.of([Video("v", "validation", 10.0, instances=Instances([[0, 4]], ("x",)))])
    half = Detections.of([("v", None, 0, 2, 1)])
    assert recall_of_all(half, truth, [0.5, 0.51]).tolist() == [1, 0]


def test_up_to_a_hundred_the_curve_is_that_of_activitynet() -> None:
    proposals, truth = made(1)
    scores, official = evaluate_proposals(proposals, truth), average_recall(proposals, truth)
    assert list(scores.at) == [1, 5, 10, 50, 100, 200, 500, 1000]
    assert [scores.at[n] for n in (1, 10, 100)] == [official.at(n) for n in (1, 10, 100)]
    assert scores.area == official.area
    assert scores.curve.numbers[-1] == 1000
    # With all of them, average recall is the mean of the recalls.
    assert scores.at[1000] == pytest.approx(recall_of_all(proposals, truth, DENSE).mean(), abs=1e-12)
    short = evaluate_proposals(proposals, truth, largest=20)
    assert list(short.at) == [1, 5, 10]
    assert "area under the curve to 20" in str(short)


def test_thumos14_averages_to_one() -> None:
    truth = Annotations.of([Video("v", "test", 10.0, instances=Instances([[0, 4], [6, 7]], ("x", "Ambiguous")))])
    proposals = Detections.of([("v", None, 0, 4, 1)])
    scores = evaluate_proposals(proposals, truth)
    assert (scores.protocol, scores.counts["instances"]) == ("thumos14", 1)
    assert scores.curve.tious == (*DENSE, 1.0)
    near = evaluate_proposals(Detections.of([("v", None, 0, 3.99, 1)]), truth)
    assert near.at[1] == pytest.approx(10 / 11)
    assert evaluate_proposals(proposals, truth, averaged=DENSE).curve.tious == DENSE


def test_what_is_odd_is_said() -> None:
    truth = Annotations.of(
        [Video(name, "validation", 10.0, instances=Instances([[0, 4]], ("x",))) for name in ("a", "b")]
    )
    rows = [("a", None, 3, 1, 0.5), ("a", None, 2, 2, 0.5), ("a", None, 11, 12, 0.5), ("x", None, 0, 1, 0.5)]
    scores = evaluate_proposals(Detections.of(rows), truth)
    assert scores.odd == {
        "videos_without_proposals": 1,
        "proposals_in_videos_without_truth": 1,
        "reversed_proposals": 1,
        "zero_length_proposals": 1,
        "proposals_beyond_the_video": 1,
    }
    assert "1 video of the subset without any proposal, e.g. b: recall nothing" in str(scores)
    assert len(scores.notes) == 5
    assert json.loads(json.dumps(scores.to_dict()))["recall"]["0.5"] == 0


def test_proposals_of_another_data_set_and_none() -> None:
    truth = Annotations.of([Video("a", "validation", 10.0, instances=Instances([[0, 4]], ("x",)))])
    with pytest.raises(InputError, match=r"none of the 1 video with proposals is in subset 'validation' .* 'z'"):
        evaluate_proposals(Detections.of([("z", None, 0, 1, 1)]), truth)
    with pytest.raises(InputError, match="there are no proposals"):
        evaluate_proposals(Detections.empty(["a"]), truth)


def run(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(untrimmed.cli.app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done.output if code == 0 else str(done.exception)


def test_the_command(tmp_path: Path) -> None:
    proposals, truth = made(2)
    write_annotations(truth, tmp_path / "truth.json")
    write_detections(proposals, tmp_path / "p.json")
    labelled = Detections.of([(name, "x", *rest) for name, _, *rest in proposals.rows()])
    write_detections(labelled, tmp_path / "labelled.json")
    where = ("--truth", tmp_path / "truth.json")
    told = json.loads(run("evaluate", tmp_path / "p.json", *where, "--json", "--tiou", "0.5"))
    asked = json.loads(run("evaluate", tmp_path / "labelled.json", *where, "--json", "--proposals", "--tiou", "0.5"))
    assert told["recall"] == asked["recall"] == {"0.5": slow_recall(proposals, truth, 0.5)}
    assert told["average_recall"]["at"]["1000"] == asked["average_recall"]["at"]["1000"]
    assert "AR@AN, percent" in run("evaluate", tmp_path / "p.json", *where)
    assert "mAP" in run("evaluate", tmp_path / "p.json", *where, "--any-label")
    assert "mAP" in run("evaluate", tmp_path / "labelled.json", *where)
    assert "are for detections" in run("evaluate", tmp_path / "p.json", *where, "--proposals", "--ci", code=1)
    assert "with --any-label only" in run("evaluate", tmp_path / "p.json", *where, "--ci", code=1)
