"""``untrimmed view``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def view(
    results: Annotated[Path, typer.Argument(help="A result file of any format `untrimmed convert` reads.")],
    truth: Annotated[Path | None, typer.Option(help="Annotations, to show beside them.", show_default=False)] = None,
    video: Annotated[
        Path | None, typer.Option(help="The video file, or the folder of the videos.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option(help="The page.")] = Path("view.html"),
    threshold: Annotated[float, typer.Option(help="Score at which the page starts.")] = 0.2,
    embed: Annotated[bool, typer.Option("--embed", help="Put the videos into the page.")] = False,
) -> None:
    """Write a page to watch detections on: one file, that a browser opens without a server."""
    from untrimmed.errors import InputError, nearest
    from untrimmed.formats import read_annotations, read_detections
    from untrimmed.formats.io import write_text
    from untrimmed.report.timeline import render, video_sources

    detections = read_detections(results)
    annotations = read_annotations(truth) if truth else None
    if annotations is not None and not set(detections.video_ids) & set(annotations.videos):
        first = next(iter(detections.video_ids), "")
        raise InputError(
            f"{results} and {truth}: have no video in common ('{first}': {nearest(first, annotations.videos)})"
        )
    sources = video_sources(detections.video_ids, video, out, embed=embed) if video else {}
    notes = []
    if video and len(sources) < len(detections.video_ids):
        notes.append(f"{len(detections.video_ids) - len(sources)} videos have no file in {video.name}.")
    page = render(detections, annotations, title=results.name, sources=sources, notes=notes, threshold=threshold)
    write_text(out, page)
    typer.echo(str(out))
