"""``untrimmed graph``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from untrimmed.data.windows import Window
    from untrimmed.formats.features import Features
    from untrimmed.pipeline.detector import Detector
    from untrimmed.report.plots import Graphic
    from untrimmed.types import Video


def graph(
    run: Annotated[Path, typer.Argument(help="Run folder, or model file, of a method with ACGNet or GCM.")],
    video: Annotated[
        list[str] | None, typer.Option(help="Videos to draw. Default: the test subset of the run.", show_default=False)
    ] = None,
    features: Annotated[
        Path | None, typer.Option(help="Folder of features. Default: that of the run.", show_default=False)
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="Annotations. Default: those of the run.", show_default=False)
    ] = None,
    at: Annotated[
        float | None,
        typer.Option(
            help="With GCM: seconds that the proposal covers. Default: that of the surest detection.",
            show_default=False,
        ),
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="With GCM: lenders that are drawn, the weightiest.")] = 8,
    proposals: Annotated[
        Path | None,
        typer.Option(help="With GCM: proposals, instead of those the model makes itself.", show_default=False),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the figures.")] = Path("graphs"),
) -> None:
    """Draw who lends to whom in a video, an SVG for each.

    With ACGNet: its graph of segments, for each stream. With GCM: one proposal, those that lend to it, by which kind of
    edge, and how much each counts.
    """
    from untrimmed.cli.values import file_stem
    from untrimmed.errors import InputError, nearest
    from untrimmed.formats import read_annotations
    from untrimmed.formats.io import write_text
    from untrimmed.pipeline.detector import load_model
    from untrimmed.pipeline.proposals import with_file
    from untrimmed.pipeline.sources import open_features

    detector = load_model(run)
    data = detector.recipe.data
    known = detector.recipe.method.get("context") if hasattr(detector.method, "known") else None
    if not detector.recipe.method.get("enhance") and not isinstance(known, Mapping):
        raise InputError(
            f"{run}: method {detector.recipe.method['name']} has no graph; train it with method.enhance, or, a "
            "two-stage method, with method.context"
        )
    if proposals is not None:
        detector = with_file(detector, proposals)
    annotations = read_annotations(truth or data.annotations)
    if not video and data.test is None:
        raise InputError(f"{run}: its recipe names no test subset; name videos with --video")
    ids = video or list(annotations.subset(data.test or "").videos)
    store = open_features(features or data.features, data.grid.grid() if data.grid else None)
    for name in ids:
        for where, there in ((truth or data.annotations, annotations.videos), (features or data.features, store.ids)):
            if name not in there:
                raise InputError(f"{where}: has no video '{name}': {nearest(name, there)}")
    if store.channels != detector.channels:
        raise InputError(
            f"{features or data.features}: has {store.channels} channels, but {run} was trained on {detector.channels}"
        )
    count = 0
    for name in ids:
        try:
            if isinstance(known, Mapping):
                drawn = [_of_proposal(detector, store, annotations.videos[name], features or data.features, at, most)]
            else:
                drawn = _pictures(detector, store, annotations.videos[name])
        except InputError as error:
            if len(ids) == 1:
                raise
            typer.echo(f"left out: {error}", err=True)
            continue
        for picture in drawn:
            out.mkdir(parents=True, exist_ok=True)
            write_text(out / f"{file_stem(name)}-{picture.name}.svg", picture.file)
            count += 1
    typer.echo(f"{count} figures of {len(ids)} videos in {out}")


def _of_proposal(
    detector: Detector, features: Features, video: Video, source: Path, at: float | None, most: int
) -> Graphic:
    """One proposal of a video and who lends to it; the same in words on standard output."""
    from untrimmed.pipeline.lending import lending
    from untrimmed.report.lenders import lenders_figure

    found = lending(detector, features, video.id, source, at=at, most=most)
    typer.echo(found.text())
    truth = [
        (start, end, label)
        for (start, end), label in zip(video.instances.segments.tolist(), video.instances.labels, strict=True)
    ]
    return lenders_figure("proposal", found, truth, video.duration)


def _pictures(detector: Detector, features: Features, video: Video) -> list[Graphic]:
    """A picture of each window of a video and stream of the model."""
    from untrimmed.report.plots import lending

    truth = [
        (start, end, label)
        for (start, end), label in zip(video.instances.segments.tolist(), video.instances.labels, strict=True)
    ]
    windows = detector.recipe.windows.inference(video, features.length(video.id), features.grid(video.id))
    pictures: list[Graphic] = []
    for window in windows:
        for weights, span in _weights(detector, features, window):
            name = f"graph-{len(pictures)}"
            pictures.append(lending(name, f"Who lends to whom in {video.id}", weights, span, truth))
    return pictures


def _weights(
    detector: Detector, features: Features, window: Window
) -> list[tuple[list[list[float]], tuple[float, float]]]:
    """The graphs of a window over the steps of its first piece, and the seconds these span."""
    from untrimmed.data.batch import collate
    from untrimmed.data.load_window import load_window
    from untrimmed.methods.plugins.acgnet import adjacencies

    raw = detector.raw(collate([load_window(window, features, standardise=detector.standardise)]))
    piece = window.map.pieces[0]
    shown = slice(round(piece.first), round(piece.last))
    return [(each[0, shown, shown].clamp(min=0).tolist(), (piece.start, piece.end)) for each in adjacencies(raw)]
