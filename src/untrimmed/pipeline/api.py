"""The commands `train`, `detect` and `extract` as functions: what :mod:`untrimmed` offers under these names."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from untrimmed.backbones import Backbone
from untrimmed.config import changed
from untrimmed.errors import InputError
from untrimmed.formats import check_results_target, write_detections
from untrimmed.pipeline import extract as extraction
from untrimmed.pipeline import train as training
from untrimmed.pipeline.detect import detect_one, in_order, open_detector
from untrimmed.pipeline.detector import Detector, best_device
from untrimmed.pipeline.extract_job import Outcome, Progress
from untrimmed.pipeline.recipe import Recipe, load, recipe_of
from untrimmed.pipeline.run_report import write_run_report
from untrimmed.pipeline.sources import find_sources
from untrimmed.pipeline.train import RunResult
from untrimmed.training.loop import Callbacks
from untrimmed.types import Detections
from untrimmed.video.decode import VideoWarning


def train(
    config: str | Path | Mapping[str, Any] | Recipe,
    *,
    annotations: str | Path | None = None,
    features: str | Path | None = None,
    out: str | Path = "run",
    overrides: Mapping[str, Any] | Iterable[str] = (),
    device: str = "auto",
    resume: bool = False,
    videos: str | Path | None = None,
    callbacks: Callbacks | None = None,
    log: Callable[[str], None] = lambda text: None,
) -> RunResult:
    """Train a method; then detect in the test subset, score it and write a report: `untrimmed train`.

    Args:
        config: a shipped config by name (``"sbhar/vsgn"``, see `untrimmed configs`), a file, its content, or a recipe.
        annotations: file of the truth, instead of the config's ``data.annotations``.
        features: folder, instead of its ``data.features``.
        out: folder of the run: config, model, log, results, metrics and ``report.html``.
        overrides: changes of the config, ``{"train.epochs": 5}`` or ``["train.epochs=5"]``.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
        resume: go on with the run that is in the folder.
        videos: folder of the video files, to link them in the report.
        callbacks: is told of every step and epoch.
        log: is told in a sentence what happens next, such as ``print``.

    Returns:
        The detector and, if the recipe has a test subset, its detections and their scores.

    Raises:
        InputError: if something of the input is wrong, or the folder holds another run.
    """
    given = {"data.annotations": annotations, "data.features": features}
    changes = {key: str(value) for key, value in given.items() if value is not None}
    recipe = _recipe(config, [*_texts(changes), *(_texts(overrides) if isinstance(overrides, Mapping) else overrides)])
    result = training.train(recipe, Path(out), device=best_device(device), resume=resume, callbacks=callbacks, log=log)
    if result.detections is not None:
        write_run_report(Path(out), None if videos is None else Path(videos))
    return result


def detect(
    model: str | Path | Detector,
    sources: str | Path | NDArray[np.float32] | Sequence[str | Path],
    *,
    out: str | Path | None = None,
    device: str = "auto",
    keep: int | None = None,
    second: str | Path | None = None,
    second_features: str | Path | None = None,
    weights: tuple[float, float] = (1.0, 1.0),
) -> Detections:
    """Detect actions in videos or features with a trained model: `untrimmed detect`.

    Args:
        model: a run folder, a model file, an ``.onnx`` file, or a detector.
        sources: video files, folders of features, ``.npy`` files of features, folders of these; or an array of
            features, (T, C).
        out: results file to write; None writes none.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``; a detector stays where it is.
        keep: the most detections of a video; None: as the model's config says.
        second: model of a second stream, such as one of optical flow, whose outputs are averaged with those of the
            first before they are decoded.
        second_features: folder of its features; None: it extracts them from the videos.
        weights: of the two streams in the average.

    Returns:
        The detections of every source that could be read.

    Raises:
        InputError: if the model or none of the sources can be read.

    Warns:
        VideoWarning: naming each source that cannot be read, or only in part.
    """
    detector = model if isinstance(model, Detector) else open_detector(Path(model), device)
    detector = detector.keeping(keep) if keep else detector
    if second is not None:
        folder = None if second_features is None else Path(second_features)
        detector = detector.with_second(open_detector(Path(second), str(detector.device)), weights, folder)
    if isinstance(sources, np.ndarray):
        detections = detector.detect(sources)
    else:
        places = [sources] if isinstance(sources, str | Path) else sources
        files = find_sources([Path(place) for place in places])
        if out is not None:
            check_results_target(Path(out), videos=len(files))
        found = {video_id: detect_one(detector, video_id, file) for video_id, file in files.items()}
        for video_id, answer in found.items():
            if answer.failed is not None:
                warnings.warn(f"failed: {answer.failed}", VideoWarning, stacklevel=2)
            elif answer.problems:
                warnings.warn(f"{video_id}: {'; '.join(answer.problems)}", VideoWarning, stacklevel=2)
        if all(answer.failed is not None for answer in found.values()):
            raise InputError(f"none of the {len(files)} sources could be read: {next(iter(found.values())).failed}")
        detections = in_order(found, list(files), detector)
    if out is not None:
        write_detections(detections, Path(out), extra=detector.results_extra)
    return detections


def extract(
    videos: str | Path | Iterable[str | Path] | Mapping[str, str | Path],
    *,
    out: str | Path,
    backbone: Backbone | Mapping[str, Any] | str = "motion",
    workers: int = 1,
    dtype: str = "float32",
    progress: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Features of videos into a folder: `untrimmed extract`.

    Args:
        videos: a file or folder, several of them, or id -> file.
        out: the folder, made if needed; what it holds already is not computed again.
        backbone: name, spec or backbone.
        workers, dtype, progress: see :func:`untrimmed.pipeline.extract.extract`.

    Raises:
        InputError: as :func:`untrimmed.pipeline.extract.extract`.
    """
    given = [videos] if isinstance(videos, str | Path) else videos
    return extraction.extract(given, backbone, out, workers=workers, dtype=dtype, progress=progress)


def _texts(values: Mapping[str, Any]) -> list[str]:
    """``{"a.b": value}`` as overrides of a command line; JSON is YAML."""
    return [f"{key}={json.dumps(value, default=str)}" for key, value in values.items()]


def _recipe(config: str | Path | Mapping[str, Any] | Recipe, changes: Iterable[str]) -> Recipe:
    if isinstance(config, str | Path):
        return load(config, changes)
    values = config.to_dict() if isinstance(config, Recipe) else config
    return recipe_of(changed(values, changes), "the config that was given")
