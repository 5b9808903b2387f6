"""``untrimmed import-features``: what others computed, into a folder that everything here reads."""

from __future__ import annotations

from pathlib import Path

import typer

from untrimmed.errors import InputError

_SHOWN = 5


def import_features(
    source: Path = typer.Argument(help="Folder of .npy, .npz, .csv, .pt or HDF5 files, or one HDF5 file."),
    out: Path = typer.Option(..., help="Folder for the features."),
    truth: Path | None = typer.Option(
        None, help="Annotations: which videos there are, and their durations.", show_default=False
    ),
    fps: str | None = typer.Option(None, help="Frames a second of the grid, e.g. 25 or 30000/1001."),
    stride: int | None = typer.Option(None, min=1, help="Frames from one row to the next."),
    window: int | None = typer.Option(None, min=1, help="Frames that a row is computed from; default: the stride."),
    offset: int = typer.Option(0, help="First frame of the first row."),
    layout: str = typer.Option("auto", help="TC, CT, or auto: told from the shapes."),
    key: str | None = typer.Option(None, help="Name of the array in files that hold several.", show_default=False),
    name: str = typer.Option("imported", help="What computed them; two kinds with different names are not mixed up."),
    dtype: str = typer.Option("float32", help="Of the files: float32 or float16."),
) -> None:
    """Import features that others computed.

    With --fps and --stride every video has that grid. Without, the rows of a video are taken to cover its duration
    (from --truth) evenly, as features rescaled to a fixed length do; a warning says so. Exit code 1 if a video failed.
    """
    import warnings

    from untrimmed.formats import read_annotations
    from untrimmed.formats.foreign import import_features as run
    from untrimmed.grid import SnippetGrid

    if (fps is None) != (stride is None):
        raise InputError("--fps and --stride belong together: give both, or neither")
    if layout not in ("auto", "TC", "CT"):
        raise InputError(f"--layout is '{layout}', expected TC, CT or auto")
    grid = None
    if fps is not None and stride is not None:
        grid = SnippetGrid(fps, stride, window or stride, offset)  # type: ignore[arg-type]  # it takes text
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = run(
            source,
            out,
            annotations=read_annotations(truth) if truth else None,
            grid=grid,
            layout=layout,  # type: ignore[arg-type]  # checked above
            key=key,
            name=name,
            dtype=dtype,
        )
    for warning in caught:
        typer.echo(f"warning: {warning.message}", err=True)
    for what, names in (("without features", found.absent), ("left out: not in the annotations", found.extra)):
        if names:
            more = ", ..." if len(names) > _SHOWN else ""
            typer.echo(f"{len(names)} {what}: {', '.join(names[:_SHOWN])}{more}", err=True)
    for video_id, reason in found.failed.items():
        typer.echo(f"failed: {video_id}: {reason}", err=True)
    typer.echo(f"{out}: {len(found.done)} videos imported" + (f", {len(found.failed)} failed" if found.failed else ""))
    if found.failed:
        raise typer.Exit(1)
