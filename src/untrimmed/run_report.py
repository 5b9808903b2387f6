"""The report of a run: the page to watch its detections on, with its scores and curves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from untrimmed.errors import InputError
from untrimmed.evaluation.scoring import Evaluation, evaluate
from untrimmed.formats import read_annotations, read_detections
from untrimmed.formats.io import read_text, write_text
from untrimmed.report.curves import training_curves
from untrimmed.report.timeline import Section, render, video_sources
from untrimmed.runs import CONFIG_FILE, METRICS_FILE, REPORT_FILE, RESULTS_FILE
from untrimmed.types import Annotations


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
    records = [json.loads(line) for line in read_text(run / "log.jsonl").splitlines()]
    page = run / REPORT_FILE
    title = f"{config['method']['name'].upper()} on {Path(config['data']['annotations']).parent.name or 'a data set'}"
    sections = [Section("Training", figures=tuple(figure.inline for figure in training_curves(records)))]
    if not (run / RESULTS_FILE).exists():
        raise InputError(f"{run}: has no {RESULTS_FILE}: the recipe names no test subset, so there is nothing to show")
    detections = read_detections(run / RESULTS_FILE)
    truth = read_annotations(config["data"]["annotations"])
    part = Annotations.of(truth.videos[video_id] for video_id in detections.video_ids if video_id in truth.videos)
    result = evaluate(
        detections, part, config["evaluate"]["protocol"], subset="all", tious=config["evaluate"]["tiou"], resamples=1000
    )
    facts = score_facts(result)
    facts += [("parameters", f"{metrics['training']['parameters']:,}"), ("seconds", f"{metrics['seconds']:,.0f}")]
    write_text(
        page,
        render(
            detections,
            part,
            title=title,
            sources=video_sources(detections.video_ids, videos, page, embed=embed) if videos else {},
            facts=facts,
            notes=["Trained and tested on simulated features: no result of a real detector."] * metrics["simulated"],
            sections=[score_section(result), *sections],
        ),
    )
    return page


def score_facts(result: Evaluation) -> list[tuple[str, str]]:
    """The scores worth a card: mAP at 0.5 and the averages, with their confidence intervals where computed."""
    shown: list[tuple[str, str]] = []
    values: dict[str, Any] = result.to_dict()
    if "0.5" in values["mAP"]:
        shown.append(("mAP at tIoU 0.5", f"{values['mAP']['0.5']:.3f}"))
    shown += [(f"average mAP {name}", f"{value:.3f}") for name, value in values["averages"].items()]
    return shown


def score_section(result: Evaluation) -> Section:
    """The table of AP by class and threshold, mAP first."""
    values = result.to_dict()
    tious = list(values["mAP"])
    rows = [("mAP", *(f"{values['mAP'][tiou]:.3f}" for tiou in tious))]
    rows += [
        (label, *("-" if ap[tiou] is None else f"{ap[tiou]:.3f}" for tiou in tious))
        for label, ap in values["per_class"].items()
    ]
    return Section(
        "Scores", f"Average precision by protocol {result.protocol}, at tIoU", (), ("class", *tious), tuple(rows)
    )
