"""``untrimmed suggest``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def suggest(
    results: Annotated[Path, typer.Argument(help="A result file of any format that can be read.")],
    truth: Annotated[
        Path | None, typer.Option(help="What is annotated so far: adds conflicts with it.", show_default=False)
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(help="Results of another method or seed: adds disagreement.", show_default=False)
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Operating point. Default: the best F1, or half the usual highest score.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="All of it as JSON, here.", show_default=False)] = None,
    top: Annotated[int, typer.Option(min=1, help="Segments to print.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Say which videos and segments to correct first: where the detector is unsure, contradicts itself, another
    result or the truth, or where the class is rare.
    """
    import json

    from untrimmed.cli.view import check_common
    from untrimmed.evaluation.suggestion import suggest as order
    from untrimmed.formats import read_annotations, read_detections
    from untrimmed.formats.io import write_json

    detections = read_detections(results)
    annotations = read_annotations(truth) if truth else None
    other = read_detections(compare) if compare else None
    if truth and annotations is not None:
        check_common(results, detections.video_ids, truth, annotations.videos)
    if compare and other is not None:
        check_common(results, detections.video_ids, compare, other.video_ids)
    found = order(detections, annotations, other, threshold=threshold)
    if out is not None:
        write_json(out, found.to_dict())
    typer.echo(json.dumps(found.to_dict()) if as_json else found.table(segments=top))
    if out is not None and not as_json:
        typer.echo(f"\n{len(found.segments)} segments of {len(found.videos)} videos: {out}")
