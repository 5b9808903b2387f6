"""Detection in many sources, one after the other: no failing one ends it, and what is found is kept as it comes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from untrimmed.errors import InputError
from untrimmed.evaluation.text import counted
from untrimmed.formats import write_detections
from untrimmed.formats.io import write_text
from untrimmed.pipeline.detector import Detector, best_device, collect, load_model
from untrimmed.pipeline.export import load_onnx
from untrimmed.pipeline.extract_job import reason_of
from untrimmed.pipeline.model_file import SIMULATED
from untrimmed.pipeline.proposals import with_file
from untrimmed.pipeline.sources import problems_of, videos_among
from untrimmed.report.media import link
from untrimmed.report.viewer import ResultSet, View, render
from untrimmed.types import Detections

_WRITE_SECONDS = 5.0
"""Between two writings of the results that are there."""


class Detected(NamedTuple):
    """What was found in a video: candidates after post-processing, its duration, and why it could be used only
    in part; or why there is nothing."""

    found: Any
    duration: float | None
    failed: str | None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class DetectOptions:
    """What a user asks of a detector beside its model; every path is the same on every machine.

    Args:
        keep: the most detections of a video; None: as the model's config says.
        proposals: that it judges; None: those that it makes itself.
        second: model of a second stream, whose outputs are averaged with those of the first; None: one stream.
        second_features: folder of features for the second stream; None: it extracts them from the videos.
        weights: of the two streams in the average.
    """

    keep: int | None = None
    proposals: Path | None = None
    second: Path | None = None
    second_features: Path | None = None
    weights: tuple[float, float] = (1.0, 1.0)

    def resolved(self) -> DetectOptions:
        """The same with absolute paths, for processes that run elsewhere."""
        places = {name: getattr(self, name) for name in ("proposals", "second", "second_features")}
        return replace(self, **{name: path and path.resolve() for name, path in places.items()})


def open_detector(model: Path, device: str = "auto", options: DetectOptions | None = None) -> Detector:
    """A detector from what a user names.

    Args:
        model: a run folder, a model file, or an ONNX file.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
        options: beside the model; None for none.

    Raises:
        InputError: if it cannot be read, or an ONNX file is to be computed elsewhere than on the CPU.
    """
    options = options or DetectOptions()
    detector = _opened(model, device)
    detector = detector.keeping(options.keep) if options.keep else detector
    if options.second is not None:
        detector = detector.with_second(_opened(options.second, device), options.weights, options.second_features)
    elif options.second_features is not None:
        raise InputError(f"{options.second_features}: features for a second stream, but no model of one (--with RUN)")
    elif options.weights != DetectOptions.weights:
        raise InputError("weights of two streams, but no model of a second one (--with RUN)")
    return detector if options.proposals is None else with_file(detector, options.proposals)


def _opened(model: Path, device: str) -> Detector:
    if model.suffix != ".onnx":
        return load_model(model, best_device(device))
    if device not in ("auto", "cpu"):
        raise InputError(f"--device {device}: an ONNX file is computed on the CPU; give the run instead")
    return load_onnx(model)


def detect_one(detector: Detector, video_id: str, path: Path) -> Detected:
    """The detections in one video, ``.npy`` file of features, or video of a folder of features. Whatever goes wrong
    with one, the others go on."""
    try:
        features = detector.features_of(path, video_id)
        notes: list[str] = []
        ready = detector.ready_for(path, features, [video_id])
        ((_, found),) = ready.stream(features, [video_id], note=notes.append)
        second = ready.second.features if ready.second is not None else None
        theirs = problems_of(second).get(video_id, ()) if second is not None and second is not features else ()
        problems = (*dict.fromkeys((*problems_of(features).get(video_id, ()), *theirs)), *notes)
        return Detected(found, features.duration(video_id), None, problems)
    except Exception as error:
        return Detected(None, None, reason_of(error, f"{path}: " if path.is_file() else f"{path} ({video_id}): "))


def keep_writing(
    answers: Iterable[tuple[str, Detected]], order: Sequence[str], detector: Detector, out: Path
) -> dict[str, Detected]:
    """All answers by video. What is done is written now and then and at the end, also if a later video, Ctrl-C or a
    full disk ends it.

    Args:
        answers: as they come.
        order: of the videos in the results.
        detector: that found them.
        out: file of results.
    """
    done: dict[str, Detected] = {}
    written = time.monotonic()
    try:
        for video_id, answer in answers:
            done[video_id] = answer
            if time.monotonic() - written >= _WRITE_SECONDS:
                write_detections(in_order(done, order, detector), out, extra=detector.results_extra)
                written = time.monotonic()
    finally:
        if any(answer.failed is None for answer in done.values()):
            write_detections(in_order(done, order, detector), out, extra=detector.results_extra)
    return done


def in_order(done: Mapping[str, Detected], order: Sequence[str], detector: Detector) -> Detections:
    """What was found, in the order of the sources: a cluster answers in any."""
    found = [(video_id, done[video_id]) for video_id in order if video_id in done]
    kept = ((video_id, each.found) for video_id, each in found if each.failed is None)
    return collect(kept, detector.classes, detector.trained_on)


def training_note(detector: Detector, video_ids: Iterable[str]) -> str:
    """What to say of the videos that the model was trained on, if there are any among these or it is not known."""
    if detector.trained_on is None:
        return "the model does not say which videos it was trained on; see that none of these is among them"
    trained_on = set(detector.trained_on)
    seen = [name for name in video_ids if name in trained_on]
    if not seen:
        return ""
    return (
        f"the model was trained on {counted(len(seen), 'video')} of these, e.g. {seen[0]}: what it finds there says "
        "nothing of how good it is, and `untrimmed evaluate` and `view` score it apart"
    )


def write_page(
    page: Path,
    detections: Detections,
    files: Mapping[str, Path],
    durations: Mapping[str, float],
    detector: Detector,
    name: str,
    *,
    threshold: float,
    embed: bool = False,
) -> None:
    """A page to watch detections on.

    Args:
        page: the file.
        detections: of all videos.
        files: id -> source; those that are videos are linked.
        durations: id -> seconds, where they are known.
        detector: that found them.
        name: of the detector.
        threshold: score at which the page starts.
        embed: put the videos into the page.
    """
    linked = {video: link(file, page, embed=embed) for video, file in videos_among(files).items()}
    known = training_note(detector, detections.video_ids)
    notes = [SIMULATED] * detector.simulated + ([f"{known[0].upper()}{known[1:]}."] if known else [])
    text = render(
        [ResultSet(detections, name)],
        title=f"Detections of {name}",
        notes=notes,
        view=View(sources=linked, durations=durations, threshold=threshold),
    )
    write_text(page, text)
