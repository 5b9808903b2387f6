"""``untrimmed simulate``: made-up features on a real timeline."""

from __future__ import annotations

from pathlib import Path

import typer


def simulate(
    truth: Path = typer.Argument(help="Annotations, of any format that can be read; every video needs a duration."),
    out: Path = typer.Option(..., help="Folder to write the features to; one begun before is completed."),
    difficulty: float = typer.Option(
        0.5, min=0, max=1, help="0: easy, a linear classifier nearly suffices; 1: very hard."
    ),
    channels: int = typer.Option(256, min=1, help="Features a snippet."),
    fps: str = typer.Option("30", help="Frames a second that the snippets are counted in, e.g. 25 or 30000/1001."),
    stride: int = typer.Option(8, min=1, help="Frames from one snippet to the next."),
    window: int = typer.Option(16, min=1, help="Frames in a snippet."),
    seed: int = typer.Option(0, min=0, help="Of everything that is drawn."),
    subset: str | None = typer.Option(None, help="Only the videos of this subset."),
) -> None:
    """Simulate snippet features for a file of annotations: for tests, scale and ablations, not for results.

    The features show the annotated actions on a made-up background. The folder says that they are simulated, and a
    model that is trained on them keeps that mark.
    """
    from rich.console import Console
    from rich.progress import Progress

    from untrimmed.data.synthetic import SimulatedFeatures, write_simulated
    from untrimmed.formats import read_annotations
    from untrimmed.grid import SnippetGrid, exact_fps

    annotations = read_annotations(truth)
    grid = SnippetGrid(exact_fps(fps), stride, window)
    features = SimulatedFeatures(annotations, grid, channels, difficulty, seed)
    videos = tuple(annotations.videos) if subset is None else tuple(annotations.subset(subset).videos)
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("simulating", total=len(videos))
        written = write_simulated(features, out, videos, lambda video_id: progress.advance(task))
    kept = f", {len(videos) - written:,} were there already" if written < len(videos) else ""
    print(f"{out}: simulated features of {written:,} videos, {channels} channels, difficulty {difficulty:g}{kept}")
