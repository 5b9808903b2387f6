"""What stands below the lanes of a report: scores with their confidence intervals, diagnosis, training curves."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from untrimmed.evaluation import diagnose
from untrimmed.evaluation.protocols import Protocol
from untrimmed.evaluation.scoring import Evaluation
from untrimmed.evaluation.text import counted, percent
from untrimmed.report import diagnosis as diagnosis_page
from untrimmed.report.page import Grid, fragment
from untrimmed.report.plots import Graphic
from untrimmed.types import Annotations, Detections

_SHOWN = "0.5"


def score_facts(result: Evaluation) -> list[tuple[str, str]]:
    """The scores worth a card, in percent: mAP at 0.5 and the averages, with their intervals where computed."""
    values = result.to_dict()
    intervals = values.get("intervals", {"mAP": {}, "averages": {}, "level": 0})
    facts = []
    where = result.of_training
    if _SHOWN in values["mAP"]:
        facts.append((f"mAP{where} at tIoU {_SHOWN} (%)", values["mAP"][_SHOWN], intervals["mAP"].get(_SHOWN)))
    facts += [
        (f"mAP{where} at tIoU {name} (%)", value, intervals["averages"].get(name))
        for name, value in result.averages.items()
    ]
    return [
        (name, percent(value) + (f"\n{_between(ends)} ({100 * intervals['level']:g} % interval)" if ends else ""))
        for name, value, ends in facts
    ]


def score_section(result: Evaluation) -> str:
    """mAP by threshold with confidence intervals, by length of instance, and AP by class, as HTML."""
    values = result.to_dict()
    tious = list(values["mAP"])
    rows = [("mAP", *(percent(value) for value in result.mAP))]
    if result.intervals:
        level = f"{100 * result.intervals.level:g} % interval"
        rows += [
            (f"{level}, low", *map(percent, result.intervals.mAP[0])),
            (f"{level}, high", *map(percent, result.intervals.mAP[1])),
        ]
    lengths = [
        (group.name, _span(group.low, group.high), f"{group.instances:,}", *map(percent, group.mAP))
        for group in result.lengths
        if group.instances
    ]
    classes = [
        (label, f"{result.instances[k]:,}", f"{result.detections[k]:,}", *map(percent, result.ap[:, k]))
        for k, label in enumerate(result.classes)
    ]
    trained = result.training
    return fragment(
        "scores.html",
        only_training=result.only_training,
        training=trained and Grid(("percent at tIoU", *tious), [("mAP", *map(percent, trained.mAP))]),
        trained_on=counted(trained.counts["videos"], "video") if trained else "",
        protocol=result.protocol,
        resamples=result.intervals.resamples if result.intervals else 0,
        scores=Grid(("percent at tIoU", *tious), rows),
        lengths=Grid(("length", "range", "instances", *tious), lengths, left=2),
        classes=Grid(("class", "instances", "detections", *tious), classes),
    )


def diagnosis_section(
    detections: Detections,
    truth: Annotations,
    protocol: str | Protocol | None,
    tious: Sequence[float] | None,
    *,
    subset: str = "all",
    lengths: Sequence[float] | None = None,
) -> str:
    """The whole diagnosis, folded away until it is opened; nothing without detections.

    Raises:
        InputError: as :func:`untrimmed.evaluation.diagnose`.
    """
    if not len(detections):
        return ""
    edges = {} if lengths is None else {"length": lengths}
    found = diagnose(detections, truth, protocol, subset=subset, tious=tious, edges=edges)
    return fragment(
        "folded.html", name="diagnosis", title="Diagnosis: why it errs", body=Markup(diagnosis_page.render(found))
    )


def training_section(figures: Sequence[Graphic]) -> str:
    """How the training went; nothing without figures."""
    if not figures:
        return ""
    return fragment("training.html", figures=[Markup(figure.inline) for figure in figures])


def _span(low: float, high: float) -> str:
    if low == -math.inf:
        return f"up to {high:g} s"
    return f"above {low:g} s" if high == math.inf else f"{low:g} to {high:g} s"


def _between(ends: Sequence[float]) -> str:
    return f"{percent(ends[0])} to {percent(ends[1])}"
