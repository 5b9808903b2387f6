"""``untrimmed diagnose``: why a detector fails."""

from __future__ import annotations

from pathlib import Path

import typer

from untrimmed.cli.values import numbers
from untrimmed.errors import InputError


def diagnose(
    results: Path = typer.Argument(help="Detections: any format that can be read."),
    truth: Path = typer.Option(..., help="Annotations: any format that can be read."),
    out: Path = typer.Option(..., help="Folder for index.html, diagnosis.json and the figures; made if absent."),
    protocol: str | None = typer.Option(
        None, help="activitynet, thumos14 or hacs. Default: thumos14 if the truth has Ambiguous segments."
    ),
    subset: str | None = typer.Option(
        None, help="Part of the truth to look at, or 'all'. Default: that of the protocol."
    ),
    tiou: list[str] | None = typer.Option(
        None, metavar="N...", help="Thresholds to average over, e.g. 0.3 0.4 0.5. Default: the protocol's."
    ),
    at: float | None = typer.Option(None, help="Threshold shown besides the mean. Default: 0.5, if it is among them."),
    lengths: list[str] | None = typer.Option(
        None, metavar="N...", help="Edges of the length groups, seconds. Default: the protocol's."
    ),
    coverage: list[str] | None = typer.Option(
        None, metavar="N...", help="Edges for length of instance over length of video. Default: the protocol's."
    ),
    instances: list[str] | None = typer.Option(
        None, metavar="N...", help="Edges for the number of instances in a video. Default: the protocol's."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object instead of tables."),
) -> None:
    """Show why detections fail: kinds of false positives, sensitivity to length and other properties, what is missed.

    The analysis is DETAD (Alwassel et al., ECCV 2018). Writes one self-contained page with figures, tables and text.
    """
    import json

    from untrimmed.evaluation.diagnosis import diagnose as find_reasons
    from untrimmed.formats import read_annotations, read_detections
    from untrimmed.report.diagnosis import write

    given = {
        "length": numbers(lengths, "--lengths"),
        "coverage": numbers(coverage, "--coverage"),
        "num-instances": numbers(instances, "--instances"),
    }
    tious = numbers(tiou, "--tiou")
    annotations, detections = read_annotations(truth), read_detections(results)
    if not len(detections):
        raise InputError(f"{results}: holds no detections, nothing to diagnose")
    diagnosis = find_reasons(
        detections,
        annotations,
        protocol,
        subset=subset,
        tious=tious,
        at=at,
        edges={key: edges for key, edges in given.items() if edges is not None},
    )
    page = write(diagnosis, out, title=f"Diagnosis of {results.name}")[0]
    if as_json:
        files = {"results": str(results), "truth_file": str(truth), "page": str(page)}
        print(json.dumps({**files, **diagnosis.to_dict()}, allow_nan=False))
    else:
        print(f"{'results':<12}{results}\n{'truth':<12}{truth}\n{diagnosis}\n\npage: {page}")
