"""``untrimmed curves``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def curves(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or their curves.json; at most five.")],
    truth: Annotated[Path, typer.Option(help="Annotations.")],
    out: Annotated[Path, typer.Option(help="Folder of the figures.")] = Path("curves"),
    video: Annotated[list[str] | None, typer.Option(help="Only these videos.", show_default=False)] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="Only these classes or curves, such as action. Default: classes of each video."),
    ] = None,
) -> None:
    """Draw what models say over time against the truth: an SVG for each video and class."""
    from untrimmed.errors import InputError, nearest
    from untrimmed.formats import read_annotations
    from untrimmed.formats.curves import read_curves
    from untrimmed.formats.io import write_text
    from untrimmed.report.curve_figures import COLORS, class_figures

    if len(runs) > len(COLORS):
        raise InputError(f"{len(runs)} runs given, expected at most {len(COLORS)}: more curves cannot be told apart")
    names = [run.stem if run.is_dir() else run.parent.name or run.stem for run in runs]
    if len(set(names)) < len(names):
        names = [str(run) for run in runs]
    models = dict(zip(names, (read_curves(run / "curves.json" if run.is_dir() else run) for run in runs), strict=True))
    annotations = read_annotations(truth)
    drawable = {name for model in models.values() for shown in model.values() for name in shown.values}
    for name in label or ():
        if name not in drawable:
            raise InputError(f"{', '.join(names)}: no curve of '{name}': {nearest(name, drawable)}")
    ids = video or [name for name in annotations.videos if all(name in model for model in models.values())]
    if not ids:
        raise InputError(f"{truth}: has no video that all of {', '.join(names)} have curves of")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: the folder cannot be made ({error.strerror})") from None
    count = 0
    for video_id in ids:
        for where, known in ((str(truth), annotations.videos), *models.items()):
            if video_id not in known:
                raise InputError(f"{where}: has no video '{video_id}': {nearest(video_id, known)}")
        shown = {name: model[video_id] for name, model in models.items()}
        figures = class_figures(annotations.videos[video_id], shown, label, annotations.labels)
        for number, figure in enumerate(figures.values()):
            safe = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in video_id)
            write_text(out / f"{safe}-{number}.svg", figure.file)
            count += 1
    if not count:
        raise InputError(
            f"{', '.join(names)}: no curve of any class that occurs in {len(ids)} videos of {truth}; there are curves of "
            f"{', '.join(sorted(drawable)[:9]) or 'nothing'}: draw one of them with --label"
        )
    typer.echo(f"{count} figures of {len(ids)} videos in {out}")
