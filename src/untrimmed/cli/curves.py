"""``untrimmed curves``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def curves(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Run folders, or their curves.json; at most five. Detections: the results.json beside it."),
    ],
    truth: Annotated[Path, typer.Option(help="Annotations.")],
    out: Annotated[Path, typer.Option(help="Folder of the figures.")] = Path("curves"),
    video: Annotated[list[str] | None, typer.Option(help="Only these videos.", show_default=False)] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="Only these classes or curves, such as action. Default: classes of each video."),
    ] = None,
) -> None:
    """Draw what models say over time against the truth: an SVG for each video and class.

    Below the curves stand blocks: the instances, then of each model its best detections, as many as there are
    instances.
    """
    from untrimmed.cli.values import file_stem
    from untrimmed.errors import InputError, nearest
    from untrimmed.formats import read_annotations, read_detections
    from untrimmed.formats.curves import read_curves
    from untrimmed.formats.io import write_text
    from untrimmed.report.curve_figures import COLORS, class_figures

    if len(runs) > len(COLORS):
        raise InputError(f"{len(runs)} runs given, expected at most {len(COLORS)}: more curves cannot be told apart")
    names = [run.stem if run.is_dir() else run.parent.name or run.stem for run in runs]
    if len(set(names)) < len(names):
        names = [str(run) for run in runs]
    files = {name: run / "curves.json" if run.is_dir() else run for name, run in zip(names, runs, strict=True)}
    models = {name: read_curves(file) for name, file in files.items()}
    beside = {name: file.with_name("results.json") for name, file in files.items()}
    found = {name: read_detections(file) for name, file in beside.items() if file.exists()}
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
        figures = class_figures(annotations.videos[video_id], shown, label, annotations.labels, found)
        for number, figure in enumerate(figures.values()):
            write_text(out / f"{file_stem(video_id)}-{number}.svg", figure.file)
            count += 1
    if not count:
        raise InputError(
            f"{', '.join(names)}: no curve of any class that occurs in {len(ids)} videos of {truth}; there are curves "
            f"of {', '.join(sorted(drawable)[:9]) or 'nothing'}: draw one of them with --label"
        )
    typer.echo(f"{count} figures of {len(ids)} videos in {out}")
