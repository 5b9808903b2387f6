"""A run: from a recipe to a folder with a trained model, its detections, its scores and a report.

::

    run/
        config.yaml         the recipe, complete
        model.safetensors   all that detection needs
        state/              what resuming needs
        log.jsonl           losses and validation scores, a line an epoch
        results.json        detections in the test subset
        proposals.json      what a proposal model found in all videos, for a method that judges proposals
        curves.json         what the method says over time in these videos, if it has curves
        metrics.json        their scores, and how the training went
        report.html         a page to look at
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from untrimmed._moved import renamed_arguments
from untrimmed.data.feed import WindowFeed
from untrimmed.data.load_window import Standardise
from untrimmed.errors import InputError
from untrimmed.evaluation import Evaluation, evaluate
from untrimmed.evaluation.any_label import without_labels
from untrimmed.formats import write_detections
from untrimmed.formats.curves import write_curves
from untrimmed.formats.features import Features
from untrimmed.formats.io import write_json, write_text
from untrimmed.methods.catalog import make_method
from untrimmed.methods.weights import check_format
from untrimmed.pipeline.detector import Detector, collect
from untrimmed.pipeline.model_file import MODEL_FILE, TRAINED_ON
from untrimmed.pipeline.proposals import Supply, identity, supply
from untrimmed.pipeline.recipe import Recipe, rules_of
from untrimmed.pipeline.run_data import RunData, common_grid, open_run_data, training_set, validates_on_test
from untrimmed.postprocess.fusion import fuse_class_scores, read_class_scores
from untrimmed.postprocess.pipeline import say_left_out
from untrimmed.training.loop import Callbacks, Training
from untrimmed.training.optim import make_step
from untrimmed.training.processes import ALONE, Processes
from untrimmed.types import Annotations, Detections

CONFIG_FILE = "config.yaml"
RESULTS_FILE = "results.json"
CURVES_FILE = "curves.json"
METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"
_ANEW = "remove the folder, or choose another with --out, and train again without --resume"


@dataclass(frozen=True)
class RunResult:
    """What :func:`train` leaves behind: the detector, and, if there is a test subset, its detections and, if it has
    instances, their scores."""

    detector: Detector
    detections: Detections | None
    evaluation: Evaluation | None
    metrics: dict[str, Any]


@renamed_arguments(watcher="callbacks", say="log")
def train(
    recipe: Recipe,
    out: Path,
    *,
    device: torch.device,
    resume: bool = False,
    callbacks: Callbacks | None = None,
    log: Callable[[str], None] = lambda text: None,
    processes: Processes = ALONE,
) -> RunResult:
    """Train by a recipe, then detect, score and report.

    Args:
        recipe: of the run.
        out: its folder; made if absent.
        device: to train on.
        resume: go on with the run that is in the folder.
        callbacks: is told of every step and epoch.
        log: is told in a sentence what happens next.
        processes: that train together, see :func:`untrimmed.training.processes.joined`; all call this function. The
            first writes the files, detects and scores; the others return without detections.

    Raises:
        InputError: if something of the input is wrong, or the folder holds another run.
    """
    begun = time.time()
    parts = open_run_data(recipe)
    if validates_on_test(recipe):
        log(f"validation looks at the test videos: data.validation and data.test are both '{recipe.data.test}'")
    if processes.first and not resume:
        _prepare(out)
        _write_config(out, recipe)
    _make_deterministic(recipe.train.seed)
    given = _supply(recipe, parts, out, device, log) if processes.first else Supply()
    proposals = processes.of_first([given.proposals] if processes.first else None)[0]
    # Whether the proposals were made or read, the weights begin alike.
    torch.manual_seed(recipe.train.seed)
    standardise = None
    if recipe.data.standardise:
        measured = Standardise.measure(parts.features, parts.training.videos) if processes.first else None
        standardise = processes.of_first(measured)
    dataset = training_set(recipe, parts, standardise, proposals)
    log(f"training on {dataset.report()}; {len(parts.classes)} classes, on {device}")
    detector = _untrained(recipe, parts, standardise, device)
    detector.proposals, detector.proposer = proposals, given.proposer
    method = detector.method
    if not processes.first:
        # All begin with the same weights, but each draws its own numbers in training.
        torch.manual_seed(recipe.train.seed + 1_000_003 * processes.rank)
    feed = WindowFeed(
        dataset,
        recipe.train.batch_size,
        accumulate=recipe.train.accumulate,
        rank=processes.rank,
        world=processes.world,
        workers=recipe.train.workers,
    )
    training = Training(
        method,
        make_step(method, recipe.train, processes),
        feed,
        recipe.train,
        out,
        device=device,
        evaluate=_validation(detector, parts) if len(parts.validation) else None,
        fingerprint=_what_is_learned(recipe.to_dict()),
        check_weights=partial(check_format, recipe.method["name"], way_on=_ANEW),
        callbacks=callbacks if processes.first else None,
        processes=processes,
    )
    summary = training.fit(resume=resume)
    summary["parameters"] = sum(parameter.numel() for parameter in method.parameters())
    detector.training_info = {**summary, TRAINED_ON: _ids(parts.training)}
    if not processes.first:
        return RunResult(detector, None, None, {"training": summary})
    if resume:
        _write_config(out, recipe)
    detector.save(out / MODEL_FILE)
    metrics: dict[str, Any] = {"training": summary, "simulated": detector.simulated}
    detections, evaluation = _test(detector, parts, out, log) if len(parts.test) else (None, None)
    if evaluation:
        metrics["test"] = evaluation.to_dict()
    metrics["seconds"] = round(time.time() - begun, 1)
    write_json(out / METRICS_FILE, metrics)
    return RunResult(detector, detections, evaluation, metrics)


def _supply(recipe: Recipe, parts: RunData, out: Path, device: torch.device, log: Callable[[str], None]) -> Supply:
    """The proposals of all videos, for a method that judges them."""
    every = {"training": parts.training, "validation": parts.validation, "test": parts.test}
    return supply(recipe, parts.truth, every, parts.features, out, device=device, log=log)


def _ids(training: Annotations) -> list[str]:
    """The videos, and the recordings that they are pieces of."""
    recordings = (video.extra.get("recording") for video in training)
    return sorted({*training.videos, *(name for name in recordings if isinstance(name, str))})


def _untrained(recipe: Recipe, parts: RunData, standardise: Standardise | None, device: torch.device) -> Detector:
    """The method of a recipe with fresh weights, in all that detection needs."""
    options = dict(recipe.method)
    method = make_method(options.pop("name"), options, parts.features.channels, len(parts.classes)).to(device)
    features = parts.features
    grid = common_grid(parts)
    return Detector(method, recipe, parts.classes, features.channels, standardise, features.backbone, grid)


def _test(
    detector: Detector, parts: RunData, out: Path, log: Callable[[str], None]
) -> tuple[Detections, Evaluation | None]:
    """Detect in the test subset, write detections and curves, and score where there is a truth."""
    log(f"detecting in the {len(parts.test)} videos of the test subset")
    video_ids = tuple(parts.test.videos)
    detections = detect_all(detector, parts.features, video_ids, log)
    write_detections(detections, out / RESULTS_FILE, extra=detector.results_extra)
    curves = dict(detector.curves(parts.features, video_ids))
    if curves:
        write_curves(curves, out / CURVES_FILE)
    if not parts.test.instance_count:
        log("the test subset has no instances, so its detections are not scored")
        return detections, None
    return detections, score(detections, parts, parts.test, detector.recipe)


def detect_all(
    detector: Detector,
    features: Features,
    video_ids: tuple[str, ...],
    log: Callable[[str], None] = say_left_out,
) -> Detections:
    """Detections in many videos, labelled by video-level class scores if the recipe says so."""
    found = collect(detector.stream(features, video_ids, note=log), detector.classes, detector.trained_on)
    fusion = detector.recipe.fusion
    if fusion is None:
        return found
    scores = read_class_scores(fusion.class_scores)
    return fuse_class_scores(found, scores, top_k=fusion.top_k, rule=fusion.rule, weight=fusion.weight)


def score(detections: Detections, parts: RunData, videos: Annotations, recipe: Recipe) -> Evaluation:
    """The scores of detections in some videos, see :func:`untrimmed.pipeline.recipe.rules_of`; detections of a
    class-agnostic method, which have no label, are scored as segments of any."""
    settings, name = recipe.evaluate, videos.subsets[0] or "all"
    truth = Annotations.of((parts.truth.videos[video_id] for video_id in videos.videos), parts.truth.version)
    rules = rules_of(settings, recipe.data)
    blind = without_labels(detections)
    return evaluate(
        detections, truth, rules, subset=name, tious=settings.tiou, lengths=settings.lengths, any_label=blind
    )


def _validation(detector: Detector, parts: RunData) -> Callable[[nn.Module], dict[str, float]]:
    def metrics(method: nn.Module) -> dict[str, float]:
        found = detect_all(detector, parts.features, tuple(parts.validation.videos))
        result = score(found, parts, parts.validation, detector.recipe)
        return {"mAP": float(result.mAP.mean())}

    return metrics


def _prepare(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: the folder of the run cannot be made ({error.strerror})") from None
    if (out / "state" / "last.pt").exists():
        raise InputError(
            f"{out}: already holds a run; continue it with --resume, remove the folder, or choose another with --out"
        )


def _write_config(out: Path, recipe: Recipe) -> None:
    write_text(out / CONFIG_FILE, yaml.safe_dump(recipe.to_dict(), sort_keys=False))


def _what_is_learned(values: dict[str, Any]) -> dict[str, Any]:
    """The values that decide what is learned; a run may be moved, its data may lie elsewhere, and what only decides
    the score may be corrected. (Where the best weights are kept, the score decides which.)"""
    moved = ("annotations", "features", "proposal_features")
    data = {key: value for key, value in values["data"].items() if key not in moved}
    if data["proposals"] is not None:
        data["proposals"] = identity(Path(data["proposals"]))
    data = {key: value for key, value in data.items() if value is not None or "proposals" not in key}
    rules = values["evaluate"] if values["train"]["select"] == "best" else None
    return {**values, "data": data, "fusion": None, "evaluate": rules}


def _make_deterministic(seed: int) -> None:
    """Equal seeds give equal bits on one machine: fixed random numbers, and only deterministic kernels where torch
    has them (it warns of the few it lacks on CUDA)."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    torch.manual_seed(seed)
