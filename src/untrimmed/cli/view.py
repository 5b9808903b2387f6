"""``untrimmed view``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import unquote

import typer

from untrimmed.cli.scored import IGNORE_HELP, PROTOCOL_HELP, Asked, gather
from untrimmed.errors import InputError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from untrimmed.cli.scored import Scored
    from untrimmed.report.viewer_data import ResultSet
    from untrimmed.types import Annotations, Detections

OUTSIDE = "a link leads out of the folder; name the folder with the files themselves"
EMBED_AND_SERVE = "--embed puts the videos into a file and --serve writes none; leave out one of them"


def view(
    results: Annotated[Path, typer.Argument(help="A result file of any format that can be read, or a run folder.")],
    truth: Annotated[
        Path | None,
        typer.Option(help="Annotations, to show beside them. Default: those of the run.", show_default=False),
    ] = None,
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
    subset: Annotated[
        str | None,
        typer.Option(help="Part of the truth to score and show, or 'all'. Default: as untrimmed evaluate."),
    ] = None,
    new_subset: Annotated[
        str, typer.Option(help="Subset of exported videos that the truth lacks, or of all without truth.")
    ] = "training",
    tiou: Annotated[float, typer.Option(help="Overlap from which a detection has found an instance.")] = 0.5,
    protocol: Annotated[str | None, typer.Option(help=PROTOCOL_HELP)] = None,
    ignore_label: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help=IGNORE_HELP, show_default=False)
    ] = None,
    embed: Annotated[bool, typer.Option("--embed", help="Put the videos into the page.")] = False,
    brief: Annotated[bool, typer.Option("--brief", help="Leave out scores and diagnosis.")] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the page on 127.0.0.1 instead, where it can save corrections.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of --serve; 0 takes a free one.")] = 8765,
) -> None:
    """Write a page to look at detections, see why they err, and correct the truth: one file, no server needed."""
    from dataclasses import replace

    from untrimmed.formats.io import write_text
    from untrimmed.report.media import link, video_files
    from untrimmed.report.viewer import View, render
    from untrimmed.report.viewer_data import scored_part, work_key

    if serve and embed:
        raise InputError(EMBED_AND_SERVE)
    places = [results, *([compare] if compare else [])]
    given = gather(places, Asked(truth, protocol, subset, None, None, ignore_label or ()), what=None)
    annotations, truth, rules = given.truth, given.truth_file, given.protocol
    if subset is not None and annotations is None:
        raise InputError(f"--subset {subset}: is a part of the truth; name the truth with --truth")
    sets = _result_sets(places, given, curves)
    ids = tuple(dict.fromkeys(name for one in sets for name in one.detections.video_ids))
    every = [one.detections for one in sets]
    part = scored_part(annotations, every, rules, given.subset) if annotations is not None else None
    ids = tuple(dict.fromkeys((*ids, *(part.videos if part else ()))))
    files = video_files(ids, video) if video else {}
    key = work_key(annotations, ids)
    durations, notes = _durations(files, annotations)
    facts, sections, odd = _scores(sets, given, part, brief) if part else ([], [], [])

    shown = View(part=part, durations=durations, threshold=threshold, tiou=tiou, protocol=rules, key=key)

    def written(sources: dict[str, str]) -> str:
        return render(
            sets,
            annotations,
            title=" and ".join(one.name for one in sets),
            facts=facts,
            notes=[*notes, *_without_file(ids, files, sources, video), *odd],
            sections=sections,
            served=serve,
            view=replace(shown, sources=sources, new_subset=new_subset),
        )

    if serve:
        serve_page(written, files, video, truth, results.resolve().parent, port, key)
        return
    write_text(out, written({name: link(file, out, embed=embed) for name, file in files.items()}))
    typer.echo(str(out))


def _result_sets(places: Sequence[Path], given: Scored, curves: Path | None) -> list[ResultSet]:
    """The results of each place, the first with its curves; they must be of the same videos as the truth."""
    from untrimmed.evaluation.subsets import with_common_training

    parts = zip(places, with_common_training(given.detections), different_names(places), strict=True)
    sets = [_result_set(path, found, curves if path is places[0] else None, name) for path, found, name in parts]
    for one, place in zip(sets[1:], places[1:], strict=True):
        check_common(places[0], sets[0].detections.video_ids, place, one.detections.video_ids)
    if given.truth_file and given.truth is not None:
        names = (name for one in sets for name in one.detections.video_ids)
        check_common(places[0], names, given.truth_file, given.truth.videos)
    return sets


def serve_page(
    written: Callable[[dict[str, str]], str],
    files: dict[str, Path],
    place: Path | None,
    truth: Path | None,
    beside: Path,
    port: int,
    key: str,
) -> None:
    """Serve a page until Ctrl-C.

    Args:
        written: the page, from video id -> URL.
        files: video id -> file, found in ``place``.
        truth: what corrections are saved beside; None: to a new file in ``beside``.
        port: to listen at; 0 for a free one.
        key: what the corrections of the page belong to; others are not saved.
    """
    from untrimmed.evaluation.text import counted
    from untrimmed.report.serve import ADDRESS, Site, make_server, shared_files

    shared = shared_files(files, place)
    site = Site("", {unquote(url): file for url, file in shared.values()}, truth, beside, key)
    server = make_server(site, port)
    site.page = written({video_id: url for video_id, (url, _) in shared.items()})
    if left := [file for video_id, file in files.items() if video_id not in shared]:
        typer.echo(f"{counted(len(left), 'video')} not given out, e.g. {left[0]}: {OUTSIDE}", err=True)
    typer.echo(f"open http://{ADDRESS}:{server.server_port}/ (Ctrl-C ends it)")
    with contextlib.suppress(KeyboardInterrupt), server:
        server.serve_forever()
    if site.saved:
        typer.echo(f"corrections: {site.saved}")


def check_common(first: Path, ids: Iterable[str], second: Path, others: Collection[str]) -> None:
    """Refuse two files that speak of different videos; a file without any video says nothing of it.

    Raises:
        InputError: if they have no video in common.
    """
    names = list(ids)
    if names and others and set(names).isdisjoint(others):
        raise InputError(f"{first} and {second}: have no video in common ('{names[0]}': {nearest(names[0], others)})")


def different_names(paths: Sequence[Path]) -> list[str]:
    """What to call files: their names, with as many of the folders above as it takes to tell them apart."""
    parts = [path.resolve().parts for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-depth:]) for each in parts]
        if len(set(names)) == len(set(parts)):
            break
    return names


def _result_set(path: Path, detections: Detections, curves: Path | None, name: str) -> ResultSet:
    from untrimmed.formats.curves import read_curves
    from untrimmed.report.viewer_data import ResultSet

    beside = path / "curves.json"
    if curves is None and path.is_dir() and beside.is_file():
        curves = beside
    return ResultSet(detections, name, None if curves is None else read_curves(curves))


def _durations(files: dict[str, Path], annotations: Annotations | None) -> tuple[dict[str, float], list[str]]:
    """How long the files are of which the truth does not say it; and a sentence for each that cannot be read."""
    from untrimmed.video.decode import probe

    durations, notes = {}, []
    for name, file in files.items():
        known = annotations.videos.get(name) if annotations else None
        if known is not None and known.duration:
            continue
        try:
            duration = probe(file).duration
        except InputError as error:
            notes.append(str(error))
            continue
        if duration:
            durations[name] = duration
    return durations, notes


def _without_file(
    ids: Collection[str], files: dict[str, Path], sources: dict[str, str], video: Path | None
) -> list[str]:
    from untrimmed.evaluation.text import counted

    missing, outside = len(ids) - len(files), len(files) - len(sources)
    notes = [f"{counted(missing, 'video')} without a file in {video}."] if video and missing else []
    return notes + ([f"{counted(outside, 'video')} not given out: {OUTSIDE}."] if outside else [])


def _scores(
    sets: Sequence[ResultSet], given: Scored, part: Annotations, brief: bool
) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    """Score cards and sections of the first result file, and what is odd in each; nothing without instances."""
    from untrimmed.evaluation import evaluate
    from untrimmed.evaluation.any_label import with_one_label
    from untrimmed.report.sections import diagnosis_section, score_facts, score_section

    rules, tious, lengths = given.protocol, given.tious, given.lengths
    if rules.no_classes.issuperset(part.labels):
        return [], [], []
    found = [one.detections for one in sets]
    if given.any_label:
        found, part = (
            [with_one_label(one, part)[0] for one in found],
            with_one_label(found[0], part, rules.no_classes)[1],
        )
    resamples = (0 if brief else 1000, 0)
    scores = [
        evaluate(one, part, rules, subset="all", tious=tious, lengths=lengths, resamples=count)
        for one, count in zip(found, resamples, strict=False)
    ]
    several = len(sets) > 1
    odd = [
        f"{one.name}: {note}." if several else f"{note[0].upper()}{note[1:]}."
        for one, score in zip(sets, scores, strict=True)
        for note in score.notes.sentences
    ]
    if brief:
        return [], [], odd
    sections = [score_section(scores[0]), diagnosis_section(found[0], part, rules, tious, lengths=lengths)]
    return score_facts(scores[0]), sections, odd
