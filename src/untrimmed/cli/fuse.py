"""``untrimmed fuse``: combine files of detections, or detections with video-level class scores."""

from __future__ import annotations

from pathlib import Path

import typer

from untrimmed.cli.values import numbers
from untrimmed.errors import InputError


def fuse(
    results: list[Path] = typer.Argument(help="Files of detections, of any format that can be read."),
    out: Path = typer.Option(..., help="Where to write the fused detections; the suffix says the format."),
    weights: list[str] | None = typer.Option(
        None, metavar="N...", help="Weight of each file, e.g. 1 1.2; scaled to sum 1. Default: equal."
    ),
    class_scores: Path | None = typer.Option(None, help="JSON file of video-level class scores to fuse with."),
    top_k: int = typer.Option(2, min=1, help="Classes of a video that count, with --class-scores."),
    rule: str = typer.Option("product", help="product or geometric (mean), with --class-scores."),
    weight: float = typer.Option(0.5, help="Weight of the class score in the geometric mean."),
) -> None:
    """Fuse results: several files of detections, video-level class scores, or both.

    The score of a detection is the weighted sum of its scores in the files, 0 where a file lacks it. Overlapping
    detections are left as they are: 'untrimmed postprocess' suppresses them.
    """
    from untrimmed.formats import read_detections, write_detections
    from untrimmed.postprocess import fuse as combine
    from untrimmed.postprocess import fuse_class_scores, read_class_scores

    shares = numbers(weights, "--weights")
    if shares is not None and len(shares) != len(results):
        raise InputError(f"--weights: {len(shares)} for {len(results)} files, expected one for each")
    parts = [read_detections(path) for path in results]
    fused = combine(parts, shares) if len(parts) > 1 else parts[0]
    if class_scores is not None:
        scores = read_class_scores(class_scores)
        fused = fuse_class_scores(fused, scores, top_k=top_k, rule=rule, weight=weight)  # type: ignore[arg-type]
    elif len(parts) == 1:
        raise InputError("one file and no --class-scores: there is nothing to fuse it with")
    lost = write_detections(fused, out)
    print(f"{out}: {len(fused):,} detections in {len(fused.video_ids):,} videos")
    for phrase in lost:
        print(f"note: {phrase}")
