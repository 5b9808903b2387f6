"""``untrimmed cut``."""

from __future__ import annotations

from pathlib import Path

import typer


def cut(
    truth: str = typer.Argument(help="Truth of long recordings, in any known format."),
    length: float = typer.Option(..., help="Seconds of a piece."),
    out: Path = typer.Option(..., help="Folder for annotations.json and features/."),
    background: list[str] = typer.Option(
        [], metavar="SUBSET", help="Cut this subset where no instance is under way; may be given several times."
    ),
    features: str | None = typer.Option(None, help="Folder of features of the recordings, to be cut too."),
    fps: str | None = typer.Option(
        None, help="Frames a second of the features, e.g. 25 or 30000/1001, if there is no index."
    ),
    stride: int | None = typer.Option(None, help="Frames from one row of features to the next."),
    window: int | None = typer.Option(None, help="Frames that a row is computed from; the stride if not given."),
    offset: int | None = typer.Option(None, help="First frame of the first row; 0 if not given."),
    format: str | None = typer.Option(None, "--from", help="Format of the truth; told from its content if left out."),
) -> None:
    """Cut long recordings into shorter videos, so that video-level labels say something.

    Pieces have fixed lengths, which know nothing of the truth, but for the subsets named with --background. Instances
    are clipped; subsets, subjects and all other keys are kept. Nothing that is there is written over.
    """
    from untrimmed.cli.values import snippet_grid
    from untrimmed.errors import InputError
    from untrimmed.formats import read_annotations, write_annotations
    from untrimmed.formats.features import FeatureStore
    from untrimmed.pipeline.cut import cut as cut_all
    from untrimmed.pipeline.cut import cut_annotations, cut_features

    grid = snippet_grid(fps, stride, window, offset)
    if grid is not None and features is None:
        raise InputError("--fps, --stride, --window and --offset describe features; give their folder with --features")
    annotations = read_annotations(truth, format)
    store = None if features is None else FeatureStore.open(features, grid)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file, expected a folder to write into")
    file, folder = out / "annotations.json", out / "features"
    for place, source in ((file, truth), (folder, features)):
        if source is not None and place.exists():
            own = "is what is to be cut" if place.samefile(source) else "is there already"
            raise InputError(f"{place}: {own}; choose another folder with --out, or move it away first")
    pieces = cut_all(annotations, length, at_background=background, features=store)
    if store is not None:
        cut_features(pieces, store, folder)
    else:
        out.mkdir(parents=True, exist_ok=True)
    cutted = cut_annotations(annotations, pieces)
    write_annotations(cutted, file, "activitynet")
    typer.echo(
        f"{out}: {len(annotations)} recordings with {annotations.instance_count} instances cut into {len(pieces)} "
        f"videos with {cutted.instance_count}"
    )
