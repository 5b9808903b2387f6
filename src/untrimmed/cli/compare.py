"""``untrimmed compare``: is one result better than another, or is it the choice of videos?"""

from __future__ import annotations

from pathlib import Path

import typer

from untrimmed.cli.lazy_imports import import_numba
from untrimmed.cli.scored import IGNORE_HELP, PROTOCOL_HELP, SUBSET_HELP, TRUTH_HELP, Asked, gather
from untrimmed.cli.values import numbers
from untrimmed.cli.view import different_names
from untrimmed.errors import InputError


def compare(
    a: Path = typer.Argument(metavar="A", help="Detections of the first method, or its run folder."),
    b: Path = typer.Argument(metavar="B", help="Detections of the second method, or its run folder."),
    truth: Path | None = typer.Option(None, help=TRUTH_HELP, show_default=False),
    protocol: str | None = typer.Option(None, help=PROTOCOL_HELP),
    subset: str | None = typer.Option(None, help=SUBSET_HELP),
    ignore_label: list[str] | None = typer.Option(None, metavar="NAME", help=IGNORE_HELP),
    tiou: list[str] | None = typer.Option(
        None, metavar="N...", help="Thresholds, e.g. 0.3 0.4 0.5 or 0.5:0.05:0.95. Default: the protocol's."
    ),
    resamples: int = typer.Option(1000, min=1, help="Resamples of the bootstrap."),
    seed: int = typer.Option(0, min=0, help="Seed of the bootstrap."),
    report: Path | None = typer.Option(
        None, help="A page to write: the scores, and where B gained and lost.", show_default=False
    ),
    at: float | None = typer.Option(
        None, help="Of the page: overlap from which a detection has found an instance. Default: 0.5."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object instead of tables."),
) -> None:
    """Compare two results: differences with intervals, and the probability that A is better.

    A paired bootstrap over videos; per tIoU, per average, and per class. Without videos that either was trained on. The
    page of --report shows instances that one finds and the other misses, as lines of time, and counts them all.
    """
    import json

    import_numba()
    from untrimmed.evaluation.any_label import with_one_label
    from untrimmed.evaluation.comparison import compare as against

    if at is not None and report is None:
        raise InputError("--at is of the page: name it with --report")
    tious = numbers(tiou, "--tiou")
    given = gather([a, b], Asked(truth, protocol, subset, tious, None, ignore_label or ()), what="compare")
    annotations, (first, second) = given.known_truth, given.detections
    if given.any_label:
        first = with_one_label(first, annotations, given.protocol.no_classes)[0]
        second, annotations = with_one_label(second, annotations, given.protocol.no_classes)
    result = against(
        first,
        second,
        annotations,
        given.protocol,
        subset=given.subset,
        tious=given.tious,
        resamples=resamples,
        seed=seed,
    )
    changed = {}
    if report is not None:
        from untrimmed.evaluation.changes import find_changes
        from untrimmed.report.comparison import write

        overlap = 0.5 if at is None else at
        changes = find_changes(first, second, annotations, given.protocol, subset=given.subset, tiou=overlap)
        names = different_names([a, b])
        write(result, changes, report, (names[0], names[1]), f"{names[0]} and {names[1]}")
        changed = {"page": str(report), "changes": changes.to_dict()}
    if as_json:
        files = {"a": str(a), "b": str(b), "truth_file": str(given.truth_file)}
        print(json.dumps({**files, **result.to_dict(), **changed}, allow_nan=False))
    else:
        print(f"{'A':<12}{a}\n{'B':<12}{b}\n{'truth':<12}{given.truth_file}\n{result}")
        if report is not None:
            print(f"\npage: {report}")
