"""``untrimmed detect``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from untrimmed.cli.values import RAY_HELP

if TYPE_CHECKING:
    from untrimmed.cluster import Detected


def detect(
    model: Annotated[Path, typer.Argument(help="A run folder, a model file, or an .onnx file (`untrimmed export`).")],
    sources: Annotated[
        list[Path],
        typer.Argument(help="Video files, folders of features, .npy files of features, or folders of these."),
    ],
    out: Annotated[Path, typer.Option(help="Results, ActivityNet-style JSON.")] = Path("results.json"),
    report: Annotated[
        Path | None, typer.Option(help="Also a page to watch the detections on, here.", show_default=False)
    ] = None,
    vtt: Annotated[
        Path | None, typer.Option(help="Also subtitles (WebVTT) for every video, in this folder.", show_default=False)
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

    from untrimmed.cli.sources import find_sources, videos_among
    from untrimmed.cluster import detect_one, detect_with_ray
    from untrimmed.errors import InputError
    from untrimmed.formats import check_results_target, write_detections
    from untrimmed.formats.io import check_file, write_text
    from untrimmed.formats.media import told_apart
    from untrimmed.inference import best_device, collect, load_model

    console = Console(stderr=True)
    files = find_sources(sources)
    check_results_target(out, videos=len(files))
    if vtt is not None:
        check_results_target(vtt, "webvtt", videos=len(files))
    if report is not None:
        check_file(report)
    if note := told_apart(files):
        typer.echo(note, err=True)
    if model.suffix == ".onnx":
        from untrimmed.export import load_onnx

        if device not in ("auto", "cpu"):
            raise InputError(f"--device {device}: an ONNX file is computed on the CPU; give the run instead")
        detector = load_onnx(model)
    else:
        # With Ray only the classes are needed here: the workers compute.
        detector = load_model(model, best_device(device if ray is None else "cpu"))
    answers: Iterator[tuple[str, Detected]]
    if ray is None:
        answers = ((video_id, detect_one(detector, video_id, file)) for video_id, file in files.items())
    else:
        answers = detect_with_ray(model, files, address=ray, workers=workers or os.cpu_count() or 1, device=device)
    place = {video_id: number for number, video_id in enumerate(files)}
    found, failed, durations = [], [], {}
    options = {"console": console, "transient": True, "disable": not console.is_terminal}
    for video_id, answer in track(answers, "detecting", total=len(files), **options):  # type: ignore[arg-type]
        if answer.failed is not None:
            failed.append(answer.failed)
            continue
        durations[video_id] = answer.duration
        found.append((video_id, answer.found))
        # A cluster answers in any order; the file has that of the sources.
        found.sort(key=lambda each: place[each[0]])
        # What is done is kept, also if a later video or a full disk ends the command.
        write_detections(collect(found, detector.classes), out)
    for message in failed:
        console.print(f"failed: {message}", highlight=False, markup=False, soft_wrap=True)
    if not found:
        raise InputError(f"none of the {len(files)} sources could be read")
    detections = collect(found, detector.classes)
    typer.echo(f"{len(detections)} detections in {len(found)} videos: {out}")
    if vtt is not None:
        write_detections(detections.select(detections.scores >= threshold), vtt, "webvtt")
        typer.echo(f"subtitles: {vtt}")
    if report is not None:
        from untrimmed.report.media import link
        from untrimmed.report.viewer import ResultSet, render

        linked = {name: link(file, report, embed=embed) for name, file in videos_among(files).items()}
        known = {name: value for name, value in durations.items() if value is not None}
        title = f"Detections of {model}"
        shown_set = ResultSet(detections, str(model))
        write_text(report, render([shown_set], title=title, sources=linked, durations=known, threshold=threshold))
        typer.echo(f"page: {report}")
    if failed:
        raise typer.Exit(1)
