"""The whole way on the small world: render, extract, train, detect, score, report.

Everything lies in one folder, and what is there already is not made again, so that an interrupted demo goes on::

    demo/
        videos/  annotations.json     the rendered world
        features/                     of its videos
        pieces/                       the same cut into short videos, for methods that learn from labels of videos
        linear.json                   detections of the yardstick, a linear classifier per snippet
        bmn/                          the run of the generator, for a method that judges proposals
        vsgn/                         the run of a method: model, results, metrics, report.html
            summary.json              its scores beside those of the yardstick
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from untrimmed._moved import renamed_arguments
from untrimmed.backbones import make_backbone
from untrimmed.demo.baseline import detect_linear, fit_linear
from untrimmed.demo.pieces import FEATURES, PIECES, cut_world
from untrimmed.demo.settings import WorldSettings
from untrimmed.demo.world import ANNOTATIONS, VIDEOS, render_world
from untrimmed.errors import InputError
from untrimmed.evaluation import Comparison, Evaluation, compare, evaluate
from untrimmed.evaluation.any_label import with_one_label, without_labels
from untrimmed.formats import read_annotations, write_detections
from untrimmed.formats.features import FeatureStore
from untrimmed.formats.io import write_json
from untrimmed.methods.catalog import method_class
from untrimmed.methods.protocol import needs_proposals
from untrimmed.pipeline.extract import extract
from untrimmed.pipeline.model_file import MODEL_FILE
from untrimmed.pipeline.recipe import load
from untrimmed.pipeline.run_report import write_run_report
from untrimmed.pipeline.train import train
from untrimmed.training.loop import Callbacks
from untrimmed.types import Annotations

LINEAR_FILE = "linear.json"
GENERATOR = "bmn"
"""Whose proposals are judged by methods that judge some."""
SUMMARY_FILE = "summary.json"
TIOUS = (0.3, 0.4, 0.5, 0.6, 0.7)


@dataclass(frozen=True)
class DemoResult:
    """What a demo ends with: the scores on the test videos, and the page.

    Attributes:
        evaluation: of the method, with confidence intervals.
        linear: of the linear classifier per snippet.
        comparison: of the two, paired over videos.
        report: the page.
        seconds: of each stage.
    """

    evaluation: Evaluation
    linear: Evaluation
    comparison: Comparison
    report: Path
    seconds: dict[str, float]


@renamed_arguments(watcher="callbacks", say="log")
def run_demo(
    out: Path,
    *,
    method: str = "vsgn",
    seed: int = 0,
    overrides: tuple[str, ...] = (),
    processes: int = 2,
    device: torch.device | None = None,
    callbacks: Callbacks | None = None,
    log: Callable[[str], None] = lambda text: None,
    progress: Callable[[int, int], None] | None = None,
    world: WorldSettings | None = None,
) -> DemoResult:
    """Render a small world, learn to find its actions, and say how well that went.

    Args:
        out: folder of it all.
        method: there must be a shipped config ``demo/<method>``. For one that judges proposals BMN is trained first, in
            the same folder, and goes into its model file. One whose windows are ``segments`` learns from labels
            of whole videos, and sees the pieces of :mod:`untrimmed.demo.pieces`. One that finds segments without label
            is scored as if there were one class, and so is the linear classifier beside it.
        seed: of the training; the world is the same for all.
        overrides: changes of the config.
        processes: that render and extract.
        device: to train on; the CPU by default.
        callbacks: of the training.
        log: is told in a sentence what happens next.
        progress: is told how many videos are rendered, of how many.
        world: another world than the default one.

    Raises:
        InputError: if there is no config for the method, or the folder cannot be used.
    """
    seconds: dict[str, float] = {}
    truth = _stage(seconds, "render", lambda: _rendered(out, world or WorldSettings(), processes, log, progress))
    features = _stage(seconds, "extract", lambda: _extracted(out, truth, processes, log))
    home = out
    if load(f"demo/{method}", overrides).windows.kind == "segments":
        log("cutting the world into pieces, whose labels the method learns from")
        truth, features = _stage(seconds, "cut", lambda: cut_world(out, truth, features))
        home = out / PIECES
    changes = [
        f"data.annotations={home / ANNOTATIONS}",
        f"data.features={home / FEATURES}",
        f"train.seed={seed}",
        *overrides,
    ]
    device = device or torch.device("cpu")
    recipe = load(f"demo/{method}", changes)
    own = any(change.startswith("data.proposals=") for change in overrides)
    if needs_proposals(method_class(recipe.method["name"]), recipe.method) and not own:
        made = _stage(seconds, "proposals", lambda: _proposals(out, changes[:3], device, log))
        recipe = load(f"demo/{method}", [*changes, f"data.proposals={made}"])
    run = out / method
    resume = (run / "state" / "last.pt").exists()
    log("going on with the training that is there" if resume else f"training {method}")
    result = _stage(
        seconds,
        "train and detect",
        lambda: train(recipe, run, device=device, resume=resume, callbacks=callbacks, log=log),
    )
    assert result.detections is not None
    log("scoring, and fitting a linear classifier per snippet for comparison")
    test = truth.subset("test")
    linear = _stage(
        seconds, "linear", lambda: detect_linear(fit_linear(features, truth.subset("training")), features, test.videos)
    )
    write_detections(linear, home / LINEAR_FILE)
    found = result.detections
    if without_labels(found):
        # Of proposals the segments are judged, whatever they show; so of the classifier too.
        linear, _ = with_one_label(linear, test)
        found, test = with_one_label(found, test)
    scored = evaluate(found, test, "activitynet", subset="test", tious=TIOUS, resamples=1000)
    yardstick = evaluate(linear, test, "activitynet", subset="test", tious=TIOUS, resamples=1000)
    difference = compare(found, linear, test, "activitynet", subset="test", tious=TIOUS)
    page = _stage(seconds, "report", lambda: write_run_report(run, home / VIDEOS))
    write_json(run / SUMMARY_FILE, _summary(method, scored, yardstick, difference, seconds))
    return DemoResult(scored, yardstick, difference, page, seconds)


def _proposals(out: Path, changes: Sequence[str], device: torch.device, log: Callable[[str], None]) -> Path:
    """The run of the generator whose proposals a method judges, trained first if it is not there."""
    run = out / GENERATOR
    if (run / MODEL_FILE).is_file():
        log(f"proposals are those of {run}")
        return run
    log(f"training {GENERATOR}, whose proposals are judged")
    train(load(f"demo/{GENERATOR}", changes), run, device=device, resume=(run / "state" / "last.pt").exists(), log=log)
    return run


def _rendered(
    out: Path,
    world: WorldSettings,
    processes: int,
    log: Callable[[str], None],
    progress: Callable[[int, int], None] | None,
) -> Annotations:
    if (out / ANNOTATIONS).is_file():
        log(f"the world in {out} is rendered already")
        return read_annotations(out / ANNOTATIONS)
    log("rendering a small world")
    return render_world(out, world, processes, progress)


def _extracted(out: Path, truth: Annotations, processes: int, log: Callable[[str], None]) -> FeatureStore:
    log("extracting features from its pixels")
    videos = [out / VIDEOS / f"{video.id}.mp4" for video in truth]
    outcome = extract(videos, make_backbone({"name": "motion"}), out / FEATURES, workers=processes)
    if outcome.failed:
        raise InputError(f"{len(outcome.failed)} videos of the demo could not be read: {outcome.failed}")
    return FeatureStore.open(out / FEATURES)


def _stage(seconds: dict[str, float], name: str, work: Callable[[], Any]) -> Any:
    begun = time.monotonic()
    made = work()
    seconds[name] = round(time.monotonic() - begun, 1)
    return made


def _summary(
    method: str, scored: Evaluation, linear: Evaluation, difference: Comparison, seconds: dict[str, float]
) -> dict[str, Any]:
    return {
        "method": method,
        "test": scored.to_dict(),
        "linear": linear.to_dict(),
        "comparison": difference.to_dict(),
        "seconds": seconds,
    }
