"""``untrimmed diagnose``: why a detector fails."""

from __future__ import annotations

from pathlib import Path

import typer

from untrimmed.cli.scored import (
    IGNORE_HELP,
    PROTOCOL_HELP,
    RESULTS_HELP,
    SUBSET_HELP,
    TRUTH_HELP,
    Asked,
    gather,
)
from untrimmed.cli.values import numbers


def diagnose(
    results: Path = typer.Argument(help=RESULTS_HELP),
    truth: Path | None = typer.Option(None, help=TRUTH_HELP, show_default=False),
    out: Path = typer.Option(..., help="Folder for index.html, diagnosis.json and the figures; made if absent."),
    protocol: str | None = typer.Option(None, help=PROTOCOL_HELP),
    subset: str | None = typer.Option(None, help=SUBSET_HELP),
    ignore_label: list[str] | None = typer.Option(None, metavar="NAME", help=IGNORE_HELP),
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

    from untrimmed.evaluation.any_label import with_one_label
    from untrimmed.evaluation.diagnosis import diagnose as find_reasons
    from untrimmed.report.diagnosis import write

    edges = {
        "length": numbers(lengths, "--lengths"),
        "coverage": numbers(coverage, "--coverage"),
        "num-instances": numbers(instances, "--instances"),
    }
    asked = Asked(truth, protocol, subset, numbers(tiou, "--tiou"), edges["length"], ignore_label or ())
    given = gather([results], asked, what="diagnose")
    detections, annotations = given.detections[0], given.known_truth
    if given.any_label:
        detections, annotations = with_one_label(detections, annotations, given.protocol.no_classes)
    edges["length"] = None if given.lengths is None else list(given.lengths)
    diagnosis = find_reasons(
        detections,
        annotations,
        given.protocol,
        subset=given.subset,
        tious=given.tious,
        at=at,
        edges={key: values for key, values in edges.items() if values is not None},
    )
    page = write(diagnosis, out, title=f"Diagnosis of {results.name}")[0]
    if as_json:
        files = {"results": str(results), "truth_file": str(given.truth_file), "page": str(page)}
        print(json.dumps({**files, **diagnosis.to_dict()}, allow_nan=False))
    else:
        print(f"{'results':<12}{results}\n{'truth':<12}{given.truth_file}\n{diagnosis}\n\npage: {page}")
