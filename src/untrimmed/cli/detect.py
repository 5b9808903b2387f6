"""``untrimmed detect``."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from untrimmed.cli.values import RAY_HELP

if TYPE_CHECKING:
    from untrimmed.pipeline.cluster import Detected
    from untrimmed.pipeline.detector import Detector
    from untrimmed.types import Detections

_WRITE_SECONDS = 5.0
"""Between two writings of the results that are there."""


def detect(
    model: Annotated[Path, typer.Argument(help="A run folder, a model file, or an .onnx file (`untrimmed export`).")],
    sources: Annotated[
        list[Path],
        typer.Argument(help="Video files, folders of features, .npy files of features, or folders of these."),
    ],
    out: Annotated[Path, typer.Option(help="Results, ActivityNet-style JSON.")] = Path("results.json"),
    report: Annotated[bool, typer.Option("--report", help="Also a page to watch the detections on.")] = False,
    vtt: Annotated[bool, typer.Option("--vtt", help="Also subtitles (WebVTT) for every video.")] = False,
    report_to: Annotated[
        Path | None, typer.Option(help="The page, here instead of beside OUT.", show_default=False)
    ] = None,
    vtt_to: Annotated[
        Path | None, typer.Option(help="The subtitles, in this folder instead of one beside OUT.", show_default=False)
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option(
            min=1, help="The most detections of a video. Default: as the model's config says.", show_default=False
        ),
    ] = None,
    proposals: Annotated[
        Path | None,
        typer.Option(help="Proposals to judge, instead of those the model makes itself.", show_default=False),
    ] = None,
    threshold: Annotated[float, typer.Option(help="Score at which page and subtitles start.")] = 0.2,
    embed: Annotated[bool, typer.Option("--embed", help="Put the videos into the page.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    ray: Annotated[str | None, typer.Option(metavar="[ADDRESS]", help=RAY_HELP, show_default=False)] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes with --ray; 0: one a processor core.")] = 0,
) -> None:
    """Detect actions in videos or features with a trained model.

    A source that cannot be read is reported at the end and does not stop the others; the exit code is then 1.
    """
    import os

    from rich.console import Console
    from rich.progress import track

    from untrimmed.errors import InputError
    from untrimmed.formats import check_results_target, write_detections
    from untrimmed.formats.io import check_file, write_text
    from untrimmed.formats.media import told_apart
    from untrimmed.pipeline.cluster import detect_one, detect_with_ray
    from untrimmed.pipeline.detector import best_device, load_model
    from untrimmed.pipeline.model_file import SIMULATED
    from untrimmed.pipeline.proposals import with_file
    from untrimmed.pipeline.sources import find_sources, videos_among

    for place in (out, report_to, vtt_to):
        if place is not None and str(place).startswith("--"):
            raise InputError(f"{place}: an option stands where a file was expected; a file of that name is ./{place}")
    page = report_to or (_beside(out, ".html") if report else None)
    subtitles = vtt_to or (_beside(out, "-vtt") if vtt else None)
    console = Console(stderr=True)
    files = find_sources(sources)
    check_results_target(out, videos=len(files))
    if subtitles is not None:
        check_results_target(subtitles, "webvtt", videos=len(files))
    if page is not None:
        check_file(page)
    if note := told_apart(files):
        typer.echo(note, err=True)
    if model.suffix == ".onnx":
        from untrimmed.pipeline.export import load_onnx

        if device not in ("auto", "cpu"):
            raise InputError(f"--device {device}: an ONNX file is computed on the CPU; give the run instead")
        detector = load_onnx(model)
    else:
        # With Ray only the classes are needed here: the workers compute.
        detector = load_model(model, best_device(device if ray is None else "cpu"))
    detector = detector.keeping(keep) if keep else detector
    detector = with_file(detector, proposals) if proposals is not None else detector
    answers: Iterator[tuple[str, Detected]]
    if ray is None:
        answers = ((video_id, detect_one(detector, video_id, file)) for video_id, file in files.items())
    else:
        many = workers or os.cpu_count() or 1
        answers = detect_with_ray(
            model, files, address=ray, workers=many, device=device, keep=keep, proposals=proposals
        )
    options = {"console": console, "transient": True, "disable": not console.is_terminal}
    shown = track(answers, "detecting", total=len(files), **options)  # type: ignore[arg-type]
    done = _kept(shown, list(files), detector, out)
    found = {video_id: answer for video_id, answer in done.items() if answer.failed is None}
    for video_id, answer in found.items():
        if answer.problems:
            text = f"used only in part: {video_id}: {'; '.join(answer.problems)}"
            console.print(text, highlight=False, markup=False, soft_wrap=True)
    failed = [answer.failed for answer in done.values() if answer.failed is not None]
    for message in failed:
        console.print(f"failed: {message}", highlight=False, markup=False, soft_wrap=True)
    if not found:
        raise InputError(f"none of the {len(files)} sources could be read")
    detections = _detections(done, list(files), detector)
    typer.echo(f"{len(detections)} detections in {len(found)} videos: {out}")
    most = detector.recipe.postprocess.keep
    if full := sum(len(answer.found.scores) == most for answer in found.values()):
        typer.echo(f"{full} of the videos have {most} detections, the most that are kept of each: --keep N keeps more")
    known = _known_videos(detector.trained_on, found)
    if known:
        typer.echo(known)
    if subtitles is not None:
        write_detections(detections.select(detections.scores >= threshold), subtitles, "webvtt")
        typer.echo(f"subtitles: {subtitles}")
    if page is not None:
        from untrimmed.report.media import link
        from untrimmed.report.viewer import ResultSet, render

        linked = {name: link(file, page, embed=embed) for name, file in videos_among(files).items()}
        durations = {name: answer.duration for name, answer in found.items() if answer.duration is not None}
        notes = [SIMULATED] * detector.simulated + ([f"{known[0].upper()}{known[1:]}."] if known else [])
        sets = [ResultSet(detections, str(model))]
        title = f"Detections of {model}"
        text = render(sets, title=title, sources=linked, durations=durations, threshold=threshold, notes=notes)
        write_text(page, text)
        typer.echo(f"page: {page}")
    if failed:
        raise typer.Exit(1)


def _known_videos(trained_on: Collection[str] | None, found: Iterable[str]) -> str:
    """What to say of the videos that the model was trained on, if there are any or it is not known."""
    from untrimmed.evaluation.text import counted

    if trained_on is None:
        return "the model does not say which videos it was trained on; see that none of these is among them"
    seen = [name for name in found if name in set(trained_on)]
    if not seen:
        return ""
    return (
        f"the model was trained on {counted(len(seen), 'video')} of these, e.g. {seen[0]}: what it finds there says "
        "nothing of how good it is, and `untrimmed evaluate` and `view` score it apart"
    )


def _beside(out: Path, ending: str) -> Path:
    return out.with_name(out.name.split(".")[0] + ending)


def _kept(
    answers: Iterable[tuple[str, Detected]], order: Sequence[str], detector: Detector, out: Path
) -> dict[str, Detected]:
    """All answers by video. What is done is written now and then and at the end, also if a later video, Ctrl-C or a
    full disk ends the command."""
    from untrimmed.formats import write_detections

    done: dict[str, Detected] = {}
    written = time.monotonic()
    try:
        for video_id, answer in answers:
            done[video_id] = answer
            if time.monotonic() - written >= _WRITE_SECONDS:
                write_detections(_detections(done, order, detector), out, extra=detector.results_extra)
                written = time.monotonic()
    finally:
        if any(answer.failed is None for answer in done.values()):
            write_detections(_detections(done, order, detector), out, extra=detector.results_extra)
    return done


def _detections(done: Mapping[str, Detected], order: Sequence[str], detector: Detector) -> Detections:
    """What was found, in the order of the sources: a cluster answers in any."""
    from untrimmed.pipeline.detector import collect

    found = [(video_id, done[video_id]) for video_id in order if video_id in done]
    kept = ((video_id, each.found) for video_id, each in found if each.failed is None)
    return collect(kept, detector.classes, detector.trained_on)
