"""``untrimmed evaluate``: score detections as the official scorers do."""

from __future__ import annotations

from pathlib import Path

import typer

from untrimmed.cli.light import import_numba
from untrimmed.cli.values import numbers
from untrimmed.errors import InputError


def evaluate(
    results: Path = typer.Argument(help="Detections: any format that can be read."),
    truth: Path = typer.Option(..., help="Annotations: any format that can be read."),
    protocol: str | None = typer.Option(
        None, help="activitynet, thumos14 or hacs. Default: thumos14 if the truth has Ambiguous segments."
    ),
    subset: str | None = typer.Option(
        None, help="Part of the truth to score, or 'all'. Default: that of the protocol."
    ),
    tiou: list[str] | None = typer.Option(
        None, metavar="N...", help="Thresholds, e.g. 0.3 0.4 0.5 or 0.5:0.05:0.95. Default: the protocol's."
    ),
    lengths: list[str] | None = typer.Option(
        None, metavar="N...", help="Edges of the length groups, seconds. Default: the protocol's."
    ),
    ci: bool = typer.Option(False, "--ci", help="Add confidence intervals: a bootstrap over videos."),
    resamples: int = typer.Option(1000, min=1, help="Resamples of the bootstrap."),
    seed: int = typer.Option(0, min=0, help="Seed of the bootstrap."),
    any_label: bool = typer.Option(
        False, "--any-label", help="Take all labels for one: how well segments are found, whatever they are called."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object instead of tables."),
) -> None:
    """Score detections: mAP per tIoU, per class and per length of instance, averages and recall.

    Everything odd in the two files is named, with what was done about it.
    """
    import json

    import_numba()
    from untrimmed.evaluation.scoring import evaluate as score
    from untrimmed.formats import read_annotations, read_detections

    tious, edges = numbers(tiou, "--tiou"), numbers(lengths, "--lengths")
    annotations, detections = read_annotations(truth), read_detections(results)
    if not len(detections):
        raise InputError(f"{results}: holds no detections, nothing to score")
    scores = score(
        detections,
        annotations,
        protocol,
        subset=subset,
        tious=tious,
        lengths=edges,
        resamples=resamples if ci else 0,
        seed=seed,
        any_label=any_label,
    )
    if as_json:
        print(json.dumps({"results": str(results), "truth_file": str(truth), **scores.to_dict()}, allow_nan=False))
    else:
        print(f"{'results':<12}{results}\n{'truth':<12}{truth}\n{scores}")
