"""``untrimmed convert``: from one file format to another."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from untrimmed.cli.values import FPS_TABLE_HELP, timing_from
from untrimmed.errors import InputError

if TYPE_CHECKING:
    from untrimmed.formats.activitynet import ResultsExtra
    from untrimmed.types import Detections


def convert(
    source: str = typer.Argument(metavar="IN", help="Truth or results: a file, or a folder of files."),
    target: str = typer.Argument(metavar="OUT", help="The file to write, or a new folder."),
    from_: str | None = typer.Option(None, "--from", metavar="FORMAT", help="Format of IN; told if left out."),
    to: str | None = typer.Option(
        None,
        "--to",
        metavar="FORMAT",
        help="Format of OUT: activitynet, bsn, charades, csv, elan, epic, ssn, thumos14, turn or webvtt; told from its "
        "name if left out (.json, .csv, .tsv, .eaf, .txt, .vtt, and .gz after any of them).",
    ),
    subset: str | None = typer.Option(None, help="Keep only this subset of a truth."),
    min_score: float | None = typer.Option(None, help="Keep only detections with at least this score."),
    epic_label: str | None = typer.Option(
        None, help="What an EPIC-Kitchens label is: action (the default), verb or noun."
    ),
    tier: list[str] = typer.Option([], help="Read only this tier of ELAN files; may be given several times."),
    truth: Path | None = typer.Option(None, help="Truth with the durations, for lists of proposals (ssn, turn, bsn)."),
    fps_table: Path | None = typer.Option(None, help=FPS_TABLE_HELP),
) -> None:
    """Convert truth or results. What OUT cannot keep is said on standard error."""
    from untrimmed.formats import FORMATS, output_format, read, read_annotations, write_annotations, write_detections
    from untrimmed.formats.collect import counted
    from untrimmed.types import Annotations

    if min_score is not None and not math.isfinite(min_score):
        raise InputError(f"--min-score is {min_score}, expected a finite number")
    if to is None:
        try:
            to = output_format(target)
        except InputError as error:
            raise InputError(f"{error}; or name one of {', '.join(FORMATS)} with --to") from None
    timing = timing_from(None if truth is None else read_annotations(truth), fps_table)
    content = read(source, from_, epic_label=epic_label or "action", tiers=tier or None, timing=timing)
    for option, given, format in (("--epic-label", epic_label, "epic"), ("--tier", tier, "elan")):
        if given and content.format != format:
            raise InputError(f"{option} is for the format {format}, but {source} is {content.format}")
    if isinstance(content.value, Annotations):
        if min_score is not None:
            raise InputError(f"--min-score is for results, but {source} holds truth")
        kept = content.value if subset is None else content.value.subset(subset)
        lost = write_annotations(kept, target, to)
        count = f"{counted(len(kept), 'video')}, {counted(kept.instance_count, 'instance')}"
    else:
        if subset is not None:
            raise InputError(f"--subset is for truth, but {source} holds results")
        results, extra = content.value, content.extra
        if min_score is not None:
            results, extra = _above(results, extra, min_score)
        lost = content.left + write_detections(results, target, to, extra=extra, timing=timing)
        count = f"{counted(len(results.video_ids), 'video')}, {counted(len(results), 'detection')}"
    typer.echo(f"{source} ({content.format}) -> {target}: {count}", err=True)
    for phrase in lost:
        typer.echo(f"not kept: {phrase}", err=True)


def _above(results: Detections, extra: ResultsExtra | None, min_score: float) -> tuple[Detections, ResultsExtra | None]:
    """The detections of at least a score, and what belongs to them."""
    from dataclasses import replace

    rows = (results.scores >= min_score).nonzero()[0]
    if extra is not None and extra.rows:
        extra = replace(extra, rows=tuple(extra.rows[row] for row in rows))
    return results.select(rows), extra
