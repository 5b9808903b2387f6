"""``untrimmed annotate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from untrimmed.errors import InputError

if TYPE_CHECKING:
    from untrimmed.types import Annotations, Video


def annotate(
    videos: Annotated[Path, typer.Argument(help="A video file, or a folder of them.")],
    classes: Annotated[
        str | None, typer.Option(help="Class names, separated by commas; more can be added.", show_default=False)
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="Annotations to go on with, of any format.", show_default=False)
    ] = None,
    subset: Annotated[str, typer.Option(help="Subset that new videos are put in.")] = "training",
    out: Annotated[Path, typer.Option(help="The page.")] = Path("annotate.html"),
    embed: Annotated[bool, typer.Option("--embed", help="Put the videos into the page.")] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the page on 127.0.0.1 instead, where it can save.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of --serve; 0 takes a free one.")] = 8765,
) -> None:
    """Write a page to annotate videos from nothing: the viewer with empty lanes; `untrimmed train` takes its export."""
    from untrimmed.cli.view import EMBED_AND_SERVE, serve_page
    from untrimmed.formats import read_annotations
    from untrimmed.formats.io import write_text
    from untrimmed.pipeline.extract import find_videos
    from untrimmed.report.media import link
    from untrimmed.report.viewer import View, render
    from untrimmed.report.viewer_data import work_key

    if serve and embed:
        raise InputError(EMBED_AND_SERVE)
    files = find_videos([videos])
    for file in files.values():
        if any("\ud800" <= letter <= "\udfff" for letter in str(file.resolve())):
            raise InputError(f"{str(file.resolve())!r}: the name is no UTF-8 text; rename the file")
    known = read_annotations(truth) if truth else None
    names = [name.strip() for name in (classes or "").split(",") if name.strip()]
    annotations = _begun(files, known, names, subset)
    # Not of the page, which changes with every video and class that is added: the work goes on.
    key = work_key(known, (), str(videos.resolve()))

    def written(sources: dict[str, str]) -> str:
        title = f"Annotating {videos.resolve().name}"
        return render([], annotations, title=title, served=serve, view=View(sources=sources, annotate=True, key=key))

    if serve:
        beside = videos if videos.is_dir() else videos.resolve().parent
        serve_page(written, files, videos, truth, beside, port, key)
        return
    write_text(out, written({name: link(file, out, embed=embed) for name, file in files.items()}))
    typer.echo(str(out))


def _begun(files: dict[str, Path], known: Annotations | None, names: list[str], subset: str) -> Annotations:
    """What is annotated so far, with an entry for every video file and the names of the classes."""
    from untrimmed.types import Annotations

    table = dict(known.videos) if known else {}
    for name, file in files.items():
        if name not in table:
            table[name] = _video(name, file, subset)
    extra = dict(known.extra) if known else {}
    before = extra.get("classes")
    every = sorted({*names, *(before if isinstance(before, list) else ())}, key=str)
    return Annotations(table, known.version if known else "", {**extra, "classes": every} if every else extra)


def _video(name: str, file: Path, subset: str) -> Video:
    from untrimmed.types import Video
    from untrimmed.video.decode import probe

    info = probe(file)
    return Video(name, subset, info.duration, info.fps)
