"""The report of a run: the page to watch its detections on, with its scores, diagnosis and curves."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from untrimmed.errors import InputError
from untrimmed.evaluation.any_label import with_one_label, without_labels
from untrimmed.evaluation.protocols import Protocol
from untrimmed.evaluation.scoring import evaluate
from untrimmed.formats import read_annotations, read_detections
from untrimmed.formats.curves import read_curves
from untrimmed.formats.io import read_text, write_text
from untrimmed.methods.catalog import method_title
from untrimmed.pipeline.model_file import SIMULATED
from untrimmed.pipeline.recipe import EvaluateSettings, recipe_of, rules_of
from untrimmed.pipeline.train import CONFIG_FILE, CURVES_FILE, METRICS_FILE, REPORT_FILE, RESULTS_FILE
from untrimmed.report.curves import training_curves
from untrimmed.report.media import video_sources
from untrimmed.report.sections import diagnosis_section, score_facts, score_section, training_section
from untrimmed.report.viewer import ResultSet, View, render
from untrimmed.training.log import read_log
from untrimmed.types import Annotations, Detections

RESAMPLES = 1000


def write_run_report(run: Path, videos: Path | None = None, *, embed: bool = False) -> Path:
    """Write ``report.html`` from the other files of a run.

    Args:
        run: folder of a finished run.
        videos: file or folder of the video files; None leaves them out.
        embed: put the videos into the page.

    Raises:
        InputError: if a file of the run is missing.
    """
    config = yaml.safe_load(read_text(run / CONFIG_FILE))
    metrics = json.loads(read_text(run / METRICS_FILE))
    records = read_log(run / "log.jsonl")
    page = run / REPORT_FILE
    title = f"{method_title(config['method'])} on {Path(config['data']['annotations']).parent.name or 'a data set'}"
    if not (run / RESULTS_FILE).exists():
        raise InputError(f"{run}: has no {RESULTS_FILE}: the recipe names no test subset, so there is nothing to show")
    detections = read_detections(run / RESULTS_FILE)
    recipe = recipe_of(config, str(run / CONFIG_FILE))
    rules, settings = rules_of(recipe.evaluate, recipe.data), recipe.evaluate
    truth = read_annotations(recipe.data.annotations)
    part = truth.subset(config["data"]["test"])
    subset = config["data"]["test"] or "all"
    facts: list[tuple[str, str]] = []
    sections: list[str] = []
    notes = [SIMULATED] * metrics["simulated"]
    if "test" in metrics:
        facts, sections = _scores(detections, part, subset, rules, settings)
    else:
        notes.append(f"The {len(part)} videos of subset {subset} have no instances, so the detections are not scored.")
    if without_labels(detections):
        notes.append("The detections have no labels: `untrimmed fuse` adds them. The scores take all labels for one.")
    facts += [("parameters", f"{metrics['training']['parameters']:,}"), ("seconds", f"{metrics['seconds']:,.0f}")]
    curves = run / CURVES_FILE
    write_text(
        page,
        render(
            [ResultSet(detections, curves=read_curves(curves) if curves.exists() else None)],
            truth,
            title=title,
            facts=facts,
            notes=notes,
            sections=[*sections, training_section(training_curves(records))],
            view=View(
                sources=video_sources(detections.video_ids, videos, page, embed=embed) if videos else {}, protocol=rules
            ),
        ),
    )
    return page


def _scores(
    detections: Detections, part: Annotations, subset: str, rules: Protocol, settings: EvaluateSettings
) -> tuple[list[tuple[str, str]], list[str]]:
    """The facts and the sections on how good the detections are; those without labels as segments of any label."""
    tious, lengths = settings.tiou, settings.lengths
    if without_labels(detections):
        detections, part = with_one_label(detections, part, rules.no_classes)
    result = evaluate(detections, part, rules, subset=subset, tious=tious, lengths=lengths, resamples=RESAMPLES)
    diagnosis = diagnosis_section(detections, part, rules, tious, subset=subset, lengths=lengths)
    return score_facts(result), [score_section(result), diagnosis]
