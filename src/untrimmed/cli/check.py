"""``untrimmed check``: everything that is wrong with a data set, in one table."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from untrimmed.cli.values import FPS_TABLE_HELP, snippet_grid, timing_from
from untrimmed.errors import InputError

if TYPE_CHECKING:
    from untrimmed.formats.check import Report
    from untrimmed.types import Video

_SHOWN = 6
_STYLES = {"error": "red", "warning": "yellow", "note": "dim"}


def check(
    truth: str = typer.Argument(help="Truth in any known format: a file, or a folder of THUMOS14 or ELAN files."),
    features: str | None = typer.Option(None, help="Folder of features (.npy files) to check too."),
    proposals: Path | None = typer.Option(None, help="Proposals of the videos to check too: any format of results."),
    fps_table: Path | None = typer.Option(None, help=FPS_TABLE_HELP),
    fps: str | None = typer.Option(
        None, help="Frames a second of the features, e.g. 25 or 30000/1001, if there is no index."
    ),
    stride: int | None = typer.Option(None, help="Frames from one row of features to the next."),
    window: int | None = typer.Option(None, help="Frames that a row is computed from; the stride if not given."),
    offset: int | None = typer.Option(None, help="First frame of the first row; 0 if not given."),
    format: str | None = typer.Option(None, "--from", help="Format of the truth; told from its content if left out."),
    all_rows: bool = typer.Option(False, "--all", help="Show every row of the table, not the first of each kind."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object instead of the table."),
) -> None:
    """Find everything that is wrong with a data set. Exit code 1 if any of it is an error."""
    import json

    from untrimmed.formats import read_annotations, read_detections
    from untrimmed.formats.check import check as check_all

    grid = snippet_grid(fps, stride, window, offset)
    if grid is not None and features is None:
        raise InputError("--fps, --stride, --window and --offset describe features; give their folder with --features")
    if fps_table is not None and proposals is None:
        raise InputError("--fps-table is for proposals in frames; give them with --proposals")
    annotations, given = read_annotations(truth, format), None
    if proposals is not None:
        given = read_detections(proposals, timing=timing_from(annotations, fps_table))
    report = check_all(annotations, features, grid, _bar, given)
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=1))
    else:
        _print(report, all_rows)
    raise typer.Exit(1 if report.count("error") else 0)


def _bar(videos: Iterable[Video]) -> Iterable[Video]:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(videos, "reading features", console=console, transient=True, disable=not console.is_terminal)


def _print(report: Report, all_rows: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console = Console(width=180)
    if report.findings:
        table = Table("", "video", "what", "value", "what to do", pad_edge=False)
        table.columns[1].overflow = "fold"
        for (severity, what), group in report.groups.items():
            rows = group if all_rows or len(group) <= _SHOWN + 1 else group[:_SHOWN]
            style, fix = _STYLES[severity], ""
            table.add_section()
            for found in rows:
                # The same advice once a group is enough to read.
                advice, fix = "" if found.fix == fix else found.fix, found.fix
                table.add_row(Text(severity, style), Text(found.video), what, Text(found.value), Text(advice))
            if len(rows) < len(group):
                left = f"... and {len(group) - len(rows)} more, {len(group)} in all"
                table.add_row(Text(severity, style), "", what, left, "--all shows them")
        console.print(table)
    console.print(str(report), highlight=False)
