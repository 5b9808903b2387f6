"""``untrimmed evaluate``: score detections as the official scorers do."""

from __future__ import annotations

from pathlib import Path

import typer

from untrimmed.cli.lazy_imports import import_numba
from untrimmed.cli.scored import (
    IGNORE_HELP,
    PROTOCOL_HELP,
    RESULTS_HELP,
    SUBSET_HELP,
    TRUTH_HELP,
    Asked,
    gather,
)
from untrimmed.cli.values import FPS_TABLE_HELP, numbers
from untrimmed.errors import InputError


def evaluate(
    results: Path = typer.Argument(help=RESULTS_HELP),
    truth: Path | None = typer.Option(None, help=TRUTH_HELP, show_default=False),
    protocol: str | None = typer.Option(None, help=PROTOCOL_HELP),
    subset: str | None = typer.Option(None, help=SUBSET_HELP),
    ignore_label: list[str] | None = typer.Option(None, metavar="NAME", help=IGNORE_HELP),
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
    proposals: bool = typer.Option(
        False, "--proposals", help="Score as proposals: AR@AN, its area, recall per tIoU. So is what has no labels."
    ),
    largest: int = typer.Option(1000, min=1, help="The largest average number of proposals."),
    fps_table: Path | None = typer.Option(None, help=FPS_TABLE_HELP),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object instead of tables."),
) -> None:
    """Score detections: mAP per tIoU, per class and per length of instance, averages and recall.

    Proposals, which have no labels, are scored by their recall. Videos that the model was trained on are scored apart,
    where the results know them. Everything odd in the two files is named, with what was done about it.
    """
    import json

    import_numba()
    from untrimmed.evaluation.any_label import without_labels
    from untrimmed.evaluation.proposals import ProposalScores, evaluate_proposals
    from untrimmed.evaluation.protocols import DENSE
    from untrimmed.evaluation.scoring import Evaluation
    from untrimmed.evaluation.scoring import evaluate as score

    if proposals and (ci or any_label or lengths):
        raise InputError("--proposals: --ci, --any-label and --lengths are for detections; leave them out")
    tious, edges = numbers(tiou, "--tiou"), numbers(lengths, "--lengths")
    asked = Asked(truth, protocol, subset, tious, edges, ignore_label or (), fps_table)
    given = gather([results], asked, what="score")
    found = given.detections[0]
    scores: Evaluation | ProposalScores
    if proposals or (without_labels(found) and not any_label and not given.any_label):
        if ci or lengths:
            raise InputError(f"{results}: holds proposals; --ci and --lengths score them with --any-label only")
        try:
            scores = evaluate_proposals(
                found,
                given.known_truth,
                given.protocol,
                subset=given.subset,
                tious=tious or DENSE,
                largest=largest,
            )
        except InputError as error:
            raise InputError(f"{results}: {error}") from None
    else:
        scores = score(
            found,
            given.known_truth,
            given.protocol,
            subset=given.subset,
            tious=given.tious,
            lengths=given.lengths,
            resamples=resamples if ci else 0,
            seed=seed,
            any_label=any_label or given.any_label,
        )
    file = given.truth_file
    if as_json:
        print(json.dumps({"results": str(results), "truth_file": str(file), **scores.to_dict()}, allow_nan=False))
    else:
        print(f"{'results':<12}{results}\n{'truth':<12}{file}\n{scores}")
