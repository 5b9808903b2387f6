"""``untrimmed detect``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from untrimmed.cli.values import RAY_HELP

if TYPE_CHECKING:
    from rich.console import Console

    from untrimmed.pipeline.detect import Detected
    from untrimmed.pipeline.detector import Detector


def detect(
    model: Annotated[Path, typer.Argument(help="A run folder, a model file, or an .onnx file (`untrimmed export`).")],
    sources: Annotated[
        list[Path],
        typer.Argument(help="Video files, folders of features, .npy files of features, or folders of these."),
    ],
    out: Annotated[Path, typer.Option(help="Results, ActivityNet-style JSON.")] = Path("results.json"),
    report: Annotated[bool, typer.Option("--report", help="Also a page to watch the detections on.")] = False,
    vtt: Annotated[bool, typer.Option("--vtt", help="Also subtitles (WebVTT) for every video.")] = False,
    report_to: Annotated[Path | None, typer.Option(help="The page, here instead of beside OUT.")] = None,
    vtt_to: Annotated[Path | None, typer.Option(help="The subtitles, in this folder, not one beside OUT.")] = None,
    keep: Annotated[
        int | None, typer.Option(min=1, help="The most detections of a video. Default: as the model's config says.")
    ] = None,
    proposals: Annotated[
        Path | None, typer.Option(help="Proposals to judge, instead of those the model makes itself.")
    ] = None,
    with_: Annotated[
        Path | None,
        typer.Option("--with", metavar="MODEL", help="Model of a second stream, such as flow: both are averaged."),
    ] = None,
    weights: Annotated[tuple[float, float], typer.Option(help="Of the two streams in the average.")] = (1.0, 1.0),
    with_features: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Features for the second stream. Default: from the videos.")
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

    from untrimmed.formats import write_detections
    from untrimmed.formats.media import told_apart
    from untrimmed.pipeline import detect as detection
    from untrimmed.pipeline.cluster import detect_with_ray
    from untrimmed.pipeline.sources import find_sources

    page = report_to or (_beside(out, ".html") if report else None)
    subtitles = vtt_to or (_beside(out, "-vtt") if vtt else None)
    console = Console(stderr=True)
    files = find_sources(sources)
    _check_targets(out, page, subtitles, len(files))
    if note := told_apart(files):
        typer.echo(note, err=True)
    # With Ray only the classes are needed here: the workers compute.
    where = device if ray is None or model.suffix == ".onnx" else "cpu"
    options = detection.DetectOptions(keep, proposals, with_, with_features, weights)
    detector = detection.open_detector(model, where, options)
    answers: Iterator[tuple[str, Detected]]
    if ray is None:
        answers = ((video_id, detection.detect_one(detector, video_id, file)) for video_id, file in files.items())
    else:
        count = workers or os.cpu_count() or 1
        answers = detect_with_ray(model, files, address=ray, device=device, workers=count, options=options)
    hidden = not console.is_terminal
    shown = track(answers, "detecting", total=len(files), console=console, transient=True, disable=hidden)
    done = detection.keep_writing(shown, list(files), detector, out)
    found = _told(done, console)
    detections = detection.in_order(done, list(files), detector)
    typer.echo(f"{len(detections)} detections in {len(found)} videos: {out}")
    _note(detector, found)
    if subtitles is not None:
        write_detections(detections.select(detections.scores >= threshold), subtitles, "webvtt")
        typer.echo(f"subtitles: {subtitles}")
    if page is not None:
        known = {name: answer.duration for name, answer in found.items() if answer.duration is not None}
        detection.write_page(page, detections, files, known, detector, str(model), threshold=threshold, embed=embed)
        typer.echo(f"page: {page}")
    if len(found) < len(done):
        raise typer.Exit(1)


def _note(detector: Detector, found: Mapping[str, Detected]) -> None:
    """Say which videos have as many detections as are kept, and which the model was trained on."""
    from untrimmed.pipeline.detect import training_note

    most = detector.recipe.postprocess.keep
    if full := sum(len(answer.found.scores) == most for answer in found.values()):
        typer.echo(f"{full} of the videos have {most} detections, the most that are kept of each: --keep N keeps more")
    if note := training_note(detector, found):
        typer.echo(note)


def _check_targets(out: Path, page: Path | None, subtitles: Path | None, videos: int) -> None:
    """Refuse what cannot be written to before the work begins."""
    from untrimmed.errors import InputError
    from untrimmed.formats import check_results_target
    from untrimmed.formats.io import check_file

    for place in (out, page, subtitles):
        if place is not None and str(place).startswith("--"):
            raise InputError(f"{place}: an option stands where a file was expected; a file of that name is ./{place}")
    check_results_target(out, videos=videos)
    if subtitles is not None:
        check_results_target(subtitles, "webvtt", videos=videos)
    if page is not None:
        check_file(page)


def _told(done: Mapping[str, Detected], console: Console) -> dict[str, Detected]:
    """The answers of the sources that could be read; of the others, and of those used only in part, it says why."""
    from untrimmed.errors import InputError

    found = {video_id: answer for video_id, answer in done.items() if answer.failed is None}
    lines = [f"used only in part: {name}: {'; '.join(each.problems)}" for name, each in found.items() if each.problems]
    lines += [f"failed: {answer.failed}" for answer in done.values() if answer.failed is not None]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if not found:
        raise InputError(f"none of the {len(done)} sources could be read")
    return found


def _beside(out: Path, ending: str) -> Path:
    return out.with_name(out.name.split(".")[0] + ending)
