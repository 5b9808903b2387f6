"""``untrimmed extract``: videos to a folder of snippet features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from untrimmed.extract import Outcome


def extract(
    videos: list[Path] = typer.Argument(
        help="Video files, and folders that are searched for videos.", metavar="VIDEOS..."
    ),
    out: Path = typer.Option(..., help="Folder for the features; one begun before is completed."),
    backbone: str = typer.Option("motion", help="What computes the features."),
    workers: int = typer.Option(0, min=0, help="Processes; 0: one a processor core."),
    fps: str | None = typer.Option(None, help="Frames a second that are looked at, e.g. 15 or 30000/1001."),
    stride: int | None = typer.Option(None, min=1, help="Frames from one snippet to the next."),
    window: int | None = typer.Option(None, min=1, help="Frames in a snippet."),
    dtype: str = typer.Option("float32", help="Of the files: float32 or float16."),
) -> None:
    """Compute snippet features of videos.

    Each video is written when it is done: after an interruption the same command goes on where it stopped. A video
    that cannot be read is named at the end and does not stop the others; the exit code is 1 then. A video's id is
    its file name without suffix. The backbone's own values hold for fps, stride and window if they are not given.
    """
    import os

    from untrimmed.backbones import make_backbone
    from untrimmed.extract import extract as run
    from untrimmed.extract import find_videos

    options: dict[str, Any] = {"fps": fps, "stride": stride, "window": window}
    given = {name: value for name, value in options.items() if value is not None}
    made = make_backbone({"name": backbone, "options": given})
    files = find_videos(videos)
    with _Bar(len(files)) as bar:
        outcome = run(files, made, out, workers=workers or os.cpu_count() or 1, dtype=dtype, progress=bar.show)
    _report(outcome, out)
    if outcome.failed:
        raise typer.Exit(1)


class _Bar:
    """The extraction on a terminal: a bar by file size, videos done, pace and time left. Silent elsewhere."""

    def __init__(self, videos: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("extracting"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[text]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=1.0, text=f"0/{videos} videos")

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def show(self, progress: Any) -> None:
        """Show where an extraction is: a :class:`untrimmed.extract.Progress`."""
        parts = [f"{progress.finished}/{progress.videos} videos", f"{progress.rate:.1f} x real time"]
        if progress.elapsed > 0:
            parts.append(f"{60 * progress.done / progress.elapsed:.1f} videos/min")
        if progress.left is not None:
            parts.append(f"{_clock(progress.left)} left")
        self._bar.update(self._task, completed=progress.share, text=", ".join(parts))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _report(outcome: Outcome, out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(stderr=True)
    for title, rows in (
        ("used only in part", {video_id: "; ".join(text) for video_id, text in outcome.problems.items()}),
        ("failed", outcome.failed),
    ):
        if rows:
            table = Table(title=f"{len(rows)} video{'s' * (len(rows) != 1)} {title}", title_justify="left")
            table.add_column("video", overflow="fold")
            table.add_column("why", overflow="fold")
            for video_id, text in rows.items():
                table.add_row(video_id, text)
            console.print(table, markup=False)
    parts = [f"{len(outcome.done)} videos extracted"]
    if outcome.skipped:
        parts.append(f"{len(outcome.skipped)} were there already")
    if outcome.failed:
        parts.append(f"{len(outcome.failed)} failed")
    print(f"{out}: {', '.join(parts)}")
