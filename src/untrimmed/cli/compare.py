"""``untrimmed compare``: is one result better than another, or is it the choice of videos?"""

from __future__ import annotations

from pathlib import Path

import typer

from untrimmed.cli.light import import_numba
from untrimmed.cli.values import numbers
from untrimmed.errors import InputError


def compare(
    a: Path = typer.Argument(metavar="A", help="Detections of the first method."),
    b: Path = typer.Argument(metavar="B", help="Detections of the second method."),
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
    resamples: int = typer.Option(1000, min=1, help="Resamples of the bootstrap."),
    seed: int = typer.Option(0, min=0, help="Seed of the bootstrap."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object instead of tables."),
) -> None:
    """Compare two results: differences with intervals, and the probability that A is better.

    A paired bootstrap over videos; per tIoU, per average, and per class.
    """
    import json

    import_numba()
    from untrimmed.evaluation.comparison import compare as against
    from untrimmed.formats import read_annotations, read_detections

    tious = numbers(tiou, "--tiou")
    annotations, both = read_annotations(truth), (read_detections(a), read_detections(b))
    for path, detections in zip((a, b), both, strict=True):
        if not len(detections):
            raise InputError(f"{path}: holds no detections, nothing to compare")
    result = against(*both, annotations, protocol, subset=subset, tious=tious, resamples=resamples, seed=seed)
    if as_json:
        files = {"a": str(a), "b": str(b), "truth_file": str(truth)}
        print(json.dumps({**files, **result.to_dict()}, allow_nan=False))
    else:
        print(f"{'A':<12}{a}\n{'B':<12}{b}\n{'truth':<12}{truth}\n{result}")
