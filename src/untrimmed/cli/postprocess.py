"""``untrimmed postprocess``: suppression, limits and voting on a file of detections."""

from __future__ import annotations

from pathlib import Path

import typer


def postprocess(
    results: Path = typer.Argument(help="Detections: any format that can be read."),
    out: Path = typer.Argument(help="Where to write what is left; the suffix says the format."),
    nms: list[str] = typer.Option(
        ["gaussian:0.5"],
        metavar="METHOD:NUMBER[:agnostic][:+SECONDS]",
        help="hard:TIOU, linear:TIOU or gaussian:SIGMA, which may go on with :TIOU and :RISE (BSN); of each class or, "
        "with :agnostic, over all; or none. With :+1 lengths and intersections count a second more, as in some "
        "released code. Several are done one after the other.",
    ),
    durations: Path | None = typer.Option(
        None, help="Annotations that say how long the videos last, for gaussian NMS with a rise."
    ),
    floor: float | None = typer.Option(None, help="Lowest score kept."),
    max_length: float | None = typer.Option(None, help="Drop what lasts this many seconds or more."),
    candidates: int | None = typer.Option(None, help="The most that go into NMS, of each video; default: all."),
    keep: int | None = typer.Option(200, help="The most that are kept of each video; 0 for all."),
    voting: float | None = typer.Option(
        None, help="Move what is kept to the mean of the candidates that overlap it by this tIoU."
    ),
) -> None:
    """Suppress duplicates: NMS or soft-NMS, limits and segment voting."""
    from untrimmed.formats import read_annotations, read_detections, write_detections
    from untrimmed.postprocess import Nms, PostProcess, apply

    settings = PostProcess(
        floor=floor,
        max_length=max_length,
        candidates=candidates,
        nms=() if list(nms) == ["none"] else tuple(Nms.of(text) for text in nms),
        keep=keep or None,
        voting=voting,
    )
    given = read_detections(results)
    known = {} if durations is None else {video.id: video.duration for video in read_annotations(durations)}
    notes: list[str] = []
    kept = apply(given, settings, known, note=notes.append)
    lost = write_detections(kept, out)
    print(f"{out}: {len(kept):,} of {len(given):,} detections in {len(kept.video_ids):,} videos")
    for phrase in (*notes, *lost):
        print(f"note: {phrase}")
