"""``untrimmed view``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import unquote

import typer

from untrimmed.errors import InputError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable

    from untrimmed.report.viewer_data import ResultSet
    from untrimmed.types import Annotations


def view(
    results: Annotated[Path, typer.Argument(help="A result file of any format that can be read, or a run folder.")],
    truth: Annotated[Path | None, typer.Option(help="Annotations, to show beside them.", show_default=False)] = None,
    compare: Annotated[
        Path | None, typer.Option(help="A second result file or run, to show side by side.", show_default=False)
    ] = None,
    video: Annotated[
        Path | None, typer.Option(help="The video file, or the folder of the videos.", show_default=False)
    ] = None,
    curves: Annotated[
        Path | None, typer.Option(help="curves.json of the run; the one of a run folder is found.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option(help="The page.")] = Path("view.html"),
    threshold: Annotated[
        float | None, typer.Option(help="Score at which the page starts. Default: that of the best F1, or 0.2.")
    ] = None,
    tiou: Annotated[float, typer.Option(help="Overlap from which a detection has found an instance.")] = 0.5,
    protocol: Annotated[
        str | None, typer.Option(help="activitynet, thumos14 or hacs. Default: as untrimmed evaluate.")
    ] = None,
    embed: Annotated[bool, typer.Option("--embed", help="Put the videos into the page.")] = False,
    brief: Annotated[bool, typer.Option("--brief", help="Leave out scores and diagnosis.")] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the page on 127.0.0.1 instead, where it can save corrections.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of --serve; 0 takes a free one.")] = 8765,
) -> None:
    """Write a page to look at detections, see why they err, and correct the truth: one file, no server needed."""
    from untrimmed.formats import read_annotations
    from untrimmed.formats.io import write_text
    from untrimmed.report.media import video_files, video_sources
    from untrimmed.report.viewer import render

    sets = [_result_set(results, curves), *([_result_set(compare, None)] if compare else [])]
    annotations = read_annotations(truth) if truth else None
    ids = tuple(dict.fromkeys(video_id for one in sets for video_id in one.detections.video_ids))
    if annotations is not None and not set(ids) & set(annotations.videos):
        first = next(iter(ids), "")
        raise InputError(
            f"{results} and {truth}: have no video in common ('{first}': {nearest(first, annotations.videos)})"
        )
    files = video_files(ids, video) if video else {}
    notes = []
    if video and len(files) < len(ids):
        notes.append(f"{len(ids) - len(files)} videos have no file in {video.name}.")
    facts, sections = ([], []) if brief or annotations is None else _numbers(sets[0], annotations, ids, protocol)
    title = " and ".join(path.name for path in (results, compare) if path)

    def written(sources: dict[str, str]) -> str:
        return render(
            sets,
            annotations,
            title=title,
            sources=sources,
            facts=facts,
            notes=notes,
            sections=sections,
            threshold=threshold,
            tiou=tiou,
            protocol=protocol,
            served=serve,
        )

    if serve:
        serve_page(written, files, video, truth, results.resolve().parent, port)
        return
    write_text(out, written(video_sources(ids, video, out, embed=embed) if video else {}))
    typer.echo(str(out))


def serve_page(
    written: Callable[[dict[str, str]], str],
    files: dict[str, Path],
    place: Path | None,
    truth: Path | None,
    beside: Path,
    port: int,
) -> None:
    """Serve a page until Ctrl-C.

    Args:
        written: the page, from video id -> URL.
        files: video id -> file, found in ``place``.
        truth: what corrections are saved beside; None: to a new file in ``beside``.
        port: to listen at; 0 for a free one.
    """
    from untrimmed.report.serve import ADDRESS, Site, make_server, shared_files

    shared = shared_files(files, place)
    site = Site("", {unquote(url): file for url, file in shared.values()}, truth, beside)
    server = make_server(site, port)
    site.page = written({video_id: url for video_id, (url, _) in shared.items()})
    typer.echo(f"open http://{ADDRESS}:{server.server_port}/ (Ctrl-C ends it)")
    with contextlib.suppress(KeyboardInterrupt), server:
        server.serve_forever()
    if site.saved:
        typer.echo(f"corrections: {site.saved}")


def _result_set(path: Path, curves: Path | None) -> ResultSet:
    from untrimmed.formats import read_detections
    from untrimmed.formats.curves import read_curves
    from untrimmed.report.viewer_data import ResultSet

    file = path / "results.json" if path.is_dir() and (path / "results.json").is_file() else path
    beside = path / "curves.json"
    if curves is None and file != path and beside.is_file():
        curves = beside
    return ResultSet(read_detections(file), path.name, None if curves is None else read_curves(curves))


def _numbers(
    first: ResultSet, annotations: Annotations, ids: tuple[str, ...], protocol: str | None
) -> tuple[list[tuple[str, str]], list[str]]:
    """Score cards and sections of the first result file; none where its videos have no instances."""
    from untrimmed.evaluation import evaluate
    from untrimmed.evaluation.protocols import protocol_of
    from untrimmed.report.sections import diagnosis_section, score_facts, score_section
    from untrimmed.types import Annotations

    part = Annotations.of(annotations.videos[name] for name in ids if name in annotations.videos)
    rules = protocol_of(protocol, part)
    if not any(label != rules.ambiguous for label in part.labels):
        return [], []
    scores = evaluate(first.detections, part, rules, subset="all", resamples=1000)
    return score_facts(scores), [
        score_section(scores),
        diagnosis_section(first.detections, part, protocol, None),
    ]
