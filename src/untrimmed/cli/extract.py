"""``untrimmed extract``: videos to a folder of snippet features."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from untrimmed.cli.values import RAY_HELP

if TYPE_CHECKING:
    from untrimmed.pipeline.extract_job import Outcome, Progress

_LINE_SECONDS = 30.0
"""Between two lines of progress where there is no terminal."""


def extract(
    videos: list[Path] = typer.Argument(
        help="Video files, and folders that are searched for videos.", metavar="VIDEOS..."
    ),
    out: Path = typer.Option(..., help="Folder for the features; one begun before is completed."),
    backbone: str = typer.Option("motion", help="What computes the features: motion, i3d, c3d or hub."),
    workers: int = typer.Option(0, min=0, help="Processes; 0: one a processor core, or one if there is a GPU."),
    fps: str | None = typer.Option(None, help="Frames a second that are looked at, e.g. 15 or 30000/1001."),
    stride: int | None = typer.Option(None, min=1, help="Frames from one snippet to the next."),
    window: int | None = typer.Option(None, min=1, help="Frames in a snippet."),
    dtype: str = typer.Option("float32", help="Of the files: float32 or float16."),
    streams: str | None = typer.Option(None, help="Of a two-stream network: rgb, flow or rgb,flow."),
    flow: str | None = typer.Option(None, help="Estimator of flow for a network: dis-medium, dis-fast, tvl1, ..."),
    layer: str | None = typer.Option(None, help="Layer of c3d that is taken: fc6 or conv5b."),
    weights: list[str] = typer.Option(
        [],
        help="File of a network's weights, once for each stream; folder or name of the model for hub. "
        "Without it, the weights folder is searched.",
        show_default=False,
    ),
    device: str = typer.Option("auto", help="That a network computes on: auto, cpu, cuda, cuda:1."),
    batch: int | None = typer.Option(
        None, min=1, help="Snippets that a network is given at once; default: by the device.", show_default=False
    ),
    ray: str | None = typer.Option(None, metavar="[ADDRESS]", help=RAY_HELP, show_default=False),
) -> None:
    """Compute snippet features of videos.

    Each video is written when it is done: after an interruption the same command goes on where it stopped. A video
    that cannot be read is named at the end and does not stop the others; the exit code is 1 then. A video's id is
    its file name without suffix, or more of its path where two have the same. The backbone's own values hold for fps,
    stride and window if they are not given.
    """
    import os

    from untrimmed.backbones import make_backbone
    from untrimmed.errors import InputError
    from untrimmed.formats.media import told_apart
    from untrimmed.pipeline.extract import extract as run
    from untrimmed.pipeline.extract import find_videos

    options: dict[str, Any] = {"fps": fps, "stride": stride, "window": window, "flow": flow, "layer": layer}
    options["streams"] = streams.split(",") if streams else None
    given = {name: value for name, value in options.items() if value is not None}
    # With Ray the workers compute; this machine may have no GPU.
    here = device if ray is None else "cpu"
    made = make_backbone({"name": backbone, "options": given}, weights=weights, device=here, batch=batch)
    if device not in ("auto", "cpu") and not hasattr(made, "device"):
        raise InputError(f"--device {device}: backbone '{backbone}' computes on the CPU; leave --device out")
    on_gpu = str(getattr(made, "device", "cpu")) != "cpu"
    files = find_videos(videos)
    if note := told_apart(files):
        print(note, file=sys.stderr)
    count = workers or (1 if on_gpu else os.cpu_count() or 1)
    with _Bar(len(files)) as bar:
        if ray is None:
            outcome = run(files, made, out, workers=count, dtype=dtype, progress=bar.show)
        else:
            from untrimmed.pipeline.cluster import extract_with_ray

            outcome = extract_with_ray(
                files, made, out, address=ray, workers=count, device=device, dtype=dtype, progress=bar.show
            )
    _report(outcome, out)
    if outcome.failed:
        raise typer.Exit(1)


class _Bar:
    """The extraction: a bar by file size with videos done, pace and time left on a terminal, else a line now and
    then."""

    def __init__(self, videos: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("extracting"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[text]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=1.0, text=f"0/{videos} videos")
        self._next_line = _LINE_SECONDS

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def show(self, progress: Progress) -> None:
        """Show where an extraction is."""
        parts = [f"{progress.finished}/{progress.videos} videos", f"{progress.rate:.1f} x real time"]
        if progress.elapsed > 0:
            parts.append(f"{60 * progress.done / progress.elapsed:.1f} videos/min")
        if progress.left is not None:
            parts.append(f"{_clock(progress.left)} left")
        text = ", ".join(parts)
        self._bar.update(self._task, completed=progress.share, text=text)
        if not self._console.is_terminal and progress.elapsed >= self._next_line:
            self._next_line = progress.elapsed + _LINE_SECONDS
            print(text, file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _report(outcome: Outcome, out: Path) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(stderr=True)
    for title, rows in (
        ("used only in part", {video_id: "; ".join(text) for video_id, text in outcome.problems.items()}),
        ("failed", outcome.failed),
    ):
        if not rows:
            continue
        if console.is_terminal:
            table = Table(title=f"{_videos(len(rows))} {title}", title_justify="left")
            table.add_column("video", overflow="fold")
            table.add_column("why", overflow="fold")
            for video_id, text in rows.items():
                table.add_row(Text(video_id), Text(text))
            console.print(table)
        else:
            lines = [f"{video_id}: {text}" for video_id, text in rows.items()]
            print(f"{_videos(len(rows))} {title}:", *lines, sep="\n  ", file=sys.stderr)
    parts = [f"{_videos(len(outcome.done))} extracted"]
    if outcome.skipped:
        parts.append(f"{len(outcome.skipped)} there already")
    if outcome.failed:
        parts.append(f"{len(outcome.failed)} failed")
    print(f"{out}: {', '.join(parts)}")


def _videos(count: int) -> str:
    return f"{count} video{'' if count == 1 else 's'}"
